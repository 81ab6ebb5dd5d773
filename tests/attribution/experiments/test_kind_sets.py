"""Sets asked for by kind or order: which are tried and what is predicted of them; the top sets stay what they are."""

from __future__ import annotations

import math

import pytest

from attribution.errors import AttributionError
from attribution.experiments.factorial import Interval
from attribution.experiments.sets_to_try import planned_effect, sets_of_kind, top_sets
from attribution.experiments.verdicts import verdict_of


def table(*rows: dict) -> dict[str, list]:
    """Columns of an interactions table."""
    common = {"gate_open": True, "class_split": "", "stderr": 0.5, "target": 0}
    full = [{**common, **row, "joint_surplus": row["value"]} for row in rows]
    full = [{"shrunken": 0.8 * row["value"], **row} for row in full]
    return {name: [row[name] for row in full] for name in full[0]}


ROWS = table(
    {"members": [0, 1], "value": -5.0, "q_value": 1e-9, "kind": "redundancy"},
    {"members": [2, 3], "value": 3.0, "q_value": 0.01, "kind": "synergy", "target": 4},
    {"members": [2, 3], "value": 2.0, "q_value": 0.9, "kind": "synergy", "target": 5},
    {"members": [4, 5], "value": 1.5, "q_value": 0.8, "kind": "synergy", "shrunken": -0.01},
    {"members": [6, 7], "value": 2.5, "q_value": 0.01, "kind": "boundary_synergy", "gate_open": False},
    {"members": [0, 1, 2], "value": 1.0, "q_value": 0.9, "kind": "redundancy"},
    {"members": [8, 9], "value": 9.0, "q_value": 1e-9, "kind": "synergy", "target": -1},
)


def test_the_strongest_sets_of_the_kinds_come_first_each_on_its_best_individual_target() -> None:
    found = sets_of_kind(ROWS, kinds=("synergy", "boundary_synergy"), level=0.1)
    assert [(candidate.members, candidate.target) for candidate in found] == [((2, 3), 4), ((6, 7), 0), ((4, 5), 0)]
    assert found[0].evidence == pytest.approx(36 + 16)
    assert [candidate.q_value for candidate in found] == [0.01, 0.01, 0.8]


def test_what_the_campaign_does_not_carry_is_exploratory() -> None:
    """Behind a closed gate or above the false discovery rate."""
    found = sets_of_kind(ROWS, kinds=("synergy", "boundary_synergy"), level=0.1)
    assert [candidate.origin for candidate in found] == ["kind", "exploratory", "exploratory"]


def test_orders_can_be_asked_for_instead() -> None:
    assert [candidate.members for candidate in sets_of_kind(ROWS, orders=(3,))] == [(0, 1, 2)]
    assert sets_of_kind(ROWS, kinds=("synergy",), orders=(3,)) == []


def test_the_top_sets_are_not_moved_by_what_is_explored() -> None:
    assert [candidate.members for candidate in top_sets(ROWS)] == [(0, 1), (2, 3)]
    assert {candidate.origin for candidate in top_sets(ROWS)} == {"reported"}


def test_of_an_exploratory_set_the_sign_is_predicted_and_half_the_raw_size_is_planned_for() -> None:
    *_, weak = sets_of_kind(ROWS, kinds=("synergy",))
    assert weak.predicted == 0.01  # the shrunken size with the sign of I
    assert planned_effect(weak) == 0.75
    measured = [Interval(mean, 0.1, mean - 0.3, mean + 0.3, 9, 0.3, 0.05) for mean in (0.5, 0.1, -0.5)]
    assert [verdict_of(found, weak.predicted) for found in measured] == ["certified", "undecided", "refuted"]
    supported = sets_of_kind(ROWS, kinds=("synergy",))[0]
    assert planned_effect(supported) == supported.predicted == pytest.approx(2.4)


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(AttributionError, match="no kind antagonism. Kinds: redundancy, synergy"):
        sets_of_kind(ROWS, kinds=("antagonism",))


def test_a_set_without_a_standard_error_is_left_out() -> None:
    rows = table({"members": [0, 1], "value": 5.0, "q_value": 0.5, "kind": "synergy", "stderr": math.nan})
    assert sets_of_kind(rows, kinds=("synergy",)) == []
