"""Faithfulness of a model of the masks to retraining: R2, LDS and the noise ceiling, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attribution.errors import AttributionError
from attribution.levels import Z95
from attribution.randomness import Purpose, random_stream
from attribution.types import Array

MIN_REPLICATED = 8  # a choice: with 8 the interval of a ceiling of .5 is already [-.22, .87] before it is cut at 0


@dataclass(frozen=True)
class Interval:
    """A value per target with its 95% interval.

    Attributes
    ----------
    value, low, high : (t,) float64
        The value and the ends of its interval; NaN where unknown.

    Examples
    --------
    >>> outputs = np.random.default_rng(0).normal(size=(200, 1))
    >>> interval = r2_interval(outputs, 0.9 * outputs)
    >>> bool((interval.low <= interval.value).all() and (interval.value <= interval.high).all())
    True
    """

    value: Array
    low: Array
    high: Array


def r2(outputs: Array, predicted: Array) -> Array:
    """Compute R2 = 1 - squared error / squared deviation from the mean.

    Parameters
    ----------
    outputs, predicted : (h, t) float64
        Recorded and predicted outputs on h held-out masks.

    Returns
    -------
    (t,) float64
        R2 of each target; NaN where the outputs do not vary.

    Examples
    --------
    >>> r2(np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [1.0], [1.0]])).tolist()
    [0.5]
    """
    squared = ((outputs - predicted) ** 2).sum(axis=0)
    spread = ((outputs - outputs.mean(axis=0)) ** 2).sum(axis=0)
    return np.where(spread > 0, 1.0 - squared / np.where(spread > 0, spread, 1.0), np.nan)


def r2_interval(outputs: Array, predicted: Array, *, n_resamples: int = 400, seed: int = 0) -> Interval:
    """Compute R2 with a percentile bootstrap over held-out masks.

    Parameters
    ----------
    outputs, predicted : (h, t) float64
        Recorded and predicted outputs on h held-out masks.
    n_resamples : int
        Number of bootstrap resamples, the same ones for all targets. 400 place the 2.5% point within 1% of its
        probability (standard error sqrt(.025 * .975 / 400) = .8%).
    seed : int
        Seed of the resamples.

    Returns
    -------
    Interval
        R2 of each target with its 95% interval.
    """
    weights = _resamples(len(outputs), n_resamples, seed)
    error = weights @ (outputs - predicted) ** 2
    centred = outputs - outputs.mean(axis=0)
    spread = weights @ centred**2 - (weights @ centred) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.where(spread > 0, 1.0 - error / spread, np.nan)
    low, high = _quantiles(drawn)
    return Interval(r2(outputs, predicted), low, high)


def lds(outputs: Array, predicted: Array) -> Array:
    """Compute the linear datamodeling score (Park et al. 2023, TRAK).

    Parameters
    ----------
    outputs, predicted : (h, t) float64
        Recorded and predicted outputs on h held-out masks.

    Returns
    -------
    (t,) float64
        Spearman correlation over masks of each target; NaN where the outputs do not vary, 0 where the prediction does
        not.
    """
    from scipy.stats import rankdata

    first, second = rankdata(outputs, axis=0), rankdata(predicted, axis=0)
    first = first - first.mean(axis=0)
    second = second - second.mean(axis=0)
    size = np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
    score = np.where(size > 0, (first * second).sum(axis=0) / np.where(size > 0, size, 1.0), 0.0)
    return np.where((first**2).sum(axis=0) > 0, score, np.nan)


def noise_ceiling(outputs: Array, replicates: Array | None) -> Interval:
    """Estimate the R2 that a perfect function of the mask would reach on single runs.

    Parameters
    ----------
    outputs, replicates : (h, t) float64
        Outputs of the same masks trained twice; rows with NaN in either are left out. replicates may be None.

    Returns
    -------
    Interval
        Noise ceiling of each target with its 95% interval; NaN without replicates, or with fewer than MIN_REPLICATED
        masks trained twice.

    Raises
    ------
    AttributionError
        If the shapes differ.

    Notes
    -----
    It is the intraclass correlation of the two runs, (variance between masks) / (total variance) by one-way analysis
    of variance. The interval is that of Fisher's z, whose standard error is 1 / sqrt(h - 3/2).
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
    if n < MIN_REPLICATED:
        return Interval(unknown, unknown.copy(), unknown.copy())
    first, second = outputs[both], replicates[both]
    mean = (first + second) / 2
    between = 2 * ((mean - mean.mean(axis=0)) ** 2).sum(axis=0) / (n - 1)
    within = ((first - second) ** 2).sum(axis=0) / (2 * n)
    total = between + within
    ratio = np.where(total > 0, (between - within) / np.where(total > 0, total, 1.0), np.nan)
    z = np.arctanh(np.clip(ratio, -0.999999, 0.999999))
    half_width = Z95 / np.sqrt(n - 1.5)
    return Interval(
        np.clip(ratio, 0.0, 1.0),
        np.clip(np.tanh(z - half_width), 0.0, 1.0),
        np.clip(np.tanh(z + half_width), 0.0, 1.0),
    )


def _resamples(n_rows: int, n_resamples: int, seed: int) -> Array:
    """Draw bootstrap weights (n_resamples, n_rows), each row summing to 1."""
    counts = random_stream(Purpose.BOOTSTRAP, seed).multinomial(n_rows, np.full(n_rows, 1.0 / n_rows), n_resamples)
    return counts / n_rows


def _quantiles(drawn: Array) -> tuple[Array, Array]:
    """Compute the 2.5% and 97.5% points of each column; NaN where a draw is not finite."""
    known = np.isfinite(drawn).all(axis=0)
    low = np.full(drawn.shape[1], np.nan)
    high = low.copy()
    if known.any():
        low[known], high[known] = np.quantile(drawn[:, known], [0.025, 0.975], axis=0)
    return low, high
