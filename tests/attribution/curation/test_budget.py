"""The surrogate says what the spectrum says, and the budget's search finds what brute force finds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from attribution.curation.budget import choose, least_of_each_class
from attribution.curation.surrogate import State, Surrogate, pooled_sets, shrink_normal, utilities, utility_slopes
from attribution.errors import AttributionError
from attribution.linear.main_effects import main_effects
from tests.games import all_masks, duplicates


def random_surrogate(n: int, seed: int, n_sets: int = 8, alpha: float = 0.4) -> Surrogate:
    generator = np.random.default_rng(seed)
    sets = sorted({tuple(sorted(generator.choice(n, size, replace=False).tolist())) for size in [2] * n_sets + [3]})
    return Surrogate(
        alpha=alpha,
        constant=1.0,
        main=generator.normal(0.2, 1.0, n),
        main_stderr=generator.uniform(0.1, 0.6, n),
        sets=tuple(sets),
        weights=generator.normal(0, 1.5, len(sets)),
        weight_stderrs=generator.uniform(0.1, 0.4, len(sets)),
    )


def bound(surrogate: Surrogate, mask: np.ndarray, confidence: float) -> float:
    return float(surrogate.predict(mask[None])[0]) - confidence * np.sqrt(State(surrogate, mask).variance)


@pytest.mark.parametrize("seed", range(4))
def test_gains_of_a_state_are_the_differences_of_predictions(seed: int) -> None:
    surrogate = random_surrogate(9, seed)
    generator = np.random.default_rng(seed)
    state = State(surrogate, generator.random(9) < 0.6)
    for player in generator.integers(0, 9, 12):
        value, variance = state.value, state.variance
        gain, change = state.gains()[player], state.variance_gains()[player]
        state.flip(int(player))
        assert state.value - value == pytest.approx(gain)
        assert state.variance - variance == pytest.approx(change)


def test_the_full_set_has_no_variance_of_change() -> None:
    assert State(random_surrogate(9, 0)).variance == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("confidence", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(8))
def test_the_search_finds_the_best_of_all_subsets(seed: int, confidence: float) -> None:
    surrogate = random_surrogate(10, seed)
    found = choose(surrogate, 6, confidence=confidence)
    assert found.keep.sum() == 6
    masks = all_masks(10)
    best = max(bound(surrogate, mask, confidence) for mask in masks[masks.sum(axis=1) == 6])
    assert found.bound == pytest.approx(bound(surrogate, found.keep, confidence))
    assert found.bound == pytest.approx(best)


def test_of_two_copies_one_is_dropped_where_a_ranking_drops_both() -> None:
    # Copies 0 and 1 are worth 2 together and 0 each beside the other; every other player is worth .3.
    main = np.array([1.0, 1.0, *[0.3] * 6])
    surrogate = Surrogate(0.5, 0.0, main, np.zeros(8), ((0, 1),), np.array([-2.0]), np.zeros(1))
    found = choose(surrogate, 7, confidence=0.0)
    assert found.keep[:2].sum() == 1
    # A ranking by what each is worth beside the other (0) would drop both copies before any other player.
    assert choose(surrogate, 6, confidence=0.0).keep[:2].sum() == 1


def test_a_larger_error_keeps_a_player_that_the_mean_would_drop() -> None:
    surrogate = Surrogate(0.5, 0.0, np.array([0.10, 0.12, 1.0]), np.array([2.0, 0.01, 0.01]))
    assert not choose(surrogate, 2, confidence=0.0).keep[0]
    assert not choose(surrogate, 2, confidence=1.0).keep[1]


def test_quotas_hold_and_bundles_go_together() -> None:
    generator = np.random.default_rng(3)
    classes = np.repeat([0, 1, 2], 10)
    main = generator.normal(0, 1, 30) - 3.0 * (classes == 2)
    surrogate = Surrogate(0.5, 0.0, main, np.full(30, 0.1))
    least = least_of_each_class(classes, 15, 0.5, {1: 7})
    assert least == {0: 2, 1: 7, 2: 2}
    bundle = [0, 11, 22]
    found = choose(surrogate, 15, player_classes=classes, least=least, bundles=[bundle], confidence=1.0)
    counts = np.bincount(classes[found.keep], minlength=3)
    assert found.keep.sum() == 15
    assert (counts >= [2, 7, 2]).all()
    assert found.keep[bundle].sum() in (0, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: least_of_each_class(np.repeat([0, 1], 5), 4, 0.5, {0: 6}), "its quota asks for 6"),
        (lambda: least_of_each_class(np.repeat([0, 1], 5), 4, 0.5, {0: 3, 1: 3}), "the budget keeps 4"),
        (lambda: choose(random_surrogate(5, 0, 2), 0), "keeps 1 to 5"),
        (lambda: choose(random_surrogate(5, 0, 2), 2, bundles=[(0, 1, 2, 3, 4)]), "protected sets hold the rest"),
    ],
)
def test_budgets_that_cannot_be_met_are_refused(call, message: str) -> None:
    with pytest.raises(AttributionError, match=message):
        call()


def test_main_effects_and_their_errors_are_right_on_a_known_game() -> None:
    game = duplicates(20, [(0, 1), (2, 3)], seed=0)
    generator = np.random.default_rng(0)
    exact = np.array([game.spectrum.banzhaf((player,)) for player in range(game.n_players)])
    z = []
    for seed in range(6):
        masks = generator.random((600, game.n_players)) < game.alpha
        outputs = game.evaluate(masks) + generator.normal(0, 1.0, 600)
        found = main_effects(masks, outputs[:, None], game.alpha, seed=seed)
        z.append((found.effect[0] - exact) / found.stderr[0])
    pooled = np.concatenate(z)
    # Standard errors of the mean and of the sd over some 120 or more z values.
    assert abs(pooled.mean()) < 4 / np.sqrt(len(pooled))
    assert pooled.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * len(pooled)))


def test_shrinking_lowers_the_error() -> None:
    generator = np.random.default_rng(1)
    true = generator.normal(0.3, 0.5, 500)
    stderr = generator.uniform(0.3, 0.9, 500)
    raw = true + generator.normal(0, stderr)
    assert np.mean((shrink_normal(raw, stderr) - true) ** 2) < 0.75 * np.mean((raw - true) ** 2)


def test_utilities_are_mean_probabilities_overall_and_by_class() -> None:
    outputs = np.log(np.array([[3.0, 1.0, 9.0]]))  # odds 3, 1, 9: probabilities .75, .5, .9
    assert utilities(outputs, np.array([0, 1, 0]), 2)[0] == pytest.approx([2.15 / 3, 1.65 / 2, 0.5])
    assert utility_slopes(outputs) == pytest.approx(np.array([0.1875, 0.25, 0.09]) / 3)


def test_pooled_sets_add_up_targets_by_their_slopes_and_leave_closed_gates_out() -> None:
    rows = {
        "target": [3, 4, 5, 3],
        "members": [[1, 2], [1, 2], [1, 2], [0, 2]],
        "shrunken": [-2.0, -1.0, -9.0, 5.0],
        "stderr": [0.5, 0.5, 0.5, 0.5],
        "q_value": [0.01, 0.01, 0.01, 0.5],
        "gate_open": [True, True, False, True],
    }
    sets, weights, stderrs = pooled_sets(rows, {3: 0.1, 4: 0.2, 5: 0.3}, 0.1)
    assert sets == ((1, 2),)
    assert weights == pytest.approx([-0.4])
    assert stderrs == pytest.approx([0.15])


def test_brute_force_agrees_on_a_surrogate_without_sets() -> None:
    surrogate = random_surrogate(8, 5).without_sets()
    found = choose(surrogate, 3, confidence=0.0)
    best = max(combinations(range(8), 3), key=lambda kept: surrogate.main[list(kept)].sum())
    assert np.flatnonzero(found.keep).tolist() == sorted(best)
