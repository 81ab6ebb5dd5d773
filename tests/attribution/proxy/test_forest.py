"""The spectrum of a sum of trees is exact: against the recursion, against all 2^n masks, at any alpha."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.errors import SpectrumError
from attribution.fourier.spectrum import Spectrum
from attribution.proxy.forest import Forest, forest_from_levels, leaf_paths, paths_to_spectrum
from tests.attribution import brute_force
from tests.games import all_masks, random_forest
from tests.tree_recursion import tree_to_spectrum

ALPHAS = (0.1, 0.5, 0.8)


def assert_same(one: Spectrum, two: Spectrum) -> None:
    for members in one.terms.keys() | two.terms.keys():
        assert one.coefficient(members) == pytest.approx(two.coefficient(members), abs=1e-10), members


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("depth", [0, 1, 3, 6])
def test_a_forest_and_its_spectrum_are_the_same_function(depth: int, alpha: float) -> None:
    forest, masks = random_forest(8, n_trees=12, depth=depth, seed=depth), all_masks(8)
    spectrum = forest.to_spectrum(8, alpha)
    np.testing.assert_allclose(spectrum.evaluate(masks), forest.evaluate(masks, 8), atol=1e-10)
    assert spectrum.degree <= depth


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_coefficients_are_inner_products_of_the_trees_with_the_basis(alpha: float) -> None:
    forest = random_forest(6, n_trees=5, depth=4, seed=9)
    spectrum, values = forest.to_spectrum(6, alpha), forest.evaluate(all_masks(6), 6)
    for members in brute_force.sets_up_to(6, 6):
        expected = brute_force.fourier(values, 6, alpha, members)
        assert spectrum.coefficient(members) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("seed", range(5))
def test_adding_up_leaves_is_the_recursion_of_the_method(seed: int, alpha: float) -> None:
    forest = random_forest(7, n_trees=8, depth=5, seed=seed)
    assert_same(forest.to_spectrum(7, alpha), tree_to_spectrum(forest, 7, alpha))


def test_one_split_has_the_two_coefficients_of_the_method() -> None:
    """A = 2 if absent, B = 5 if present: F[()] = (1-p) A + p B, F[(i,)] = sigma (B - A)."""
    split = Forest([3, -1, -1], [1, 0, 0], [2, 0, 0], [0.0, 2.0, 5.0], [0])  # type: ignore[arg-type]
    spectrum = split.to_spectrum(4, alpha=0.2)
    assert dict(spectrum.terms) == pytest.approx(
        {(): 0.8 * 2 + 0.2 * 5, (3,): math.sqrt(0.16) * 3}, abs=1e-12
    )


def test_a_player_split_on_twice_on_one_path_counts_once() -> None:
    """The root splits on 0; its present side splits on 0 again, whose absent side no mask reaches."""
    forest = Forest(
        player=[0, -1, 0, -1, -1],  # type: ignore[arg-type]
        absent=[1, 0, 3, 0, 0],  # type: ignore[arg-type]
        present=[2, 0, 4, 0, 0],  # type: ignore[arg-type]
        value=[0.0, 1.0, 0.0, 99.0, 3.0],  # type: ignore[arg-type]
        roots=[0],  # type: ignore[arg-type]
    )
    np.testing.assert_allclose(forest.to_spectrum(1, 0.5).evaluate(all_masks(1)), [1.0, 3.0], atol=1e-12)
    assert 99.0 not in leaf_paths(forest)[2]
    assert_same(forest.to_spectrum(1, 0.3), tree_to_spectrum(forest, 1, 0.3))


@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 10_000), st.floats(0.1, 0.9))
def test_complete_trees_by_level_are_walked_as_their_makers_walk_them(
    n_trees: int, depth: int, seed: int, alpha: float
) -> None:
    generator = np.random.default_rng(seed)
    players = generator.integers(-1, 5, size=(n_trees, (1 << depth) - 1))
    leaves = generator.normal(size=(n_trees, 1 << depth))
    masks = all_masks(5)
    expected = np.full(len(masks), 0.5)
    for tree in range(n_trees):
        node = np.zeros(len(masks), dtype=int)
        for _ in range(depth):
            player = players[tree, node]
            bit = np.where(player >= 0, masks[np.arange(len(masks)), player], False)
            node = 2 * node + 1 + bit
        expected += leaves[tree, node - ((1 << depth) - 1)]
    forest = forest_from_levels(players, leaves, bias=0.5)
    np.testing.assert_allclose(forest.evaluate(masks, 5), expected, atol=1e-12)
    np.testing.assert_allclose(forest.to_spectrum(5, alpha).evaluate(masks), expected, atol=1e-10)


def test_leaf_paths_need_not_be_sorted_nor_of_one_length() -> None:
    players = np.array([[4, 1], [-1, 2], [-1, -1]])
    present = np.array([[True, False], [False, True], [False, False]])
    spectrum = paths_to_spectrum(players, present, np.array([2.0, -1.0, 0.5]), 5, 0.3, bias=1.0)
    masks = all_masks(5)
    expected = 1.5 + 2.0 * (masks[:, 4] & ~masks[:, 1]) - masks[:, 2]
    np.testing.assert_allclose(spectrum.evaluate(masks), expected, atol=1e-12)


@pytest.mark.parametrize("n_players", [2_000_000, 2**31])
def test_player_numbers_too_wide_to_pack_into_one_word_stay_distinct(n_players: int) -> None:
    last = n_players - 1
    players = np.array([[0, 1, last - 1, last], [0, 1, last - 2, last]])
    spectrum = paths_to_spectrum(players, np.ones((2, 4), dtype=bool), np.array([1.0, 2.0]), n_players, 0.5)
    assert spectrum.banzhaf((0, 1, last - 1, last)) == pytest.approx(1.0)
    assert spectrum.banzhaf((0, 1, last - 2, last)) == pytest.approx(2.0)
    assert spectrum.banzhaf((0, 1)) == pytest.approx(3.0 / 4)


def test_an_empty_forest_is_its_bias() -> None:
    nothing = np.empty(0, dtype=np.int64)
    forest = Forest(nothing, nothing, nothing, np.empty(0), nothing, bias=1.5)
    assert dict(forest.to_spectrum(3, 0.5).terms) == {(): 1.5}
    np.testing.assert_array_equal(forest.evaluate(all_masks(3), 3), np.full(8, 1.5))


def test_many_deep_trees_over_many_players_are_read_together() -> None:
    """600 trees of depth 3 over 50,000 players: 64 leaf-subset contributions a tree, no array of 50,000."""
    generator = np.random.default_rng(0)
    forest = forest_from_levels(generator.integers(0, 50_000, size=(600, 7)), generator.normal(size=(600, 8)))
    spectrum = forest.to_spectrum(50_000, 0.5)
    assert spectrum.degree == 3
    assert len(spectrum) <= 1 + 600 * (7 + 10 + 4)  # nodes, pairs and triples of a node with its ancestors
    masks = generator.random((50, 50_000)) < 0.5
    np.testing.assert_allclose(spectrum.evaluate(masks), forest.evaluate(masks, 50_000), atol=1e-9)


def test_trees_that_are_no_trees_are_refused() -> None:
    def forest(player=(0, -1, -1), absent=(1, 0, 0), present=(2, 0, 0), value=(0.0, 1.0, 2.0), roots=(0,)):
        return Forest(*(np.array(part) for part in (player, absent, present, value, roots)))

    with pytest.raises(SpectrumError, match="one entry per node"):
        forest(value=(0.0, 1.0))
    with pytest.raises(SpectrumError, match="outside the 3 nodes"):
        forest(absent=(7, 0, 0))
    with pytest.raises(SpectrumError, match="not finite"):
        forest(value=(0.0, math.nan, 1.0))
    with pytest.raises(SpectrumError, match="only 5 players"):
        forest(player=(5, -1, -1)).to_spectrum(5, 0.5)
    with pytest.raises(SpectrumError, match="cycle"):
        forest(absent=(0, 0, 0)).to_spectrum(5, 0.5)
    with pytest.raises(SpectrumError, match="max_depth"):
        wide = np.arange(30)[None, :]
        paths_to_spectrum(wide, np.ones_like(wide, dtype=bool), np.ones(1), 30, 0.5)
    with pytest.raises(SpectrumError, match="complete trees"):
        forest_from_levels(np.zeros((2, 5), dtype=int), np.zeros((2, 6)))
