"""Masks come from (seed, mask_id) alone, and have the statistics their sampler promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training import SAMPLERS, TrainingInputError, sample_masks, training_seed
from training.masks import mask_alphas
from training.randomness import word_rows


@pytest.mark.parametrize("sampler", SAMPLERS)
@settings(max_examples=30, deadline=None)
@given(
    ids=st.lists(st.integers(0, 10_000), min_size=1, max_size=20),
    n_players=st.integers(2, 70),
    seed=st.integers(-(2**70), 2**70),
)
def test_a_row_does_not_depend_on_the_rows_asked_for_with_it(sampler, ids, n_players, seed):
    together = sample_masks(n_players, seed=seed, sampler=sampler, ids=ids)
    alone = [sample_masks(n_players, 1, seed=seed, sampler=sampler, first=mask_id)[0] for mask_id in ids]
    assert np.array_equal(together, np.stack(alone))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_top_up_continues_the_same_table(sampler):
    whole = sample_masks(33, 300, 0.5, 7, sampler=sampler)
    assert np.array_equal(whole[100:], sample_masks(33, 200, 0.5, 7, sampler=sampler, first=100))


def test_large_blocks_are_cut_without_a_seam(monkeypatch):
    whole = sample_masks(10, 1_000, 0.3, 1)
    monkeypatch.setattr("training.masks._WORDS_AT_ONCE", 70)
    assert np.array_equal(whole, sample_masks(10, 1_000, 0.3, 1))


def test_the_masks_of_a_seed_never_change():
    """Rows recorded when the sampler was written: another row here would orphan every stored campaign."""
    rows = sample_masks(16, 2, 0.5, 0)
    assert ["".join("01"[bit] for bit in row.astype(int)) for row in rows] == [
        "0101001111010101",
        "0110101011111110",
    ]


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.83])
def test_bernoulli_masks_have_the_right_means_and_no_correlations(alpha):
    masks = sample_masks(50, 20_000, alpha, 3)
    sd = np.sqrt(alpha * (1 - alpha))
    z = (masks.mean(axis=0) - alpha) / (sd / np.sqrt(len(masks)))
    assert np.abs(z).max() < 4.5
    assert 0.7 < z.std() < 1.4
    standardised = (masks - alpha) / sd
    pair_z = (standardised.T @ standardised / len(masks))[np.triu_indices(50, 1)] * np.sqrt(len(masks))
    assert np.abs(pair_z).max() < 5.0
    assert 0.93 < pair_z.std() < 1.07


def test_fixed_size_masks_all_have_that_size_and_every_player_is_as_likely():
    masks = sample_masks(30, 20_000, 0.4, 3, sampler="fixed_size")
    assert set(masks.sum(axis=1).tolist()) == {12}
    z = (masks.mean(axis=0) - 0.4) / np.sqrt(0.24 / len(masks))
    assert np.abs(z).max() < 4.5


def test_antithetic_masks_are_complements_whatever_the_order_of_the_ids():
    masks = sample_masks(21, sampler="antithetic", seed=5, ids=[9, 4, 8, 5, 4])
    assert np.array_equal(masks[0], ~masks[2])
    assert np.array_equal(masks[1], ~masks[3])
    assert np.array_equal(masks[1], masks[4])
    assert not np.array_equal(masks[1], masks[2])


def test_other_seeds_and_other_purposes_give_other_streams():
    assert not np.array_equal(sample_masks(64, 4, 0.5, 0), sample_masks(64, 4, 0.5, 1))
    assert not np.array_equal(word_rows("masks", 0, 0, 1, 8), word_rows("order", 0, 0, 1, 8))


@pytest.mark.parametrize("sampler", ["bernoulli", "fixed_size"])
def test_a_campaign_of_300_000_models_is_planned_in_bounded_memory(sampler):
    masks = sample_masks(200, 300_000, 0.5, 0, sampler=sampler)
    assert masks.shape == (300_000, 200) and abs(masks.mean() - 0.5) < 1e-3
    assert np.array_equal(masks[-1], sample_masks(200, 1, 0.5, 0, sampler=sampler, first=299_999)[0])


@pytest.mark.parametrize(
    ("given_values", "said"),
    [
        ({"alpha": 1.2}, "alpha must lie in (0, 1); got 1.2"),
        ({"alpha": 0.0}, "alpha must lie in (0, 1); got 0.0"),
        ({"alpha": 1.0}, "alpha must lie in (0, 1); got 1.0"),
        ({"alpha": float("nan")}, "alpha must lie in (0, 1)"),
        ({"count": 0}, "at least one model is needed"),
        ({"count": None}, "at least one model is needed"),
        ({"count": None, "ids": []}, "at least one model is needed"),
        ({"count": None, "ids": [1.5]}, "whole numbers"),
        ({"count": None, "ids": [3, -1]}, "mask ids start at 0; got -1"),
        ({"first": -1}, "mask ids start at 0"),
        ({"count": 3, "ids": [1]}, "count is 3, but 1 ids are given"),
        ({"n_players": 0}, "at least one player is needed"),
        (
            {"sampler": "bernouli"},
            "unknown sampler 'bernouli'. Choose one of bernoulli, fixed_size, antithetic",
        ),
        ({"sampler": "antithetic", "alpha": 0.4}, "antithetic masks exist at alpha = 0.5 only"),
        ({"sampler": "fixed_size", "alpha": 0.01}, "rounds to 0: every mask would be the same"),
        ({"seed": 0.5}, "a seed must be an integer; got 0.5"),
    ],
)
def test_bad_requests_are_refused_in_words(given_values, said):
    request = {"n_players": 10, "count": 4, "alpha": 0.5, "seed": 0} | given_values
    with pytest.raises(TrainingInputError) as raised:
        sample_masks(**request)
    assert said in str(raised.value)


def test_training_seeds_depend_on_all_three_numbers_and_do_not_collide():
    seeds = {
        training_seed(campaign, group, replicate)
        for campaign in (0, 1, 2**40, -5)
        for group in range(500)
        for replicate in range(4)
    }
    assert len(seeds) == 4 * 500 * 4
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert training_seed(3, 14, 1) == training_seed(3, 14, 1)
    assert training_seed(0, 1, 0) != training_seed(0, 0, 1)


def test_a_negative_replicate_is_refused():
    with pytest.raises(TrainingInputError, match="replicate must be a whole number"):
        training_seed(0, 0, -1)


def test_several_alphas_take_turns_by_mask_id_and_leave_the_first_ones_masks_as_they_are():
    ids = np.array([7, 2, 0, 3, 1_000_000_001, 5])
    masks = sample_masks(40, alpha=(0.5, 0.2, 0.8), seed=3, ids=ids)
    assert mask_alphas(ids, (0.5, 0.2, 0.8)).tolist() == [0.2, 0.8, 0.5, 0.5, 0.8, 0.8]
    for mask, mask_id, alpha in zip(masks, ids, mask_alphas(ids, (0.5, 0.2, 0.8)), strict=True):
        assert np.array_equal(mask, sample_masks(40, alpha=float(alpha), seed=3, ids=[mask_id])[0])
    many = sample_masks(30, 9_000, (0.5, 0.2, 0.8), 1)
    assert np.allclose([many[k::3].mean() for k in range(3)], [0.5, 0.2, 0.8], atol=0.01)


@pytest.mark.parametrize(
    ("alpha", "sampler", "message"),
    [
        ((0.5, 0.5), "bernoulli", "differ"),
        ((), "bernoulli", "differ"),
        ((0.5, 1.5), "bernoulli", "alpha must lie"),
        ((0.5, 0.2), "fixed_size", "bernoulli"),
    ],
)
def test_several_alphas_that_make_no_sense_are_refused(alpha, sampler, message):
    with pytest.raises(TrainingInputError, match=message):
        sample_masks(20, 4, alpha, 0, sampler=sampler)
