"""The baselines: each equals its closed form, brute force over all masks, or scikit-learn, and refuses bad input."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Lasso, LinearRegression, Ridge, RidgeCV

import attribution
from attribution import (
    AttributionError,
    AttributionWarning,
    BoostedProxy,
    PairwiseLasso,
    RidgeDatamodel,
    SampleReuseBanzhaf,
    WeightedLeastSquares,
)
from attribution.fourier.basis import basis
from tests import games
from tests.attribution import brute_force
from tests.attribution.estimators.test_bad_input import BAD, campaign
from tests.games import all_masks

LINEAR = (RidgeDatamodel, SampleReuseBanzhaf, WeightedLeastSquares)
EVERY = (*LINEAR, BoostedProxy, PairwiseLasso)


def every_mask_as_often_as_drawn(n_players: int, absent_per_present: int) -> np.ndarray:
    """Each of the 2^n masks in exact proportion to Bernoulli(1 / (1 + absent_per_present))."""
    masks = all_masks(n_players)
    return np.repeat(masks, absent_per_present ** (~masks).sum(axis=1), axis=0)


# What all of them share


@pytest.mark.parametrize("estimator", EVERY)
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(estimator, case):
    spoil, message = BAD[case]
    masks, outputs, options = spoil(*campaign())
    with pytest.raises(AttributionError, match=message):
        estimator().fit(masks, outputs, **options)


@pytest.mark.parametrize("estimator", EVERY)
def test_one_interface(estimator):
    masks, outputs = campaign(n_masks=300)
    model = clone(estimator(alpha=0.5))
    with pytest.raises(Exception, match="not fitted"):
        model.predict(masks)
    masks.flags.writeable = outputs.flags.writeable = False
    both = model.fit(masks, outputs).predict(masks)
    assert both.shape == (300, 2)
    alone = estimator().fit(masks, outputs[:, 1])
    assert alone.predict(masks).shape == (300,)
    np.testing.assert_allclose(alone.predict(masks), both[:, 1], atol=1e-5)
    assert 0.3 < alone.score(masks, outputs[:, 1]) < 1.0
    with pytest.raises(AttributionError, match=r"\(n_masks, 10\)"):
        alone.predict(masks[:, :4])
    with pytest.raises(AttributionError, match="contradicts the masks"):
        estimator(alpha=0.2).fit(masks, outputs)
    with pytest.raises(AttributionError, match="one alpha for all masks"):
        estimator(alpha=np.full(300, 0.5)).fit(masks, outputs)
    assert getattr(attribution, estimator.__name__) is estimator and estimator.__name__ in attribution.__all__


@pytest.mark.parametrize("estimator", EVERY)
def test_constant_outputs_are_predicted_as_they_are(estimator):
    masks, outputs = campaign()
    outputs[:, 1] = 3.0
    model = estimator().fit(masks, outputs)
    np.testing.assert_allclose(model.predict(masks)[:, 1], 3.0, atol=1e-6)
    if hasattr(model, "coef_"):
        np.testing.assert_allclose(model.coef_[1], 0.0, atol=1e-6)


@pytest.mark.parametrize("estimator", (RidgeDatamodel, SampleReuseBanzhaf, WeightedLeastSquares, PairwiseLasso))
@pytest.mark.parametrize("alpha", [0.3, 0.5])
def test_a_linear_function_is_recovered(estimator, alpha):
    rng = np.random.default_rng(0)
    masks = rng.random((6000, 8)) < alpha
    weights = rng.normal(size=8)
    outputs = masks @ weights + 2.0 + 0.1 * rng.normal(size=6000)
    # An L1 penalty takes something off every effect; here it may go down to next to nothing.
    settings = {"smallest_penalty": 1e-3} if estimator is PairwiseLasso else {}
    model = estimator(alpha=alpha, **settings).fit(masks, outputs)
    slack = 0.2 if estimator is SampleReuseBanzhaf else 0.03
    assert np.abs(model.coef_[0] - weights).max() < slack


@pytest.mark.parametrize("estimator", (RidgeDatamodel, SampleReuseBanzhaf, WeightedLeastSquares))
def test_masks_of_one_size_do_not_tell_a_common_shift(estimator):
    rng = np.random.default_rng(1)
    masks = np.stack([rng.permutation(10) < 5 for _ in range(4000)])
    weights = rng.normal(size=10) + 3.0
    model = estimator().fit(masks, masks @ weights + 1.0)
    assert model.fixed_size_
    assert abs(model.coef_.mean()) < 1e-8
    slack = 0.3 if estimator is SampleReuseBanzhaf else 0.02
    assert np.abs(model.coef_[0] - (weights - weights.mean())).max() < slack
    assert abs(model.predict(masks).mean() - (masks @ weights + 1.0).mean()) < 1e-8


def test_weighted_rows_equal_repeated_rows():
    """What nothing is split for: weights 2 are the same as giving the mask twice."""
    masks, outputs = campaign(n_masks=150)
    weight = np.where(np.arange(150) < 50, 2.0, 1.0)
    twice = np.concatenate([np.arange(150), np.arange(50)])
    for model in (
        SampleReuseBanzhaf(),
        WeightedLeastSquares(),
        WeightedLeastSquares(kernel="lime"),
        RidgeDatamodel(penalties=[30.0]),
    ):
        weighted = clone(model).fit(masks, outputs, sample_weight=weight)
        # Weights are scaled to mean 1, so ridge's penalty has to be as well.
        if isinstance(model, RidgeDatamodel):
            model.set_params(penalties=[30.0 * 200 / 150])
        repeated = model.fit(masks[twice], outputs[twice])
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-8)
        np.testing.assert_allclose(weighted.intercept_, repeated.intercept_, atol=1e-8)


# Ridge


@pytest.mark.parametrize("n_players", [10, 90])
def test_ridge_is_scikit_learns_with_its_leave_one_out_errors(n_players):
    rng = np.random.default_rng(n_players)
    masks = rng.random((80, n_players)) < 0.5
    outputs = masks @ rng.normal(size=(n_players, 3)) + rng.normal(size=(80, 3))
    penalties = np.geomspace(0.1, 1e3, 7)
    phi = basis(masks, 0.5).astype(np.float64)
    if n_players > 80:
        with pytest.warns(AttributionWarning, match="for 90 players"):
            model = RidgeDatamodel(penalties=penalties).fit(masks, outputs)
    else:
        model = RidgeDatamodel(penalties=penalties).fit(masks, outputs)
    for target in range(3):
        reference = RidgeCV(alphas=penalties, scoring="neg_mean_squared_error", store_cv_results=False)
        reference.fit(phi, outputs[:, target])
        assert model.penalty_[target] == reference.alpha_
        np.testing.assert_allclose(model.coef_[target], reference.coef_ * 2, atol=1e-8)
        np.testing.assert_allclose(model.predict(masks)[:, target], reference.predict(phi), atol=1e-8)
        for at, penalty in enumerate(penalties[::3]):
            left_out = [
                Ridge(alpha=penalty).fit(np.delete(phi, r, 0), np.delete(outputs[:, target], r)).predict(phi[[r]])[0]
                for r in range(0, 80, 40)
            ]
            if penalty == model.penalty_[target]:
                np.testing.assert_allclose(model.cross_fitted_[::40, target], left_out, atol=1e-8)
            assert np.isfinite(model.criterion_[target, 3 * at])


@pytest.mark.parametrize("weighted", [False, True])
def test_ridge_leaves_whole_groups_out(weighted):
    masks, outputs = campaign(n_masks=90, n_players=20)
    # One group of 26, larger than the rank, so that Woodbury's identity has its turn; others of 2 or 3.
    groups = np.where(np.arange(90) < 24, 0, np.arange(90) % 24)
    weight = np.random.default_rng(2).uniform(0.5, 2.0, 90) if weighted else None
    model = RidgeDatamodel(penalties=[20.0]).fit(masks, outputs, groups=groups, sample_weight=weight)
    phi, scaled = basis(masks, 0.5).astype(np.float64), None if weight is None else weight / weight.mean()
    for group in (0, 7, 23):
        rest = groups != group
        reference = Ridge(alpha=20.0).fit(phi[rest], outputs[rest], None if scaled is None else scaled[rest])
        np.testing.assert_allclose(model.cross_fitted_[~rest], reference.predict(phi[~rest]), atol=1e-8)
    error = (outputs - model.cross_fitted_) ** 2
    expected = (error if scaled is None else error * scaled[:, None]).mean(axis=0)
    np.testing.assert_allclose(model.criterion_[:, 0], expected, atol=1e-10)


def test_ridge_does_not_believe_replicates():
    """Pure noise, each mask four times with one common shift: leaving out single rows would choose no penalty."""
    rng = np.random.default_rng(1)
    masks = np.repeat(rng.random((60, 40)) < 0.5, 4, axis=0)
    outputs = np.repeat(rng.normal(size=60), 4) + 0.1 * rng.normal(size=240)
    model = RidgeDatamodel().fit(masks, outputs)
    assert np.corrcoef(model.cross_fitted_[:, 0], outputs)[0, 1] < 0.3
    assert model.predict(masks).std() < 0.4
    with pytest.raises(AttributionError, match="criterion='loo'"):
        RidgeDatamodel(criterion="gcv").fit(masks, outputs)


def test_generalised_cross_validation_is_its_formula():
    masks, outputs = campaign(n_masks=200, n_players=20)
    phi = basis(masks, 0.5).astype(np.float64)
    penalties = [5.0, 50.0, 500.0]
    model = RidgeDatamodel(penalties=penalties, criterion="gcv").fit(masks, outputs)
    centred = phi - phi.mean(axis=0)
    for at, penalty in enumerate(penalties):
        hat = centred @ np.linalg.solve(centred.T @ centred + penalty * np.eye(20), centred.T) + 1 / 200
        residual = outputs - hat @ outputs
        expected = (residual**2).mean(axis=0) / (1 - np.trace(hat) / 200) ** 2
        np.testing.assert_allclose(model.criterion_[:, at], expected, rtol=1e-10)


@pytest.mark.parametrize("settings", [{"penalties": [0.0]}, {"penalties": []}, {"criterion": "magic"}])
def test_ridge_refuses_settings_that_make_no_sense(settings):
    with pytest.raises(AttributionError, match="penalties|criterion"):
        RidgeDatamodel(**settings).fit(*campaign())


# Banzhaf by maximum sample reuse


@pytest.mark.parametrize("absent_per_present", [1, 2])
def test_sample_reuse_over_every_mask_is_the_banzhaf_value(absent_per_present):
    n, alpha = 6, 1 / (1 + absent_per_present)
    game = games.sum_of_unanimity(n, 12, 4, seed=3, alpha=alpha)
    masks = every_mask_as_often_as_drawn(n, absent_per_present)
    model = SampleReuseBanzhaf(alpha=alpha).fit(masks, game.evaluate(masks))
    values = game.evaluate(all_masks(n))
    for player in range(n):
        assert model.coef_[0, player] == pytest.approx(brute_force.banzhaf(values, n, alpha, (player,)))
        assert model.coef_[0, player] == pytest.approx(game.spectrum.banzhaf((player,)))


@pytest.mark.parametrize("alpha", [0.3, 0.5])
def test_sample_reuse_intervals_cover(alpha):
    game = games.planted_interactions(20, seed=4, alpha=alpha, n_pairs=4, n_triples=2)
    truth = np.array([game.spectrum.banzhaf((player,)) for player in range(20)])
    covered = []
    for seed in range(150):
        masks, outputs = game.sample(300, seed)
        model = SampleReuseBanzhaf(alpha=alpha).fit(masks, outputs)
        covered.append(np.abs(model.coef_[0] - truth) < 1.96 * model.stderr_[0])
    # 3,000 intervals: 95% +- 4 standard errors of 0.4%, with a little for their being a t of 300.
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_replicates_do_not_narrow_the_error_of_sample_reuse():
    masks, outputs = campaign(n_masks=200)
    once = SampleReuseBanzhaf().fit(masks, outputs)
    twice = SampleReuseBanzhaf().fit(np.repeat(masks, 2, axis=0), np.repeat(outputs, 2, axis=0))
    np.testing.assert_allclose(twice.stderr_, once.stderr_, rtol=1e-6)
    np.testing.assert_allclose(twice.coef_, once.coef_)


@pytest.mark.parametrize("value", [False, True])
def test_sample_reuse_does_not_know_a_player_that_never_varies(value):
    masks, outputs = campaign(n_players=100)
    masks[:, 4] = value
    with pytest.warns(AttributionWarning, match="player 4"):
        model = SampleReuseBanzhaf().fit(masks, outputs)
    assert np.isnan(model.coef_[:, 4]).all() and np.isnan(model.stderr_[:, 4]).all()
    assert np.isfinite(np.delete(model.coef_, 4, axis=1)).all()
    assert np.isfinite(model.predict(masks)).all()


# Weighted least squares


@pytest.mark.parametrize("absent_per_present", [1, 2])
def test_the_shapley_kernel_over_every_mask_gives_shapley_values(absent_per_present):
    """Whatever the masks' alpha: the importance weights take it out."""
    n, alpha = 5, 1 / (1 + absent_per_present)
    game = games.sum_of_unanimity(n, 10, 4, seed=5, alpha=alpha)
    masks = every_mask_as_often_as_drawn(n, absent_per_present)
    values = game.evaluate(all_masks(n))
    model = WeightedLeastSquares(alpha=alpha, kernel="shapley").fit(masks, game.evaluate(masks))
    expected = np.array([brute_force.shapley(values, n, player) for player in range(n)])
    np.testing.assert_allclose(model.coef_[0], expected, atol=1e-8)
    assert model.intercept_[0] == pytest.approx(values[0])
    assert model.identifies_ == "Shapley values" and not model.rank_deficient_

    inner = (masks.sum(axis=1) > 0) & (masks.sum(axis=1) < n)
    without = WeightedLeastSquares(alpha=masks[inner].mean(), kernel="shapley")
    # The share of present players among the inner masks is not alpha, but weights are only known up to alpha: at
    # 1/2 both are the same.
    if absent_per_present == 1:
        without.fit(masks[inner], game.evaluate(masks[inner]))
        assert without.identifies_ == "differences of Shapley values"
        np.testing.assert_allclose(np.diff(without.coef_[0]), np.diff(expected), atol=1e-8)


@pytest.mark.parametrize("absent_per_present", [1, 2])
def test_no_weights_over_every_mask_give_banzhaf_values(absent_per_present):
    n, alpha = 6, 1 / (1 + absent_per_present)
    game = games.random_trees(n, 5, 4, seed=1, alpha=alpha)
    masks = every_mask_as_often_as_drawn(n, absent_per_present)
    model = WeightedLeastSquares(alpha=alpha).fit(masks, game.evaluate(masks))
    expected = [game.spectrum.banzhaf((player,)) for player in range(n)]
    np.testing.assert_allclose(model.coef_[0], expected, atol=1e-8)
    assert model.effective_masks_ == pytest.approx(len(masks))


def test_the_lime_kernel_is_scikit_learns_weighted_regression():
    masks, outputs = campaign(n_masks=200)
    size = masks.sum(axis=1)
    weight = np.exp(-((1 - np.sqrt(size / 10)) ** 2) / (2 * 0.3**2))
    reference = LinearRegression().fit(masks, outputs, weight)
    model = WeightedLeastSquares(kernel="lime", width=0.3).fit(masks, outputs)
    np.testing.assert_allclose(model.coef_, reference.coef_, atol=1e-8)
    np.testing.assert_allclose(model.intercept_, reference.intercept_, atol=1e-8)
    assert model.effective_masks_ == pytest.approx(weight.sum() ** 2 / (weight**2).sum())


def test_a_kernel_that_lives_where_no_masks_are_is_warned_of():
    rng = np.random.default_rng(0)
    masks = rng.random((600, 60)) < 0.5
    with pytest.warns(AttributionWarning, match="of its weight on the sizes of these masks"):
        model = WeightedLeastSquares(kernel="shapley").fit(masks, rng.normal(size=600))
    # KernelSHAP weighs a size by 1 / (s (n - s)).
    mass = 1 / (np.arange(1, 60) * (60 - np.arange(1, 60)))
    sizes = masks.sum(axis=1)
    assert model.covered_ == pytest.approx(mass[sizes.min() - 1 : sizes.max()].sum() / mass.sum())
    assert model.covered_ < 0.5


@pytest.mark.parametrize("settings", [{"kernel": "magic"}, {"width": 0.0}, {"width": float("nan")}])
def test_weighted_least_squares_refuses_settings_that_make_no_sense(settings):
    with pytest.raises(AttributionError, match="kernel|width"):
        WeightedLeastSquares(**settings).fit(*campaign())


# Boosted trees alone


def test_the_boosted_proxy_predicts_what_its_spectrum_says():
    game = games.duplicates(30, [(0, 4), (6, 1)], seed=3, alpha=0.4)
    masks, outputs = game.with_noise_ceiling(0.8).sample(800, 0)
    model = BoostedProxy(alpha=0.4).fit(masks, np.column_stack([outputs, -outputs]))
    for target in range(2):
        np.testing.assert_allclose(model.spectrum(target).evaluate(masks), model.predict(masks)[:, target], atol=1e-4)
    assert model.spectrum(0).banzhaf((0, 4)) < 0 < model.spectrum(1).banzhaf((0, 4))
    with pytest.raises(AttributionError, match=r"target must be an integer in 0\.\.1"):
        model.spectrum(2)
    with pytest.raises(AttributionError, match="backend"):
        BoostedProxy(alpha=0.4, backend="magic").fit(masks, outputs)


def test_early_stopping_does_not_divide_replicates():
    """Pure noise shared by the replicates of a mask: a divided split would go on boosting it."""
    rng = np.random.default_rng(0)
    masks = np.repeat(rng.random((100, 20)) < 0.5, 4, axis=0)
    outputs = np.repeat(rng.normal(size=100), 4)
    assert BoostedProxy(n_estimators=200).fit(masks, outputs).n_trees_[0] < 40


# Pairwise LASSO


@pytest.mark.parametrize("weighted", [False, True])
def test_the_pairwise_path_is_the_lasso_over_all_pairs(weighted):
    game = games.planted_interactions(12, seed=1, n_pairs=3, n_triples=1, noise_ceiling=0.8)
    masks, outputs = game.sample(250, 0)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 250) if weighted else None
    model = PairwiseLasso().fit(masks, outputs, sample_weight=weight)
    phi = basis(masks, 0.5).astype(np.float64)
    pairs = [(i, j) for i, j in product(range(12), range(12)) if i < j]
    design = np.column_stack([phi, *(phi[:, i] * phi[:, j] for i, j in pairs)])
    reference = Lasso(alpha=model.penalty_[0], tol=1e-12, max_iter=100_000)
    reference.fit(design, outputs, None if weight is None else weight / weight.mean())
    found = np.array([model.spectra_[0].coefficient(s) for s in [*((i,) for i in range(12)), *pairs]])
    np.testing.assert_allclose(found, reference.coef_, atol=1e-3 * np.abs(reference.coef_).max())
    np.testing.assert_allclose(model.predict(masks), reference.predict(design), atol=3e-3)
    assert {s for s in game.planted if len(s) == 2} <= set(model.spectra_[0].terms)


def test_pairwise_predictions_have_not_seen_their_fold():
    rng = np.random.default_rng(1)
    masks = np.repeat(rng.random((60, 15)) < 0.5, 3, axis=0)
    outputs = np.repeat(rng.normal(size=60), 3) + 0.1 * rng.normal(size=180)
    model = PairwiseLasso().fit(masks, outputs)
    assert np.corrcoef(model.cross_fitted_[:, 0], outputs)[0, 1] < 0.3


def test_pairwise_lasso_refuses_too_many_players():
    with pytest.raises(AttributionError, match="Use ProxySPEX"):
        PairwiseLasso(max_players=9).fit(*campaign())
