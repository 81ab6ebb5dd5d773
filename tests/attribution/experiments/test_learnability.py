"""Accuracy above chance is claimed for other models and other examples, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from attribution.errors import AttributionError
from attribution.experiments.learnability import chance_level, learnability


def test_chance_is_the_largest_class() -> None:
    assert chance_level(np.array([0, 0, 0, 1]), 2) == 0.75
    assert chance_level(np.arange(10), 10) == pytest.approx(0.1)
    assert chance_level(np.array([0, 1, 2]), 10) == pytest.approx(1 / 3)


def test_coin_tosses_pass_for_learning_in_at_most_two_and_a_half_percent() -> None:
    """Every example has one answer of its own in all models: the hardest case, no spread over models helps."""
    generator = np.random.default_rng(0)
    passed = 0
    for _ in range(600):
        right = generator.random(90) < 0.5
        correct = np.tile((generator.random(100) < 0.5).astype(float), (50, 1))
        passed += learnability(np.full(50, right.mean()), np.arange(90) % 2, 2, correct).learnt
    assert passed / 600 <= 0.025 + 2 * (0.025 * 0.975 / 600) ** 0.5


def test_examples_needed_are_those_at_which_the_interval_leaves_chance() -> None:
    accuracies = np.random.default_rng(1).normal(0.58, 0.02, 400)
    found = learnability(accuracies, np.arange(40) % 2, 2)
    assert not found.learnt and found.examples_needed is not None
    enough = learnability(accuracies, np.arange(found.examples_needed + 20) % 2, 2)
    assert enough.learnt and enough.examples_needed is None
    assert learnability(np.full(9, 0.4), np.arange(40) % 2, 2).examples_needed is None


def test_nothing_to_average_is_an_error() -> None:
    with pytest.raises(AttributionError, match="dataset.n_audit"):
        learnability(np.full(3, 0.5), np.zeros(0), 2)
