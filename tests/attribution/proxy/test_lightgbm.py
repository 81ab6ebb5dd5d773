"""A LightGBM booster and its spectrum predict the same, mask for mask."""

from __future__ import annotations

import numpy as np
import pytest

from attribution.errors import SpectrumError
from attribution.proxy.lightgbm import forest_from_lightgbm
from tests.games import all_masks, planted_interactions, sum_of_unanimity
from tests.tree_recursion import tree_to_spectrum

lightgbm = pytest.importorskip("lightgbm")

BASE = {"num_threads": 1, "verbosity": -1, "seed": 0, "deterministic": True, "min_data_in_leaf": 5}


def fit(parameters: dict, masks: np.ndarray, outputs: np.ndarray, rounds: int = 60):
    data = lightgbm.Dataset(masks.astype(np.float64), outputs, free_raw_data=False)
    return lightgbm.train({"objective": "regression", **BASE, **parameters}, data, rounds)


@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.7])
@pytest.mark.parametrize(
    "parameters",
    [
        {"max_depth": 3, "learning_rate": 0.1},
        {"num_leaves": 31, "learning_rate": 0.3},
        {"max_depth": 2, "zero_as_missing": True},
        {"max_depth": 3, "use_missing": False},
        {"max_depth": 3, "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
        {"max_depth": 3, "boosting": "dart", "drop_rate": 0.3},
        {"max_depth": 3, "boost_from_average": False},
        {"max_depth": 3, "objective": "huber"},
    ],
    ids=lambda parameters: "-".join(f"{value}" for value in parameters.values()),
)
def test_the_spectrum_predicts_what_the_booster_predicts(parameters: dict, alpha: float) -> None:
    game = sum_of_unanimity(9, n_terms=20, max_order=4, seed=5, alpha=alpha, noise_sd=0.5)
    masks, outputs = game.sample(600, seed=1)
    booster = fit(parameters, masks, outputs)
    every = all_masks(9)
    expected = booster.predict(every.astype(np.float64))
    forest = forest_from_lightgbm(booster)
    np.testing.assert_allclose(forest.to_spectrum(9, alpha).evaluate(every), expected, atol=1e-10)
    np.testing.assert_allclose(forest.evaluate(every, 9), expected, atol=1e-10)


def test_the_fast_spectrum_is_the_recursion_on_a_real_booster() -> None:
    game = planted_interactions(60, seed=2, n_pairs=4, n_triples=2)
    masks, outputs = game.sample(800, seed=3)
    forest = forest_from_lightgbm(fit({"max_depth": 4}, masks, outputs))
    fast, slow = forest.to_spectrum(60, 0.4), tree_to_spectrum(forest, 60, 0.4)
    for members in fast.terms.keys() | slow.terms.keys():
        assert fast.coefficient(members) == pytest.approx(slow.coefficient(members), abs=1e-10)


def test_a_booster_of_the_sklearn_wrapper_is_taken_as_it_is() -> None:
    game = planted_interactions(20, seed=2, n_pairs=3, n_triples=1)
    masks, outputs = game.sample(400, seed=3)
    model = lightgbm.LGBMRegressor(n_estimators=20, max_depth=3, n_jobs=1, verbosity=-1)
    model.fit(masks.astype(np.float64), outputs)
    expected = model.booster_.predict(masks.astype(np.float64))
    np.testing.assert_allclose(forest_from_lightgbm(model).to_spectrum(20, 0.5).evaluate(masks), expected, atol=1e-10)


def test_early_stopping_counts_as_it_does_when_the_booster_predicts() -> None:
    game = planted_interactions(20, seed=4, n_pairs=3, n_triples=1, noise_ceiling=0.3)
    masks, outputs = game.sample(400, seed=5)
    train = lightgbm.Dataset(masks[:300].astype(np.float64), outputs[:300])
    held = lightgbm.Dataset(masks[300:].astype(np.float64), outputs[300:], reference=train)
    booster = lightgbm.train({"objective": "regression", **BASE}, train, 300, valid_sets=[held],
                             keep_training_booster=True,
                             callbacks=[lightgbm.early_stopping(5, verbose=False)])  # fmt: skip
    assert 0 < booster.best_iteration < booster.num_trees()
    for rounds in (None, 3):
        expected = booster.predict(masks.astype(np.float64), num_iteration=rounds)
        spectrum = forest_from_lightgbm(booster, num_iteration=rounds).to_spectrum(20, 0.5)
        np.testing.assert_allclose(spectrum.evaluate(masks), expected, atol=1e-10)


def test_features_may_be_any_players() -> None:
    game = planted_interactions(20, seed=6, n_pairs=3, n_triples=1)
    masks, outputs = game.sample(400, seed=7)
    chosen = np.array([19, 3, 7, 11, 0])
    booster = fit({"max_depth": 3}, masks[:, chosen], outputs)
    spectrum = forest_from_lightgbm(booster, chosen).to_spectrum(20, 0.5)
    expected = booster.predict(masks[:, chosen].astype(np.float64))
    np.testing.assert_allclose(spectrum.evaluate(masks), expected, atol=1e-10)
    assert {player for members in spectrum.terms for player in members} <= set(chosen.tolist())


def test_a_booster_that_found_no_split_is_a_constant() -> None:
    masks, _ = planted_interactions(20, seed=8, n_pairs=1, n_triples=0).sample(100, seed=9)
    booster = fit({"max_depth": 3}, masks, np.full(100, 2.5))
    spectrum = forest_from_lightgbm(booster).to_spectrum(20, 0.5)
    expected = booster.predict(masks.astype(np.float64))
    np.testing.assert_allclose(spectrum.evaluate(masks), expected, atol=1e-10)
    assert spectrum.degree == 0


def test_boosters_whose_spectrum_would_not_be_theirs_are_refused() -> None:
    masks, outputs = planted_interactions(12, seed=8, n_pairs=2, n_triples=1).sample(300, seed=9)
    features = masks.astype(np.float64)
    classes = np.digitize(outputs, np.quantile(outputs, [0.3, 0.6]))
    several = lightgbm.train({**BASE, "objective": "multiclass", "num_class": 3},
                             lightgbm.Dataset(features, classes), 3)  # fmt: skip
    with pytest.raises(SpectrumError, match="one booster per target"):
        forest_from_lightgbm(several)
    linear = lightgbm.train({**BASE, "objective": "regression", "linear_tree": True},
                            lightgbm.Dataset(features, outputs), 3)  # fmt: skip
    with pytest.raises(SpectrumError, match="linear"):
        forest_from_lightgbm(linear)
    categorical = lightgbm.train(
        {**BASE, "objective": "regression", "min_data_per_group": 1, "cat_smooth": 0},
        lightgbm.Dataset(features, outputs, categorical_feature=list(range(12))),
        3,
    )
    with pytest.raises(SpectrumError, match="categorical"):
        forest_from_lightgbm(categorical)


@pytest.mark.parametrize("decision_type", [0, 2, 4, 6, 8, 10])
def test_zeros_go_where_lightgbm_sends_them_under_every_missing_value_rule(decision_type: int) -> None:
    """Bit 1: missing goes left; bits 2-3: nothing, zero or NaN is missing. Set in the model's own text, so
    that LightGBM predicts with the rule whether or not it would have learnt it."""
    game = sum_of_unanimity(9, n_terms=20, max_order=4, seed=5)
    masks, outputs = game.sample(600, seed=1)
    text = fit({"max_depth": 3}, masks, outputs, rounds=10).model_to_string()
    lines = [
        "decision_type=" + " ".join([str(decision_type)] * len(line.split()))
        if line.startswith("decision_type=")
        else line
        for line in text.split("\n")
        if not line.startswith("tree_sizes=")  # byte counts, wrong once the text has changed
    ]
    booster = lightgbm.Booster(model_str="\n".join(lines))
    every = all_masks(9)
    expected = booster.predict(every.astype(np.float64))
    np.testing.assert_allclose(forest_from_lightgbm(booster).to_spectrum(9, 0.5).evaluate(every), expected, atol=1e-10)
