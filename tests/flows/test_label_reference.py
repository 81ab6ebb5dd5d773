"""Labels are compared with targets that no model was trained on; leaked ones are left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from attribution.curation.label_check import leave_out_masks
from attribution.levels import LABEL_RATE
from flows.experiments.label_models import N_FOLDS, _not_in_training, labels_of_players, with_wrong_labels
from flows.store.examples import inspect_examples
from tests.flows.report_campaign import make_campaign
from training.data.dataset import Dataset, ImageSet
from training.data.inspection import Finding


def leak(splits: tuple[str, ...], positions: tuple[int, ...]) -> Finding:
    return Finding(kind="leak", sentence="One picture twice.", splits=splits, positions=positions)


def test_targets_that_are_in_training_as_well_are_left_out(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path)
    found = (leak(("train", "target"), (4, 1)), leak(("target", "audit"), (2, 0)), leak(("train", "audit"), (3, 3)))
    inspect_examples(campaign, lambda: found)
    assert np.array_equal(_not_in_training(campaign, 5), [0, 2, 3, 4])


def test_without_findings_every_target_counts(tmp_path: Path) -> None:
    assert np.array_equal(_not_in_training(make_campaign(tmp_path), 3), [0, 1, 2])


def test_planted_labels_are_never_the_examples_own() -> None:
    images = ImageSet(np.zeros((50, 2, 2, 1), np.uint8), np.arange(50) % 3, np.arange(50))
    planted = with_wrong_labels(images, 3, np.random.default_rng(0))
    assert (planted.labels != images.labels).all() and set(planted.labels.tolist()) == {0, 1, 2}


def opened_and_called(n_wrong: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The 60 of 1,200 pictures that models do worst on are players of their own: which are wrong, which are called."""
    generator = np.random.default_rng(seed)
    n, n_targets = 1200, 400
    ease = generator.normal(1.5, 1.5, n + n_targets)  # a sixth of the right labels get log odds below 0
    ease[:n_wrong] -= 5.0
    hardest = np.argsort(ease[:n])[:60]
    players = np.arange(n) % 100
    players[hardest] = 100 + np.arange(60)
    images = ImageSet(np.zeros((n, 2, 2, 1), np.uint8), np.arange(n) % 2, np.arange(n))
    nothing, targets = images.take(np.arange(0)), images.take(np.arange(n_targets))
    dataset = Dataset("hard", ("a", "b"), images, targets, nothing, players, tuple(map(str, range(160))))
    masks = leave_out_masks(160, np.arange(160), N_FOLDS, 4, generator)
    own = np.concatenate([ease, -ease[n:]])
    margins = own + generator.normal(0, 0.5, (len(masks), len(own)))
    found = labels_of_players(dataset, masks, margins, np.arange(n_targets), generator)
    assert found.n_labels == n and np.isnan(found.score[:100]).all() and np.isfinite(found.score[100:]).all()
    assert found.fewest_called() == 45, "of 1,200 labels, not of the 60 that were opened"
    return hardest < n_wrong, found.q_value[100:] <= LABEL_RATE


def test_opened_pictures_are_judged_as_some_of_all_that_they_were_chosen_from() -> None:
    assert not any(opened_and_called(0, seed)[1].any() for seed in range(10))
    found = [opened_and_called(60, seed) for seed in range(10)]
    by_mistake = [(called & ~wrong).sum() / max(1, called.sum()) for wrong, called in found]
    assert np.mean(by_mistake) <= LABEL_RATE
    assert np.mean([called[wrong].mean() for wrong, called in found]) > 0.9
