"""Planted copies and wrong labels are exactly what was asked for, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from training import Dataset, TrainingInputError, load_dataset
from training.data.near_duplicates import NEAR_DUPLICATE_DISTANCE, near_duplicate_components
from training.data.planting import NOTHING, plant


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def distance(images: np.ndarray, a: int, b: int) -> float:
    difference = images[a].astype(float) - images[b]
    return float(np.sqrt(np.mean(difference**2)) / images.std())


def test_nothing_asked_for_changes_nothing(digits: Dataset) -> None:
    planted, truth = plant(digits)
    assert planted is digits
    assert truth is NOTHING


def test_ten_exact_pairs_and_five_percent_wrong_labels(digits: Dataset) -> None:
    planted, truth = plant(digits, clusters=10, flipped=0.05, seed=3)
    assert len(truth.clusters) == 10
    for original, copy in truth.clusters:
        assert np.array_equal(planted.train.images[original], digits.train.images[original])
        assert np.array_equal(planted.train.images[copy], planted.train.images[original])
        assert planted.train.labels[copy] == planted.train.labels[original] == digits.train.labels[copy]
    assert len(truth.flipped) == 10
    assert np.array_equal(truth.true_labels, digits.train.labels[truth.flipped])
    assert (planted.train.labels[truth.flipped] != truth.true_labels).all()
    assert not {row for cluster in truth.clusters for row in cluster} & set(truth.flipped.tolist())


def test_everything_not_planted_stays(digits: Dataset) -> None:
    planted, truth = plant(digits, clusters=6, cluster_sizes=(2, 3, 4, 5), near_share=0.5, flipped=0.1, seed=1)
    touched = np.zeros(len(digits.train), bool)
    touched[[row for cluster in truth.clusters for row in cluster[1:]]] = True
    touched[truth.flipped] = True
    assert np.array_equal(planted.train.images[~touched], digits.train.images[~touched])
    assert np.array_equal(planted.train.labels[~touched], digits.train.labels[~touched])
    assert planted.targets is digits.targets
    assert planted.audit is digits.audit
    assert len(set(planted.player_names)) == planted.n_players == digits.n_players
    # Copies come from their own class, so only the wrong labels move the class counts.
    undone = planted.train.labels.copy()
    undone[truth.flipped] = truth.true_labels
    assert np.array_equal(np.bincount(undone), np.bincount(digits.train.labels))


def test_cluster_sizes_are_taken_in_turn(digits: Dataset) -> None:
    _, truth = plant(digits, clusters=6, cluster_sizes=(2, 5, 3))
    assert [len(cluster) for cluster in truth.clusters] == [2, 5, 3, 2, 5, 3]
    assert len({row for cluster in truth.clusters for row in cluster}) == 20
    assert len(truth.pairs()) == 2 * (1 + 10 + 3)


def test_near_copies_differ_and_are_near_duplicates(digits: Dataset) -> None:
    planted, truth = plant(digits, clusters=12, near_share=0.5, seed=5)
    assert truth.near == (True,) * 6 + (False,) * 6
    for (original, copy), near in zip(truth.clusters, truth.near, strict=True):
        apart = distance(planted.train.images, original, copy)
        assert (0.02 < apart < NEAR_DUPLICATE_DISTANCE) if near else apart == 0
    component = near_duplicate_components(planted.train.images)
    assert all(component[original] == component[copy] for original, copy in truth.clusters)


def test_the_seed_decides_everything_and_the_fingerprint_sees_it(digits: Dataset) -> None:
    options = {"clusters": 4, "near_share": 0.5, "flipped": 0.05}
    first, again, other = (plant(digits, **options, seed=seed)[0] for seed in (0, 0, 1))
    assert first.fingerprint() == again.fingerprint()
    assert len({first.fingerprint(), other.fingerprint(), digits.fingerprint()}) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clusters": 2, "cluster_sizes": (11,)}, "sizes of 2 to 10"),
        ({"clusters": 200}, "do not fit"),
        ({"flipped": 1.5}, "share of 0 to 1"),
        ({"clusters": 60, "flipped": 0.9}, "Plant fewer"),
    ],
)
def test_what_does_not_fit_is_refused(digits: Dataset, options: dict, message: str) -> None:
    with pytest.raises(TrainingInputError, match=message):
        plant(digits, **options)
