"""A block of targets becomes columns of tables, blocks together one family; a real campaign is read right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attribution.analysis.block_tables import analyse_targets, assign_q_values, pooled_targets
from attribution.errors import AttributionError
from tests.games import planted_interactions

DIGITS = Path(__file__).parents[3] / ".." / "shared" / "campaigns" / "digits-200.npz"

EFFECTS = {"target", "player", "effect", "shrunken", "stderr", "p_value", "q_value"}
INTERACTIONS = {
    "target", "members", "order", "banzhaf", "shrunken", "stderr", "p_value", "q_value", "moebius", "joint_surplus",
    "kind", "class_split", "main_effects", "gate_open",
}  # fmt: skip
FAITHFULNESS = {
    "target", "target_class", "noise_ceiling", "noise_ceiling_low", "noise_ceiling_high", "lds_datamodel", "lds_proxy",
    "lds_spectrum", "gate_p", "gate_q", "verdict", "n_interactions", "output_sd",
    *(f"r2_{name}{bound}" for name in ("datamodel", "proxy", "spectrum") for bound in ("", "_low", "_high")),
}  # fmt: skip


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


def test_the_tables_have_their_columns_and_rows(block):
    assert set(block.effects) == EFFECTS
    assert set(block.interactions) == INTERACTIONS
    assert set(block.faithfulness) == FAITHFULNESS
    for table in (block.effects, block.interactions, block.faithfulness):
        assert len({len(column) for column in table.values()}) == 1
    assert len(block.effects["target"]) == 4 * 50
    assert block.faithfulness["target"].tolist() == [7, 3, 5, 1]


def test_verdicts_follow_what_was_planted(block):
    verdict = dict(zip(block.faithfulness["target"].tolist(), block.faithfulness["verdict"], strict=True))
    assert verdict == {7: "interactions", 3: "no evidence", 5: "no evidence", 1: "no evidence"}
    flags = set(zip(block.interactions["target"].tolist(), block.interactions["gate_open"], strict=True))
    assert flags <= {(7, True), (3, False), (5, False), (1, False)}


def test_scores_stand_in_their_order_and_below_the_ceiling(block):
    table = block.faithfulness
    assert table["r2_spectrum"][0] > table["r2_datamodel"][0] + 0.05
    assert np.abs(table["r2_spectrum"] - table["r2_datamodel"])[1:].max() < 0.03
    for name in ("datamodel", "proxy", "spectrum"):
        assert (table[f"r2_{name}_low"] < table[f"r2_{name}"]).all()
        assert (table[f"r2_{name}"] < table[f"r2_{name}_high"]).all()
    assert np.abs(table["noise_ceiling"] - [0.8, 0.5, 0.5, 0.5]).max() < 0.15
    assert (table["noise_ceiling_low"] < table["noise_ceiling"]).all()


def test_blocks_are_adjusted_as_one_family_whatever_their_cut(campaign, block):
    parts = []
    for columns in ([0, 1], [2, 3]):
        wide = ("outputs", "holdout_outputs", "holdout_replicates")
        part = {name: values[:, columns] if name in wide else values for name, values in campaign.items()}
        part |= {name: campaign[name][columns] for name in ("target_classes", "target_ids")}
        parts.append(analyse_targets(**part))
    alone = parts[0].interactions["q_value"]
    together = assign_q_values(parts)
    assert [b.faithfulness["verdict"] for b in together] == [
        ["interactions", "no evidence"],
        ["no evidence", "no evidence"],
    ]
    # The second block holds nothing but nil sets. (Near q = 1 the strata's shares of the weight, which are those of all
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
    assert np.isnan(block.faithfulness["r2_spectrum"]).all()
    assert np.isnan(block.faithfulness["noise_ceiling"]).all()
    assert block.faithfulness["verdict"][0] == "interactions"


def test_held_out_rows_that_failed_are_left_out(campaign):
    holes = campaign["holdout_outputs"].copy()
    holes[5] = np.nan
    block = analyse_targets(**{**campaign, "holdout_outputs": holes})
    assert np.isfinite(block.faithfulness["r2_spectrum"]).all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"holdout_outputs": np.zeros((256, 2))}, "holdout_outputs must have shape"),
        ({"holdout_masks": np.zeros((256, 9), bool)}, "holdout_masks have 9 players"),
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
    table = block.faithfulness
    by_hand = np.array([0.479, 0.560, 0.292, 0.614, 0.340, 0.470])
    assert np.abs(table["r2_datamodel"] - by_hand).max() < 0.015
    assert table["verdict"] == [
        "no evidence", "interactions", "interactions", "no evidence", "interactions", "interactions",
    ]  # fmt: skip
    gain = table["r2_spectrum"] - table["r2_datamodel"]
    assert (gain > -0.01).all()
    assert gain[1] > 0.08 and gain[2] > 0.03 and gain[5] > 0.01
    strongest = block.interactions["members"][int(np.argmin(block.interactions["p_value"]))]
    assert strongest == [15, 21]
    kinds = np.array(block.interactions["kind"])[block.interactions["q_value"] < 0.01]
    assert (kinds == "redundancy").mean() > 0.7
