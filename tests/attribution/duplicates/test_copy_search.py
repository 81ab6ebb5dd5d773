"""Groups of copies are found whole from masks and outputs alone, and none where none was planted."""

from __future__ import annotations

import numpy as np
import pytest

from attribution import AttributionError, find_copies
from attribution.duplicates.any_present_test import (
    any_present_column,
    any_present_fit,
    any_present_variance,
    group_tests,
    largest_detectable_group,
)
from attribution.duplicates.detectable_sizes import detectable_sizes
from attribution.fourier.basis import basis
from attribution.linear.main_effects import main_effects
from attribution.masks.folds import N_FOLDS, assign_folds
from tests.games import clusters_of_copies, conjunction, copies


def found_in(game, n_masks, seed, alpha=0.5, **settings):
    masks, outputs = game.sample(n_masks, seed)
    return [c.players for c in find_copies(masks, outputs, alpha=alpha, **settings).found()]


@pytest.mark.parametrize(("k", "noise_sd"), [(5, 0.5), (6, 0.35)])
def test_copies_that_are_not_detectable_pair_by_pair_are_found_whole(k, noise_sd):
    for seed in range(3):
        members = tuple(sorted(np.random.default_rng(seed).permutation(60)[:k].tolist()))
        game = clusters_of_copies(60, [members], seed, 0.5, noise_sd, background=0.1)
        assert members in found_in(game, 1500, seed)


def test_a_group_found_has_the_effect_the_share_and_the_main_effects_of_copies():
    game = clusters_of_copies(60, [(3, 9, 20, 41, 50)], 1, 0.5, 0.5, effect=-1.0, background=0.1)
    masks, outputs = game.sample(1500, 1)
    group = find_copies(masks, outputs).found()[0]
    # The direction turns effects that lower the output; its unit is the residual's standard deviation.
    assert group.weights.tolist() == [-1.0] and group.kind == "redundancy" and group.source == "search"
    unit = main_effects(masks, outputs[:, None], 0.5).residuals.std()
    assert abs(group.effect - 1 / unit) < 3 * group.stderr
    assert np.allclose(np.mean(group.main_effects), 2**-4 / unit, atol=2 * group.main_effect_stderr)
    assert group.share > 0.9


def test_at_alpha_three_tenths_eight_copies_are_found_whole():
    game = clusters_of_copies(60, [tuple(range(8))], 0, 0.3, 0.4, background=0.1)
    assert found_in(game, 1500, 0, alpha=0.3) == [tuple(range(8))]


def test_five_that_only_work_together_are_no_redundancy():
    game = conjunction(5, 30, effect=8.0, noise_sd=0.2)
    masks, outputs = game.sample(1500, 0)
    residuals = main_effects(masks, outputs[:, None], 0.5).residuals
    assert any_present_fit(masks, residuals, range(5), 0.5).z[0] < -4  # the opposite of copies
    assert not any({0, 1, 2, 3, 4} & set(players) for players in found_in(game, 1500, 0))


def test_main_effects_and_noise_alone_give_no_clusters():
    n_found = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        masks = rng.random((500, 30)) < 0.5
        outputs = masks @ rng.normal(size=(30, 3)) + 3 * rng.standard_t(5, size=(500, 3))
        n_found += any(c.q_value <= 0.05 for c in find_copies(masks, outputs, seed=seed, width=50).tested)
    assert n_found <= 1  # of 10 the promise allows .5


def test_what_is_weak_on_every_target_is_found_on_all_together():
    rng = np.random.default_rng(3)
    masks = rng.random((1000, 30)) < 0.5
    planted = [(0, 1, 2), (10, 20, 25)]
    main = rng.normal(0, 0.1, (30, 20))
    main[[p for cluster in planted for p in cluster]] = 0
    outputs = masks @ main + rng.normal(0, 1, (1000, 20))
    for cluster in planted:
        outputs += masks[:, cluster].any(axis=1)[:, None] * rng.normal(0, 0.35, 20)
    assert sorted(c.players for c in find_copies(masks, outputs, width=50).found()) == planted
    assert len(find_copies(masks, outputs, width=50, across_targets=False).found()) < 2


def test_antithetic_partners_share_a_half_and_copies_are_found():
    game = clusters_of_copies(40, [(1, 2, 3, 4)], 0, 0.5, 0.3, background=0.1)
    half = game.draw_masks(600, 0)
    masks = np.concatenate([half, ~half])
    pair = np.tile(np.arange(600), 2)
    first = assign_folds(pair, N_FOLDS, 0) < N_FOLDS // 2
    assert (first[:600] == first[600:]).all()
    found = find_copies(masks, game.observe(masks, 0), groups=pair).found()
    assert [c.players for c in found] == [(1, 2, 3, 4)]


def test_a_replicate_of_every_mask_with_the_same_output_is_no_new_evidence():
    masks, outputs = copies(4, 30, noise_sd=1.0).sample(500, 0)
    residuals = main_effects(masks, outputs[:, None], 0.5).residuals
    once = any_present_fit(masks, residuals, range(4), 0.5)
    twice = any_present_fit(
        np.tile(masks, (2, 1)), np.tile(residuals, (2, 1)), range(4), 0.5, np.tile(np.arange(500), 2)
    )
    assert twice.effect[0] == pytest.approx(once.effect[0])
    assert twice.stderr[0] == pytest.approx(once.stderr[0], rel=0.02)
    again = find_copies(np.tile(masks, (2, 1)), np.tile(outputs, 2))
    single = find_copies(masks, outputs)
    assert min(c.p_value for c in again.tested) > 0.01 * min(c.p_value for c in single.tested)


def test_the_tested_column_is_orthogonal_and_its_variance_is_as_stated():
    masks = np.random.default_rng(0).random((200_000, 6)) < 0.3
    column = any_present_column(masks, range(5), 0.3)
    assert np.abs(basis(masks, 0.3).T @ column / len(masks)).max() < 0.003
    assert column.var() == pytest.approx(any_present_variance(5, 0.3), rel=0.02)


def test_the_test_of_a_large_group_keeps_its_level_though_few_masks_carry_it():
    rng = np.random.default_rng(0)
    masks = rng.random((600, 8)) < 0.5
    noise = rng.standard_t(5, size=(600, 10_000))
    for k in (2, 5, 7):
        p = any_present_fit(masks, noise, range(k), 0.5).p_value
        assert 0.035 < (p <= 0.05).mean() < 0.055
        assert (p <= 0.001).mean() < 0.002


def test_seven_copies_are_significant_although_few_masks_leave_all_of_them_out():
    game = clusters_of_copies(60, [tuple(range(7))], 0, 0.5, 0.5, background=0.1)
    masks, outputs = game.sample(1500, 0)
    residuals = main_effects(masks, outputs[:, None], 0.5).residuals
    fit = any_present_fit(masks, residuals, range(7), 0.5)
    column = any_present_column(masks, range(7), 0.5)
    score = abs(column @ residuals[:, 0]) / np.sqrt(column**2 @ residuals[:, 0] ** 2)
    assert score < 4 < fit.z[0]


def test_a_group_too_weak_on_every_output_is_significant_along_its_members_direction():
    rng = np.random.default_rng(1)
    masks = rng.random((800, 20)) < 0.5
    strength = rng.choice([-0.15, 0.15], 100)
    outputs = masks[:, :2].any(axis=1)[:, None] * strength + rng.normal(0, 1, (800, 100))
    fitted = main_effects(masks, outputs, 0.5)
    groups = [(0, 1), (5, 6), (8, 9, 10)]
    alone = [test.q_value for test in group_tests(masks, fitted.residuals, groups, 0.5)]
    main_z = fitted.effect / fitted.stderr
    together = [test.q_value for test in group_tests(masks, fitted.residuals, groups, 0.5, None, main_z)]
    assert min(alone) > 0.1 and together[0] <= 0.01 and min(together[1:]) > 0.1


def test_the_largest_detectable_group_grows_with_masks_and_with_smaller_alpha():
    sizes = detectable_sizes(1500, 0.5, 60)
    assert (sizes.pairs, sizes.searched, sizes.named) == (4, 5, 8)
    assert detectable_sizes(6000, 0.5, 60).searched == 7
    assert detectable_sizes(1500, 0.3, 60).searched > 8
    assert "pair by pair up to 4" in str(sizes)
    # At small alpha a pair is rarely absent as a whole and present in part: five show better than two.
    assert largest_detectable_group(150, 0.15, 2.0, 1.0) >= 5


def test_players_that_no_mask_leaves_out_and_constant_outputs_are_no_copies():
    rng = np.random.default_rng(0)
    masks = rng.random((300, 30)) < 0.5
    masks[:, 0] = True
    outputs = np.column_stack([np.full(300, 2.0), rng.normal(size=300)])
    with pytest.warns(UserWarning, match="players are in no mask or in every mask"):
        search = find_copies(masks, outputs)
    assert search.found() == [] and all(np.isfinite(c.q_value) for c in search.tested)
    assert find_copies(masks[:, 1:], np.full(300, 2.0)).tested == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.3}, "contradicts the masks"),
        ({"alpha": np.repeat([0.5, 0.4], 50)}, "contradicts the masks|one alpha"),
        ({"max_size": 1}, "max_size must be an integer of at least 2"),
        ({"width": 0}, "width must be an integer of at least 1"),
        ({"max_tests": 0}, "max_tests must be an integer of at least 1"),
        ({"max_size": 2.5}, "max_size must be an integer"),
        ({"seed": -1}, "seed"),
        ({"groups": np.zeros(100)}, "independent groups"),
    ],
)
def test_bad_settings_are_one_clear_error(change, message):
    masks = np.random.default_rng(0).random((100, 20)) < 0.5
    with pytest.raises(AttributionError, match=message):
        find_copies(masks, masks[:, 0] * 1.0, **change)


def test_one_alpha_given_for_every_mask_is_that_alpha():
    game = copies(4, 20, noise_sd=0.3)
    masks, outputs = game.sample(400, 0)
    one, each = (find_copies(masks, outputs, alpha=alpha).tested for alpha in (0.5, np.full(400, 0.5)))
    assert [c.players for c in one] == [c.players for c in each]
    assert [c.q_value for c in one] == [c.q_value for c in each]


@pytest.mark.parametrize("group", [(), (3,), (3, 3), (0, 20), (-1, 2)])
def test_a_group_is_two_or_more_different_players(group):
    masks = np.random.default_rng(0).random((100, 20)) < 0.5
    with pytest.raises(AttributionError, match="two or more different players"):
        group_tests(masks, np.ones((100, 1)), [(0, 1), group], 0.5)


def test_one_player_and_outputs_that_are_no_numbers_are_refused():
    masks = np.random.default_rng(0).random((100, 20)) < 0.5
    with pytest.raises(AttributionError, match="at least two players"):
        find_copies(masks[:, :1], np.ones(100))
    with pytest.raises(AttributionError, match="not finite"):
        find_copies(masks, np.full(100, np.nan))
