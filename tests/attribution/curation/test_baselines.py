"""Arms a decision has to beat, and the comparison with them."""

from __future__ import annotations

import numpy as np
import pytest

from attribution.curation.baselines import balanced_random, even_shares
from attribution.curation.feature_similarity import without_near_duplicates
from attribution.errors import AttributionError
from attribution.experiments.comparison import compare
from attribution.experiments.planted_truth import agreement, average_precision


def test_even_shares_add_up_and_follow_the_classes() -> None:
    classes = np.repeat([0, 1, 2], [10, 20, 31])
    assert even_shares(classes, 61) == {0: 10, 1: 20, 2: 31}
    for n_keep in range(1, 61):
        shares = even_shares(classes, n_keep)
        assert sum(shares.values()) == n_keep
        exact = n_keep * np.array([10, 20, 31]) / 61
        assert (np.abs(np.array(list(shares.values())) - exact) < 1).all()


def test_random_keeps_are_balanced_and_fresh() -> None:
    classes = np.arange(100) % 4
    generator = np.random.default_rng(0)
    first, second = (balanced_random(classes, 20, generator) for _ in range(2))
    assert (np.bincount(classes[first]) == 5).all()
    assert (first != second).any()


def test_near_duplicates_go_first_and_one_of_each_stays() -> None:
    generator = np.random.default_rng(1)
    features = generator.normal(size=(2, 30, 6))
    classes = np.arange(30) % 3
    for copy, original in [(3, 0), (9, 0), (10, 1)]:
        features[:, copy] = features[:, original] + generator.normal(0, 1e-3, (2, 6))
    keep = without_near_duplicates(features, classes, 27)
    assert keep.sum() == 27
    assert keep[[0, 3, 9]].sum() == 1
    assert keep[[1, 10]].sum() == 1


def test_near_duplicate_removal_heeds_quotas() -> None:
    features = np.random.default_rng(2).normal(size=(1, 12, 4))
    classes = np.repeat([0, 1], 6)
    keep = without_near_duplicates(features, classes, 7, {0: 5})
    assert keep[classes == 0].sum() >= 5
    assert without_near_duplicates(features, classes, 1).sum() == 1
    with pytest.raises(AttributionError, match="do not allow to keep only 7"):
        without_near_duplicates(features, classes, 7, {0: 6, 1: 6})


def test_the_crossed_interval_covers_new_examples_and_the_one_over_seeds_does_not() -> None:
    generator = np.random.default_rng(3)
    covered, covered_wide, covered_narrow = [], [], []
    for _ in range(400):
        seeds = generator.normal(0, 0.05, (20, 1))
        examples = generator.normal(0.0, 0.6, (1, 60))
        apart = 0.1 + seeds + examples + generator.normal(0, 0.5, (20, 60))
        found = compare(apart, np.zeros_like(apart))
        fixed = 0.1 + examples.mean()  # what these examples would give over many seeds
        covered.append(found.low_seeds <= fixed <= found.high_seeds)
        covered_wide.append(found.low <= 0.1 <= found.high)
        covered_narrow.append(found.low_seeds <= 0.1 <= found.high_seeds)
    # Binomial standard error .011.
    assert np.mean(covered) == pytest.approx(0.95, abs=0.035)
    assert np.mean(covered_wide) >= 0.93
    assert np.mean(covered_narrow) < 0.6


def test_pairs_with_a_lost_model_are_left_out_and_verdicts_are_plain() -> None:
    generator = np.random.default_rng(4)
    against = (generator.random((20, 200)) < 0.8).astype(float)
    better = np.maximum(against, generator.random((20, 200)) < 0.5)
    better[3] = np.nan
    found = compare(better, against)
    assert (found.n, found.verdict) == (19, "better")
    assert compare(against, better).verdict == "worse"
    assert compare(against, against[::-1]).verdict == "no difference shown"
    assert compare(against[:1], against[:1]).verdict == "too few models to tell"


def test_average_precision_is_scikit_learns() -> None:
    from sklearn.metrics import average_precision_score

    generator = np.random.default_rng(5)
    relevant = generator.random(200) < 0.1
    score = np.round(generator.normal(size=200) + relevant, 1)
    assert average_precision(relevant, score) == pytest.approx(average_precision_score(relevant, score))


def test_agreement_counts() -> None:
    score = agreement({1, 2, 3}, {2, 3, 4, 5})
    assert (score.precision, score.recall) == (pytest.approx(2 / 3), 0.5)
