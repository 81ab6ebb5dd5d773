"""ProxySPEX finds planted sets, names their kind, and reports nothing where nothing was planted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone

from attribution import Datamodel, ProxySPEX
from attribution.interactions.block import BlockSettings, fit_block
from attribution.masks.inputs import check_data
from tests.games import (
    clusters_of_copies,
    conjunction,
    copies,
    duplicates,
    majority,
    planted_interactions,
)


def fit(games, n_masks, *, seed=0, max_order=3, **options):
    """One model for all games (as targets), on common masks."""
    masks = games[0].draw_masks(n_masks, seed)
    outputs = np.column_stack([game.observe(masks, seed + 100 + k) for k, game in enumerate(games)])
    model = ProxySPEX(alpha=games[0].alpha, max_order=max_order, **options)
    return model.fit(masks, outputs), masks, outputs


def r2(outputs, predicted):
    return 1 - ((outputs - predicted) ** 2).sum(0) / ((outputs - outputs.mean(0)) ** 2).sum(0)


@pytest.fixture(scope="module")
def planted():
    games = [planted_interactions(60, seed, noise_ceiling=0.8, n_pairs=10, n_triples=3) for seed in range(20)]
    return games, *fit(games, 2000)


def test_planted_pairs_and_triples_are_found(planted):
    games, model, _, _ = planted
    found = [{i.members for i in model.interactions(k, max_q=0.05)} for k in range(len(games))]
    hits = sum(len(own & set(game.planted)) for own, game in zip(found, games, strict=True))
    assert hits >= 0.95 * sum(len(game.planted) for game in games)


def test_few_sets_are_found_that_were_not_planted(planted):
    games, model, _, _ = planted
    found = [{i.members for i in model.interactions(k, max_q=0.05)} for k in range(len(games))]
    false = sum(len(own - set(game.planted)) for own, game in zip(found, games, strict=True))
    assert false <= 0.1 * sum(map(len, found))


def test_the_gate_opens_where_interactions_were_planted(planted):
    assert planted[1].gate_open_.all()


def test_intervals_of_reported_sets_cover_the_banzhaf_interaction_as_often_as_they_say(planted):
    games, model, _, _ = planted
    z = np.array(
        [
            (found.value - game.spectrum.banzhaf(found.members)) / found.stderr
            for target, game in enumerate(games)
            for found in model.interactions(target)
        ]
    )
    assert len(z) > 250  # the standard error of the coverage is then 1.4 points
    assert 0.92 <= (np.abs(z) < 1.96).mean() <= 0.98


def test_a_p_value_is_student_s_of_the_raw_estimate(planted):
    games, model, _, _ = planted
    reported = [found for target in range(len(games)) for found in model.interactions(target)]
    for by_proxy, n_masks in ((False, 2000), (True, 1000)):  # a proposal is tested on half of the masks
        own = [found for found in reported if (found.proposed_by == "proxy") == by_proxy]
        z = np.array([found.raw / found.raw_stderr for found in own])
        expected = 2 * stats.t.sf(np.abs(z), df=n_masks - 1)
        np.testing.assert_allclose([found.p_value for found in own], expected, rtol=1e-2 if by_proxy else 1e-9)


def test_the_order_of_an_interaction_is_its_number_of_members(planted):
    games, model, _, _ = planted
    reported = [found for target in range(len(games)) for found in model.interactions(target)]
    assert {found.order for found in reported} == {2, 3, 4}
    assert all(found.order == len(found.members) for found in reported)


def test_main_effects_and_their_errors_are_honest(planted):
    games, model, _, _ = planted
    truth = np.array([[game.spectrum.banzhaf((i,)) for i in range(60)] for game in games])
    z = (model.effects_ - truth) / model.effect_stderrs_
    assert 0.91 <= (np.abs(z) < 1.96).mean() <= 0.98
    assert abs(z.std() - 1.0) < 0.12


def test_predictions_beat_the_datamodel_where_there_are_interactions(planted):
    games, model, masks, outputs = planted
    held = games[0].draw_masks(1000, 77)
    truth = np.column_stack([game.evaluate(held) for game in games])
    linear = Datamodel().fit(masks, outputs)
    assert (r2(truth, model.predict(held)) > r2(truth, linear.predict(held)) + 0.1).all()
    # predict is the spectrum and the saturation, of which these games have next to none.
    assert r2(model.spectra_[1].evaluate(held), model.predict(held)[:, 1]) > 0.995


def test_without_interactions_nothing_is_claimed_and_nothing_lost():
    games = [planted_interactions(60, seed, noise_ceiling=0.5, interaction_share=0.0) for seed in range(8)]
    model, masks, outputs = fit(games, 900)
    held = games[0].draw_masks(1000, 77)
    truth = np.column_stack([game.evaluate(held) for game in games])
    linear = Datamodel().fit(masks, outputs)
    assert not model.gate_open_.any()
    assert sum(len(model.interactions(k, max_q=0.05)) for k in range(8)) <= 1
    assert (r2(truth, model.predict(held)) - r2(truth, linear.predict(held))).mean() > -0.01


@pytest.mark.parametrize("alpha", [0.5, 0.3, 0.7])
def test_duplicates_are_redundant_and_conjunctions_synergistic_at_any_alpha(alpha):
    twins = duplicates(24, [(2, 5)], 0, alpha=alpha, noise_sd=0.4)
    both = conjunction(2, 24, alpha=alpha, noise_sd=0.2)
    model, _, _ = fit([twins, both], 1500, max_order=2)
    assert model.interactions(0)[0].members == (2, 5) and model.interactions(0)[0].kind == "redundancy"
    assert model.interactions(1)[0].members == (0, 1) and model.interactions(1)[0].kind == "synergy"
    assert abs(model.interactions(0)[0].value + 1.0) < 4 * model.interactions(0)[0].stderr
    assert abs(model.interactions(1)[0].value - 1.0) < 4 * model.interactions(1)[0].stderr


@pytest.mark.parametrize(
    ("game", "surplus", "kind"),
    [
        (copies(3, 20, noise_sd=0.2), -2.0, "redundancy"),
        (conjunction(3, 20, noise_sd=0.2), 1.0, "synergy"),
        (majority(3, 20, noise_sd=0.2), 1.0, "synergy"),
    ],
    ids=["OR3", "AND3", "MAJ3"],
)
def test_sets_of_three_go_by_their_joint_surplus(game, surplus, kind):
    model, _, _ = fit([game], 3000)
    found = {i.members: i for i in model.interactions(max_q=0.05)}[(0, 1, 2)]
    assert abs(found.value - game.spectrum.banzhaf((0, 1, 2))) < 4 * found.stderr
    assert abs(found.joint_surplus - game.spectrum.joint_surplus((0, 1, 2))) < 0.25
    assert np.isclose(game.spectrum.joint_surplus((0, 1, 2)), surplus)
    assert found.kind == kind


def test_lower_is_better_turns_the_kind():
    game = conjunction(2, 20, noise_sd=0.2)
    masks = game.draw_masks(800, 0)
    lower = ProxySPEX(max_order=2).fit(masks, -game.observe(masks, 1), higher_is_better=False)
    assert lower.interactions()[0].kind == "synergy"
    assert lower.interactions()[0].value < 0


def test_class_split_and_one_target():
    game = conjunction(2, 20, noise_sd=0.2)
    masks = game.draw_masks(800, 0)
    labels = np.arange(20) % 2
    options = {"player_labels": labels, "target_labels": np.array([1])}
    model = ProxySPEX(max_order=2).fit(masks, game.observe(masks, 1), **options)
    assert model.interactions()[0].class_split == "cross_class"


def test_same_seed_same_result():
    games = [planted_interactions(60, 1, noise_ceiling=0.9)]
    first, second = (fit(games, 600)[0] for _ in range(2))
    assert first.interactions() == second.interactions()
    assert first.spectra_[0].terms == second.spectra_[0].terms


def test_a_clone_has_the_same_settings():
    model = ProxySPEX(alpha=0.3, max_order=4, seed=5, backend="lightgbm", max_pair_players=9, q_method="BY")
    assert clone(model).get_params() == model.get_params()


def test_replicates_and_antithetic_partners_are_never_divided():
    # A function of pure parity of three: with the complement in the other fold, odd orders flip sign; with a
    # replicate there, its noise leaks. Either would open the gate on common noise.
    rng = np.random.default_rng(0)
    masks = np.repeat(rng.random((150, 30)) < 0.5, 3, axis=0)
    outputs = np.repeat(rng.normal(size=(150, 6)), 3, axis=0) + 0.05 * rng.normal(size=(450, 6))
    model = ProxySPEX(max_order=2).fit(masks, outputs)
    assert not model.gate_open_.any()
    assert (r2(outputs, model.cross_fitted_) < 0.05).all()


def test_antithetic_masks_identify_pairs_as_plain_masks_do():
    game = duplicates(30, [(1, 2), (3, 4)], 0, noise_sd=0.6)
    half = game.draw_masks(500, 0)
    masks = np.concatenate([half, ~half])
    groups = np.tile(np.arange(500), 2)
    model = ProxySPEX(max_order=2).fit(masks, game.observe(masks, 3), groups=groups)
    assert {i.members for i in model.interactions(max_q=0.01)} == {(1, 2), (3, 4)}
    for found in model.interactions(max_q=0.01):
        assert abs(found.value + 1.0) < 4 * found.stderr


@pytest.fixture(scope="module")
def fixed_size():
    """A fit to masks of 15 of 30 players, where players 0 to 4 have a main effect of 1."""
    rng = np.random.default_rng(0)
    masks = np.zeros((900, 30), dtype=bool)
    for row in masks:
        row[rng.choice(30, 15, replace=False)] = True
    outputs = masks @ np.where(np.arange(30) < 5, 1.0, 0.0) + 0.3 * rng.normal(size=900)
    return ProxySPEX(max_order=2).fit(masks, outputs)


def test_fixed_size_masks_are_recognised(fixed_size):
    assert fixed_size.fixed_size_


def test_effects_of_fixed_size_masks_take_the_minimum_norm(fixed_size):
    assert abs(fixed_size.effects_[0].mean()) < 1e-9


def test_differences_of_effects_are_identified_by_fixed_size_masks(fixed_size):
    difference = fixed_size.effects_[0, :5].mean() - fixed_size.effects_[0, 5:].mean()
    assert abs(difference - 1.0) < 0.1


def test_sample_weights_silence_rows_that_are_nearly_worthless():
    game = duplicates(20, [(0, 1)], 0, noise_sd=0.3)
    masks = game.draw_masks(900, 0)
    outputs = game.observe(masks, 1)
    outputs[600:] = np.random.default_rng(2).normal(0, 30, 300)
    weight = np.where(np.arange(900) < 600, 1.0, 1e-6)
    plain = ProxySPEX(max_order=2).fit(masks, outputs)
    weighted = ProxySPEX(max_order=2).fit(masks, outputs, sample_weight=weight)
    assert plain.interactions(max_q=0.05) == []
    assert [i.members for i in weighted.interactions(max_q=0.01)] == [(0, 1)]


def test_a_player_screen_that_is_not_exhaustive_still_looks_at_the_strongest():
    game = clusters_of_copies(120, [(3, 70)], 0, noise_sd=0.5, effect=3.0)
    masks = game.draw_masks(1200, 0)
    model = ProxySPEX(max_order=2, max_pair_players=30, n_proxy_sets=0).fit(masks, game.observe(masks, 1))
    assert [i.members for i in model.interactions(max_q=0.05)] == [(3, 70)]
    assert model.n_considered_ == 30 * 29 // 2


@pytest.fixture(scope="module")
def many_players():
    """Copies 30 and 170 of 300 players: masks, outputs, fits of all players and of the strongest 60."""
    game = clusters_of_copies(300, [(30, 170)], 0, noise_sd=0.5, effect=3.0, background=0.0)
    masks = game.draw_masks(1500, 0)
    outputs = game.observe(masks, 1)
    data = check_data(masks, outputs, 0.5)
    return masks, outputs, *(fit_block(data, BlockSettings(0.5, 2, max_dense_players=limit)) for limit in (300, 60))


def test_the_joint_fit_of_the_strongest_players_holds_those_that_matter(many_players):
    _, _, _, part = many_players
    assert len(part.players) < 150
    assert {30, 170} <= set(part.players.tolist())


def test_players_outside_the_joint_fit_have_the_main_effects_of_a_fit_of_all(many_players):
    _, _, whole, part = many_players
    assert part.main.shape == (1, 300)
    assert np.isfinite(part.main_stderr).all()
    assert np.abs(part.main - whole.main).max() < 0.35 * np.median(whole.main_stderr) + 0.02


def test_the_joint_fit_of_the_strongest_players_finds_the_same_pair_and_predicts_alike(many_players):
    masks, _, whole, part = many_players
    assert whole.reported[0].members[0] == part.reported[0].members[0] == (30, 170)
    assert np.abs(whole.spectra[0].evaluate(masks) - part.spectra[0].evaluate(masks)).mean() < 0.05


def test_a_datamodel_of_the_strongest_players_has_a_coefficient_for_every_player(many_players):
    masks, outputs, _, _ = many_players
    linear = Datamodel(max_dense_players=60).fit(masks, outputs)
    assert linear.coef_.shape == (1, 300)
    assert r2(outputs, linear.predict(masks)) > 0.5


def test_players_of_a_fold_are_chosen_without_it():
    # Pure noise and many players: chosen with the fold's own masks, the strongest players would "predict" it.
    rng = np.random.default_rng(0)
    masks, outputs = rng.random((400, 3000)) < 0.5, rng.normal(size=(400, 6))
    with pytest.warns(UserWarning, match="400 masks for 3000 players"):
        model = Datamodel(max_dense_players=100).fit(masks, outputs)
    assert r2(outputs, model.cross_fitted_).mean() < 0.01


def test_a_pair_whose_sign_is_not_known_is_not_reported():
    """Among strong players most pairs are real, so that small ones may enter the spectrum; nobody could name them."""
    rng = np.random.default_rng(0)
    masks = rng.random((600, 7)) < 0.5
    phi = 2.0 * masks - 1
    outputs = phi.sum(axis=1)[:, None] + rng.normal(size=(600, 6))
    for i in range(7):
        for j in range(i):
            outputs += rng.normal(0.0, 0.1, size=6) * (phi[:, i] * phi[:, j])[:, None]
    model = ProxySPEX(max_order=2).fit(masks, outputs)
    pairs = [found for target in range(6) for found in model.interactions(target)]
    entered = sum(len(members) == 2 for spectrum in model.spectra_ for members in spectrum.terms)
    assert min(abs(found.raw) / found.raw_stderr for found in pairs) >= 2.5
    assert {found.kind for found in pairs} <= {"redundancy", "synergy", "saturation"}
    assert 15 <= len(pairs) < entered
