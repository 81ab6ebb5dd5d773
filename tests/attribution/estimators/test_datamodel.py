"""The datamodel is the LASSO, for many targets at once, with its penalty chosen on masks the fit has not seen."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Lasso

from attribution import AttributionError, Datamodel
from attribution.fourier.basis import basis
from attribution.linear.datamodel_fit import fit_linear
from attribution.linear.lasso import Moments, penalty_grid, solve_l1
from attribution.masks.folds import assign_folds


def linear_campaign(n_players=40, n_masks=400, n_targets=3, noise=1.0, alpha=0.5, seed=0):
    rng = np.random.default_rng(seed)
    masks = rng.random((n_masks, n_players)) < alpha
    weights = rng.normal(size=(n_targets, n_players)) * (rng.random((n_targets, n_players)) < 0.3)
    outputs = masks @ weights.T + 2.0 + noise * rng.normal(size=(n_masks, n_targets))
    return masks, outputs, weights


@pytest.mark.parametrize("n_players", [20, 120])
def test_path_equals_scikit_learns_coordinate_descent(n_players):
    masks, outputs, _ = linear_campaign(n_players, 150, 4, seed=n_players)
    phi = basis(masks, 0.5).astype(np.float64)
    gram, covariance = Moments.of(phi, outputs).centred()
    lambdas = penalty_grid(covariance, np.ones(n_players), 6, 0.05)
    found = solve_l1(gram, covariance, lambdas[:, :, None], tolerance=1e-9, max_iterations=20_000)
    for target in range(4):
        for place in (2, 5):
            reference = Lasso(alpha=lambdas[target, place], tol=1e-12, max_iter=100_000).fit(
                phi, outputs[:, target]
            )
            assert np.abs(found[target, place] - reference.coef_).max() < 1e-5


def test_weights_are_recovered_in_units_of_the_output():
    masks, outputs, weights = linear_campaign(noise=0.2, n_masks=1200)
    model = Datamodel(seed=1).fit(masks, outputs)
    assert model.coef_.shape == weights.shape
    assert np.abs(model.coef_ - weights).max() < 0.06
    assert np.allclose(model.predict(masks), masks @ model.coef_.T + model.intercept_)


@pytest.mark.parametrize("alpha", [0.2, 0.8])
def test_other_alphas_give_the_same_weights(alpha):
    masks, outputs, weights = linear_campaign(noise=0.2, n_masks=1500, alpha=alpha)
    assert np.abs(Datamodel(alpha=alpha).fit(masks, outputs).coef_ - weights).max() < 0.1


def test_noise_alone_gives_a_model_that_predicts_nothing_wrong():
    rng = np.random.default_rng(3)
    masks = rng.random((300, 100)) < 0.5
    outputs = rng.normal(size=(300, 5))
    held = rng.random((200, 100)) < 0.5
    predicted = Datamodel().fit(masks, outputs).predict(held)
    assert (predicted - outputs.mean(axis=0)).std(axis=0).max() < 0.25


def test_folds_never_divide_a_group_and_replicates_are_recognised():
    groups = np.random.default_rng(0).integers(0, 60, 300)
    groups = np.unique(groups, return_inverse=True)[1]
    folds = assign_folds(groups, 6, seed=2)
    assert all(len(np.unique(folds[groups == g])) == 1 for g in np.unique(groups))
    assert np.bincount(folds).min() > 30

    # Pure noise, every mask trained four times with one common shift: a split that divides replicates would
    # "predict" the shift, and cross-fitted predictions would follow the outputs.
    rng = np.random.default_rng(1)
    masks = np.repeat(rng.random((60, 40)) < 0.5, 4, axis=0)
    outputs = np.repeat(rng.normal(size=60), 4) + 0.1 * rng.normal(size=240)
    fitted = Datamodel().fit(masks, outputs)
    assert np.corrcoef(fitted.cross_fitted_[:, 0], outputs)[0, 1] < 0.3


def test_the_fit_without_a_fold_is_the_lasso_of_the_other_rows():
    masks, outputs, _ = linear_campaign(n_masks=240)
    phi = basis(masks, 0.5).astype(np.float64)
    folds = assign_folds(np.arange(240), 6, seed=0)
    fitted = fit_linear(phi, outputs, folds)
    for fold in (0, 3):
        others = folds != fold
        for target in range(3):
            reference = Lasso(alpha=fitted.fold_penalty[fold, target], tol=1e-12, max_iter=100_000)
            reference.fit(phi[others], outputs[others, target])
            assert np.abs(fitted.fold_coef[fold, target] - reference.coef_).max() < 1e-4
            expected = reference.predict(phi[~others])
            assert np.abs(fitted.predicted[~others, target] - expected).max() < 1e-3


def test_sample_weight_of_two_equals_the_mask_twice():
    masks, outputs, _ = linear_campaign(n_players=15, n_masks=120)
    phi = basis(masks, 0.5).astype(np.float64)
    folds = assign_folds(np.arange(120), 6, seed=0)
    weight = np.where(np.arange(120) < 40, 2.0, 1.0)
    twice = np.concatenate([np.arange(120), np.arange(40)])
    # The same weighted sums come from either; units are fixed so that they cannot differ.
    y = (outputs - outputs.mean(0)) / outputs.std(0)
    once = Moments.of(phi, y, weight)
    doubled = Moments.of(phi[twice], y[twice])
    assert np.allclose(once.centred()[0], doubled.centred()[0])
    assert np.allclose(once.centred()[1], doubled.centred()[1])
    fitted = fit_linear(phi, outputs, folds, weight=weight / weight.mean())
    assert np.abs(fitted.coef).max() > 0.1


def test_scikit_learn_conventions_hold():
    masks, outputs, _ = linear_campaign()
    model = Datamodel(alpha=0.5, seed=4)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(Exception, match="not fitted"):
        model.predict(masks)
    single = model.fit(masks, outputs[:, 0])
    assert single.predict(masks).shape == (len(masks),)
    assert 0.3 < single.score(masks, outputs[:, 0]) < 1.0
    with pytest.raises(AttributionError, match=r"\(n_masks, 40\)"):
        single.predict(masks[:, :10])


def test_more_players_than_masks_is_defined_and_warned_of():
    masks, outputs, _ = linear_campaign(n_players=150, n_masks=100)
    with pytest.warns(UserWarning, match="100 masks for 150 players"):
        model = Datamodel().fit(masks, outputs)
    assert np.isfinite(model.coef_).all()
