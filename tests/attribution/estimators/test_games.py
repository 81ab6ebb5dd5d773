"""The games are what they say: their functions, computed one way, have the spectra stated another way."""

from __future__ import annotations

import numpy as np
import pytest

from tests import games
from tests.attribution import brute_force
from tests.games import Game, all_masks, mask_probabilities

SMALL: dict[str, object] = {
    "sum_of_unanimity": lambda alpha: games.sum_of_unanimity(8, 20, 5, seed=0, alpha=alpha),
    "random_trees": lambda alpha: games.random_trees(8, 6, 5, seed=1, alpha=alpha),
    "synthetic_peak": lambda alpha: games.synthetic_peak(9, seed=2, alpha=alpha),
    "complete_hierarchy": lambda alpha: games.complete_hierarchy(9, seed=2, alpha=alpha),
    "duplicates": lambda alpha: games.duplicates(8, [(0, 4), (6, 1)], seed=3, alpha=alpha),
    "or3": lambda alpha: games.copies(3, n_players=5, alpha=alpha, effect=-2.0),
    "and3": lambda alpha: games.conjunction(3, n_players=5, alpha=alpha),
    "maj3": lambda alpha: games.majority(3, n_players=5, alpha=alpha),
    "clusters": lambda alpha: games.clusters_of_copies(
        9, [(0, 3), (1, 4, 5), (2, 6, 7, 8)], seed=4, alpha=alpha
    ),
    "planted": lambda alpha: games.planted_interactions(9, seed=5, alpha=alpha, n_pairs=3, n_triples=1),
}


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.8])
@pytest.mark.parametrize("name", SMALL)
def test_a_game_and_its_spectrum_are_the_same_function(name: str, alpha: float) -> None:
    game: Game = SMALL[name](alpha)  # type: ignore[operator]
    masks = all_masks(game.n_players)
    values = game.evaluate(masks)
    assert game.alpha == alpha
    np.testing.assert_allclose(game.spectrum.evaluate(masks), values, atol=1e-10)
    for members in brute_force.sets_up_to(game.n_players, 2):
        expected = brute_force.fourier(values, game.n_players, alpha, members)
        assert game.spectrum.coefficient(members) == pytest.approx(expected, abs=1e-10)
    moved = game.at_alpha(0.35)
    np.testing.assert_array_equal(moved.evaluate(masks), values)
    np.testing.assert_allclose(moved.spectrum.evaluate(masks), values, atol=1e-10)


@pytest.mark.parametrize("name", SMALL)
def test_the_noise_leaves_a_perfect_predictor_the_stated_r2(name: str) -> None:
    game: Game = SMALL[name](0.4).with_noise_ceiling(0.3)  # type: ignore[operator]
    assert game.noise_ceiling == pytest.approx(0.3)
    masks = all_masks(game.n_players)
    probability, values = mask_probabilities(masks, 0.4), game.evaluate(masks)
    signal = float(probability @ values**2 - (probability @ values) ** 2)
    assert game.noise_sd**2 == pytest.approx(signal * 0.7 / 0.3, rel=1e-8)
    drawn = game.draw_masks(20_000, seed=1)
    outputs = game.observe(drawn, seed=2)
    r2 = 1 - np.var(outputs - game.evaluate(drawn)) / np.var(outputs)
    assert r2 == pytest.approx(0.3, abs=0.02)
    assert SMALL[name](0.4).with_noise_ceiling(1.0).noise_sd == 0.0  # type: ignore[operator]


def test_masks_and_noise_come_from_the_seed_and_replicates_share_a_mask() -> None:
    game = games.planted_interactions(50, seed=0, alpha=0.3)
    masks, outputs = game.sample(500, seed=7)
    again_masks, again_outputs = game.sample(500, seed=7)
    np.testing.assert_array_equal(masks, again_masks)
    np.testing.assert_array_equal(outputs, again_outputs)
    assert not np.array_equal(masks, game.draw_masks(500, seed=8))
    assert masks.mean() == pytest.approx(0.3, abs=0.02)
    replicates = game.observe(masks, seed=7, n_replicates=2)
    assert replicates.shape == (500, 2)
    assert np.std(replicates[:, 0] - replicates[:, 1]) == pytest.approx(game.noise_sd * 2**0.5, rel=0.15)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.7])
@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_large_clusters_hide(k: int, alpha: float) -> None:
    """Of k copies each has the main effect (1-alpha)^{k-1}, a pair -(1-alpha)^{k-2}, of the group's effect;
    at alpha = 1/2 METHOD.md's 2^{1-k} and -2^{2-k}. The whole cluster has J = 1 - k at every alpha."""
    game = games.clusters_of_copies(k + 3, [tuple(range(k))], seed=0, alpha=alpha, effect=2.0)
    assert game.spectrum.banzhaf((0,)) == pytest.approx(2.0 * (1 - alpha) ** (k - 1), abs=1e-12)
    assert game.spectrum.banzhaf((0, 1)) == pytest.approx(-2.0 * (1 - alpha) ** (k - 2), abs=1e-12)
    assert game.spectrum.joint_surplus(tuple(range(k))) == pytest.approx(2.0 * (1 - k), abs=1e-12)
    values = game.evaluate(all_masks(k + 3))
    assert brute_force.banzhaf(values, k + 3, alpha, (0, 1)) == pytest.approx(game.spectrum.banzhaf((0, 1)))
    if alpha == 0.5:
        assert game.spectrum.banzhaf((0,)) == pytest.approx(2.0 * 2.0 ** (1 - k), abs=1e-12)
        assert game.spectrum.banzhaf((0, 1)) == pytest.approx(-2.0 * 2.0 ** (2 - k), abs=1e-12)


def test_five_copies_show_six_hundredths_alone_and_an_eighth_as_a_pair() -> None:
    spectrum = games.copies(5).spectrum
    assert spectrum.banzhaf((0,)) == pytest.approx(0.0625)
    assert spectrum.banzhaf((3, 4)) == pytest.approx(-0.125)


def test_a_small_alpha_shows_large_clusters() -> None:
    """F = I sigma^2 is what a pair term adds to the outputs, in their own unit."""
    game = games.copies(5)
    assert abs(game.at_alpha(0.2).spectrum.coefficient((0, 1))) > 2 * abs(game.spectrum.coefficient((0, 1)))


@pytest.mark.parametrize("n_players", [20, 60])
def test_the_synthetic_peak_has_ten_sets_of_five_and_nothing_below(n_players: int) -> None:
    game = games.synthetic_peak(n_players, seed=3)
    assert len(game.spectrum) == len(game.planted) == 10
    assert {len(members) for members in game.spectrum.terms} == {5}


def test_the_complete_hierarchy_holds_every_subset_of_the_same_sets() -> None:
    peak, hierarchy = games.synthetic_peak(40, seed=3), games.complete_hierarchy(40, seed=3)
    assert set(peak.planted) <= set(hierarchy.spectrum.terms)
    below = {sub for members in peak.planted for sub in brute_force.combinations(members, 2)}
    assert below <= set(hierarchy.spectrum.terms)
    inside = [set(members) for members in peak.planted]
    assert all(any(set(term) <= members for members in inside) for term in hierarchy.spectrum.terms)


@pytest.mark.parametrize("noise_ceiling", [0.3, 0.6, 0.9])
def test_planted_interactions_are_few_beside_dominating_main_effects(noise_ceiling: float) -> None:
    game = games.planted_interactions(100, seed=1, noise_ceiling=noise_ceiling, interaction_share=0.2)
    energy = game.spectrum.energy_by_order()
    assert game.noise_ceiling == pytest.approx(noise_ceiling)
    assert energy[1] == pytest.approx(0.8)
    assert energy[2] + energy[3] == pytest.approx(0.2)
    assert [len(members) for members in game.planted] == [2] * 15 + [3] * 5
    assert len({player for members in game.planted for player in members}) == 15 * 2 + 5 * 3
    redundant = [
        pair
        for pair in game.planted[:15]
        if all(game.spectrum.coefficient(pair) * game.spectrum.coefficient((player,)) < 0 for player in pair)
    ]
    assert len(redundant) >= 8


def test_the_null_has_main_effects_and_nothing_else() -> None:
    game = games.planted_interactions(100, seed=1, noise_ceiling=0.3, interaction_share=0.0)
    assert game.planted == ()
    assert game.spectrum.degree == 1
    assert game.spectrum.variance() == pytest.approx(1.0)


def test_games_that_cannot_be_built_are_refused() -> None:
    with pytest.raises(ValueError, match="must not share"):
        games.duplicates(5, [(0, 1), (1, 2)], seed=0)
    with pytest.raises(ValueError, match="more than 10 players"):
        games.planted_interactions(10, seed=0)
    with pytest.raises(ValueError, match="noise ceiling"):
        games.copies(2).with_noise_ceiling(0.0)
    with pytest.raises(ValueError, match="fewer than"):
        games.synthetic_peak(5, seed=0)
