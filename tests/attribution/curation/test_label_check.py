"""Labels are called wrong at the stated rate: never more than a fifth by mistake, in the mean over data sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from attribution.curation.label_check import LabelCheck, check_labels, leave_out_masks, mixture_of_labels
from attribution.errors import AttributionError

N, HELD_BACK, FOLDS, REPEATS = 200, 400, 5, 4


def simulated(n_wrong: int, seed: int, held_back_examples: int = HELD_BACK) -> tuple[LabelCheck, np.ndarray]:
    """Log odds of right labels are N(3, 2) per picture and those of wrong ones N(-5, 2); models add N(0, 1)."""
    generator = np.random.default_rng(seed)
    wrong = np.arange(N) < n_wrong
    masks = leave_out_masks(N, np.arange(N), FOLDS, REPEATS, generator)
    of_player = np.where(wrong, -5.0, 3.0) + generator.normal(0, 2, N)
    held_back = generator.normal(3, 2, held_back_examples)
    planted = generator.normal(-5, 2, held_back_examples)
    margins = [values + generator.normal(0, 1, (len(masks), len(values))) for values in (of_player, held_back, planted)]
    margins[0] = np.where(masks, 9.0, margins[0])  # a model knows the players it was trained on
    classes = [np.arange(len(values)) % 2 for values in (of_player, held_back)]
    return check_labels(masks, *margins[:2], *classes, FOLDS, generator, margins[2]), wrong


def test_every_player_is_left_out_once_a_repeat_and_copies_together() -> None:
    groups = np.array([0, 0, 1, 2, 3, 4, 5, 5])
    masks = leave_out_masks(8, groups, 3, 4, np.random.default_rng(0))
    assert masks.shape == (12, 8)
    assert ((~masks).reshape(4, 3, 8).sum(axis=1) == 1).all()
    assert (masks[:, 0] == masks[:, 1]).all() and (masks[:, 6] == masks[:, 7]).all()
    with pytest.raises(AttributionError, match="cannot be divided"):
        leave_out_masks(8, np.zeros(8, dtype=int), 3, 1, np.random.default_rng(0))


def test_of_labels_called_wrong_at_most_a_fifth_is_right_and_most_wrong_ones_are_found() -> None:
    mistakes, recall = [], []
    for seed in range(40):
        found, wrong = simulated(15, seed)
        called = found.q_value <= 0.2
        mistakes.append((called & ~wrong).sum() / max(1, called.sum()))
        recall.append(called[wrong].mean())
    assert np.mean(mistakes) <= 0.2
    assert np.mean(recall) > 0.6


def test_labels_that_are_all_right_are_rarely_called_wrong() -> None:
    called = np.array([(simulated(0, seed)[0].q_value <= 0.2).sum() for seed in range(40)])
    assert called.mean() / N <= 0.01
    # Without wrong labels the rate .2 is the chance of any call at all; two binomial standard errors of 40 draws.
    assert (called > 0).mean() <= 0.2 + 2 * (0.2 * 0.8 / 40) ** 0.5


def test_few_held_back_examples_need_many_wrong_labels() -> None:
    """Without one misread picture among 100, 1 - .05^(1/100) = 2.95% of others may be misread, at 95% confidence."""
    found = LabelCheck(np.r_[np.zeros(300), np.nan], np.zeros(301), np.zeros(301), 100)
    assert found.fewest_called() == int(np.ceil(300 * 0.02951 / 0.2)) == 45
    assert replace(found, n_held_back=400).fewest_called() == 12
    assert replace(found, n_held_back=0).fewest_called() > 300


def test_class_mixes_are_weighed_and_lost_models_left_out() -> None:
    masks = leave_out_masks(4, np.arange(4), 2, 1, np.random.default_rng(1))
    players, held_back = np.zeros((2, 4)), np.array([[1.0, -1.0, -1.0, -1.0]] * 2)
    classes = np.array([0, 0, 0, 1])
    found = check_labels(masks, players, held_back, classes, 1 - classes, 2, np.random.default_rng(2))
    # Held back: three of class 1 (weight 1/3) below, of class 0 one (weight 3) below or above.
    assert ((found.p_value > 0) & (found.p_value <= 1)).all()
    lost = np.full((2, 4), np.nan)
    gone = check_labels(masks, lost, held_back, classes, classes, 2, np.random.default_rng(2))
    assert (gone.q_value == 1).all() and np.isnan(gone.score).all()


def test_the_mixture_finds_few_wrong_labels_beside_few_held_back_examples_at_the_rate_it_names() -> None:
    """By ranks alone, 17 of 200 labels have to be as doubtful before a q-value beside 60 others can reach .2."""
    mistakes, recall = [], []
    for seed in range(40):
        found, wrong = simulated(4, seed, held_back_examples=60)
        assert found.share_right is not None
        called = found.share_right <= 0.1
        mistakes.append((called & ~wrong).sum() / max(1, called.sum()))
        recall.append(called[wrong].mean())
    assert np.mean(mistakes) <= 0.2
    assert np.mean(recall) > 0.6


def test_the_mixture_rarely_calls_labels_wrong_that_are_all_right() -> None:
    shares = [simulated(0, seed, held_back_examples=60)[0].share_right for seed in range(40)]
    assert np.mean([(share <= 0.1).sum() for share in shares]) / N <= 0.01


def test_models_that_cannot_tell_a_wrong_label_from_a_right_one_call_none() -> None:
    generator = np.random.default_rng(5)
    share = mixture_of_labels(generator.normal(size=300), generator.normal(size=100), generator.normal(size=100))
    assert (share > 0.2).all()
    assert np.isfinite(mixture_of_labels(np.array([-9.0, 9.0, np.nan]), np.full(40, 9.0), np.full(40, -9.0))).all()



def test_right_labels_that_models_misread_are_called_wrong_by_scores_and_too_few_for_a_call() -> None:
    """3% of right pictures look like the other class; where none of 60 held-back ones does, scores alone mislead."""
    misled = 0
    for seed in range(40):
        found, misread = simulated(6, seed, held_back_examples=60)
        doubted = found.share_right <= 0.1
        misled += bool(doubted[misread].any())
        assert doubted.sum() < found.fewest_called() == 49
    assert misled > 30
