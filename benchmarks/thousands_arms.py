"""What a tree of campaigns decides, at full size and several shares, beside other ways to keep as many pictures.

    python benchmarks/thousands_arms.py judge FOLDER KEPT SHARES SEEDS      e.g. ... runs/two judged .5,.7 20

Both levels of the tree are decided as by `coterie curate … curate.keep_share=SHARE`: the folders hold the decisions at
the last share afterwards. The result of every arm is kept in the folder KEPT: a run that was ended goes on. Prints a
Markdown table. Not collected by pytest.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from attribution.curation.baselines import balanced_random  # noqa: E402
from attribution.curation.feature_similarity import without_near_duplicates  # noqa: E402
from attribution.experiments.comparison import compare  # noqa: E402
from benchmarks.decisions_peers import out_of_sample  # noqa: E402
from benchmarks.thousands import (  # noqa: E402
    NETWORKS,
    best_of_each_class,
    by_main_effects,
    configuration,
    el2n,
    network_features,
    table,
)
from conf.schema import CampaignConfig  # noqa: E402
from flows.curate import curate  # noqa: E402
from flows.decisions.evidence import curate_campaign  # noqa: E402
from flows.players.load import load_images, with_players  # noqa: E402
from flows.refinement.links import children_of  # noqa: E402
from flows.refinement.pictures import picture_decisions  # noqa: E402
from flows.store.campaign import Campaign  # noqa: E402
from training import Dataset, Recipe, retrain, training_seed  # noqa: E402
from training.engine.features import embed  # noqa: E402


@dataclass(frozen=True)
class FirstPart(Recipe):
    """A recipe that is stopped before its end: the same steps and rates as the whole one, up to `part` of them."""

    part: float = 1.0

    def steps(self, n_examples: int) -> int:
        return max(1, round(self.part * super().steps(n_examples)))

    def learning_rates(self, n_steps: int) -> list[float]:
        return super().learning_rates(round(n_steps / self.part))[:n_steps]

    def __post_init__(self) -> None:
        """Nothing to check: the fields were checked in the recipe they come from."""


def forgetting(config: CampaignConfig, dataset: Dataset) -> np.ndarray:
    """Times a picture goes from right to wrong between two epochs, mean over networks (Toneva et al. 2019).

    A picture that a network never has right counts as forgotten in every epoch. The networks are trained to the end of
    every epoch anew: same seeds, order and rates, so these are states of one training.
    """
    settings = {**config.recipe.model_dump(), "nominal_alpha": 1.0, "average_last": 0.0}
    n_epochs = max(2, round(config.recipe.epochs))
    seeds = [training_seed(config.campaign.seed, 2**58 + at, 0) for at in range(NETWORKS)]
    right = []
    for epoch in range(1, n_epochs + 1):
        recipe = FirstPart(**settings, part=epoch / n_epochs)
        _, logits = embed(dataset, recipe, seeds, ensemble_size=NETWORKS, mode="native")
        right.append(logits.argmax(axis=2) == dataset.train.labels)
    states = np.array(right)
    events = (states[:-1] & ~states[1:]).sum(axis=0).astype(float)
    events[~states.any(axis=0)] = n_epochs
    found: np.ndarray = events.mean(axis=0)
    return found


def tree_decision(folder: str, share: float) -> np.ndarray:
    """(n_train,) bool: what is kept where the campaign and every child are decided with the same budget."""
    campaign = Campaign(folder)
    for one in (campaign, *children_of(campaign)[0]):
        curate.fn(configuration(str(one.folder), f"curate.keep_share={share}"))
    found = picture_decisions(campaign)
    for note in found.notes:
        print(f"note: {note}", flush=True)
    return np.array([row["decision"] != "drop" for row in found.rows])


def arms_at(
    share: float, folder: str, config: CampaignConfig, images: Dataset, scores: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What each arm keeps, (n_train,) bool by name; all but the tree keep as many pictures as the decided groups."""
    classes = images.train.labels
    grouped = with_players(config, images)
    sized = configuration(folder, f"curate.keep_share={share}", "curate.label_models=0")
    evidence, found = curate_campaign(sized, Campaign(folder), grouped)
    groups = found.keep[grouped.players]
    n_keep = int(groups.sum())
    ranked = {
        "EL2N, hardest kept": scores["el2n"],
        "EL2N, hardest dropped": -scores["el2n"],
        "highest loss out of sample dropped": scores["own"],
        "most forgotten kept": scores["forgetting"],
    }
    return {
        "groups decided by `curate`": groups,
        "tree: groups and opened pictures": tree_decision(folder, share),
        "main effects of groups": by_main_effects(evidence.overall, grouped, n_keep),
        "near-duplicates by features": without_near_duplicates(scores["features"], classes, n_keep),
        **{name: best_of_each_class(score, classes, n_keep) for name, score in ranked.items()},
    }


def judge(folder: str, kept: str, shares: list[float], n_seeds: int) -> None:
    config = configuration(folder)
    images, _ = load_images(config)
    n, classes = len(images.train), images.train.labels
    store = Path(kept)
    store.mkdir(parents=True, exist_ok=True)
    scores = {
        "el2n": el2n(config, images),
        "own": out_of_sample(config, images)[np.arange(n), classes],
        "forgetting": forgetting(config, images) + 1e-6 * np.random.default_rng(0).random(n),  # ties at random
        "features": network_features(config, images),
    }
    single = replace(
        images, players=np.arange(n), player_names=tuple(map(str, range(n))), player_keys=None,
        targets=images.audit, audit=images.targets,
    )  # fmt: skip
    seeds = [training_seed(config.campaign.seed, 2**60 + at, 0) for at in range(n_seeds)]

    def correct(name: str, masks: np.ndarray) -> np.ndarray:
        """(seeds, audit pictures) 0/1, kept in a file; trained where it is not there for these masks."""
        path = store / f"{name.replace(' ', '-').replace('`', '').replace(',', '').replace(':', '')}.npz"
        if path.is_file() and np.array_equal(np.load(path)["masks"], masks):
            return np.load(path)["correct"]
        nominal = float(masks[0].mean())
        recipe = Recipe(**{**config.recipe.model_dump(), "nominal_alpha": nominal, "output": "margin_max"})
        outputs = retrain(single, masks, seeds, recipe, ensemble_size=8, mode="native").outputs
        found = np.where(np.isfinite(outputs), outputs > 0, np.nan).astype(float)
        np.savez(path, masks=masks, correct=found)
        return found

    def random(n_keep: int) -> np.ndarray:
        draws = [balanced_random(classes, n_keep, np.random.default_rng((7, at))) for at in range(n_seeds)]
        return correct(f"random-{n_keep}", np.array(draws))

    whole = correct("everything", np.ones((n_seeds, n), bool))
    said = f"{n} pictures, {len(images.audit)} for the audit, {n_seeds} seeds; everything {whole.mean():.3f}"
    print(said, flush=True)
    lines = []
    for share in shares:
        arms = arms_at(share, folder, config, images, scores)
        for name, mask in arms.items():
            values = correct(f"{name}-{share}", np.tile(mask, (n_seeds, 1)))
            beside = random(int(mask.sum()))
            apart = compare(values, beside, level=0.05 / (len(arms) * len(shares)))
            points = (100 * value for value in (apart.difference, apart.low, apart.high))
            difference = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*points)
            lines.append((share, name, mask.sum(), f"{values.mean():.3f}", f"{beside.mean():.3f}", difference))
            print(lines[-1], flush=True)
    table("share | arm | pictures kept | accuracy | random of as many | points beside random", lines)


if __name__ == "__main__":
    _, what, folder, kept, shares, seeds = sys.argv
    judge(folder, kept, [float(share) for share in shares.split(",")], int(seeds))
