"""Labels are compared with targets that no model was trained on; leaked ones are left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flows.experiments.label_models import _not_in_training, with_wrong_labels
from flows.store.examples import inspect_examples
from tests.flows.report_campaign import make_campaign
from training.data.dataset import ImageSet
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
