"""Does the saturation part predict the interaction of two strangers? Unlisted pairs, retrained as factorials.

    python benchmarks/attribution/saturation.py pick  CAMPAIGN PLAN.npz          # the pairs, before anything is trained
    python benchmarks/attribution/saturation.py train CAMPAIGN PLAN.npz --seconds 540     # again and again
    python benchmarks/attribution/saturation.py judge CAMPAIGN PLAN.npz          # predicted beside measured

A pair is taken for the product of its members' main effects on one target, both of one sign, where neither the
campaign's table nor a screen of this target lists it (|z| < 4.5). No prediction enters the choice, so that one
experiment judges any of them. A target occurs once, a player at most three times. Every base mask is new, and its
four cells share a training seed. The prediction uses the campaign's fit masks alone. Slopes are through 0; their
intervals resample pairs and, within a pair, base masks.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from attribution.experiments.factorial import factorial_masks, interaction_contrast  # noqa: E402
from attribution.fourier.basis import basis  # noqa: E402
from attribution.linear.datamodel_fit import LinearFit, fit_linear  # noqa: E402
from attribution.linear.link import fit_link  # noqa: E402
from attribution.masks.folds import assign_folds  # noqa: E402
from flows.store.campaign import Campaign  # noqa: E402

N_PAIRS, MAX_USES, LISTED_Z = 40, 3, 4.5
BASES_AT_ONCE = 4  # of every pair, in one round
SEED_OFFSET = 10**9  # training seeds no campaign uses


def fitted_linear(campaign: Campaign) -> tuple[np.ndarray, np.ndarray, np.ndarray, LinearFit]:
    """Masks, outputs and folds of the fit rows, and the datamodel of every target."""
    pairs = campaign.training_pairs("fit")
    outputs = pairs.outputs.astype(np.float64)
    folds = assign_folds(np.arange(len(outputs)), 6, 0)
    return pairs.masks, outputs, folds, fit_linear(basis(pairs.masks, 0.5), outputs, folds)


def pick(campaign: Campaign, plan: Path) -> None:
    """Choose pairs and targets, strongest product first, and write them down."""
    masks, outputs, _, linear = fitted_linear(campaign)
    phi = basis(masks, 0.5)
    residual = outputs - linear.predicted
    residual -= residual.mean(axis=0)
    table = campaign.read("interactions", ["members"]).to_pydict()["members"]
    listed = {tuple(sorted((a, b))) for members in table for a in members for b in members if a != b}
    found = []
    for target in range(outputs.shape[1]):
        b = linear.coef[target]
        z = (phi * residual[:, [target]]).T @ phi / np.sqrt((residual[:, target] ** 2).sum())
        product = np.where((np.outer(b, b) > 0) & (np.abs(z) < LISTED_Z), np.abs(np.outer(b, b)), 0.0)
        product[np.tril_indices(len(b))] = 0.0
        for place in np.argsort(-product, axis=None)[:30]:
            i, j = divmod(int(place), len(b))
            if (i, j) not in listed:
                found.append((float(product[i, j]), i, j, target))
    chosen: list[tuple[int, int, int]] = []
    uses: dict[int, int] = {}
    for _, i, j, target in sorted(found, reverse=True):
        new = all((i, j) != (a, b) and target != t for a, b, t in chosen)
        if len(chosen) < N_PAIRS and new and max(uses.get(i, 0), uses.get(j, 0)) < MAX_USES:
            chosen.append((i, j, target))
            uses[i], uses[j] = uses.get(i, 0) + 1, uses.get(j, 0) + 1
    np.savez(plan, pairs=np.array([c[:2] for c in chosen]), targets=np.array([c[2] for c in chosen]))
    print(f"{len(chosen)} pairs on {len(chosen)} targets, {len(uses)} players")


def train(campaign: Campaign, plan: Path, seconds: float, mode: str) -> None:
    """Train whole rounds of base masks until the time is over; each round is a file of its own."""
    from conf.compose import compose
    from flows.players.load import load
    from training import Recipe, retrain

    identity = json.loads((Path(str(campaign.folder)) / "campaign.json").read_text())["identity"]
    wanted = [
        f"{name}={'null' if value is None else value}"
        for name, value in identity.items()
        if name.startswith(("dataset.", "recipe.", "sampler.")) and name != "dataset.fingerprint"
        and not (name == "recipe.batching" and value is None)
    ]  # fmt: skip
    config = compose("quickstart", [*wanted, f"campaign.folder={campaign.folder}"])
    dataset = load(config)
    if dataset.fingerprint() != identity["dataset.fingerprint"]:
        raise SystemExit("these are not the campaign's images")
    recipe = Recipe(**config.recipe.model_dump(), nominal_alpha=config.sampler.alpha)
    pairs = np.load(plan)["pairs"]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done = len(list(plan.parent.glob(f"{plan.stem}-round*.npy")))
        rng = np.random.default_rng([done, 20261129])
        masks, seeds = [], []
        for number, members in enumerate(pairs):
            bases = rng.random((BASES_AT_ONCE, campaign.n_players)) < 0.5
            masks.append(factorial_masks(bases, members))
            first = SEED_OFFSET + (done * len(pairs) + number) * BASES_AT_ONCE
            seeds.append(np.repeat(np.arange(first, first + BASES_AT_ONCE), 4))
        result = retrain(
            dataset, np.concatenate(masks), np.concatenate(seeds).tolist(), recipe, ensemble_size=16, mode=mode
        )
        outputs = result.outputs.reshape(len(pairs), BASES_AT_ONCE, 4, -1)
        np.save(plan.with_name(f"{plan.stem}-round{done}.npy"), outputs)
        print(f"round {done}: {len(pairs) * BASES_AT_ONCE * 4} models", flush=True)


def judge(campaign: Campaign, plan: Path) -> None:
    """Print predicted beside measured, the slope through 0, and the slopes over all targets of the same pairs."""
    masks, outputs, folds, linear = fitted_linear(campaign)
    link = fit_link(basis(masks, 0.5), outputs, linear, folds)
    chosen = np.load(plan)
    pairs, targets = chosen["pairs"], chosen["targets"]
    rounds = sorted(plan.parent.glob(f"{plan.stem}-round*.npy"))
    delta = interaction_contrast(np.moveaxis(np.concatenate([np.load(path) for path in rounds], axis=1), 2, -1))
    predicted = 4.0 * link.pair_coefficient(linear.coef, pairs).T  # (pairs, targets)
    at = np.arange(len(pairs))
    own, measured = predicted[at, targets], delta[at, :, targets]
    print(f"{len(pairs)} pairs, {delta.shape[1]} base masks each; mean predicted {own.mean():+.3f}, measured "
          f"{measured.mean():+.3f} +- {1.96 * measured.mean(axis=1).std(ddof=1) / len(pairs) ** 0.5:.3f}")  # fmt: skip
    rng = np.random.default_rng(0)
    # Other targets of the same pairs where both members' effects have one sign and the prediction is of some size.
    coef = linear.coef[:, pairs]
    wide = (coef[:, :, 0] * coef[:, :, 1] > 0).T & (np.abs(predicted) > 0.05)
    for name, used in (("the chosen target", np.eye(predicted.shape[1], dtype=bool)[targets]), ("every target", wide)):
        slopes = []
        for repeat in range(1001):
            which = at if repeat == 0 else rng.integers(0, len(pairs), len(pairs))
            bases = rng.integers(0, delta.shape[1], (len(pairs), delta.shape[1]))
            mean = delta.mean(axis=1) if repeat == 0 else np.stack([delta[i][bases[k]].mean(axis=0)
                                                                   for k, i in enumerate(which)])  # fmt: skip
            weight = np.where(used[which], predicted[which], 0.0)
            slopes.append(float((weight * mean).sum() / (weight * predicted[which]).sum()))
        low, high = np.quantile(slopes[1:], [0.025, 0.975])
        print(f"slope, {name} ({int(used.sum())} pairs and targets): {slopes[0]:.2f} [{low:.2f}, {high:.2f}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pick", "train", "judge"))
    parser.add_argument("campaign", type=Path)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--mode", default="native")
    given = parser.parse_args()
    campaign = Campaign(given.campaign)
    if given.what == "pick":
        pick(campaign, given.plan)
    elif given.what == "train":
        train(campaign, given.plan, given.seconds, given.mode)
    else:
        judge(campaign, given.plan)


if __name__ == "__main__":
    main()
