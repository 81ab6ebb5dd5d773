"""Do sets that are listed for their specific part hold when retrained? Beside those listed for the whole interaction.

    python benchmarks/attribution/specific.py pick  CAMPAIGN PLAN.npz [--max-q 0.1]    # before anything is trained
    python benchmarks/attribution/specific.py train CAMPAIGN PLAN.npz --seconds 540     # again and again
    python benchmarks/attribution/specific.py judge CAMPAIGN PLAN.npz [--pictures FOLDER]

Picked are the twenty pairs whose specific part lies most standard errors from 0, the twenty whose whole interaction
does, and ten random pairs of members with like effects and classes, each on its best target, whatever its q-value.
Every base mask is new, and its four cells share a training seed; all pairs have equally many base masks. The whole
interaction counts as certified where its interval, at .05 over all pairs together, lies on the predicted side of zero;
the specific part is what was measured less the saturation that the campaign predicts, with the errors of both.
--pictures draws the pictures of each pair beside its target's. --max-q keeps the pairs whose specific q-value is at
most this, which then have more base masks for the same time.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from attribution_saturation import train

from attribution.experiments.factorial import interaction_contrast, t_interval
from attribution.experiments.sets_to_try import Candidate, matched_random_sets
from flows.store.campaign import Campaign
from flows.store.examples import player_classes

COUNT, N_RANDOM, LEVEL = 20, 10, 0.05
LISTS = ("by_specific", "by_whole", "random")


def strongest(rows: dict[str, list[Any]], name: str, count: int) -> list[Candidate]:
    """The pairs whose specific part or whole value lies most standard errors from 0, each on its best target."""
    best: dict[tuple[int, ...], int] = {}
    z = np.abs(np.array(rows[name]) / np.array(rows["stderr" if name == "value" else f"{name}_stderr"]))
    for row in np.argsort(-z, kind="stable"):
        if rows["target"][row] >= 0 and rows["order"][row] == 2:
            best.setdefault(tuple(rows["members"][row]), int(row))
    chosen = list(best.items())[:count]
    return [Candidate(pair, rows["target"][row], rows["shrunken"][row], evidence=z[row]) for pair, row in chosen]


def pick(campaign: Campaign, plan: Path, max_q: float) -> None:
    """Choose the pairs of the three lists and write them down, each once, with what the campaign says of them.

    max_q: keep the pairs of the first two lists with a specific q-value of at most this; 1: all three lists."""
    rows = campaign.read("interactions").to_pydict()
    lists = {"by_specific": strongest(rows, "specific", COUNT), "by_whole": strongest(rows, "value", COUNT)}
    effects = campaign.read("effects", ["target", "player", "effect"]).to_pydict()
    of_target: dict[int, np.ndarray] = {}
    for target, player, effect in zip(effects["target"], effects["player"], effects["effect"], strict=True):
        of_target.setdefault(target, np.zeros(campaign.n_players))[player] = effect
    reported = [
        tuple(members)
        for members, q, own in zip(rows["members"], rows["q_value"], rows["specific_q_value"], strict=True)
        if min(q, own) <= 0.1
    ]
    lists["random"] = matched_random_sets(
        lists["by_specific"][:N_RANDOM], of_target, player_classes(campaign), reported, 0
    )
    said = {(row["members"][0], row["members"][1], row["target"]): row for row in _rows(rows) if row["order"] == 2}
    planned: dict[tuple[int, int, int], dict[str, Any]] = {}
    for name, found in lists.items():
        for place, candidate in enumerate(found):
            key = (candidate.members[0], candidate.members[1], candidate.target)
            own = planned.setdefault(key, {"predicted": candidate.predicted, **dict.fromkeys(LISTS, -1)})
            own[name] = place
    keys = [key for key in planned if max_q >= 1 or said.get(key, {}).get("specific_q_value", 1.0) <= max_q]
    planned = {key: planned[key] for key in keys}
    said_of = {
        name: np.array([said.get(key, {}).get(name, np.nan) for key in keys], dtype=np.float64)
        for name in ("value", "saturation", "saturation_stderr", "specific", "q_value", "specific_q_value")
    }
    np.savez(
        plan, pairs=np.array([key[:2] for key in keys]), targets=np.array([key[2] for key in keys]),
        kinds=np.array([said.get(key, {}).get("kind", "") for key in keys]),
        **{name: np.array([planned[key][name] for key in keys]) for name in ("predicted", *LISTS)}, **said_of,
    )  # fmt: skip
    q = said_of["specific_q_value"][[own["by_specific"] >= 0 for own in planned.values()]]
    print(f"specific q <= .05, .1 on the first list: {(q <= 0.05).sum()}, {(q <= 0.1).sum()}")
    both = sum(own["by_specific"] >= 0 and own["by_whole"] >= 0 for own in planned.values())
    print(f"{len(keys)} pairs; {both} are on both lists")


def _rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def judge(campaign: Campaign, plan: Path, pictures: Path | None) -> None:
    """Print every pair, and the shares that hold."""
    held = np.load(plan)
    rounds = sorted(plan.parent.glob(f"{plan.stem}-round*.npy"))
    outputs = np.concatenate([np.load(path) for path in rounds], axis=1)
    delta = interaction_contrast(np.moveaxis(outputs, 2, -1))
    n_pairs = len(held["pairs"])
    print(f"{n_pairs} pairs, {delta.shape[1]} base masks each\n")
    print("| pair → target | place by specific, by whole | kind | predicted | its saturation | measured | certified | "
          "measured less saturation | specific part holds |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    certified, specific = np.zeros(n_pairs, dtype=bool), np.zeros(n_pairs, dtype=bool)
    for at, (pair, target) in enumerate(zip(held["pairs"], held["targets"], strict=True)):
        own = delta[at, :, target]
        plain, strict = t_interval(own), t_interval(own, LEVEL / n_pairs)
        sign = np.sign(held["predicted"][at])
        certified[at] = min(sign * strict.low, sign * strict.high) > 0
        saturation, error = (float(np.nan_to_num(held[name][at])) for name in ("saturation", "saturation_stderr"))
        left, half = plain.mean - saturation, 1.96 * float(np.hypot(plain.stderr, error))
        side = np.sign(np.nan_to_num(held["specific"][at]))
        specific[at] = side * left > half
        places = ", ".join("–" if held[name][at] < 0 else str(held[name][at] + 1) for name in LISTS[:2])
        is_random = held["random"][at] >= 0
        print(f"| {pair[0]}, {pair[1]} → {target} | {'random' if is_random else places} | {held['kinds'][at]} | "
              f"{held['predicted'][at]:+.2f} | {saturation:+.2f} | {plain.mean:+.2f} ± {plain.half_width:.2f} | "
              f"{'yes' if certified[at] else 'no'} | {left:+.2f} ± {half:.2f} | "
              f"{'–' if is_random else 'yes' if specific[at] else 'no'} |")  # fmt: skip
    print("\n| list | pairs | certified | specific part holds | mean predicted | mean measured | mean specific part: "
          "predicted | measured less saturation |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    own_target = delta[np.arange(n_pairs), :, held["targets"]]
    sign = np.sign(held["predicted"])
    measured, variance = own_target.mean(axis=1), own_target.var(axis=1, ddof=1) / delta.shape[1]
    saturation, part = np.nan_to_num(held["saturation"]), np.nan_to_num(held["specific"])
    rows = {name: held[name] >= 0 for name in LISTS} | {"specific q <= .1": held["specific_q_value"] <= 0.1}
    for name, own in rows.items():
        if not own.any():
            continue
        holds = "–" if name == "random" else f"{specific[own].sum()} of {own.sum()}"
        half = 1.96 * variance[own].sum() ** 0.5 / own.sum()
        # A random pair takes over the prediction of the pair it stands beside, and has no parts of its own.
        last = "– | –"
        if name != "random":
            last = f"{(sign * part)[own].mean():.2f} | {(sign * (measured - saturation))[own].mean():.2f} ± {half:.2f}"
        print(f"| {name} | {own.sum()} | {certified[own].sum()} of {own.sum()} | {holds} | "
              f"{np.abs(held['predicted'][own]).mean():.2f} | {(sign * measured)[own].mean():.2f} ± {half:.2f} | "
              f"{last} |")  # fmt: skip
    if pictures is not None:
        draw(campaign, held, pictures)


def draw(campaign: Campaign, held: Any, folder: Path) -> None:
    """One sheet for each list: a row a pair, its two pictures and the target's, with their classes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    examples = campaign.read("examples").to_pydict()
    shown = {
        (split, player if split == "train" else place): row
        for row, (split, player, place) in enumerate(
            zip(*(examples[column] for column in ("split", "player", "position")), strict=True)
        )
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name in LISTS:
        order = [at for at in np.argsort(held[name]) if held[name][at] >= 0]
        figure, axes = pyplot.subplots(len(order), 3, figsize=(4, 1.3 * len(order)))
        for row, at in zip(axes, order, strict=True):
            ids = [("train", held["pairs"][at][0]), ("train", held["pairs"][at][1]), ("target", held["targets"][at])]
            for axis, key in zip(row, ids, strict=True):
                found = shown[key]
                axis.imshow(_picture(examples["image"][found]), cmap="gray")
                axis.set_title(f"{key[0]} {key[1]}: {examples['class_name'][found]}", fontsize=6)
                axis.axis("off")
        figure.tight_layout()
        figure.savefig(folder / f"{name}.png", dpi=90)


def _picture(image: bytes) -> Any:
    import io

    from PIL import Image

    return Image.open(io.BytesIO(image))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pick", "train", "judge"))
    parser.add_argument("campaign", type=Path)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--mode", default="native")
    parser.add_argument("--max-q", type=float, default=1.0)
    parser.add_argument("--pictures", type=Path, default=None)
    given = parser.parse_args()
    campaign = Campaign(given.campaign)
    if given.what == "pick":
        pick(campaign, given.plan, given.max_q)
    elif given.what == "train":
        train(campaign, given.plan, given.seconds, given.mode)
    else:
        judge(campaign, given.plan, given.pictures)


if __name__ == "__main__":
    main()
