"""Properties every spectrum has, on spectra that Hypothesis makes up."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attribution.fourier.spectrum import Spectrum
from tests.games import all_masks, mask_probabilities

N_PLAYERS = 6
alphas = st.floats(0.1, 0.9)
member_sets = st.sets(st.integers(0, N_PLAYERS - 1), max_size=4).map(lambda s: tuple(sorted(s)))
values = st.floats(-10, 10, allow_nan=False)
term_dicts = st.dictionaries(member_sets, values, max_size=12)


@st.composite
def spectra(draw: st.DrawFn) -> Spectrum:
    return Spectrum.from_terms(draw(term_dicts), N_PLAYERS, draw(alphas))


@given(spectra(), alphas)
def test_changing_alpha_and_back_changes_nothing(spectrum: Spectrum, other: float) -> None:
    back = spectrum.at_alpha(other).at_alpha(spectrum.alpha)
    scale = 1.0 + max(map(abs, spectrum.at_alpha(other).terms.values()), default=0.0)
    for members in back.terms:
        assert abs(back.coefficient(members) - spectrum.coefficient(members)) < 1e-10 * scale


@given(spectra(), alphas)
def test_a_function_keeps_its_values_at_every_alpha(spectrum: Spectrum, other: float) -> None:
    masks = all_masks(N_PLAYERS)
    expected = spectrum.evaluate(masks)
    scale = 1.0 + np.abs(expected).max()
    assert np.abs(spectrum.at_alpha(other).evaluate(masks) - expected).max() < 1e-10 * scale


@given(spectra())
def test_parseval_holds(spectrum: Spectrum) -> None:
    masks = all_masks(N_PLAYERS)
    second_moment = float(mask_probabilities(masks, spectrum.alpha) @ spectrum.evaluate(masks) ** 2)
    assert abs(second_moment - spectrum.energy()) <= 1e-9 * (1.0 + spectrum.energy())


@given(spectra())
def test_moebius_sums_over_subsets_give_the_function(spectrum: Spectrum) -> None:
    masks = all_masks(N_PLAYERS)
    moebius = spectrum.moebius()
    total = sum(
        (value * masks[:, list(members)].all(axis=1) for members, value in moebius.items()),
        np.zeros(len(masks)),
    )
    scale = 1.0 + sum(map(abs, moebius.values()))
    assert np.abs(total - spectrum.evaluate(masks)).max() < 1e-10 * scale


@given(spectra())
def test_shapley_values_share_out_what_the_full_training_set_adds(spectrum: Spectrum) -> None:
    masks = all_masks(N_PLAYERS)[[0, -1]]
    empty, full = spectrum.evaluate(masks)
    scale = 1.0 + sum(map(abs, spectrum.moebius().values()))
    assert abs(spectrum.shapley().sum() - (full - empty)) < 1e-10 * scale


@given(term_dicts, alphas, st.permutations(range(N_PLAYERS)))
def test_renaming_players_renames_the_results(
    terms: dict[tuple[int, ...], float], alpha: float, names: list[int]
) -> None:
    renamed = {tuple(names[player] for player in members): value for members, value in terms.items()}
    before, after = (Spectrum.from_terms(t, N_PLAYERS, alpha) for t in (terms, renamed))
    np.testing.assert_allclose(after.shapley()[list(names)], before.shapley(), rtol=1e-10, atol=1e-10)
    for members in terms:
        if len(members) >= 2:
            image = tuple(names[player] for player in members)
            np.testing.assert_allclose(
                after.joint_surplus(image), before.joint_surplus(members), rtol=1e-9, atol=1e-9
            )


@given(spectra(), spectra(), values)
def test_every_reading_is_linear_in_the_function(one: Spectrum, two: Spectrum, factor: float) -> None:
    other = two.at_alpha(one.alpha)
    mixed = one + factor * other
    scale = 1.0 + sum(map(abs, one.terms.values())) + abs(factor) * sum(map(abs, other.terms.values()))
    bound = 1e-10 * scale * one.sigma**-4
    assert np.abs(mixed.shapley() - one.shapley() - factor * other.shapley()).max() < bound
    members = (0, 1, 3)
    expected = one.joint_surplus(members) + factor * other.joint_surplus(members)
    assert abs(mixed.joint_surplus(members) - expected) < bound
