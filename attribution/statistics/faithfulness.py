"""How well a model of the masks predicts retraining: R^2, LDS and the noise ceiling, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attribution.errors import AttributionError
from attribution.types import Array


@dataclass(frozen=True)
class Interval:
    """A value per target with its 95% interval, each (t,)."""

    value: Array
    low: Array
    high: Array


def r2(outputs: Array, predicted: Array) -> Array:
    """1 - squared error / squared deviation from the mean, per target: (h, t), (h, t) -> (t,).

    NaN where the outputs do not vary."""
    squared = ((outputs - predicted) ** 2).sum(axis=0)
    spread = ((outputs - outputs.mean(axis=0)) ** 2).sum(axis=0)
    return np.where(spread > 0, 1.0 - squared / np.where(spread > 0, spread, 1.0), np.nan)


def r2_interval(outputs: Array, predicted: Array, *, n_resamples: int = 400, seed: int = 0) -> Interval:
    """R^2 with a percentile bootstrap over held-out masks, the same resamples for all targets."""
    weights = _resamples(len(outputs), n_resamples, seed)
    error = weights @ (outputs - predicted) ** 2
    centred = outputs - outputs.mean(axis=0)
    spread = weights @ centred**2 - (weights @ centred) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.where(spread > 0, 1.0 - error / spread, np.nan)
    low, high = _quantiles(drawn)
    return Interval(r2(outputs, predicted), low, high)


def lds(outputs: Array, predicted: Array) -> Array:
    """Linear datamodeling score: Spearman correlation over held-out masks, per target (Park et al. 2023, TRAK).

    NaN where the outputs do not vary, 0 where the prediction does not."""
    from scipy.stats import rankdata

    first, second = rankdata(outputs, axis=0), rankdata(predicted, axis=0)
    first = first - first.mean(axis=0)
    second = second - second.mean(axis=0)
    size = np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
    score = np.where(size > 0, (first * second).sum(axis=0) / np.where(size > 0, size, 1.0), 0.0)
    return np.where((first**2).sum(axis=0) > 0, score, np.nan)


def noise_ceiling(
    outputs: Array, replicates: Array | None, *, n_resamples: int = 400, seed: int = 0
) -> Interval:
    """The R^2 a perfect function of the mask would reach on single runs, per target, with its 95% interval.

    outputs, replicates: (h, t), the same masks trained twice; rows with NaN in either are left out. It is the
    intraclass correlation of the two runs, (variance between masks) / (total variance) by one-way analysis of
    variance; the interval comes from Fisher's z of it, whose standard error is 1 / sqrt(h - 3/2).
    NaN without replicates, or with fewer than 8 masks run twice.
    """
    n_targets = outputs.shape[1]
    unknown = np.full(n_targets, np.nan)
    if replicates is None:
        return Interval(unknown, unknown.copy(), unknown.copy())
    if replicates.shape != outputs.shape:
        raise AttributionError(
            f"replicates must match the held-out outputs row by row; got {replicates.shape} for {outputs.shape}. "
            "Fill rows of masks that were trained once with NaN."
        )
    both = np.isfinite(outputs).all(axis=1) & np.isfinite(replicates).all(axis=1)
    n = int(both.sum())
    if n < 8:
        return Interval(unknown, unknown.copy(), unknown.copy())
    first, second = outputs[both], replicates[both]
    mean = (first + second) / 2
    between = 2 * ((mean - mean.mean(axis=0)) ** 2).sum(axis=0) / (n - 1)
    within = ((first - second) ** 2).sum(axis=0) / (2 * n)
    total = between + within
    ratio = np.where(total > 0, (between - within) / np.where(total > 0, total, 1.0), np.nan)
    z = np.arctanh(np.clip(ratio, -0.999999, 0.999999))
    half_width = 1.959963984540054 / np.sqrt(n - 1.5)
    return Interval(
        np.clip(ratio, 0.0, 1.0),
        np.clip(np.tanh(z - half_width), 0.0, 1.0),
        np.clip(np.tanh(z + half_width), 0.0, 1.0),
    )


def _resamples(n_rows: int, n_resamples: int, seed: int) -> Array:
    """(b, n) bootstrap weights, each row summing to 1."""
    counts = np.random.default_rng((seed, 3)).multinomial(n_rows, np.full(n_rows, 1.0 / n_rows), n_resamples)
    return counts / n_rows


def _quantiles(drawn: Array) -> tuple[Array, Array]:
    known = np.isfinite(drawn).all(axis=0)
    low = np.full(drawn.shape[1], np.nan)
    high = low.copy()
    if known.any():
        low[known], high[known] = np.quantile(drawn[:, known], [0.025, 0.975], axis=0)
    return low, high
