"""Learning curves: what theory says of them, what is known of a planted one, and what a forecast may claim."""

from __future__ import annotations

import numpy as np
import pytest

from attribution.analysis.learning_curve import Point, fit_curve, measure, ridge_curve, subset_sizes
from attribution.errors import AttributionError


@pytest.mark.parametrize(("n_masks", "limit"), [(60, 0.5), (120, 0.5), (480, 0.5), (240, 0.2), (240, 0.9)])
def test_the_curve_is_that_of_ridge_regression_with_the_best_penalty(n_masks: int, limit: float) -> None:
    """Independent features of equal strength; R² over 24 data sets, within four of its standard errors."""
    n_players, found = 120, []
    penalty = n_players * (1 - limit) / limit  # noise over the variance of one coefficient
    for seed in range(24):
        rng = np.random.default_rng(seed)
        effects = rng.standard_normal(n_players) * np.sqrt(limit / n_players)
        x = rng.choice([-1.0, 1.0], (n_masks, n_players))
        y = x @ effects + np.sqrt(1 - limit) * rng.standard_normal(n_masks)
        fitted = np.linalg.solve(x.T @ x + penalty * np.eye(n_players), x.T @ y)
        found.append(1 - (((effects - fitted) ** 2).sum() + 1 - limit) / (limit / n_players * n_players + 1 - limit))
    stderr = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - ridge_curve(n_masks, limit, n_players)) < 4 * stderr + 0.003


def test_it_rises_from_nothing_to_its_limit() -> None:
    sizes = np.array([1e-6, 10, 100, 1_000, 10_000, 1e9])
    values = ridge_curve(sizes, 0.4, 80.0)
    assert (np.diff(values) > 0).all()
    assert values[0] == pytest.approx(0, abs=1e-6) and values[-1] == pytest.approx(0.4, abs=1e-6)


def planted(sizes: list[int], limit: float, players: float, noise: float = 0.0, seed: int = 0) -> tuple:
    """Points whose R² on random outputs is exactly the curve's, plus noise."""
    rng = np.random.default_rng(seed)
    outputs = rng.standard_normal((200, 8))
    points = []
    for size in sizes:
        share = 1 - (ridge_curve(size, limit, players) + noise * rng.standard_normal())
        predicted = outputs - np.sqrt(share) * (outputs - outputs.mean(axis=0))
        points.append(Point(size, {"datamodel": predicted}))
    return points, outputs


def test_a_planted_curve_is_found_again() -> None:
    points, outputs = planted([128, 181, 256, 362, 512], 0.45, 70.0)
    curve = fit_curve(points, outputs, "datamodel", n_players=200)
    assert (curve.limit, curve.players) == (pytest.approx(0.45, abs=1e-3), pytest.approx(70, rel=0.02))
    value, low, high = curve.at(2_048)
    assert value == pytest.approx(ridge_curve(2_048, 0.45, 70.0), abs=1e-3)
    assert low <= value <= high


def test_the_interval_holds_the_truth_and_widens_with_the_distance() -> None:
    inside, widths = 0, []
    for seed in range(4):
        points, outputs = planted([128, 128, 181, 181, 256, 256, 362, 512], 0.4, 60.0, noise=0.01, seed=seed)
        curve = fit_curve(points, outputs, "datamodel", n_players=200, seed=seed)
        _, low, high = curve.at(2_048)
        inside += low <= ridge_curve(2_048, 0.4, 60.0) <= high
        near = curve.at(512)
        widths.append((near[2] - near[1], high - low))
    assert inside == 4
    assert all(far > near for near, far in widths)


def test_subsets_are_fitted_as_they_are_and_more_masks_predict_better() -> None:
    rng = np.random.default_rng(3)
    masks = rng.random((420, 30)) < 0.5
    effects = rng.standard_normal((30, 3))
    outputs = (masks - 0.5) @ effects + 1.5 * rng.standard_normal((420, 3))
    points = measure(masks[:320], outputs[:320], masks[320:], alpha=0.5, sizes=[40, 113, 320], spectrum=False)
    assert [point.n_masks for point in points] == [40, 40, 113, 113, 320]
    curve = fit_curve(points, outputs[320:], "datamodel", n_players=30)
    assert curve.measured[0] != curve.measured[1], "the two subsets of one size are different masks"
    assert curve.measured[:2].mean() < curve.measured[2:4].mean() < curve.measured[4]


def random_rows(n_masks: int) -> tuple:
    rng = np.random.default_rng(0)
    masks = rng.random((n_masks, 10)) < 0.5
    return masks, rng.standard_normal((n_masks, 1)), masks


def test_too_few_masks_are_refused() -> None:
    assert subset_sizes(40) == [28, 40]
    with pytest.raises(AttributionError, match="at least three sizes"):
        measure(*random_rows(40), alpha=0.5)
    with pytest.raises(AttributionError, match="at least three sizes"):
        fit_curve(*planted([100, 200], 0.4, 60.0), "datamodel", n_players=200)
