"""Copies, wrong labels and synergies planted into a simulated campaign lead to the decisions they should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attribution.curation.evidence import CurationRules, Evidence, PlayerEffects
from attribution.curation.label_check import LabelCheck
from attribution.curation.redundancy import Edge, bundles_of, clusters_of, keep_one_of_copies, replaceability
from attribution.curation.rules import check_enough_masks, curate, masks_needed
from attribution.curation.surrogate import Surrogate
from attribution.duplicates.any_present_test import (
    any_present_column,
    any_present_variance,
    group_tests,
    largest_detectable_group,
)
from attribution.errors import AttributionError
from attribution.linear.main_effects import main_effects
from tests.games import all_masks, copies

GOLDEN = Path(__file__).with_name("rule_and_reason.golden.txt")
ROW = {"gate_open": True, "q_value": 0.001, "stderr": 0.2, "class_split": "target_class"}


def columns(rows: list[dict]) -> dict[str, list]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def interaction(target: int, members: list[int], value: float, kind: str, main: list[float]) -> dict:
    return {
        "target": target, "members": members, "value": value, "shrunken": value, "kind": kind, "main_effects": main,
        **ROW,
    }  # fmt: skip


def effect(target: int, player: int, value: float, q: float = 0.001) -> dict:
    return {"target": target, "player": player, "effect": value, "q_value": q}


@pytest.fixture
def evidence() -> Evidence:
    """Ten players, classes 0 and 1 in turn: 0 and 2 are copies, 4 and 6 a synergy, 5 is mislabelled, 1 and 8 look alike
    but differ in label, 3 and 7 look alike and do nothing."""
    interactions = columns(
        [
            interaction(0, [0, 2], -2.0, "redundancy", [1.0, 1.0]),
            interaction(2, [4, 6], 1.5, "synergy", [0.8, 0.7]),
        ]
    )
    effects = columns(
        [effect(0, 0, 1.0), effect(0, 2, 1.0), effect(1, 5, -2.0), effect(3, 5, -1.0), effect(5, 5, 0.1, 0.9)]
    )
    overall = np.full(10, 0.002)
    overall[[0, 5]] = 0.004, -0.02
    errors = np.full(10, 0.002)
    tests = group_tests(
        np.random.default_rng(0).random((400, 10)) < 0.5,
        np.random.default_rng(1).normal(size=(400, 2)), [(3, 7), (1, 8)], 0.5,
    )  # fmt: skip
    return Evidence(
        player_classes=np.arange(10) % 2,
        class_names=("even", "odd"),
        interactions=interactions,
        effects=effects,
        target_classes={0: 0, 1: 1, 2: 0, 3: 1, 5: 1},
        overall=PlayerEffects(overall, errors),
        own_class=PlayerEffects(overall, errors),
        by_class=PlayerEffects(np.stack([overall * 2 * (np.arange(10) == 5), overall]), np.tile(errors, (2, 1))),
        surrogate=Surrogate(0.5, 0.6, overall, errors, ((0, 2), (4, 6)), np.array([-0.02, 0.01]), np.full(2, 0.001)),
        look_alikes=tests,
    )


@pytest.fixture
def checked(evidence: Evidence) -> Evidence:
    """The same, with labels checked by models that did not see the player: those of 5 and 8 do not fit."""
    score = np.full(10, 3.0)
    score[[5, 8]] = -5.0
    q = np.ones(10)
    q[[5, 8]] = 0.05
    return replace(evidence, labels=LabelCheck(score, q / 10, q, 400))


def test_rules_alone_drop_the_copy_and_the_wrong_label_and_protect_the_synergy(checked: Evidence) -> None:
    found = curate(checked, CurationRules())
    of = {decision.player: decision for decision in found.decisions}
    assert (of[2].decision, of[2].rule, of[2].stands_in, of[2].evidence) == ("drop", "redundant", 0, [0])
    assert (of[0].decision, of[0].rule, of[0].evidence) == ("keep", "representative", [0])
    assert (of[5].decision, of[5].rule) == ("drop", "mislabelled")
    assert found.accused.tolist() == (np.arange(10) == 5).tolist()
    assert [(of[p].decision, of[p].rule) for p in (4, 6)] == [("keep", "synergy")] * 2
    assert [(of[p].decision, of[p].rule) for p in (1, 8)] == [("review", "label_conflict")] * 2
    dropped = [p for p in (3, 7) if of[p].decision == "drop"]
    assert len(dropped) == 1 and of[dropped[0]].rule == "look_alike"
    assert (of[9].decision, of[9].rule) == ("keep", "worth")


def test_a_group_of_examples_that_another_replaces_is_looked_at_and_dropped_by_a_budget_only(checked: Evidence) -> None:
    sizes = np.full(10, 12)
    sizes[9] = 1
    groups = replace(checked, group_sizes=sizes, look_alikes=())
    found = curate(groups, CurationRules())
    decision = found.decisions[2]
    assert (decision.decision, decision.rule, decision.stands_in) == ("review", "redundant", 0) and found.keep[2]
    assert decision.reason.endswith(
        "That does not make each of its 12 examples replaceable: they are kept. Decide about them one by one "
        "(`coterie refine`), or set a budget."
    )
    assert curate(replace(groups, group_sizes=np.ones(10, np.int64)), CurationRules()).decisions[2].decision == "drop"
    assert any(d.decision == "drop" for d in curate(groups, CurationRules(n_keep=5)).decisions)


def test_a_label_among_the_most_doubtful_is_called_wrong_where_its_presence_lowers_the_utility(
    checked: Evidence,
) -> None:
    assert checked.labels is not None
    lower = checked.overall.effect < 0
    share = np.where(np.isin(np.arange(10), [0, 5]), 0.1, 0.5)  # 0 helps, 5 hurts
    labels = replace(checked.labels, q_value=np.ones(10), share_right=share)
    found = curate(replace(checked, labels=labels, look_alikes=()), CurationRules())
    assert found.accused.tolist() == (lower & (share <= 0.1)).tolist() and found.accused.any()


def test_no_label_is_called_wrong_where_misread_pictures_could_fill_a_fifth_of_the_list(checked: Evidence) -> None:
    """Beside 100 held-back pictures 2 of 10 labels must be in doubt: 10 (1 - .05^(1/100)) / .2 = 1.5."""
    assert checked.labels is not None
    found = curate(replace(checked, labels=replace(checked.labels, n_held_back=100)), CurationRules())
    decision = found.decisions[5]
    assert not found.accused.any()
    assert (decision.decision, decision.rule) == ("review", "label_in_doubt")
    assert "beside 100 held-back pictures 2 labels would have to be in such doubt" in decision.reason
    assert "and 1 is" in decision.reason and "mislabelled" not in decision.reason


def test_reasons_are_the_sentences_of_the_golden_file(checked: Evidence) -> None:
    """Names, numbers and wording as a user reads them; a changed sentence changes the file."""
    named = replace(checked, names=[f"train/{('even', 'odd')[p % 2]}/{p}.png" for p in range(10)])
    lines = []
    for rules in (CurationRules(), CurationRules(n_keep=5)):
        lines += [f"{d.player} {d.decision} {d.rule}: {d.reason}" for d in curate(named, rules).decisions]
    assert "\n".join(lines) + "\n" == GOLDEN.read_text(encoding="utf-8")


def test_a_harmful_player_is_not_accused_without_models_that_did_not_see_it(evidence: Evidence) -> None:
    decision = curate(evidence, CurationRules()).decisions[5]
    assert (decision.decision, decision.rule) == ("review", "harmful")
    assert "mislabelled" not in decision.reason and "2 of 3" in decision.reason


def test_a_label_that_does_not_fit_is_no_accusation_where_the_player_helps(checked: Evidence) -> None:
    overall = checked.overall.effect.copy()
    overall[5] = 0.02
    helped = replace(checked, overall=PlayerEffects(overall, checked.overall.stderr))
    assert curate(helped, CurationRules()).decisions[5].decision == "keep"


def test_an_original_and_its_copy_do_not_both_leave_for_a_third_player(evidence: Evidence) -> None:
    """3 and 7 are copies; both are redundant beside 9, which is worth more."""
    held = evidence.interactions
    rows = [dict(zip(held, values, strict=True)) for values in zip(*held.values(), strict=True)]
    rows += [interaction(3, [p, 9], -2.0, "redundancy", [1.0, 1.0]) for p in (3, 7)]
    overall = evidence.overall.effect.copy()
    overall[9] = 0.03
    given = replace(
        evidence, interactions=columns(rows), overall=PlayerEffects(overall, evidence.overall.stderr),
        effects=columns([effect(3, p, 1.0) for p in (3, 7, 9)]),
    )  # fmt: skip
    found = curate(given, CurationRules())
    assert sorted(found.decisions[p].decision for p in (3, 7)) == ["drop", "keep"]
    for n_keep in range(5, 10):
        assert curate(given, CurationRules(n_keep=n_keep)).keep[[3, 7]].any()


def test_of_copies_a_budget_dropped_the_best_comes_back_for_the_least_of_its_class() -> None:
    keep, worth = np.array([0, 0, 1, 1, 1, 0], dtype=bool), np.array([0.1, 0.2, 0.3, 0.05, 0.01, 0.4])
    classes, none = np.array([0, 0, 0, 0, 1, 1]), np.zeros(6, dtype=bool)
    back = keep_one_of_copies(keep, [(0, 1)], classes, worth, none, none)
    assert np.flatnonzero(back).tolist() == [1, 2, 4]
    assert (keep_one_of_copies(keep, [(0, 1)], classes, worth, none, np.arange(6) < 2) == keep).all()


def test_a_budget_is_met_exactly_and_never_splits_a_synergy(evidence: Evidence) -> None:
    for n_keep in range(1, 10):
        found = curate(evidence, CurationRules(n_keep=n_keep))
        assert found.solution is not None
        assert found.solution.keep.sum() == n_keep
        assert found.solution.keep[[4, 6]].sum() in (0, 2)
        assert all(decision.decision != "drop" or decision.reason for decision in found.decisions)


def test_a_harmful_member_of_a_synergy_is_put_up_for_review_not_dropped(evidence: Evidence) -> None:
    overall = evidence.overall.effect.copy()
    overall[4] = -0.02
    harmed = replace(evidence, overall=PlayerEffects(overall, evidence.overall.stderr))
    assert curate(harmed, CurationRules()).decisions[4].decision == "review"


def test_a_boundary_synergy_with_a_wrong_label_protects_nobody(checked: Evidence) -> None:
    held = checked.interactions
    rows = [dict(zip(held, values, strict=True)) for values in zip(*held.values(), strict=True)]
    rows.append(interaction(1, [5, 9], 1.0, "boundary_synergy", [-2.0, 1.0]))
    found = curate(replace(checked, interactions=columns(rows)), CurationRules())
    assert found.decisions[5].decision == "drop"
    assert not found.decisions[9].protected_by


def test_of_a_chain_the_middle_stands_in_for_both_ends() -> None:
    edges = [Edge(a, b, 0.9) for a, b in [(0, 1), (1, 0), (1, 2), (2, 1)]]
    (cluster,) = clusters_of(edges, np.array([1.0, 3.0, 2.0]), 0.5)
    assert cluster.kept == (1,)
    assert set(cluster.stands_in) == {0, 2}
    # With the ends worth more, neither covers the other: both stay, and only the middle goes.
    (cluster,) = clusters_of(edges, np.array([3.0, 1.0, 2.0]), 0.5)
    assert cluster.kept == (0, 2)
    assert set(cluster.stands_in) == {1}


def test_replaceability_falls_with_what_a_player_does_elsewhere() -> None:
    rows = columns([interaction(0, [0, 1], -2.0, "redundancy", [1.0, 1.0])])
    effects = columns([effect(0, 0, 1.0), effect(0, 1, 1.0), effect(7, 1, 3.0), effect(8, 1, 3.0)])
    shares = {edge.covered: edge.share for edge in replaceability(rows, effects, 0.5, 0.1)}
    assert shares[0] == pytest.approx(1.0)
    assert shares[1] == pytest.approx(2.0 / (2.0 + 6.0))


def test_bundles_merge_sets_that_share_players() -> None:
    assert bundles_of([(1, 2), (5, 6), (2, 3), (8, 9, 5)]) == [[1, 2, 3], [5, 6, 8, 9]]


@pytest.mark.parametrize("alpha", [0.5, 0.3])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_group_column_is_what_is_left_beside_the_members_own_columns(alpha: float, k: int) -> None:
    masks = all_masks(6)
    weight = np.prod(np.where(masks, alpha, 1 - alpha), axis=1)
    column = any_present_column(masks, range(k), alpha)
    assert weight @ column == pytest.approx(0, abs=1e-12)
    assert weight @ (column[:, None] * masks) == pytest.approx(np.zeros(6), abs=1e-12)
    assert weight @ column**2 == pytest.approx(any_present_variance(k, alpha))


def test_a_cluster_of_five_copies_is_seen_as_a_group_though_not_pair_by_pair() -> None:
    game = copies(5)
    generator = np.random.default_rng(2)
    masks = generator.random((1800, 12)) < 0.5
    outputs = 3.0 * game.evaluate(masks[:, : game.n_players]) + generator.normal(0, 1.0, 1800)
    residuals = main_effects(masks, outputs[:, None], 0.5).residuals
    tests = group_tests(masks, residuals, [range(5), (6, 7, 8)], 0.5)
    assert tests[0].q_value < 0.01
    assert abs(tests[0].effect - 3.0) < 4 * tests[0].stderr
    assert tests[1].q_value > 0.1


def test_the_detectable_cluster_size_grows_with_the_campaign() -> None:
    sizes = [largest_detectable_group(n, 0.5, effect=1.0, residual_sd=1.0) for n in (64, 1024, 16384)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_too_few_models_are_refused_with_the_number_that_is_needed() -> None:
    needed = masks_needed(200, 0.5)
    check_enough_masks(needed, 200, 0.5)
    with pytest.raises(AttributionError, match=f"campaign.n_fit={needed}"):
        check_enough_masks(needed - 1, 200, 0.5)
