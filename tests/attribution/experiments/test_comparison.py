"""A comparison claims a difference only where other seeds and other pictures would show it too."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attribution.experiments.comparison import compare, differing_share, smallest_difference
from benchmarks.decisions.verification_null import simulate


@pytest.mark.parametrize(
    ("n_seeds", "n_pictures", "accuracy", "differ"),
    [(6, 40, 0.55, 0.7), (20, 20, 0.75, 0.3), (20, 90, 0.9, 0.3), (20, 40, 0.97, 0.3)],
)
def test_without_a_difference_better_comes_in_at_most_two_and_a_half_percent(
    n_seeds: int, n_pictures: int, accuracy: float, differ: float
) -> None:
    generator = np.random.default_rng(7)
    found = [simulate(generator, n_seeds, n_pictures, accuracy, differ).verdict for _ in range(600)]
    # .025 and two binomial standard errors of 600 draws.
    assert found.count("better") / 600 <= 0.025 + 2 * math.sqrt(0.025 * 0.975 / 600)


def test_few_pictures_that_agree_in_sign_show_nothing() -> None:
    """Four of forty pictures differ, all in one direction, in every training: chance alone does that in 1 of 8."""
    better, against = np.zeros((20, 40)), np.zeros((20, 40))
    better[:, :4] = 1
    assert compare(better, against).low_seeds > 0
    assert compare(better, against).verdict == "no difference shown"
    better[:, :12] = 1
    assert compare(better, against).verdict == "better"


def test_pictures_that_one_arm_wins_and_the_other_loses_widen_only_the_crossed_interval() -> None:
    generator = np.random.default_rng(0)
    of_picture = generator.choice([-0.5, 0.5], size=80)
    base = generator.random((20, 80))
    found = compare((base < 0.5 + of_picture / 2).astype(float), (base < 0.5 - of_picture / 2).astype(float))
    assert found.high - found.low > 3 * (found.high_seeds - found.low_seeds)
    assert found.smallest == pytest.approx((found.high - found.low) / 2)


def test_the_differing_share_leaves_out_seed_noise_where_sets_were_trained_twice() -> None:
    generator = np.random.default_rng(1)
    rate = generator.choice([0.2, 0.8], size=(4000, 5))  # p of each set on each picture: variance .09
    first, second = ((generator.random(rate.shape) < rate).astype(float) for _ in range(2))
    assert differing_share(first) == pytest.approx(0.5, abs=0.01)
    assert differing_share(first, second, n_seeds=10**6) == pytest.approx(0.18, abs=0.02)
    assert differing_share(first, second, n_seeds=1) == pytest.approx(0.5, abs=0.01)


def test_the_smallest_difference_falls_with_the_root_of_the_pictures() -> None:
    assert smallest_difference(0.1, 400) == pytest.approx(2 * math.sqrt(0.1 / 400), rel=0.03)
    assert smallest_difference(0.1, 0) == math.inf
