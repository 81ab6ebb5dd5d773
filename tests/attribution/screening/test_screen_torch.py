"""The screens in torch, here on torch's CPU device, find what the NumPy screens find."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
import torch

from attribution.errors import AttributionError
from attribution.fourier.basis import basis
from attribution.masks.row_groups import RowGroups, make_row_groups
from attribution.screening.screen import screen_pairs, screen_triples
from attribution.screening.screen_torch import screen_on_device
from attribution.screening.screened_sets import ScreenedSets
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP

SCREENS = {2: screen_pairs, 3: screen_triples}
TORCH_CPU = "cpu:0"  # torch's own name for it; "cpu" is NumPy


def setting(alpha: float, order: int, weighted: bool = False) -> tuple[RowGroups, np.ndarray, np.ndarray]:
    """Row groups of 300 masks of 37 players, uneven folds, residuals of two targets with a set of three and of two."""
    rng = np.random.default_rng(0)
    masks = rng.random((300, 37)) < alpha
    residual = rng.normal(size=(300, 2))
    residual[:, 0] += 1.5 * basis(masks, alpha)[:, [3, 8, 11]].prod(axis=1)
    residual[:, 1] += 1.5 * basis(masks, alpha)[:, [0, 36]].prod(axis=1)
    weight = rng.uniform(0.5, 2.0, 300) if weighted else None
    row_groups = make_row_groups(masks, np.arange(300), weight, alpha)
    return row_groups, np.minimum(rng.integers(0, 7, 300), 5), row_groups.sums(residual, order)


def same(found: list[ScreenedSets], expected: list[ScreenedSets]) -> None:
    """The same sets in the same order. Sums of 300 terms of size 1 to 2 in float32 are good to 1e-4, whatever the order
    of the additions."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.members, other.members)
        assert np.allclose(one.sums, other.sums, rtol=1e-5, atol=1e-4)
        assert np.allclose(one.squares, other.squares, rtol=1e-5)


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("alpha", [0.5, 0.3])
@pytest.mark.parametrize("block_bytes", [1, 2**20, 2**28])
def test_the_screen_on_a_device_is_that_of_numpy(order: int, alpha: float, block_bytes: int) -> None:
    if order == 3 and block_bytes == 1:
        block_bytes = 2**19  # a row at a time is left to the pairs
    row_groups, folds, sums = setting(alpha, order, weighted=True)
    counts = np.zeros((2, N_Z_BINS), dtype=np.int64)
    found = list(screen_on_device(order, TORCH_CPU, row_groups, folds, sums, 2.5, counts[0], alpha == 0.5,
                                  block_bytes=block_bytes))  # fmt: skip
    expected = list(SCREENS[order](row_groups, folds, sums, 2.5, counts[1], unit_variance=alpha == 0.5))
    assert min(len(screened.members) for screened in expected) > 20
    same(found, expected)
    # Rounding may move a z that lies on the edge of a bin into the next one, and no further.
    assert counts[0].sum() == counts[1].sum() == 2 * comb(37, order)
    moved = np.cumsum(counts[0] - counts[1])
    assert np.abs(moved).max() <= 2 and np.count_nonzero(moved) <= 0.01 * counts[1].sum()


def test_size_classes_give_each_set_the_threshold_of_its_weakest_member() -> None:
    row_groups, folds, sums = setting(0.5, 2)
    levels = np.random.default_rng(1).integers(0, 3, (2, 37)).astype(np.int8)
    least = np.array([3.0, 2.0, 1.0])
    counts = np.zeros((3, N_Z_BINS), dtype=np.int64)
    found = list(screen_on_device(2, TORCH_CPU, row_groups, folds, sums, least, counts, True, levels))
    alone = np.zeros(N_Z_BINS, dtype=np.int64)
    everything = list(screen_pairs(row_groups, folds, sums, 1.0, alone, unit_variance=True))
    expected, by_level = [], np.zeros(3, dtype=np.int64)
    for target, screened in enumerate(everything):
        total, squares = screened.sums.sum(axis=0), screened.squares.sum(axis=0)
        z = np.abs(total) / np.sqrt(squares)
        without = np.abs(total - screened.sums[[0, 1, 2, 3, 4, 5]]).max(axis=0)
        largest = np.maximum(z, without / np.sqrt(squares - screened.squares.max(axis=0)))
        level = levels[target][screened.members].min(axis=1)
        kept = largest >= least[level]
        expected.append(ScreenedSets(screened.members[kept], screened.sums[:, kept], screened.squares[:, kept]))
        of_pair = np.minimum.outer(levels[target], levels[target])[np.triu_indices(37, 1)]
        by_level += np.bincount(of_pair, minlength=3)
    same(found, expected)
    assert counts.sum(axis=1).tolist() == by_level.tolist()
    # Which histogram a pair is in says nothing about its bin.
    assert np.abs(np.cumsum(counts.sum(axis=0) - alone)).max() <= 2


@pytest.mark.parametrize("order", [2, 3])
def test_the_screen_runs_on_the_device_it_is_given(order: int) -> None:
    row_groups, folds, sums = setting(0.5, order)
    counts = np.zeros((2, N_Z_BINS), dtype=np.int64)
    found, expected = (
        list(SCREENS[order](row_groups, folds, sums, 3.0, row, unit_variance=True, device=device))
        for device, row in zip((TORCH_CPU, "cpu"), counts, strict=True)
    )
    same(found, expected)
    if not torch.cuda.is_available():
        with pytest.raises(AttributionError, match="device is 'cuda'"):
            next(SCREENS[order](row_groups, folds, sums, 3.0, counts[0], unit_variance=True, device="cuda"))


def test_two_players_have_one_pair_and_three_one_triple() -> None:
    rng = np.random.default_rng(0)
    for order in (2, 3):
        masks = rng.random((60, order)) < 0.5
        row_groups = make_row_groups(masks, np.arange(60), None, 0.5)
        counts = np.zeros(N_Z_BINS, dtype=np.int64)
        sums = row_groups.sums(rng.normal(size=(60, 1)), order)
        (screened,) = screen_on_device(order, TORCH_CPU, row_groups, np.arange(60) % 6, sums, 0.0, counts, True)
        assert screened.members.tolist() == [list(range(order))] and counts.sum() == 1
        z = abs(screened.sums.sum()) / np.sqrt(screened.squares.sum())
        assert counts[int(z / Z_STEP)] == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
@pytest.mark.parametrize("order", [2, 3])
def test_on_a_gpu_the_screen_is_that_of_numpy(order: int) -> None:
    row_groups, folds, sums = setting(0.5, order)
    counts = np.zeros((2, N_Z_BINS), dtype=np.int64)
    found, expected = (
        list(SCREENS[order](row_groups, folds, sums, 2.5, row, unit_variance=True, device=device))
        for device, row in zip(("cuda", "cpu"), counts, strict=True)
    )
    same(found, expected)
