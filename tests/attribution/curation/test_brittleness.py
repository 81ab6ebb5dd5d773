"""The smallest removals of games whose answer is known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from attribution.curation.brittleness import removal_order, removals_to_try, smallest_flip
from attribution.curation.surrogate import Surrogate
from attribution.errors import AttributionError


def surrogate(main: list[float], sets: dict[tuple[int, ...], float], alpha: float = 0.5) -> Surrogate:
    return Surrogate(
        alpha, 0.0, np.array(main), np.zeros(len(main)), tuple(sets), np.array(list(sets.values())), np.zeros(len(sets))
    )


def test_without_interactions_the_largest_effects_go_first() -> None:
    found = removal_order(surrogate([0.2, 1.0, -0.5, 0.6, 0.4], {}), 1.5, 5)
    assert found.order == (1, 3, 4, 0)  # the player that hurts is never removed
    assert found.predicted == pytest.approx([0.5, -0.1, -0.5, -0.7])
    assert found.needed == 2


def test_copies_leave_together_where_a_linear_search_takes_neither_in_time() -> None:
    # Players 0 and 1 are copies worth 3 together: alone each is worth 0 beside the other, 1.5 by its main effect.
    with_pair = surrogate([1.5, 1.5, 1.0, 1.0, 1.0], {(0, 1): -3.0})
    found = removal_order(with_pair, 2.5, 5)
    assert set(found.order[:2]) == {0, 1}
    assert found.needed == 2
    # The linear surrogate believes that one copy and one other player do (1.5 + 1.0), and is wrong about it.
    linear = removal_order(with_pair.without_sets(), 2.4, 5)
    removed = np.ones((1, 5), bool)
    removed[0, list(linear.order[: linear.needed])] = False
    true_margin = 2.4 + (with_pair.predict(removed) - with_pair.predict(np.ones((1, 5), bool)))[0]
    assert linear.needed == 2
    assert (true_margin < 0) == (set(linear.order[:2]) == {0, 1})


@pytest.mark.parametrize("seed", range(6))
def test_the_removal_is_nearly_as_small_as_brute_force_finds(seed: int) -> None:
    generator = np.random.default_rng(seed)
    sets = {tuple(sorted(generator.choice(9, 2, replace=False).tolist())): generator.normal(0, 1) for _ in range(5)}
    game = surrogate(generator.normal(0.5, 0.7, 9).tolist(), sets)
    full = game.predict(np.ones((1, 9), bool))[0]
    found = removal_order(game, 1.2, 9)

    def margin(removed: tuple[int, ...]) -> float:
        mask = np.ones((1, 9), bool)
        mask[0, list(removed)] = False
        return float(1.2 + game.predict(mask)[0] - full)

    best = next((k for k in range(1, 10) if any(margin(r) < 0 for r in combinations(range(9), k))), -1)
    assert margin(found.order[: found.needed]) < 0
    assert best <= found.needed <= best + 1


def test_a_prediction_that_cannot_be_flipped_says_so() -> None:
    found = removal_order(surrogate([0.1, 0.1], {}), 5.0, 2)
    assert found.needed == -1
    with pytest.raises(AttributionError, match="at least one removal"):
        removal_order(surrogate([0.1], {}), 1.0, 0)


def test_sizes_to_try_lie_about_the_prediction() -> None:
    assert removals_to_try(10, 60, 200) == [2, 4, 6, 7, 8, 10, 12, 15, 20, 27]
    assert removals_to_try(1, 60, 200) == [1, 2, 3]
    assert max(removals_to_try(-1, 60, 40)) <= 40


def test_the_smallest_flip_is_where_the_margin_stays_below_zero() -> None:
    assert smallest_flip([1, 2, 4, 8], np.array([1.0, -0.1, 0.2, -2.0])) == 8
    assert smallest_flip([1, 2, 4], np.array([1.0, -0.1, -0.2])) == 2
    assert smallest_flip([1, 2], np.array([1.0, 0.5])) == -1
