"""Held-out R^2 as a function of the number of masks: measured on subsets, and forecast for more masks than there are.

The curve is that of optimally tuned ridge regression on n independent, equally scaled features (Dobriban and Wager
2018, Theorem 2.1), with two free parameters: the R^2 in the limit of many masks, and the number of players that act.
LASSO needs fewer masks than ridge where few players act, which a smaller number of players expresses; so that number is
at most the true one. A power law, limit - a n^-b, fits the same points and extrapolates differently: the interval
covers both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.checks import check_masks
from attribution.errors import AttributionError
from attribution.fourier.basis import basis
from attribution.interactions.block import BlockSettings, fit_block
from attribution.masks.inputs import check_data
from attribution.randomness import Purpose, random_stream
from attribution.statistics.faithfulness import r2
from attribution.types import Array

N_RESAMPLES = 60  # of each of the two curves
MOST_LIMIT = 0.98
SIZE_RATIO = 2**0.5
LEAST_MASKS = 24  # of the smallest subset
MODELS = ("datamodel", "spectrum")


@dataclass(frozen=True)
class Point:
    """Fits on one subset: predictions (h, t) on the held-out masks by the name of what predicts them."""

    n_masks: int
    predicted: dict[str, Array]


@dataclass(frozen=True)
class LearningCurve:
    """R^2 averaged over targets, as a function of the number of masks.

    sizes, measured: (k,) of the subsets. limit, players: of the fitted curve. _ridge (b, 2), _power (b, 3):
    parameters refitted to resamples of held-out masks, targets and subsets.
    """

    sizes: NDArray[np.int64]
    measured: Array
    limit: float
    players: float
    _ridge: Array
    _power: Array

    def at(self, n_masks: float) -> tuple[float, float, float]:
        """Forecast for so many masks: value and 95% interval."""
        value = float(ridge_curve(n_masks, self.limit, self.players))
        drawn = np.concatenate(
            [ridge_curve(n_masks, self._ridge[:, 0], self._ridge[:, 1]), _power_law(n_masks, *self._power.T)]
        )
        low, high = np.quantile(drawn, [0.025, 0.975])
        return value, min(float(low), value), max(float(high), value)


def ridge_curve(n_masks: Any, limit: Any, players: Any) -> Array:
    """R^2 of optimally tuned ridge regression from n masks of p players, `limit` that of infinitely many masks.

    With s = limit / (1 - limit) (signal over noise) and g = p / n, the risk in units of the noise is
    [1 + q + sqrt((1 - q)^2 + 4 s)] / 2, q = s (g - 1) / g, and R^2 = 1 - risk / (1 + s).
    """
    n_masks, limit, players = (np.asarray(value, dtype=np.float64) for value in (n_masks, limit, players))
    signal = limit / (1.0 - limit)
    q = signal * (1.0 - n_masks / players)
    # For many masks q is large and negative: the sum is taken without the cancellation.
    root = np.sqrt((1.0 - q) ** 2 + 4.0 * signal)
    risk = np.where(q < 0, 1.0 + 2.0 * signal / (root + 1.0 - q), (1.0 + q + root) / 2.0)
    return 1.0 - risk / (1.0 + signal)


def subset_sizes(n_masks: int, count: int = 5) -> list[int]:
    """All masks, and `count` - 1 sizes below them, each smaller than the one before by sqrt(2)."""
    sizes = [int(round(n_masks / SIZE_RATIO**step)) for step in range(count)]
    return sorted(size for size in set(sizes) if size >= LEAST_MASKS)


def measure(
    masks: Any,
    outputs: Any,
    holdout_masks: Any,
    *,
    alpha: float,
    max_order: int = 3,
    seed: int = 0,
    groups: NDArray[np.int64] | None = None,
    sizes: Sequence[int] | None = None,
    spectrum: bool = True,
) -> list[Point]:
    """Fit the datamodel (and the spectrum) to subsets of the masks, and predict the held-out ones.

    Parameters
    ----------
    masks, outputs
        (m, n) bool and (m, t): what is fitted.
    holdout_masks
        (h, n) bool: what is predicted.
    alpha, max_order, seed
        Of the fits.
    groups
        (m,) int labels of rows that no split may divide.
    sizes
        Numbers of masks to fit to; sizes of at most half the masks are fitted twice, on different masks. Default:
        `subset_sizes`.
    spectrum
        Whether to fit the spectrum as well.

    Raises
    ------
    AttributionError
        For bad input or too few masks.
    """
    data = check_data(masks, outputs, alpha, groups=groups)
    held_out = check_masks(holdout_masks, data.masks.shape[1], "holdout_masks")
    chosen = subset_sizes(len(data.masks)) if sizes is None else list(sizes)
    if len(chosen) < 3:
        raise AttributionError(
            f"a learning curve needs at least three sizes of {LEAST_MASKS} masks and more; got {len(data.masks)} masks."
        )
    settings = BlockSettings(alpha=alpha, max_order=max_order if spectrum else 1, seed=seed)
    points = []
    for size in chosen:
        for first in range(0, min(2 * size, len(data.masks)) - size + 1, size):
            rows = slice(first, first + size)
            part = check_data(
                data.masks[rows], data.outputs[rows], alpha, groups=None if groups is None else groups[rows],
                design=False,
            )  # fmt: skip
            fitted = fit_block(part, settings)
            linear = fitted.linear
            predicted = {
                "datamodel": basis(held_out[:, fitted.players], alpha) @ linear.coef.T + linear.intercept
            }
            if spectrum:
                predicted["spectrum"] = np.column_stack([found.evaluate(held_out) for found in fitted.spectra])
            points.append(Point(size, predicted))
    return points


def fit_curve(
    points: Iterable[Point], holdout_outputs: Any, model: str, n_players: int, *, seed: int = 0
) -> LearningCurve:
    """The curve through the R^2 of the points' predictions of holdout_outputs (h, t), averaged over targets.

    model: "datamodel" or "spectrum". Raises AttributionError with fewer than three sizes.
    """
    found = list(points)
    outputs = np.asarray(holdout_outputs, dtype=np.float64)
    sizes = np.array([point.n_masks for point in found], dtype=np.int64)
    if len(set(sizes.tolist())) < 3:
        raise AttributionError(f"a learning curve needs at least three sizes; got {sorted(set(sizes.tolist()))}.")
    predicted = [np.asarray(point.predicted[model], dtype=np.float64) for point in found]
    measured = np.array([float(np.nanmean(r2(outputs, values))) for values in predicted])
    limit, players = _fit_ridge(sizes, measured, n_players)
    scatter = float(np.sqrt(np.mean((measured - ridge_curve(sizes, limit, players)) ** 2)))
    rng = random_stream(Purpose.LEARNING_CURVE, seed)
    ridge, power = [], []
    for draw in range(2 * N_RESAMPLES):
        rows = rng.integers(len(outputs), size=(len(outputs),))
        columns = rng.integers(outputs.shape[1], size=(outputs.shape[1],))
        again = np.array([_mean_r2(outputs, values, rows, columns) for values in predicted])
        again += scatter * rng.standard_normal(len(again))  # another draw of the subsets
        if draw % 2:
            ridge.append(_fit_ridge(sizes, again, n_players))
        else:
            power.append(_fit_power(sizes, again))
    return LearningCurve(sizes, measured, limit, players, np.array(ridge), np.array(power))


def _mean_r2(outputs: Array, predicted: Array, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> float:
    cells = np.ix_(rows, columns)
    return float(np.nanmean(r2(outputs[cells], predicted[cells])))


def _fit_ridge(sizes: NDArray[np.int64], measured: Array, n_players: int) -> tuple[float, float]:
    def residual(parameters: Array) -> Array:
        return (ridge_curve(sizes, *parameters) - measured) * _weights(sizes)

    start = (float(np.clip(1.2 * measured.max(), 0.02, 0.9)), 0.4 * n_players)
    limit, players = _least_squares(residual, start, ([1e-3, 1.0], [MOST_LIMIT, float(max(n_players, 2))]))
    return float(limit), float(players)


def _power_law(n_masks: Any, limit: Any, drop: Any, exponent: Any) -> Array:
    """limit - drop (n / 500)^-exponent."""
    return np.asarray(limit - drop * (np.asarray(n_masks, dtype=np.float64) / 500.0) ** -exponent)


def _fit_power(sizes: NDArray[np.int64], measured: Array) -> tuple[float, ...]:
    def residual(parameters: Array) -> Array:
        return (_power_law(sizes, *parameters) - measured) * _weights(sizes)

    start = (float(np.clip(1.2 * measured.max(), 0.02, 0.9)), 0.1, 0.7)
    # Exponents below 1/2 would be an average error that falls more slowly than chance: they only chase noise.
    return tuple(float(value) for value in _least_squares(residual, start, ([0.0, 0.0, 0.5], [MOST_LIMIT, 2.0, 2.0])))


def _weights(sizes: NDArray[np.int64]) -> Array:
    """Larger subsets count for more: their R^2 scatters less, and they are nearer to what is asked."""
    return np.sqrt(sizes / sizes.max())


def _least_squares(residual: Any, start: tuple[float, ...], bounds: tuple[list[float], list[float]]) -> Array:
    from scipy.optimize import least_squares

    scale = np.array(start)
    return np.asarray(least_squares(residual, start, bounds=bounds, x_scale=scale).x)
