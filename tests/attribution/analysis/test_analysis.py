"""A block of targets becomes columns of tables, blocks together one family; a real campaign is read right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attribution.analysis import scores
from attribution.analysis.block_tables import analyse_targets, assign_q_values, pooled_targets
from attribution.errors import AttributionError
from tests.games import planted_interactions

DIGITS = Path(__file__).parents[3] / ".." / "shared" / "campaigns" / "digits-200.npz"

EFFECTS = {"target", "player", "effect", "shrunken", "stderr", "p_value", "q_value"}
INTERACTIONS = {
    "target", "members", "order", "value", "saturation", "specific", "shrunken", "stderr", "saturation_stderr",
    "specific_stderr", "raw", "raw_stderr", "p_value", "q_value", "specific_p_value", "specific_q_value", "moebius",
    "joint_surplus", "specific_surplus", "kind", "class_split", "main_effects", "main_effect_stderrs", "in_spectrum",
    "gate_open", "proposed_by", "also_proposed_by",
}  # fmt: skip
FAITHFULNESS = {"target", "estimator", "metric", "value", "low", "high"}
SCORES = {
    *((name, metric) for name in ("datamodel", "link", "proxy", "spectrum") for metric in ("r2", "lds")),
    *(("none", metric) for metric in ("noise_ceiling", "output_sd")),
    *(("spectrum", metric) for metric in ("n_interactions", "gate_p", "gate_q", "gate_open")),
}


@pytest.fixture(scope="module")
def campaign():
    games = [planted_interactions(50, 0, noise_ceiling=0.8, n_pairs=8, n_triples=0)]
    games += [planted_interactions(50, k, noise_ceiling=0.5, interaction_share=0.0) for k in (1, 2, 3)]
    masks, held = games[0].draw_masks(900, 0), games[0].draw_masks(256, 1)
    return {
        "masks": masks,
        "outputs": np.column_stack([game.observe(masks, 10 + k) for k, game in enumerate(games)]),
        "holdout_masks": held,
        "holdout_outputs": np.column_stack([game.observe(held, 20 + k) for k, game in enumerate(games)]),
        "holdout_replicates": np.column_stack([game.observe(held, 40 + k) for k, game in enumerate(games)]),
        "player_classes": np.arange(50) % 2,
        "target_classes": np.array([0, 1, 0, 1]),
        "target_ids": np.array([7, 3, 5, 1]),
    }


@pytest.fixture(scope="module")
def block(campaign):
    return analyse_targets(**campaign)


def gates(blocks):
    """{target: whether its gate is open}"""
    return {
        int(target): bool(is_open)
        for block in blocks
        for target, is_open in zip(block.targets, block.scores["spectrum", "gate_open"].value, strict=True)
    }


def test_the_tables_have_their_columns_and_rows(block):
    assert set(block.effects) == EFFECTS
    assert set(block.interactions) == INTERACTIONS
    assert set(block.faithfulness) == FAITHFULNESS
    for table in (block.effects, block.interactions, block.faithfulness):
        assert len({len(column) for column in table.values()}) == 1
    assert len(block.effects["target"]) == 4 * 50
    assert set(block.scores) == SCORES
    rows = zip(*(block.faithfulness[name] for name in ("target", "estimator", "metric")), strict=True)
    assert sorted(rows) == sorted((target, *score) for target in (7, 3, 5, 1) for score in SCORES)


def test_verdicts_follow_what_was_planted(block):
    assert gates([block]) == {7: True, 3: False, 5: False, 1: False}
    flags = set(zip(block.interactions["target"].tolist(), block.interactions["gate_open"], strict=True))
    assert flags <= {(7, True), (3, False), (5, False), (1, False)}


def test_scores_stand_in_their_order_and_below_the_ceiling(block):
    r2 = {name: block.scores[name, "r2"] for name in ("datamodel", "proxy", "spectrum")}
    assert r2["spectrum"].value[0] > r2["datamodel"].value[0] + 0.05
    assert np.abs(r2["spectrum"].value - r2["datamodel"].value)[1:].max() < 0.03
    for score in r2.values():
        assert (score.low < score.value).all() and (score.value < score.high).all()
    ceiling = block.scores["none", "noise_ceiling"]
    assert np.abs(ceiling.value - [0.8, 0.5, 0.5, 0.5]).max() < 0.15
    assert (ceiling.low < ceiling.value).all()


def test_a_row_of_the_table_holds_the_score_of_its_target(block):
    table = block.faithfulness
    for at in (0, 13, 41):
        score = block.scores[table["estimator"][at], table["metric"][at]]
        place = [7, 3, 5, 1].index(table["target"][at])
        assert table["value"][at] == score.value[place]
        expected = np.nan if score.low is None else score.low[place]
        assert np.array_equal(table["low"][at], expected, equal_nan=True)


def test_the_interval_of_a_set_and_its_raw_estimate_are_both_stored(block):
    """Allowing for selection shrinks the centre; the raw z is what was tested; members have an error each."""
    table = block.interactions
    assert (np.abs(table["value"]) <= np.abs(table["raw"]) + 1e-12).all()
    z = np.abs(table["raw"] / table["raw_stderr"])
    assert z.min() > 2 and (z[table["p_value"] < 1e-3] > 3).all()
    assert [len(errors) for errors in table["main_effect_stderrs"]] == table["order"].tolist()
    kept = sum(inside and target == 7 for inside, target in zip(table["in_spectrum"], table["target"], strict=True))
    assert 0 < kept <= block.scores["spectrum", "n_interactions"].value[0]


class MeanOutput:
    """The simplest estimator there is: the mean output, whatever the mask."""

    def fit(self, masks, outputs, groups=None):
        self.mean_ = outputs.mean(axis=0)
        return self

    def predict(self, masks):
        return np.tile(self.mean_, (len(masks), 1))


def test_one_line_adds_an_estimator(campaign, block, monkeypatch):
    monkeypatch.setitem(scores.ESTIMATORS, "mean", scores.library(lambda block: MeanOutput()))
    more = analyse_targets(**campaign)
    assert set(more.scores) == SCORES | {("mean", "r2"), ("mean", "lds")}
    assert np.abs(more.scores["mean", "r2"].value).max() < 0.05  # held-out masks have another mean
    for name in SCORES:
        assert np.array_equal(more.scores[name].value, block.scores[name].value), name


def test_an_estimator_that_predicts_too_few_targets_is_named(campaign, monkeypatch):
    monkeypatch.setitem(scores.ESTIMATORS, "short", lambda block: lambda masks, alphas: np.zeros((len(masks), 1)))
    with pytest.raises(AttributionError, match=r"estimator 'short' predicts \(256, 1\)"):
        analyse_targets(**campaign)


def test_q_values_can_be_left_to_the_step_over_all_blocks(campaign, block):
    bare = analyse_targets(**campaign, with_q_values=False)
    assert "q_value" not in bare.interactions and ("spectrum", "gate_q") not in bare.scores
    assigned = assign_q_values([bare])[0]
    assert assigned.interactions["q_value"].tolist() == block.interactions["q_value"].tolist()
    assert gates([assigned]) == gates([block])


def test_blocks_are_adjusted_as_one_family_whatever_their_cut(campaign, block):
    parts = []
    for columns in ([0, 1], [2, 3]):
        wide = ("outputs", "holdout_outputs", "holdout_replicates")
        part = {name: values[:, columns] if name in wide else values for name, values in campaign.items()}
        part |= {name: campaign[name][columns] for name in ("target_classes", "target_ids")}
        parts.append(analyse_targets(**part))
    alone = parts[0].interactions["q_value"]
    together = assign_q_values(parts)
    assert gates(together) == {7: True, 3: False, 5: False, 1: False}
    # The second block holds null sets alone. (Near q = 1 the strata's shares of the weight, which are those of all
    # blocks' tests, may lower a q-value a little.)
    listed = alone <= 0.3
    assert listed.sum() > 3 and (together[0].interactions["q_value"][listed] >= alone[listed] - 1e-12).all()
    strong = together[0].interactions["p_value"] < 1e-8
    assert strong.any() and (together[0].interactions["q_value"][strong] < 0.01).all()
    # Which sets stand beside the main effects depends a little on the block, whose targets share their priors.
    difference = together[0].effects["effect"] - block.effects["effect"][:100]
    assert np.abs(difference / block.effects["stderr"][:100]).max() < 0.1


def test_without_held_out_masks_scores_are_missing_not_zero(campaign):
    block = analyse_targets(campaign["masks"], campaign["outputs"], max_order=2)
    assert np.isnan(block.scores["spectrum", "r2"].value).all()
    assert np.isnan(block.scores["none", "noise_ceiling"].value).all()
    assert gates([block])[0]


def test_held_out_rows_that_failed_are_left_out(campaign):
    holes = campaign["holdout_outputs"].copy()
    holes[5] = np.nan
    block = analyse_targets(**{**campaign, "holdout_outputs": holes})
    assert np.isfinite(block.scores["spectrum", "r2"].value).all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"holdout_outputs": np.zeros((256, 2))}, "holdout_outputs must have shape"),
        ({"holdout_masks": np.zeros((256, 9), bool)}, r"holdout_masks must have shape \(n_masks, 50\).*got \(256, 9\)"),
        ({"target_ids": [1, 2]}, "target_ids must be 4"),
        ({"player_classes": np.zeros(3, int)}, "player_classes"),
        ({"sampler": "fixed_size"}, "fixed_size"),
    ],
)
def test_what_does_not_fit_together_is_named(campaign, spoil, message):
    with pytest.raises(AttributionError, match=message):
        analyse_targets(**{**campaign, **spoil})


def test_pooled_targets_are_means_and_are_named():
    outputs = np.arange(12.0).reshape(2, 6)
    assert pooled_targets(outputs, np.zeros(6, int))[1].tolist() == [-1]  # one class: its mean is the mean of all
    pooled, ids = pooled_targets(outputs, np.array([0, 0, 2, 2, 2, -1]))
    assert ids.tolist() == [-1, -2, -4]
    assert np.allclose(pooled, [[2.5, 0.5, 3.0], [8.5, 6.5, 9.0]])
    with pytest.raises(AttributionError):
        pooled_targets(outputs, np.zeros(3, int))


@pytest.mark.skipif(not DIGITS.exists(), reason="the shared digits campaign is not here")
def test_the_real_digits_campaign_says_what_it_said_by_hand():
    with np.load(DIGITS) as data:
        masks = np.unpackbits(data["masks"], axis=1, bitorder="little")[:, :200].astype(bool)
        chosen = [56, 41, 388, 378, 162, 120]
        outputs = data["outputs"][:, chosen]
    block = analyse_targets(
        masks[:1792], outputs[:1792], holdout_masks=masks[1792:], holdout_outputs=outputs[1792:],
        target_ids=chosen, settings={"max_triple_players": 0, "n_proxy_sets": 0},
    )  # fmt: skip
    assert block.fixed_size
    linear, sparse = (block.scores[name, "r2"].value for name in ("datamodel", "spectrum"))
    by_hand = np.array([0.479, 0.560, 0.292, 0.614, 0.340, 0.470])
    assert np.abs(linear - by_hand).max() < 0.015
    gain = sparse - linear
    assert list(gates([block]).values()) == [False, True, True, False, False, True]  # those that gain anything
    assert (gain > -0.01).all()
    assert gain[1] > 0.08 and gain[2] > 0.03 and gain[5] > 0.01
    strongest = block.interactions["members"][int(np.argmin(block.interactions["p_value"]))]
    assert strongest == [15, 21]
    kinds = np.array(block.interactions["kind"])[block.interactions["q_value"] < 0.01]
    assert (kinds == "redundancy").mean() > 0.7
