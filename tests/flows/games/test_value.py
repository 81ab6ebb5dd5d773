"""A value function of the user's own: one call for many masks, exact outputs, the library's numbers, every fault."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from attribution import ProxySPEX
from conf.compose import compose
from conf.schema import CampaignConfig
from flows.audit.fragments import audit
from flows.compute.ray_cluster import Cluster
from flows.games.table import make_game, runs_unnamed_code, trust_what_is_named
from flows.games.trainer.own_code import OwnCodeError
from flows.runtime.trust import NotNamed
from flows.store.campaign import Campaign
from tests.flows.games.own_value import N_PLAYERS, N_TARGETS, REDUNDANT, SYNERGY, outputs_of
from tests.flows.toy import ROOT, run_stages

MODULE = "tests.flows.games.own_value"
WORDS = str(ROOT / "examples" / "values" / "words.yaml")
SIZE = ("campaign.n_fit=256", "campaign.n_holdout=64", "attribution.published_targets=0")


def config_of(*overrides: str, function: str = "value") -> CampaignConfig:
    return compose("value", [f"game.function={MODULE}:{function}", *overrides])


def masks_of(n: int) -> np.ndarray:
    return np.random.default_rng(0).random((n, N_PLAYERS)) < 0.5


def test_outputs_are_the_functions_own_whatever_the_seeds_and_the_batch() -> None:
    game, masks = make_game(config_of()), masks_of(9)
    found = game.evaluate(masks, [0] * 9)
    assert game.deterministic and set(found.status) == {"ok"}
    assert np.array_equal(found.outputs, outputs_of(masks).astype(np.float32))
    assert np.array_equal(game.evaluate(masks[:4], range(4)).outputs, found.outputs[:4])
    assert np.array_equal(pickle.loads(pickle.dumps(game)).evaluate(masks, [0] * 9).outputs, found.outputs)
    assert json.loads(json.dumps([game.facts, game.identity()])) == [game.facts, game.identity()]


def test_one_target_may_be_a_vector_and_losses_are_turned() -> None:
    game = make_game(config_of("game.targets=1", "game.higher_is_better=false", function="one_target"))
    masks = masks_of(5)
    assert np.array_equal(game.evaluate(masks, [0] * 5).outputs[:, 0], -outputs_of(masks)[:, 0].astype(np.float32))


def test_players_are_groups_of_rows_and_the_function_is_given_rows() -> None:
    game = make_game(config_of("game.group_by=sentence"))
    assert game.n_players == N_PLAYERS // 2
    mask = np.zeros((1, game.n_players), bool)
    mask[0, 1] = True
    rows = np.zeros((1, N_PLAYERS), bool)
    rows[0, 2:4] = True
    assert np.array_equal(game.evaluate(mask, [0]).outputs, outputs_of(rows).astype(np.float32))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("raises", "RuntimeError: no licence"),
        ("returns_none", r"the function returned None; it must return outputs of shape \(4, 3\)"),
        ("returns_text", r"returned a list of 4; it must return numbers of shape \(4, 3\)"),
        ("transposed", r"shape \(3, 4\) for 4 masks and 3 targets, so \(4, 3\) is expected"),
        ("one_target", r"shape \(4,\) for 4 masks and 3 targets, so \(4, 3\) is expected"),
    ],
)
def test_a_call_that_fails_is_a_row_with_a_reason_for_each_mask(function: str, reason: str) -> None:
    import re

    found = make_game(config_of(function=function)).evaluate(masks_of(4), [0] * 4)
    assert list(found.status) == ["failed"] * 4 and found.reasons is not None
    assert all(re.search(reason, given) and "\n" not in given for given in found.reasons)


def test_a_mask_without_a_number_is_a_row_of_its_own() -> None:
    masks = masks_of(6)
    found = make_game(config_of(function="not_finite")).evaluate(masks, [0] * 6)
    assert list(found.status) == ["ok" if mask[0] else "diverged" for mask in masks]


def test_a_function_with_other_arguments_and_one_that_only_a_folder_names_are_refused() -> None:
    config = config_of(function="takes_indices")
    with pytest.raises(OwnCodeError, match="called with masks, context, but takes"):
        make_game(config).check()
    try:
        trust_what_is_named("given", config_of())
        assert runs_unnamed_code(config_of())
        with pytest.raises(NotNamed, match=f"add game.function={MODULE}:value"):
            make_game(config_of())
    finally:
        trust_what_is_named("given", config_of(), [f"game.function={MODULE}:value"])
    assert not runs_unnamed_code(config_of())


@pytest.mark.ray
def test_from_plan_to_report_the_interactions_are_those_of_the_library_and_an_audit_agrees(
    cluster: Cluster, tmp_path: Path
) -> None:
    config = config_of(f"campaign.folder={tmp_path / 'c'}", *SIZE)
    run_stages(config)
    campaign = Campaign(tmp_path / "c")
    pairs = campaign.training_pairs("fit")
    assert np.array_equal(pairs.outputs, outputs_of(pairs.masks).astype(np.float32))
    model = ProxySPEX(alpha=0.5, max_order=3, seed=0).fit(pairs.masks, pairs.outputs)
    stored = [row for row in campaign.read("interactions").to_pylist() if row["q_value"] < 0.01]
    for target in range(N_TARGETS):
        # Curvatures are shrunken to those of the whole campaign, so that the two are the same up to a small part of
        # the standard error and not to rounding.
        own = {tuple(row["members"]): row for row in stored if row["target"] == target}
        library = {found.members: found.value for found in model.interactions(target)}
        assert all(abs(row["value"] - library[members]) < 0.25 * row["stderr"] for members, row in own.items())
    found = {(row["target"], tuple(row["members"])): row for row in stored}
    for place, kind, value in (((0, REDUNDANT), "redundancy", -2.0), ((1, SYNERGY), "synergy", 4.0)):
        assert found[place]["kind"] == kind and abs(found[place]["value"] - value) < 3 * found[place]["stderr"]
    page = (tmp_path / "c" / "report.html").read_text()
    assert "word 3" in page and "about <b>this</b>" not in page and "exact" in page
    assert not audit(campaign, config, sample=1).findings
    shutil.rmtree(tmp_path / "c")


@pytest.mark.ray
def test_an_audit_names_a_function_that_is_none_of_the_mask_alone(cluster: Cluster, tmp_path: Path) -> None:
    config = config_of(f"campaign.folder={tmp_path / 'c'}", *SIZE, function="reads_the_others")
    run_stages(config)
    (found,) = audit(Campaign(tmp_path / "c"), config, sample=1).findings
    assert "is no function of the mask alone: two calls with the same masks differ by up to" in str(found)


def test_naive_bayes_adds_up_its_words_and_neighbours_meet_in_bigrams() -> None:
    game = make_game(compose(WORDS))
    masks = np.random.default_rng(0).random((400, game.n_players)) < 0.5
    outputs = game.evaluate(masks, [0] * 400).outputs.astype(np.float64)
    design = np.column_stack([np.ones(400), masks])
    left = outputs - design @ np.linalg.lstsq(design, outputs, rcond=None)[0]
    shares = left.var(axis=0) / outputs.var(axis=0)
    assert shares[0] < 1e-9 and (shares[1:] > 0.02).all()
    assert len(set(game.player_names)) == game.n_players == 24


@pytest.mark.ray
@pytest.mark.slow
def test_the_words_of_a_text_go_from_plan_to_report(cluster: Cluster, tmp_path: Path) -> None:
    config = compose(WORDS, [f"campaign.folder={tmp_path / 'c'}", *SIZE, "attribution.max_order=2"])
    run_stages(config)
    page = (tmp_path / "c" / "report.html").read_text()
    assert "24 message" in page and "naive Bayes" in page
