"""Right labels that look wrong: how many score below every held-back example, and what scores alone would call wrong.

    python benchmarks/decisions/labels_tails.py PARQUET SHARE CLASS,CLASS [CLASS,CLASS ...]

Label models of `curate` (5 folds, 8 repeats) on 300 pictures of two classes of CIFAR-10 at 16 pixels, SHARE of their
labels flipped (0: none), beside 100 targets; no campaign, so no main effects. "Called": q-value up to .2 and
effect of either sign, or the mixture's margin, however few. One Markdown row a pair. Not collected by pytest.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
from labels_peer import N_REPEATS, margins_of

from attribution.curation.label_check import check_labels, leave_out_masks
from attribution.curation.rules import MIXTURE_MARGIN
from attribution.levels import LABEL_RATE
from conf.compose import compose
from flows.experiments.label_models import N_FOLDS, _together
from flows.players.load import load_planted
from training import Recipe, training_seed
from training.data.near_duplicates import near_duplicate_components
from training.engine.features import embed


def row(parquet: str, share: float, pair: str) -> str:
    """A pair's row."""
    flips = [f"dataset.plant_flipped={share}"] if share else []
    files = ["dataset.source=parquet", f"dataset.path={parquet}"]
    config = compose("cifar2", [*files, f"dataset.classes=[{pair}]", "dataset.n_train=300", *flips])
    dataset, planted = load_planted(config)
    n, h, more = len(dataset.train), len(dataset.targets), len(dataset.audit)
    masks = leave_out_masks(
        n, near_duplicate_components(dataset.train.images), N_FOLDS, N_REPEATS, np.random.default_rng(7)
    )
    everyone = replace(
        dataset, train=_together(dataset.train, _together(dataset.targets, dataset.audit)),
        players=np.arange(n + h + more), player_names=tuple(map(str, range(n + h + more))),
    )  # fmt: skip
    recipe = Recipe(**{**config.recipe.model_dump(), "nominal_alpha": (1 - 1 / N_FOLDS) * n / (n + h + more)})
    shown = np.concatenate([masks, np.zeros((len(masks), h + more), dtype=bool)], axis=1)
    seeds = [training_seed(0, 2**61 + at, 0) for at in range(len(masks))]
    _, logits = embed(everyone, recipe, seeds, masks=shown, ensemble_size=16, mode="native")
    logits, own = logits.astype(np.float64), dataset.targets.labels
    wrong_label = (own + np.random.default_rng(2).integers(1, logits.shape[2], h)) % logits.shape[2]
    of_targets = margins_of(logits[:, n : n + h], own)
    found = check_labels(
        masks, margins_of(logits[:, :n], dataset.train.labels), of_targets, dataset.train.labels, own, N_FOLDS,
        np.random.default_rng(1), margins_of(logits[:, n : n + h], wrong_label),
    )  # fmt: skip
    wrong = np.zeros(n, dtype=bool)
    wrong[planted.flipped] = True
    below = found.score < of_targets.mean(axis=0).min()
    called = found.q_value <= LABEL_RATE
    if found.share_right is not None:
        called = called | (found.share_right <= MIXTURE_MARGIN * LABEL_RATE)
    return (
        f"| {pair.replace(',', ', ')} | {wrong.sum()} | {(below & ~wrong).sum()} | {(below & wrong).sum()} | "
        f"{called.sum()}, {(called & wrong).sum()} | {found.fewest_called()} |"
    )


if __name__ == "__main__":
    print("| pair | flipped | right labels below every target | flipped ones | called, right | least number |")
    print("|---|---|---|---|---|---|")
    for classes in sys.argv[3:]:
        print(row(sys.argv[1], float(sys.argv[2]), classes), flush=True)
