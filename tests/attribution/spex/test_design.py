"""Structured masks: nested, reproducible, balanced; and sets from their syndromes."""

from __future__ import annotations

import hashlib
from itertools import combinations

import numpy as np
import pytest

from attribution import AttributionError, SpexDesign
from attribution.spex.bch import SetCode
from attribution.spex.design import N_GROUPS
from attribution.spex.galois import GaloisField


@pytest.mark.parametrize("m", range(2, 17))
def test_every_table_is_a_field(m: int) -> None:
    field = GaloisField(m)
    everything = np.arange(1, field.order + 1, dtype=np.int32)
    assert (np.sort(field.power(np.arange(field.order))) == everything).all()
    rng = np.random.default_rng(m)
    a, b, c = rng.integers(0, field.order + 1, (3, 200)).astype(np.int32)
    assert (field.times(a, b ^ c) == (field.times(a, b) ^ field.times(a, c))).all()
    assert (field.over(field.times(a, everything[b % field.order]), everything[b % field.order]) == a).all()


@pytest.mark.parametrize(("n_players", "max_order"), [(15, 3), (16, 4), (31, 2)])
def test_every_small_set_is_read_off_its_syndrome(n_players: int, max_order: int) -> None:
    code = SetCode(n_players, max_order)
    sets = [held for order in range(max_order + 1) for held in combinations(range(n_players), order)]
    bits = np.array([code.columns[:, list(held)].sum(axis=1) % 2 for held in sets]).astype(bool)
    members, known = code.decode(bits)
    assert known.all()
    assert [tuple(i for i in row if i < n_players) for row in members.tolist()] == sets


def test_a_larger_set_is_not_taken_for_a_set_that_has_another_syndrome() -> None:
    code, rng = SetCode(60, 3), np.random.default_rng(0)
    large = [np.sort(rng.choice(60, 7, replace=False)) for _ in range(300)]
    bits = np.array([code.columns[:, held].sum(axis=1) % 2 for held in large]).astype(bool)
    members, known = code.decode(bits)
    for row in np.flatnonzero(known):
        held = [i for i in members[row] if i < 60]
        assert (code.columns[:, held].sum(axis=1) % 2 == bits[row]).all()
    assert not known.all()


def test_a_design_keeps_every_mask_when_it_grows_in_bits_or_order() -> None:
    small = SpexDesign(40, 3, 2, seed=7)
    masks = small.masks()
    assert (SpexDesign(40, 5, 2, seed=7).masks()[: len(masks)] == masks).all()
    larger = SpexDesign(40, 3, 3, seed=7)
    by_place = larger.masks().reshape(-1, N_GROUPS, larger.n_delays, 40)
    assert (by_place[:, :, : small.n_delays].reshape(-1, 40) == masks).all()


def test_masks_follow_from_the_seed_and_their_number_alone() -> None:
    design = SpexDesign(50, 4, 3, seed=3)
    masks = design.masks()
    ids = np.array([5, 900, 17, 0, 2000])
    assert (design.masks(ids)[[0, 1, 2, 3]] == masks[ids[:4]]).all()
    assert (design.masks(ids)[4] == design.with_bits(6).masks()[2000]).all()
    assert (SpexDesign(50, 4, 3, seed=4).masks() != masks).any()
    assert not design.masks([0])[0].any()
    # The same bits on every machine and in every version: campaigns of years ago are topped up.
    digest = hashlib.sha256(np.packbits(masks, axis=1).tobytes()).hexdigest()
    assert digest[:16] == "4810e1bb5b3250f4"


def test_a_mask_is_an_affine_function_of_its_point() -> None:
    design = SpexDesign(30, 4, 2, seed=0)
    cube = design.masks().reshape(16, N_GROUPS, design.n_delays, 30)
    assert (cube[5] ^ cube[0] == (cube[4] ^ cube[0]) ^ (cube[1] ^ cube[0])).all()
    assert (cube[0, 0] == design.delays).all()


def test_the_largest_design_within_a_budget_is_chosen_and_too_small_a_budget_is_one_sentence() -> None:
    design = SpexDesign.within(100, 4000, max_order=5)
    assert design.n_masks <= 4000 < design.with_bits(design.n_bits + 1).n_masks
    with pytest.raises(AttributionError, match=r"takes 864 masks with n_bits=3; the budget is 400.* Max_order=2 fits"):
        SpexDesign.within(100, 400, max_order=5)
    with pytest.raises(AttributionError, match="No max_order fits"):
        SpexDesign.within(100, 20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1,), "n_players must be"), ((10, 0), "n_bits must be"), ((10, 21), "at most 20"), ((10, 4, 7), "at most 6")],
)
def test_sizes_out_of_range_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(AttributionError, match=message):
        SpexDesign(*arguments)
