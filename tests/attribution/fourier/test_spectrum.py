"""The spectrum equals its definition over all 2^n masks, at any alpha, and refuses what makes no sense."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from attribution.errors import AttributionError, SpectrumError
from attribution.fourier.spectrum import Spectrum
from tests.attribution import brute_force
from tests.games import all_masks, conjunction, copies, majority, mask_probabilities

ALPHAS = (0.1, 0.3, 0.5, 0.85)


def random_spectrum(n_players: int, n_terms: int, alpha: float, seed: int, max_order: int = 5) -> Spectrum:
    generator = np.random.default_rng(seed)
    terms = {(): float(generator.normal())}
    while len(terms) < n_terms:
        size = int(generator.integers(1, max_order + 1))
        members = tuple(sorted(generator.choice(n_players, size=size, replace=False).tolist()))
        terms[members] = float(generator.normal())
    return Spectrum.from_terms(terms, n_players, alpha)


def by_definition(spectrum: Spectrum) -> np.ndarray:
    """f over all masks, straight from sum_S F(S) prod (x_i - p) / sigma."""
    masks = all_masks(spectrum.n_players)
    phi = (masks - spectrum.alpha) / math.sqrt(spectrum.alpha * (1 - spectrum.alpha))
    return sum(value * phi[:, list(held)].prod(axis=1) for held, value in spectrum.terms.items())


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("n_players", [3, 8, 10])
def test_evaluate_is_the_sum_of_its_terms(n_players: int, alpha: float) -> None:
    spectrum = random_spectrum(n_players, 7 if n_players == 3 else 40, alpha, seed=n_players, max_order=3)
    np.testing.assert_allclose(spectrum.evaluate(all_masks(n_players)), by_definition(spectrum), atol=1e-10)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_coefficients_are_inner_products_with_the_basis(alpha: float) -> None:
    spectrum = random_spectrum(7, 30, alpha, seed=1)
    values = by_definition(spectrum)
    for members in brute_force.sets_up_to(7, 7):
        assert spectrum.coefficient(members) == pytest.approx(
            brute_force.fourier(values, 7, alpha, members), abs=1e-10
        )


@pytest.mark.parametrize("alpha", ALPHAS)
def test_banzhaf_is_the_mean_discrete_derivative(alpha: float) -> None:
    spectrum = random_spectrum(7, 30, alpha, seed=2)
    values = by_definition(spectrum)
    for members in brute_force.sets_up_to(7, 4, min_order=1):
        expected = brute_force.banzhaf(values, 7, alpha, members)
        assert spectrum.banzhaf(members) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_moebius_is_the_derivative_at_the_empty_training_set(alpha: float) -> None:
    spectrum = random_spectrum(8, 30, alpha, seed=3)
    values, moebius = by_definition(spectrum), spectrum.moebius()
    for members in brute_force.sets_up_to(8, 8):
        expected = brute_force.moebius(values, members)
        assert moebius.get(members, 0.0) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_moebius_and_back_is_the_same_function(alpha: float) -> None:
    spectrum = random_spectrum(9, 40, alpha, seed=4)
    back = Spectrum.from_moebius(spectrum.moebius(), 9, alpha)
    for members in brute_force.sets_up_to(9, 9):
        assert back.coefficient(members) == pytest.approx(spectrum.coefficient(members), abs=1e-10)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("other", [0.05, 0.5, 0.7])
def test_at_alpha_is_the_same_function_with_the_other_basis(alpha: float, other: float) -> None:
    spectrum = random_spectrum(8, 30, alpha, seed=5)
    moved = spectrum.at_alpha(other)
    values = by_definition(spectrum)
    np.testing.assert_allclose(moved.evaluate(all_masks(8)), values, atol=1e-10)
    for members in brute_force.sets_up_to(8, 3):
        expected = brute_force.fourier(values, 8, other, members)
        assert moved.coefficient(members) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_joint_surplus_is_its_defining_expectation(alpha: float) -> None:
    spectrum = random_spectrum(7, 60, alpha, seed=6)
    values = by_definition(spectrum)
    for members in brute_force.sets_up_to(7, 6, min_order=2):
        expected = brute_force.joint_surplus(values, 7, alpha, members)
        assert spectrum.joint_surplus(members) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_joint_surplus_is_the_formula_of_the_method(alpha: float) -> None:
    """J(S) = sum_{T <= S, |T| >= 2} sum_{T <= U <= S} F(U) sigma^{-|U|} (-p)^{|U| - |T|}, term by term."""
    spectrum = random_spectrum(6, 40, alpha, seed=7)
    for members in brute_force.sets_up_to(6, 5, min_order=2):
        expected = 0.0
        for size in range(2, len(members) + 1):
            for t in combinations(members, size):
                for larger in range(size, len(members) + 1):
                    for u in combinations(members, larger):
                        if set(t) <= set(u):
                            weight = spectrum.sigma**-larger * (-alpha) ** (larger - size)
                            expected += spectrum.coefficient(u) * weight
        assert spectrum.joint_surplus(members) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_for_a_pair_the_joint_surplus_is_the_interaction(alpha: float) -> None:
    spectrum = random_spectrum(6, 40, alpha, seed=8)
    for pair in combinations(range(6), 2):
        assert spectrum.joint_surplus(pair) == pytest.approx(spectrum.banzhaf(pair), abs=1e-12)


def test_three_copies_have_a_negative_surplus_and_a_positive_interaction() -> None:
    spectrum = copies(3).spectrum
    assert spectrum.joint_surplus((0, 1, 2)) == pytest.approx(-2.0, abs=1e-12)
    assert spectrum.banzhaf((0, 1, 2)) == pytest.approx(1.0, abs=1e-12)


def test_an_and_of_three_has_surplus_and_interaction_one() -> None:
    spectrum = conjunction(3).spectrum
    assert spectrum.joint_surplus((0, 1, 2)) == pytest.approx(1.0, abs=1e-12)
    assert spectrum.banzhaf((0, 1, 2)) == pytest.approx(1.0, abs=1e-12)


def test_a_majority_of_three_is_synergy_by_its_surplus_though_its_interaction_is_negative() -> None:
    spectrum = majority(3).spectrum
    assert spectrum.joint_surplus((0, 1, 2)) == pytest.approx(1.0, abs=1e-12)
    assert spectrum.banzhaf((0, 1, 2)) == pytest.approx(-2.0, abs=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_shapley_values_are_those_of_the_definition(alpha: float) -> None:
    spectrum = random_spectrum(8, 40, alpha, seed=9)
    values = by_definition(spectrum)
    expected = [brute_force.shapley(values, 8, player) for player in range(8)]
    np.testing.assert_allclose(spectrum.shapley(), expected, atol=1e-10)
    assert spectrum.shapley().sum() == pytest.approx(values[-1] - values[0], abs=1e-10)


def test_at_alpha_one_half_the_short_forms_of_the_method_hold() -> None:
    spectrum = random_spectrum(8, 40, 0.5, seed=10)
    for player in range(8):
        odd = [(s, v) for s, v in spectrum.terms.items() if player in s and len(s) % 2 == 1]
        assert spectrum.shapley()[player] == pytest.approx(2 * sum(v / len(s) for s, v in odd), abs=1e-12)
        assert spectrum.banzhaf((player,)) == pytest.approx(2 * spectrum.coefficient((player,)), abs=1e-12)


def test_at_alpha_one_half_the_sign_is_that_of_spex_for_even_orders_and_turned_for_odd_ones() -> None:
    """SPEX: F(S) = mean over all masks of f(x) (-1)^{|S & x|}; ours is (-1)^|S| times that."""
    spectrum = random_spectrum(7, 40, 0.5, seed=11)
    masks, values = all_masks(7), by_definition(spectrum)
    for members in brute_force.sets_up_to(7, 5):
        spex = float(np.mean(values * (-1.0) ** masks[:, list(members)].sum(axis=1)))
        assert spectrum.coefficient(members) == pytest.approx((-1) ** len(members) * spex, abs=1e-10)


def test_an_example_that_helps_has_a_positive_main_effect() -> None:
    assert conjunction(1, n_players=3).spectrum.coefficient((0,)) > 0


@pytest.mark.parametrize("alpha", ALPHAS)
def test_parseval(alpha: float) -> None:
    spectrum = random_spectrum(9, 60, alpha, seed=12)
    probability, values = mask_probabilities(all_masks(9), alpha), by_definition(spectrum)
    mean = float(probability @ values)
    assert spectrum.mean == pytest.approx(mean, abs=1e-10)
    assert spectrum.energy() == pytest.approx(float(probability @ values**2), rel=1e-10)
    assert spectrum.variance() == pytest.approx(float(probability @ (values - mean) ** 2), rel=1e-10)
    assert sum(spectrum.energy_by_order().values()) == pytest.approx(spectrum.energy(), rel=1e-12)


def test_truncate_and_top_keep_the_terms_they_name() -> None:
    spectrum = Spectrum.from_terms(
        {(): 9.0, (0,): 0.1, (1,): 2.0, (0, 1): -3.0, (0, 2): 1.0, (0, 1, 2): 0.5}, 3, 0.5
    )
    assert set(spectrum.truncate(1).terms) == {(), (0,), (1,)}
    assert set(spectrum.top(2).terms) == {(), (1,), (0, 1)}
    assert set(spectrum.top(1, keep_main_effects=True).terms) == {(), (0,), (1,), (0, 1)}
    assert spectrum.degree == 3
    assert Spectrum.from_terms({(): 1.0, (0, 1): 0.0}, 2, 0.5).degree == 0


def test_sums_differences_and_multiples_are_those_of_the_functions() -> None:
    one, two = random_spectrum(6, 20, 0.3, seed=14), random_spectrum(6, 20, 0.3, seed=15)
    masks = all_masks(6)
    np.testing.assert_allclose(
        (one + two).evaluate(masks), one.evaluate(masks) + two.evaluate(masks), atol=1e-12
    )
    np.testing.assert_allclose((2.5 * one - two).evaluate(masks),
                               2.5 * one.evaluate(masks) - two.evaluate(masks), atol=1e-12)  # fmt: skip
    np.testing.assert_allclose((-one).evaluate(masks), -one.evaluate(masks), atol=1e-12)
    with pytest.raises(SpectrumError, match="at_alpha"):
        one + two.at_alpha(0.5)


def test_members_may_be_named_in_any_order() -> None:
    spectrum = Spectrum.from_terms({(7, np.int64(3)): -0.5}, n_players=20, alpha=0.5)
    assert dict(spectrum.terms) == {(3, 7): -0.5}
    assert spectrum.banzhaf((7, 3)) == spectrum.banzhaf((3, 7)) == -2.0


def test_the_terms_of_a_spectrum_cannot_be_changed() -> None:
    spectrum = Spectrum.from_terms({(0,): 1.0}, 2, 0.5)
    with pytest.raises(TypeError):
        spectrum.terms[(1,)] = 2.0  # type: ignore[index]


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({(3,): 1.0}, "outside 0..2"),
        ({(-1,): 1.0}, "outside 0..2"),
        ({(1, 1): 1.0}, "twice"),
        ({(0, 1): 1.0, (1, 0): 2.0}, "given twice"),
        ([((0,), 1.0), ((0,), 1.0)], "given twice"),
        ({(0,): math.nan}, "not finite"),
        ({(0,): math.inf}, "not finite"),
        ({(0,): "much"}, "must be a number"),
        ({(0.5,): 1.0}, "integers"),
        ({(True,): 1.0}, "integers"),
        ({0: 1.0}, "tuple of players"),
    ],
)
def test_terms_that_make_no_sense_are_refused(terms: object, message: str) -> None:
    with pytest.raises(SpectrumError, match=message):
        Spectrum.from_terms(terms, n_players=3, alpha=0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.2, 1.2, math.nan])
def test_an_alpha_outside_the_open_unit_interval_is_refused(alpha: float) -> None:
    with pytest.raises(AttributionError, match=r"alpha must lie in \(0, 1\)"):
        Spectrum.from_terms({(0,): 1.0}, 3, alpha)
    with pytest.raises(AttributionError, match=r"alpha must lie in \(0, 1\)"):
        Spectrum.from_terms({(0,): 1.0}, 3, 0.5).at_alpha(alpha)


def test_masks_of_another_shape_or_other_values_are_refused() -> None:
    spectrum = Spectrum.from_terms({(0,): 1.0}, 3, 0.5)
    with pytest.raises(AttributionError, match="shape"):
        spectrum.evaluate(np.zeros((5, 4), dtype=bool))
    with pytest.raises(AttributionError, match="shape"):
        spectrum.evaluate(np.zeros(3, dtype=bool))
    with pytest.raises(AttributionError, match="boolean"):
        spectrum.evaluate(np.full((2, 3), 0.5))
    zeros_and_ones = np.array([[0, 1, 1], [1, 0, 0]])
    np.testing.assert_array_equal(
        spectrum.evaluate(zeros_and_ones), spectrum.evaluate(zeros_and_ones.astype(bool))
    )


def test_a_surplus_needs_two_members_and_an_expansion_a_size() -> None:
    spectrum = Spectrum.from_terms({tuple(range(40)): 1.0}, 40, 0.5)
    with pytest.raises(SpectrumError, match="at least two"):
        spectrum.joint_surplus((1,))
    with pytest.raises(SpectrumError, match="truncate"):
        spectrum.moebius()


def test_fifty_thousand_players_cost_only_their_terms() -> None:
    """All main effects and a few thousand pairs; nothing here is of size (n, n)."""
    n_players, generator = 50_000, np.random.default_rng(0)
    terms = {(player,): float(value) for player, value in enumerate(generator.normal(size=n_players))}
    pairs = np.sort(generator.choice(n_players, size=(2_000, 2), replace=True), axis=1)
    terms |= {(int(a), int(b)): 1.0 for a, b in pairs if a < b}
    spectrum = Spectrum.from_terms(terms, n_players, 0.3)
    masks = generator.random((20, n_players)) < 0.3
    phi = (masks - 0.3) / math.sqrt(0.21)
    kept = pairs[pairs[:, 0] < pairs[:, 1]]
    kept = np.unique(kept, axis=0)
    expected = phi @ np.array([terms[player,] for player in range(n_players)])
    expected += (phi[:, kept[:, 0]] * phi[:, kept[:, 1]]).sum(axis=1)
    np.testing.assert_allclose(spectrum.evaluate(masks), expected, atol=1e-8)
    assert len(spectrum.moebius()) == len(terms) + 1
    assert spectrum.shapley().shape == (n_players,)
