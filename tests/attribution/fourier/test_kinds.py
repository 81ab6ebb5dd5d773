"""The kind of an interaction is the table of docs/METHOD.md, read off known games through the joint surplus."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.errors import SpectrumError
from attribution.fourier.kinds import KINDS, class_split, kind_of
from attribution.fourier.spectrum import Spectrum
from attribution.levels import Z95
from tests.games import Game, conjunction, copies, duplicates, from_moebius, majority


def kind_in(spectrum: Spectrum, members: tuple[int, ...], higher_is_better: bool = True) -> str:
    effects = [spectrum.banzhaf((player,)) for player in members]
    return kind_of(effects, None, spectrum.joint_surplus(members), higher_is_better)


@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("effect", [1.0, -1.0])
@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_copies_are_redundant_and_conjunctions_synergistic_whatever_their_effect(
    k: int, effect: float, alpha: float
) -> None:
    members = tuple(range(k))
    for higher_is_better in (True, False):
        redundant = copies(k, effect=effect, alpha=alpha).spectrum
        assert kind_in(redundant, members, higher_is_better) == "redundancy"
        synergistic = conjunction(k, effect=effect, alpha=alpha).spectrum
        assert kind_in(synergistic, members, higher_is_better) == "synergy"


def test_the_interaction_alone_would_call_three_copies_a_synergy_and_a_majority_redundant() -> None:
    assert copies(3).spectrum.banzhaf((0, 1, 2)) > 0
    assert kind_in(copies(3).spectrum, (0, 1, 2)) == "redundancy"
    assert majority(3).spectrum.banzhaf((0, 1, 2)) < 0
    assert kind_in(majority(3).spectrum, (0, 1, 2)) == "synergy"


def test_every_duplicated_pair_is_redundant() -> None:
    game = duplicates(12, [(0, 5), (7, 2), (3, 11)], seed=0)
    assert game.planted == ((0, 5), (2, 7), (3, 11))
    assert {kind_in(game.spectrum, pair) for pair in game.planted} == {"redundancy"}


def boundary(interaction: float) -> Game:
    """Player 0 helps, player 1 hurts, and their pair adds `interaction`."""
    return from_moebius({(0,): 1.0, (1,): -1.0, (0, 1): interaction}, n_players=2)


def test_a_helper_that_counts_for_more_beside_one_that_hurts_is_a_boundary_synergy() -> None:
    assert kind_in(boundary(0.4).spectrum, (0, 1)) == "boundary_synergy"
    assert kind_in(boundary(-0.4).spectrum, (0, 1)) == "interference"


def test_where_a_lower_output_is_better_only_mixed_signs_change_their_reading() -> None:
    assert kind_in(boundary(0.4).spectrum, (0, 1), higher_is_better=False) == "interference"
    assert kind_in(boundary(-0.4).spectrum, (0, 1), higher_is_better=False) == "boundary_synergy"


def test_a_main_effect_within_its_error_of_zero_has_no_sign() -> None:
    assert kind_of([1.0, 0.5], [0.1, 0.25], -1.0) == "redundancy"
    assert kind_of([1.0, 0.5], [0.1, 0.26], -1.0) == "uncertain"
    assert kind_of([1.0, 0.5], [0.1, 0.26], -1.0, critical_z=1.0) == "redundancy"
    assert kind_of([1.0, 0.0], None, -1.0) == "uncertain"


@pytest.mark.parametrize("effects", [[math.nan, 1.0], [1.0, math.nan]])
def test_what_is_not_known_is_uncertain(effects: list[float]) -> None:
    assert kind_of(effects, [0.1, 0.1], 1.0) == "uncertain"
    assert kind_of([1.0, 1.0], effects, 1.0) == "uncertain"
    assert kind_of([1.0, 1.0], [0.1, 0.1], math.nan) == "uncertain"
    assert kind_of([1.0, 1.0], [0.1, 0.1], 0.0) == "uncertain"


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=5), st.floats(-5, 5), st.booleans(), st.floats(0.01, 100)
)
def test_kinds_depend_on_signs_alone_and_not_on_the_order_of_members(
    effects: list[float], surplus: float, higher_is_better: bool, unit: float
) -> None:
    stderrs = [0.5] * len(effects)
    kind = kind_of(effects, stderrs, surplus, higher_is_better)
    assert kind in KINDS
    assert kind_of(effects[::-1], stderrs, surplus, higher_is_better) == kind
    # An output measured the other way round, read the other way round, is the same finding.
    turned = kind_of([-effect for effect in effects], stderrs, -surplus, not higher_is_better)
    assert turned == kind
    if min(abs(abs(effect) - Z95 * 0.5) for effect in effects) > 1e-9 and abs(surplus) > 1e-9:
        scaled = kind_of(
            [unit * e for e in effects], [unit * 0.5] * len(effects), unit * surplus, higher_is_better
        )
        assert scaled == kind


def test_a_kind_needs_two_members_and_an_error_for_each() -> None:
    with pytest.raises(SpectrumError, match="at least two"):
        kind_of([1.0], [0.1], 1.0)
    with pytest.raises(SpectrumError, match="as many standard errors"):
        kind_of([1.0, 1.0], [0.1], 1.0)
    with pytest.raises(SpectrumError, match="negative"):
        kind_of([1.0, 1.0], [0.1, -0.1], 1.0)


@pytest.mark.parametrize(
    ("member_classes", "target_class", "expected"),
    [
        ([1, 1], 1, "target_class"),
        ([1, 0], 1, "cross_class"),
        ([0, 0, 0], 1, "cross_class"),
        (None, 1, ""),
        ([1, 1], None, ""),
        ([1, 1], -2, ""),
        ([1, -1], 1, ""),
        ([], 1, ""),
    ],
)
def test_the_class_split_asks_whether_all_members_share_the_targets_class(
    member_classes: list[int] | None, target_class: int | None, expected: str
) -> None:
    assert class_split(member_classes, target_class) == expected
