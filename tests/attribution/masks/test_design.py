"""Masks that were not drawn by independent inclusion are refused, and those that were are not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from attribution import AttributionError, AttributionWarning, Datamodel, ProxySPEX
from attribution.masks.design import check_design
from attribution.masks.inputs import check_groups

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Every test draws the same numbers, in whatever order the tests run."""
    global RNG
    RNG = np.random.default_rng(0)


def checked(masks: np.ndarray, alpha: float | np.ndarray = 0.5) -> None:
    """Check a design as a fit does."""
    sizes = masks.sum(axis=1)
    check_design(masks, alpha, check_groups(None, masks), bool((sizes == sizes[0]).all()))


def shapley_sizes(n_masks: int, n_players: int) -> np.ndarray:
    """Uniform size, then a subset of it: the sampler of Shapley values by subsets."""
    sizes = RNG.integers(0, n_players + 1, n_masks)
    return np.argsort(RNG.random((n_masks, n_players)), axis=1) < sizes[:, None]


def halves_of_classes(n_masks: int, classes: np.ndarray) -> np.ndarray:
    """Exactly half of every class in every mask."""
    masks = np.zeros((n_masks, len(classes)), bool)
    for row in masks:
        for label in np.unique(classes):
            of_class = np.flatnonzero(classes == label)
            row[RNG.choice(of_class, len(of_class) // 2, replace=False)] = True
    return masks


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize(("n_masks", "n_players"), [(40, 4), (60, 200), (600, 30)])
def test_independent_inclusion_is_accepted(alpha: float, n_masks: int, n_players: int) -> None:
    for seed in range(20):
        checked(np.random.default_rng(seed).random((n_masks, n_players)) < alpha, alpha)


def test_complementary_pairs_fixed_sizes_replicates_and_all_masks_are_accepted() -> None:
    masks = RNG.random((200, 20)) < 0.5
    checked(np.vstack([masks, ~masks]))
    checked(np.repeat(masks[:100], 4, axis=0))
    checked(np.argsort(RNG.random((400, 20)), axis=1) < 10)
    checked((np.arange(2**8)[:, None] >> np.arange(8) & 1).astype(bool))


def test_several_alphas_given_mask_by_mask_are_accepted() -> None:
    alphas = np.tile([0.2, 0.5, 0.7], 200)
    checked(RNG.random((600, 30)) < alphas[:, None], alphas)


@pytest.mark.parametrize("n_players", [12, 20, 100])
def test_sizes_of_shapley_samplers_are_refused(n_players: int) -> None:
    with pytest.raises(AttributionError, match="sizes of the masks vary .* times as much"):
        checked(shapley_sizes(400, n_players))


def test_two_alphas_given_as_one_are_refused() -> None:
    masks = RNG.random((600, 30)) < np.tile([0.3, 0.7], 300)[:, None]
    with pytest.raises(AttributionError, match="give the alpha of every mask"):
        checked(masks)


def test_halves_of_two_classes_are_refused_and_one_class_is_named() -> None:
    masks = halves_of_classes(800, np.repeat([0, 1], 20))
    with pytest.raises(AttributionError, match=r"2 sums over players .*: 10 of players 0, 1, 2, .* \(20 players\)"):
        checked(masks)


def test_one_of_two_variants_is_refused_and_named() -> None:
    masks = RNG.random((400, 10)) < 0.5
    masks[:, 7] = ~masks[:, 2]
    with pytest.raises(AttributionError, match="1 of players 2, 7 are in every mask"):
        checked(masks)


def test_one_of_three_variants_is_refused_and_named() -> None:
    masks = RNG.random((600, 20)) < 1 / 3
    masks[:, :3] = np.eye(3, dtype=bool)[RNG.integers(0, 3, 600)]
    with pytest.raises(AttributionError, match="1 of players 0, 1, 2 are in every mask"):
        checked(masks, 1 / 3)


def test_a_player_with_a_probability_of_its_own_is_refused_and_named() -> None:
    masks = RNG.random((400, 30)) < 0.5
    masks[:, 4] = RNG.random(400) < 0.8
    with pytest.raises(AttributionError, match=r"player 4 is in [78]\d\.\d% of the masks and alpha is 0.5"):
        checked(masks)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("alpha", "share"), [(0.5, 0.5), (0.5, 0.7), (0.85, 0.7), (0.15, 0.7)])
def test_a_pair_that_is_drawn_together_is_refused_and_named(alpha: float, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = rng.random((500, 30)) < alpha
    together = rng.random(500) < share
    masks[together, 9] = masks[together, 3]
    with pytest.raises(AttributionError, match="players (3 and 9|9 and 3) are together in"):
        checked(masks, alpha)


@pytest.mark.parametrize("estimator", [Datamodel, ProxySPEX])
def test_estimators_refuse_such_a_design(estimator: type) -> None:
    masks = shapley_sizes(300, 20)
    with pytest.raises(AttributionError, match="sizes of the masks vary"):
        estimator(alpha=0.5).fit(masks, masks @ np.ones(20))


def test_complements_share_a_group_without_being_named() -> None:
    """Their products of an even number of players are equal, so as separate rows they would count twice."""
    masks = RNG.random((50, 20)) < 0.5
    both = np.vstack([masks, ~masks])
    groups = check_groups(None, both, alpha=0.5)
    assert np.array_equal(groups[:50], groups[50:]) and len(np.unique(groups)) == 50
    assert len(np.unique(check_groups(None, both, alpha=0.4))) == 100


@pytest.mark.slow
def test_complementary_pairs_nobody_names_give_no_false_pairs() -> None:
    """Four-way terms are equal on complements: counted as separate rows they gave 131 false pairs with q <= .05."""
    found = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        masks = rng.random((300, 40)) < 0.5
        masks = np.vstack([masks, ~masks])
        signs = np.where(masks, 1.0, -1.0)
        terms = [rng.choice(40, 4, replace=False) for _ in range(60)]
        outputs = sum(signs[:, term].prod(axis=1) for term in terms) + 0.3 * rng.normal(size=600)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AttributionWarning)
            model = ProxySPEX(alpha=0.5, max_order=2).fit(masks, outputs)
        found += sum(1 for interaction in model.interactions(0) if interaction.q_value <= 0.05)
    assert found <= 2


@pytest.mark.parametrize("masks_an_alpha", [1, 2, 5, 40])
def test_alphas_with_few_masks_each_are_refused(masks_an_alpha: int) -> None:
    """Centred by a mean that holds the row itself, effects would shrink by one part in `masks_an_alpha`."""
    alphas = np.repeat(np.linspace(0.2, 0.8, 400 // masks_an_alpha), masks_an_alpha)
    masks = RNG.random((len(alphas), 20)) < alphas[:, None]
    with pytest.raises(AttributionError, match=f"at least 50 masks.*has {masks_an_alpha}"):
        ProxySPEX(alpha=0.5).fit(masks, masks @ np.ones(20), alpha=alphas)


def test_outputs_under_a_mask_are_missing_values() -> None:
    masks = RNG.random((300, 20)) < 0.5
    outputs = np.ma.MaskedArray(masks @ np.ones(20), mask=np.arange(300) % 30 == 0)
    outputs.data[::30] = -999.0
    for estimator in (Datamodel, ProxySPEX):
        with pytest.raises(AttributionError, match="10 values that are not finite"):
            estimator(alpha=0.5).fit(masks, outputs)
