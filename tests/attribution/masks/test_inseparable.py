"""Players that no mask separates are one player, named so in one warning; errors grow where few masks separate two."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from attribution import AttributionWarning, Datamodel, ProxySPEX
from attribution.masks.inputs import check_data
from attribution.masks.inseparable import InseparablePlayers, merge_inseparable

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Every test draws the same numbers, in whatever order the tests run."""
    global RNG
    RNG = np.random.default_rng(0)


def with_copies(n_masks: int = 800) -> np.ndarray:
    """Ten players; 3 and 7 are in the masks of 1, and 8 in those that 2 is not in."""
    masks = RNG.random((n_masks, 10)) < 0.5
    masks[:, [3, 7]], masks[:, 8] = masks[:, [1]], ~masks[:, 2]
    return masks


def test_equal_and_opposite_columns_are_one_player():
    masks = with_copies()
    with pytest.warns(AttributionWarning) as caught:
        kept, merged = merge_inseparable(masks, 0.5)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "players 1, 3, 7 are in the same masks" in text
    assert any(f"player {a} is in the masks that player {b} is not in" in text for a, b in ((8, 2), (2, 8)))
    assert merged[0] == InseparablePlayers(1, (3, 7), ())
    assert {merged[1].kept, *merged[1].opposite} == {2, 8}
    assert not kept[:, [3, 7, *merged[1].opposite]].any()
    untouched = [0, 1, 4, 5, 6, 9, merged[1].kept]
    assert np.array_equal(kept[:, untouched], masks[:, untouched])


def test_separate_players_are_left_alone_without_a_warning():
    masks = RNG.random((200, 12)) < 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert merge_inseparable(masks, 0.5) == (masks, []) or merge_inseparable(masks, 0.5)[0] is masks


def test_one_player_holds_the_whole_effect_and_the_whole_interaction():
    """Half of each, as before, would be an effect of 1 and an interaction of 1 on either of two players."""
    masks = with_copies()
    outputs = 2.0 * masks[:, 1] + 2.0 * (masks[:, 1] & masks[:, 5]) + 0.1 * RNG.normal(size=800)
    with pytest.warns(AttributionWarning, match="one player here") as caught:
        model = ProxySPEX().fit(masks, outputs)
    assert len([one for one in caught if "no mask separates" in str(one.message)]) == 1
    assert model.effects_[0, 1] == pytest.approx(3.0, abs=0.1)
    assert np.isnan(model.effects_[0, [3, 7]]).all()
    found = model.interactions(max_q=0.05)
    assert [i.members for i in found] == [(1, 5)]
    assert found[0].value == pytest.approx(2.0, abs=0.1)
    assert [str(group) for group in model.inseparable_players_][0] == "players 1, 3, 7 are in the same masks"
    assert np.allclose(model.predict(masks), outputs, atol=0.6)


def test_a_datamodel_merges_them_as_well():
    masks = with_copies()
    with pytest.warns(AttributionWarning, match="one player here"):
        model = Datamodel().fit(masks, 2.0 * masks[:, 1] + 0.1 * RNG.normal(size=800))
    assert model.coef_[0, 1] == pytest.approx(2.0, abs=0.1)
    assert (model.coef_[0, [3, 7]] == 0).all()


def test_large_groups_of_one_player_are_no_sampler_of_shapley_values():
    """Sizes of such masks vary eight times as much as those of independent players; by groups they are as drawn."""
    of_patient = np.repeat(np.arange(12), 8)
    masks = (RNG.random((400, 12)) < 0.5)[:, of_patient]
    with pytest.warns(AttributionWarning, match="12|more groups|one player"):
        data = check_data(masks, RNG.normal(size=400), 0.5)
    assert len(data.inseparable) == 12
    assert data.masks.any(axis=0).sum() == 12


def test_players_that_few_masks_separate_have_larger_errors_that_cover():
    """Two players together in 95 of 100 masks: which of them acts is hardly known, and the intervals admit it."""
    inside, errors = 0, []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        masks = rng.random((400, 14)) < 0.5
        masks[:, 1] = np.where(rng.random(400) < 0.05, ~masks[:, 0], masks[:, 0])
        outputs = masks[:, 0] + 0.5 * rng.normal(size=400)
        with pytest.warns(AttributionWarning, match="few masks separate 2 players"):
            model = ProxySPEX(max_order=2).fit(masks, outputs)
        errors.append(model.effect_stderrs_[0])
        inside += (np.abs(model.effects_[0, :2] - [1.0, 0.0]) < 1.96 * model.effect_stderrs_[0, :2]).sum()
    errors = np.mean(errors, axis=0)
    assert errors[:2].min() > 2 * errors[2:].max()
    assert inside >= 19  # of 24


def test_columns_of_independent_players_are_not_enlarged():
    masks = RNG.random((600, 100)) < 0.5
    model = ProxySPEX(max_order=2).fit(masks, RNG.normal(size=600))
    assert model.effect_stderrs_.max() < 1.3 * model.effect_stderrs_.min()
