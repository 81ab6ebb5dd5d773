"""Mask ids, shards, and what is missing: properties over random campaigns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.store.roles import (
    IDS_PER_ROLE,
    ROLES,
    RowRange,
    count_rows,
    first_id,
    missing_shards,
    role_of,
    wanted_ranges,
)

COUNTS = st.integers(0, 60)
SHARD = st.integers(1, 17)


def rows_of(ranges: list[RowRange]) -> list[tuple[int, int]]:
    """Every (mask_id, replicate), with repetitions."""
    return [(mask_id, rows.replicate) for rows in ranges for mask_id in rows.mask_ids]


@st.composite
def campaigns(draw: st.DrawFn) -> tuple[list[RowRange], list[RowRange], int]:
    """What is wanted, which of some earlier campaign's shards exist, and the shard size."""
    shard_size = draw(SHARD)
    earlier = wanted_ranges(draw(COUNTS), draw(COUNTS), draw(st.integers(0, 2)))
    shards = missing_shards(earlier, [], shard_size)
    present = [shard for shard in shards if draw(st.booleans())]
    return wanted_ranges(draw(COUNTS), draw(COUNTS), draw(st.integers(0, 2))), present, shard_size


@given(campaigns())
def test_present_and_missing_make_up_what_is_wanted_without_overlap(
    campaign: tuple[list[RowRange], list[RowRange], int],
) -> None:
    wanted, present, shard_size = campaign
    missing = rows_of(missing_shards(wanted, present, shard_size))
    assert len(missing) == len(set(missing))
    assert not set(missing) & set(rows_of(present))
    assert set(missing) | (set(rows_of(present)) & set(rows_of(wanted))) == set(rows_of(wanted))


@given(campaigns())
def test_shards_never_cross_a_boundary_and_never_exceed_the_shard_size(
    campaign: tuple[list[RowRange], list[RowRange], int],
) -> None:
    wanted, present, shard_size = campaign
    for shard in missing_shards(wanted, present, shard_size):
        assert 0 < len(shard) <= shard_size
        assert shard.first // shard_size == (shard.last - 1) // shard_size


@given(campaigns())
def test_nothing_is_missing_once_it_was_trained(campaign: tuple[list[RowRange], list[RowRange], int]) -> None:
    wanted, present, shard_size = campaign
    trained = missing_shards(wanted, present, shard_size)
    assert missing_shards(wanted, [*present, *trained], shard_size) == []


@given(COUNTS, COUNTS, st.integers(0, 2), COUNTS, SHARD)
def test_a_campaign_killed_anywhere_trains_the_same_shards_when_resumed(
    n_fit: int, n_holdout: int, n_replicates: int, killed_after: int, shard_size: int
) -> None:
    wanted = wanted_ranges(n_fit, n_holdout, n_replicates)
    uninterrupted = missing_shards(wanted, [], shard_size)
    present = uninterrupted[:killed_after]
    assert present + missing_shards(wanted, present, shard_size) == uninterrupted


@given(COUNTS, COUNTS, st.integers(0, 2), COUNTS, COUNTS)
def test_a_top_up_keeps_every_row_in_its_role(
    n_fit: int, n_holdout: int, n_replicates: int, more_fit: int, more_holdout: int
) -> None:
    before = {row: role_of(row[0]) for row in rows_of(wanted_ranges(n_fit, n_holdout, n_replicates))}
    after = wanted_ranges(n_fit + more_fit, n_holdout + more_holdout, n_replicates)
    roles = {(mask_id, rows.replicate): rows.role for rows in after for mask_id in rows.mask_ids}
    assert {row: roles[row] for row in before} == before


@given(COUNTS, COUNTS, st.integers(0, 3))
def test_every_held_out_mask_is_wanted_once_for_every_replicate(n_fit: int, n_holdout: int, n_replicates: int) -> None:
    wanted = wanted_ranges(n_fit, n_holdout, n_replicates)
    assert count_rows(wanted) == n_fit + n_holdout * (1 + n_replicates)


@given(st.sampled_from(ROLES), st.integers(0, 9), st.integers(0, IDS_PER_ROLE - 2), st.integers(1, 1000))
def test_a_fragments_name_tells_its_rows(role: str, replicate: int, first: int, length: int) -> None:
    rows = RowRange(role, replicate, first, min(first + length, IDS_PER_ROLE))
    assert RowRange.parse(rows.name) == rows
    assert role_of(rows.mask_ids[0]) == role_of(rows.mask_ids[-1]) == role


@pytest.mark.parametrize("name", ["", "fit", "fit-0-1-2", "fit-r0-1", "guess-r0-000000000-000000001", "fit-rx-0-1"])
def test_other_names_are_no_fragments(name: str) -> None:
    with pytest.raises(ValueError):
        RowRange.parse(name)


@pytest.mark.parametrize("mask_id", [-1, len(ROLES) * IDS_PER_ROLE])
def test_ids_outside_every_range_have_no_role(mask_id: int) -> None:
    with pytest.raises(ValueError, match=str(mask_id)):
        role_of(mask_id)


def test_roles_do_not_share_ids() -> None:
    assert [role_of(first_id(role)) for role in ROLES] == list(ROLES)
    assert [role_of(first_id(role) + IDS_PER_ROLE - 1) for role in ROLES] == list(ROLES)


def test_300_000_models_are_listed_in_a_moment() -> None:
    """Linear in the number of fragments: every second shard of Datamodels' scale is missing."""
    import time

    wanted = wanted_ranges(300_000, 10_000, 1)
    shards = missing_shards(wanted, [], 32)
    began = time.process_time()
    assert missing_shards(wanted, shards[::2], 32) == shards[1::2]
    assert time.process_time() - began < 2
