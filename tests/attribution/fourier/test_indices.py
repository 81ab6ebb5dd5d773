"""Every index from one spectrum equals its definition over all 2^n masks, whatever alpha the spectrum has."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import bernoulli

from attribution.errors import SpectrumError
from attribution.fourier import indices
from attribution.fourier.spectrum import Spectrum
from tests.attribution import brute_force
from tests.games import Game, all_masks, conjunction, copies, random_trees, sum_of_unanimity

ALPHAS = (0.2, 0.5, 0.7)
N_PLAYERS = 7


def game_at(alpha: float, seed: int = 3) -> Game:
    return sum_of_unanimity(N_PLAYERS, n_terms=25, max_order=6, seed=seed, alpha=alpha)


def assert_equal(computed: dict, expected: dict) -> None:
    """Equal on every set either of them knows."""
    for members in computed.keys() | expected.keys():
        assert computed.get(members, 0.0) == pytest.approx(expected.get(members, 0.0), abs=1e-10), members


@pytest.mark.parametrize("alpha", ALPHAS)
def test_banzhaf_interactions(alpha: float) -> None:
    game = game_at(alpha)
    values = game.evaluate(all_masks(N_PLAYERS))
    sets = brute_force.sets_up_to(N_PLAYERS, 3, min_order=1)
    own = {s: brute_force.banzhaf(values, N_PLAYERS, alpha, s) for s in sets}
    assert_equal(indices.banzhaf_interactions(game.spectrum, 3), own)
    half = {s: brute_force.banzhaf(values, N_PLAYERS, 0.5, s) for s in sets}
    assert_equal(indices.banzhaf_interactions(game.spectrum, 3, alpha=0.5), half)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_moebius_coefficients(alpha: float) -> None:
    game = game_at(alpha)
    values = game.evaluate(all_masks(N_PLAYERS))
    expected = {s: brute_force.moebius(values, s) for s in brute_force.sets_up_to(N_PLAYERS, 4)}
    assert_equal(indices.moebius_coefficients(game.spectrum, 4), expected)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_shapley_values(alpha: float) -> None:
    game = game_at(alpha)
    values = game.evaluate(all_masks(N_PLAYERS))
    expected = {(i,): brute_force.shapley(values, N_PLAYERS, i) for i in range(N_PLAYERS)}
    computed = indices.shapley_values(game.spectrum)
    assert_equal(computed, expected)
    dense = game.spectrum.shapley()
    assert_equal(computed, {(i,): float(dense[i]) for i in range(N_PLAYERS)})


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("max_order", [1, 2, 3, 7])
def test_shapley_interactions(alpha: float, max_order: int) -> None:
    game = game_at(alpha)
    values = game.evaluate(all_masks(N_PLAYERS))
    sets = brute_force.sets_up_to(N_PLAYERS, max_order, min_order=1)
    expected = {s: brute_force.shapley_interaction(values, N_PLAYERS, s) for s in sets}
    assert_equal(indices.shapley_interactions(game.spectrum, max_order), expected)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("max_order", [1, 2, 3, 7])
def test_shapley_taylor_interactions(alpha: float, max_order: int) -> None:
    game = game_at(alpha)
    values = game.evaluate(all_masks(N_PLAYERS))
    expected = {
        s: brute_force.shapley_taylor(values, N_PLAYERS, s, max_order)
        for s in brute_force.sets_up_to(N_PLAYERS, max_order)
    }
    assert_equal(indices.shapley_taylor_interactions(game.spectrum, max_order), expected)


@pytest.mark.parametrize("max_order", [1, 2, 3, 4])
def test_k_shapley_interactions_follow_the_recursion_of_bordt_and_von_luxburg(max_order: int) -> None:
    """Order by order: keep what there was and spread the new top order's SII with Bernoulli numbers."""
    numbers = [1.0, -0.5, 1 / 6, 0.0, -1 / 30]
    game = game_at(0.3)
    values = game.evaluate(all_masks(N_PLAYERS))
    current: dict = {}
    for order in range(1, max_order + 1):
        for s in brute_force.sets_up_to(N_PLAYERS, order, min_order=1):
            wider = [t for t in brute_force.sets_up_to(N_PLAYERS, order, min_order=order) if set(s) <= set(t)]
            gain = numbers[order - len(s)] * sum(
                brute_force.shapley_interaction(values, N_PLAYERS, t) for t in wider
            )
            current[s] = current.get(s, 0.0) + gain
    expected = {(): values[0], **current}
    assert_equal(indices.k_shapley_interactions(game.spectrum, max_order), expected)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("max_order", [1, 2, 3])
@pytest.mark.parametrize("weighted_at", [0.5, 0.3])
def test_faith_banzhaf_is_the_best_fit_of_its_order(alpha: float, max_order: int, weighted_at: float) -> None:
    game = game_at(alpha)
    values = game.evaluate(all_masks(N_PLAYERS))
    expected = brute_force.faith_banzhaf(values, N_PLAYERS, max_order, weighted_at)
    assert_equal(indices.faith_banzhaf(game.spectrum, max_order, alpha=weighted_at), expected)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("max_order", [1, 2, 3, 7])
def test_faith_shapley_is_the_constrained_best_fit_of_its_order(alpha: float, max_order: int) -> None:
    game = game_at(alpha)
    values = game.evaluate(all_masks(N_PLAYERS))
    expected = brute_force.faith_shapley(values, N_PLAYERS, max_order)
    assert_equal(indices.faith_shapley(game.spectrum, max_order), expected)


@pytest.mark.parametrize("index", ["k-sii", "stii", "faith_shapley"])
@pytest.mark.parametrize("max_order", [1, 2, 4])
def test_efficient_indices_add_up_to_the_full_training_set(index: str, max_order: int) -> None:
    game = random_trees(9, n_trees=6, depth=5, seed=1, alpha=0.4)
    full = game.evaluate(np.ones((1, 9), dtype=bool))[0]
    total = sum(indices.interaction_index(game.spectrum, index, max_order).values())
    assert total == pytest.approx(full, abs=1e-10)


@pytest.mark.parametrize("index", sorted(indices.INDICES))
def test_at_order_one_shapley_type_indices_are_the_shapley_value(index: str) -> None:
    spectrum = game_at(0.6).spectrum
    computed = indices.interaction_index(spectrum, index, 1)
    singles = {members: value for members, value in computed.items() if members}
    banzhaf = indices.banzhaf_interactions(spectrum, 1, alpha=0.5)
    expected = {
        "banzhaf": indices.banzhaf_interactions(spectrum, 1),
        "moebius": {s: v for s, v in spectrum.moebius().items() if len(s) == 1},
        "faith_banzhaf": banzhaf,
    }.get(index, indices.shapley_values(spectrum))
    assert_equal(singles, expected)


def test_at_full_order_the_faithful_and_taylor_indices_are_the_moebius_form() -> None:
    spectrum = game_at(0.4).spectrum
    for index in ("stii", "faith_banzhaf", "faith_shapley"):
        assert_equal(indices.interaction_index(spectrum, index, N_PLAYERS), spectrum.moebius())


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_copies_and_conjunctions_share_their_effect_evenly(k: int) -> None:
    for game in (copies(k), conjunction(k)):
        assert_equal(indices.shapley_values(game.spectrum), {(i,): 1.0 / k for i in range(k)})


def test_indices_touch_only_players_with_terms() -> None:
    """50,000 players and three terms: every index answers with a handful of sets."""
    spectrum = Spectrum.from_terms({(7,): 1.0, (7, 49_999): 2.0, (3, 7, 20_000): -1.0}, 50_000, 0.5)
    for index in indices.INDICES:
        assert len(indices.interaction_index(spectrum, index, 2)) <= 16


def test_a_name_or_order_that_does_not_exist_is_refused() -> None:
    spectrum = game_at(0.5).spectrum
    with pytest.raises(SpectrumError, match="Choose one of"):
        indices.interaction_index(spectrum, "nucleolus", 2)
    for order in (0, -1, 1.5):
        with pytest.raises(SpectrumError, match="max_order"):
            indices.shapley_interactions(spectrum, order)  # type: ignore[arg-type]
    with pytest.raises(SpectrumError, match="order 17"):
        indices.k_shapley_interactions(spectrum, 18)


def test_the_bernoulli_numbers_are_scipys() -> None:
    np.testing.assert_allclose(
        indices._BERNOULLI, bernoulli(len(indices._BERNOULLI) - 1), rtol=1e-12, atol=1e-12
    )
