"""Sets judged by all targets at once: honest about targets that depend on each other, and stronger than one by one."""

from __future__ import annotations

import numpy as np
import pytest

from attribution.analysis.block_tables import analyse_targets, assign_q_values
from attribution.analysis.pooled_table import pool_sets
from attribution.analysis.pooled_tests import TargetPool
from attribution.fourier.basis import basis


def pool_of(masks, residuals, main_z, alpha=0.5):
    return TargetPool(basis(masks, alpha), residuals, residuals, main_z)


def all_pairs(pool):
    return np.concatenate([pool.pairs_of(player).p_value for player in range(pool.n_players)])


@pytest.mark.parametrize("alpha", [0.5, 0.3])
@pytest.mark.parametrize("shared", [0.0, 0.7, 1.0])
def test_p_values_hold_whatever_the_correlation_between_targets(alpha, shared):
    rng = np.random.default_rng(int(10 * shared))
    masks = rng.random((1200, 80)) < alpha
    common = rng.normal(size=(1200, 1))
    residuals = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=(1200, 40))
    # All main effects of one sign: the direction adds up what the targets share. Some are large, and lead.
    main_z = np.where(rng.random((40, 80)) < 0.2, 6.0, 3.0)
    p = all_pairs(pool_of(masks, residuals, main_z, alpha))
    assert len(p) == 80 * 79 // 2
    assert (p <= 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(p))
    assert (p <= 0.05).mean() > 0.015
    assert (p <= 0.001).mean() < 0.004


def test_the_direction_is_normal_and_positive_for_what_is_redundant():
    rng = np.random.default_rng(0)
    masks = rng.random((1500, 30)) < 0.5
    phi = basis(masks, 0.5)
    residuals = rng.normal(size=(1500, 25))
    residuals -= 0.08 * (phi[:, 3] * phi[:, 8])[:, None]
    main_z = np.zeros((25, 30))
    main_z[:, [3, 8, 11]] = 4.0
    pool = pool_of(masks, residuals, main_z)
    found = pool.of_sets(np.array([[3, 8], [3, 11], [1, 2]]))
    assert found.direction[0] > 8 and abs(found.direction[1]) < 4
    assert found.direction[2] == 0.0  # no main effects, no direction: only the largest z is left
    assert (np.abs(pool.of_sets(np.array([[3, 8]])).largest) < 6.5).all()
    screened = pool.pairs_of(3)
    at = int(np.flatnonzero((screened.members == [3, 8]).all(axis=1))[0])
    assert screened.direction[at] == pytest.approx(found.direction[0], rel=1e-4)
    assert screened.p_value[at] == pytest.approx(found.p_value[0], rel=1e-2)


@pytest.fixture(scope="module")
def weak_everywhere():
    """One pair, redundant on 30 targets too little for one target to show."""
    rng = np.random.default_rng(2)
    masks = rng.random((900, 40)) < 0.5
    phi = basis(masks, 0.5).astype(np.float64)
    main = rng.normal(size=(30, 40)) * 0.15
    main[:, [5, 6]] = 0.5
    outputs = phi @ main.T - 0.055 * (phi[:, 5] * phi[:, 6])[:, None] + 0.6 * rng.normal(size=(900, 30))
    options = {"max_order": 2}
    parts = [
        analyse_targets(masks, outputs[:, part], target_ids=np.arange(30)[part], **options)
        for part in (slice(0, 12), slice(12, 30))
    ]
    return masks, outputs, options, assign_q_values(parts)


def test_what_is_weak_on_every_target_is_found_by_all_together(weak_everywhere):
    masks, _, _, blocks = weak_everywhere
    table = pool_sets(blocks, masks, alpha=0.5)
    assert table["members"][0] == [5, 6] and table["q_value"][0] < 1e-4
    assert table["kind"][0] == "redundancy" and table["statistic"][0] > 5
    assert table["n_targets"][0] < 5 and table["n_tested"][0] == 30
    assert sum(q <= 0.05 for q in table["q_value"]) <= 2
    assert len({len(column) for column in table.values()}) == 1


def test_how_targets_are_cut_into_blocks_does_not_matter(weak_everywhere):
    masks, outputs, options, blocks = weak_everywhere
    whole = pool_sets([analyse_targets(masks, outputs, **options)], masks, alpha=0.5)
    cut = pool_sets(blocks, masks, alpha=0.5)
    found = [[s for s, q in zip(t["members"], t["q_value"], strict=True) if q <= 0.05] for t in (whole, cut)]
    assert found[0] == found[1]
    assert np.allclose(whole["statistic"][0], cut["statistic"][0], rtol=0.05)


def test_more_players_than_can_be_screened_still_give_reported_sets_a_test(weak_everywhere):
    masks, _, _, blocks = weak_everywhere
    table = pool_sets(blocks, masks, alpha=0.5, max_players=10)
    assert table["members"][0] == [5, 6] and table["q_value"][0] < 1e-3
    few = pool_sets(blocks, masks, alpha=0.5, max_players=2)
    assert [5, 6] in few["members"]


def test_one_target_has_nothing_to_pool():
    rng = np.random.default_rng(0)
    masks = rng.random((100, 12)) < 0.5
    block = analyse_targets(masks, rng.normal(size=(100, 1)), max_order=2)
    assert pool_sets([block], masks, alpha=0.5)["members"] == []


def test_pooled_targets_take_no_part(weak_everywhere):
    masks, outputs, options, blocks = weak_everywhere
    mean = analyse_targets(masks, outputs.mean(axis=1, keepdims=True), target_ids=[-1], **options)
    assert pool_sets([*blocks, mean], masks, alpha=0.5)["n_tested"][0] == 30
