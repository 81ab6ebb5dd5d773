"""Coordinate descent, for few masks of many players, gives the datamodel that products with the Gram matrix give."""

import logging

import numpy as np
import pytest

from attribution.linear import datamodel_fit, few_masks
from attribution.linear.datamodel_fit import fit_linear, prefers_coordinates


def both(monkeypatch, *args, **options):
    """The same fit by either solver."""
    fits = []
    for coordinates in (True, False):
        monkeypatch.setattr(datamodel_fit, "prefers_coordinates", lambda *shape, now=coordinates: now)
        fits.append(fit_linear(*args, **options))
    return fits


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("limited", [False, True])
def test_both_solvers_agree(monkeypatch, weighted, limited):
    rng = np.random.default_rng(3)
    phi = (2.0 * (rng.random((120, 200)) < 0.5) - 1).astype(np.float32)
    outputs = phi[:, :20] @ rng.standard_normal((20, 3)) + 5.0 + rng.standard_normal((120, 3))
    folds = np.arange(120) % 6
    allowed = rng.random((7, 200)) < 0.7 if limited else None
    weight = rng.uniform(0.5, 2.0, 120) if weighted else None
    descent, products = both(monkeypatch, phi, outputs, folds, weight=weight, allowed=allowed)
    # Two penalties of nearly the same cross-validated error may change places: rounding decides.
    same = np.isclose(descent.fold_penalty, products.fold_penalty, rtol=1e-4)
    assert same.mean() > 0.9 and np.allclose(descent.penalty, products.penalty, rtol=1e-4)
    np.testing.assert_allclose(descent.fold_coef[same], products.fold_coef[same], atol=2e-3)
    np.testing.assert_allclose(descent.fold_intercept[same], products.fold_intercept[same], atol=2e-3)
    rows_same = same[folds]
    np.testing.assert_allclose(descent.predicted[rows_same], products.predicted[rows_same], atol=5e-3)
    for name in ("coef", "intercept"):
        np.testing.assert_allclose(getattr(descent, name), getattr(products, name), atol=2e-3, err_msg=name)
    if limited:
        assert not descent.coef[:, ~allowed[-1]].any()


def test_descent_serves_few_targets_of_more_players_than_masks():
    assert prefers_coordinates(300, 2000, 60) and prefers_coordinates(300, 400, 1)
    assert not prefers_coordinates(2048, 200, 1) and not prefers_coordinates(300, 400, 100)


def test_a_long_fit_logs_its_progress(monkeypatch, caplog):
    monkeypatch.setattr(few_masks, "LOG_SECONDS", 0.0)
    rng = np.random.default_rng(0)
    phi = 2.0 * (rng.random((60, 200)) < 0.5) - 1
    with caplog.at_level(logging.INFO, logger="coterie"):
        fit_linear(phi, rng.standard_normal((60, 2)), np.arange(60) % 6)
    assert [record.getMessage()[:25] for record in caplog.records] == [
        "datamodel: 1 of 2 targets",
        "datamodel: 2 of 2 targets",
    ]
