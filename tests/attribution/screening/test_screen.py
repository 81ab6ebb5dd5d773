"""The screens' statistics are their definitions, and every large set is returned."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from attribution.fourier.basis import basis
from attribution.masks.row_groups import make_row_groups
from attribution.screening.screen import screen_pairs, screen_triples, set_columns, set_statistics
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP

SCREENS = {2: screen_pairs, 3: screen_triples}


def setting(alpha: float, seed: int = 0, n_players: int = 37, n_masks: int = 300):
    rng = np.random.default_rng(seed)
    masks = rng.random((n_masks, n_players)) < alpha
    residual = rng.normal(size=(n_masks, 2))
    residual[:, 0] += 1.5 * basis(masks, alpha)[:, [3, 8, 11]].prod(axis=1)
    residual[:, 1] += 1.5 * basis(masks, alpha)[:, [0, 36]].prod(axis=1)
    return masks, residual


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("alpha", [0.5, 0.3])
def test_every_set_is_counted_and_every_large_one_returned(order, alpha):
    masks, residual = setting(alpha)
    row_groups = make_row_groups(masks, np.arange(300), None, alpha)
    folds = np.arange(300)[np.argsort(row_groups.merged_into)] % 6  # of each row group
    counts = np.zeros(N_Z_BINS, dtype=np.int64)
    sums = row_groups.sums(residual, order)
    screened = list(SCREENS[order](row_groups, folds, sums, 2.5, counts, unit_variance=alpha == 0.5))
    sets = np.array(list(combinations(range(37), order)))
    phi = row_groups.phi.astype(np.float64)
    every_z = []
    for target in range(2):
        score = set_columns(phi, sets) * sums[:, [target]]
        z = score.sum(axis=0) / np.sqrt((score**2).sum(axis=0))
        every_z.append(np.abs(z))
        without = [
            np.abs(score[folds != k].sum(axis=0)) / np.sqrt((score[folds != k] ** 2).sum(axis=0))
            for k in range(6)
        ]
        large = np.max([np.abs(z), *without], axis=0) >= 2.5
        found = {tuple(row): k for k, row in enumerate(screened[target].members.tolist())}
        assert {tuple(row) for row in sets[large].tolist()} <= set(found)
        for row in np.flatnonzero(large):
            place = found[tuple(sets[row].tolist())]
            expected = [score[folds == k, row].sum() for k in range(6)]
            assert np.allclose(screened[target].sums[:, place], expected, atol=2e-3)
            total = screened[target].sums[:, place].sum() / np.sqrt(screened[target].squares[:, place].sum())
            assert abs(abs(total) - abs(z[row])) < 2e-3
    assert counts.sum() == 2 * len(sets)
    expected_counts = np.bincount((np.concatenate(every_z) / Z_STEP).astype(int), minlength=N_Z_BINS)
    assert np.abs(np.cumsum(counts) - np.cumsum(expected_counts)).max() < 0.01 * len(sets)


def test_statistics_of_given_sets_equal_those_of_the_screen():
    masks, residual = setting(0.5)
    row_groups = make_row_groups(masks, np.arange(300), None, 0.5)
    folds = np.zeros(300, dtype=np.int64)
    folds[::2] = 1
    sums = row_groups.sums(residual, 2)
    counts = np.zeros(N_Z_BINS, dtype=np.int64)
    found_sets = list(screen_pairs(row_groups, folds, sums, 2.0, counts, unit_variance=True))[1]
    again = set_statistics(row_groups, folds, 2, found_sets.members, sums[:, 1])
    assert np.allclose(found_sets.sums, again.sums, atol=1e-3)
    assert np.allclose(found_sets.squares, again.squares, rtol=1e-4)


def test_replicates_and_antithetic_partners_merge_into_one_row():
    rng = np.random.default_rng(0)
    half = rng.random((40, 9)) < 0.5
    masks = np.concatenate([half, ~half, half])  # every mask, its complement, and the mask once more
    groups = np.tile(np.arange(40), 3)
    row_groups = make_row_groups(masks, groups, None, 0.5)
    assert row_groups.size == 40 and row_groups.exact
    values = rng.normal(size=(120, 1))
    phi = basis(masks, 0.5).astype(np.float64)
    for members in ([2], [1, 4], [0, 3, 8]):
        order = len(members)
        direct = np.zeros(40)
        np.add.at(direct, groups, phi[:, members].prod(axis=1) * values[:, 0])
        folded = row_groups.phi[:, members].prod(axis=1) * row_groups.sums(values, order)[:, 0]
        assert np.allclose(folded, direct[row_groups.group], atol=1e-5)


def test_groups_of_different_masks_are_not_exact():
    masks = np.random.default_rng(0).random((60, 9)) < 0.5
    assert not make_row_groups(masks, np.arange(60) // 2, None, 0.5).exact
