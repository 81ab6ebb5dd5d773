"""The multi-target booster grows the trees LightGBM grows, and its arithmetic is that of a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from attribution.errors import AttributionError
from attribution.proxy.boosted_trees import BoosterSettings
from attribution.proxy.booster import fit_booster
from attribution.proxy.fit import fit_proxy
from tests.games import planted_interactions, random_trees


def campaign(n_players: int, n_masks: int, n_targets: int, noise_ceiling: float = 0.6):
    games = [
        planted_interactions(n_players, seed, noise_ceiling=noise_ceiling, n_pairs=6, n_triples=2)
        for seed in range(n_targets)
    ]
    masks = games[0].draw_masks(n_masks, seed=5)
    outputs = np.column_stack([game.observe(masks, seed) for seed, game in enumerate(games)])
    return masks, outputs


def r2(outputs: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return 1 - ((outputs - predicted) ** 2).sum(0) / ((outputs - outputs.mean(0)) ** 2).sum(0)


def tree_by_loops(masks, residual, weight, depth, least):
    """One regression tree grown by trying every split of every node: predictions (m,)."""
    predicted = np.zeros(len(masks))

    def grow(rows, level):
        def loss(part):
            if weight[part].sum() == 0:
                return 0.0
            mean = np.average(residual[part], weights=weight[part])
            return float(weight[part] @ (residual[part] - mean) ** 2)

        best = None
        if level < depth:
            for player in range(masks.shape[1]):
                present, absent = rows[masks[rows, player]], rows[~masks[rows, player]]
                if min(weight[present].sum(), weight[absent].sum()) < least:
                    continue
                gain = loss(rows) - loss(present) - loss(absent)
                if best is None or gain > best[0] + 1e-9:
                    best = (gain, absent, present)
        if best is None or best[0] <= 1e-9:
            predicted[rows] = np.average(residual[rows], weights=weight[rows])
            return
        grow(best[1], level + 1)
        grow(best[2], level + 1)

    grow(np.arange(len(masks)), 0)
    return predicted


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_trees_equal_those_grown_by_trying_every_split(depth, weighted):
    rng = np.random.default_rng(depth)
    masks = rng.random((240, 9)) < 0.4
    outputs = rng.normal(size=(240, 3)) + masks[:, :3] * masks[:, 3:6] * 2.0
    weight = rng.uniform(0.5, 2.0, 240) if weighted else np.ones(240)
    weight /= weight.mean()
    settings = BoosterSettings(
        max_depth=depth, learning_rate=0.3, n_estimators=4, early_stopping_rounds=0, min_child_samples=12
    )
    trees = fit_booster(masks, outputs, settings, sample_weight=weight if weighted else None)
    for target in range(3):
        expected = np.full(240, np.average(outputs[:, target], weights=weight))
        for _ in range(4):
            expected += 0.3 * tree_by_loops(masks, outputs[:, target] - expected, weight, depth, 12)
        assert np.abs(trees.predict(masks)[:, target] - expected).max() < 1e-4


def test_both_backends_reach_the_same_r2_on_unseen_masks():
    masks, outputs = campaign(60, 1200, 6)
    settings = BoosterSettings(max_depth=3, learning_rate=0.05, n_estimators=200, early_stopping_rounds=0)
    fit, held = slice(0, 900), slice(900, None)
    scores = [
        r2(outputs[held], fit_proxy(masks[fit], outputs[fit], settings, backend=backend).predict(masks[held]))
        for backend in ("booster", "lightgbm")
    ]
    assert scores[0].mean() > 0.2
    assert np.abs(scores[0] - scores[1]).max() < 0.005


def test_spectrum_of_either_backend_predicts_as_its_trees_do():
    masks, outputs = campaign(40, 500, 2)
    settings = BoosterSettings(n_estimators=60, early_stopping_rounds=10)
    validation = np.arange(500) % 5 == 0
    for backend in ("booster", "lightgbm"):
        proxy = fit_proxy(masks, outputs, settings, backend=backend, validation=validation)
        for target in range(2):
            spectrum = proxy.spectrum(target, 0.3)  # exact at any alpha
            difference = spectrum.evaluate(masks) - proxy.predict(masks)[:, target]
            assert np.abs(difference).max() < 1e-5 * outputs.std()


@pytest.mark.parametrize("count", [0, 1, 7, 10_000])
def test_the_largest_sets_of_a_proxy_are_those_of_its_spectrum(count):
    masks, outputs = campaign(20, 500, 2)
    proxy = fit_proxy(masks, outputs, BoosterSettings(n_estimators=60, early_stopping_rounds=0))
    for target in range(2):
        terms = proxy.spectrum(target, 0.3).terms
        by_size = sorted((-abs(terms[s]), s) for s in terms if 2 <= len(s) <= 3)
        assert 20 < len(by_size) < 10_000
        assert proxy.largest_sets(target, 0.3, 2, 3, count) == [members for _, members in by_size[:count]]


def test_early_stopping_keeps_each_target_at_its_best_round_and_noise_without_trees():
    rng = np.random.default_rng(0)
    masks = rng.random((600, 30)) < 0.5
    outputs = np.column_stack([masks[:, 0] * 3.0 + rng.normal(size=600), rng.normal(size=600)])
    validation = np.arange(600) % 4 == 0
    trees = fit_booster(
        masks,
        outputs,
        BoosterSettings(learning_rate=0.1, n_estimators=300, early_stopping_rounds=20),
        validation=validation,
    )
    error = trees.validation_error[:, 0]
    assert trees.n_trees[0] == np.nanargmin(error) + 1
    assert trees.n_trees[0] > 10
    assert trees.n_trees[1] < 10
    at_best = ((outputs[validation] - trees.predict(masks[validation])) ** 2).mean(0)
    assert np.isclose(at_best[0], np.nanmin(error), rtol=1e-4)


def test_a_target_does_not_depend_on_its_neighbours():
    masks, outputs = campaign(30, 400, 4)
    settings = BoosterSettings(n_estimators=40, early_stopping_rounds=5)
    validation = np.arange(400) % 5 == 0
    together = fit_booster(masks, outputs, settings, validation=validation).predict(masks)
    alone = fit_booster(masks, outputs[:, [2]], settings, validation=validation).predict(masks)
    assert np.allclose(together[:, [2]], alone, atol=1e-4)


def test_a_target_that_has_stopped_stays_stopped_while_others_go_on():
    rng = np.random.default_rng(29)
    masks = rng.random((200, 20)) < 0.5
    outputs = rng.normal(size=(200, 12)) + masks[:, :12] * np.linspace(0, 1.5, 12)
    settings = BoosterSettings(learning_rate=0.1, n_estimators=80, early_stopping_rounds=3)
    validation = np.arange(200) % 4 == 0
    together = fit_booster(masks, outputs, settings, validation=validation).n_trees
    alone = [fit_booster(masks, outputs[:, [k]], settings, validation=validation).n_trees[0] for k in range(12)]
    assert together.tolist() == alone


def test_units_of_the_outputs_do_not_matter():
    masks, outputs = campaign(30, 400, 2)
    settings = BoosterSettings(n_estimators=40, early_stopping_rounds=0)
    plain = fit_booster(masks, outputs, settings).predict(masks)
    scaled = fit_booster(masks, outputs * 1e6 + 1e8, settings).predict(masks)
    assert np.allclose(scaled, plain * 1e6 + 1e8, atol=30.0)


def test_constant_outputs_get_their_constant_and_no_split():
    masks = np.random.default_rng(0).random((100, 8)) < 0.5
    trees = fit_booster(masks, np.full((100, 1), 2.5), BoosterSettings(n_estimators=5, early_stopping_rounds=0))
    assert (trees.players == -1).all()
    assert np.allclose(trees.predict(masks), 2.5)


def test_random_trees_are_learned_without_noise():
    game = random_trees(12, n_trees=8, depth=3, seed=3)
    masks = game.draw_masks(3000, seed=0)
    proxy = fit_proxy(
        masks,
        game.evaluate(masks)[:, None],
        BoosterSettings(max_depth=4, learning_rate=0.2, n_estimators=300, early_stopping_rounds=0),
    )
    unseen = game.draw_masks(500, seed=1)
    assert r2(game.evaluate(unseen)[:, None], proxy.predict(unseen))[0] > 0.97


@pytest.mark.parametrize(
    "wrong", [{"max_depth": 0}, {"max_depth": 9}, {"learning_rate": 0.0}, {"n_estimators": 0}, {"reg_lambda": -1.0}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(AttributionError):
        BoosterSettings(**wrong)


def test_an_unknown_backend_is_refused_not_replaced():
    with pytest.raises(AttributionError, match="backend"):
        fit_proxy(np.ones((4, 2), bool), np.ones((4, 1)), BoosterSettings(), backend="xgboost")
