"""Two-way bootstrap: intervals for means over masks (or seeds) and targets together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.randomness import Purpose, random_stream
from attribution.types import Array

N_RESAMPLES = 1000  # the 2.5% point then lies within 0.5% of its probability (standard error sqrt(.025 * .975 / 1000))


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval; NaN where unknown.

    Parameters
    ----------
    value, low, high : float

    Examples
    --------
    >>> Estimate(0.5, 0.25, 0.75).width
    0.5
    """

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """Length of the interval."""
        return self.high - self.low


def row_weights(n_rows: int, seed: int, stream: int, n_resamples: int = N_RESAMPLES) -> Array:
    """Draw bootstrap weights.

    Parameters
    ----------
    n_rows : int
        Rows to resample.
    seed, stream : int
        Two streams of one seed are independent: one for masks, one for targets.
    n_resamples : int

    Returns
    -------
    (n_resamples, n_rows) float64
        How often each row is drawn, divided by n_rows.
    """
    rng = random_stream(Purpose.SCORE_BOOTSTRAP, seed, stream)
    return rng.multinomial(n_rows, np.full(n_rows, 1.0 / n_rows), n_resamples) / n_rows


def mean_over_targets(drawn: Array, weights: Array) -> Array:
    """Average each resample over its targets.

    Parameters
    ----------
    drawn : (n_resamples, t) float64
        A statistic of every target on every resample of the masks; NaN where it has no value.
    weights : (n_resamples, t) float64
        Weights of the targets on the same resample (`row_weights`).

    Returns
    -------
    (n_resamples,) float64

    Notes
    -----
    Masks and targets are resampled independently and crossed (Owen 2007, the pigeonhole bootstrap). The variance it
    estimates is not below the true one in expectation.
    """
    known = np.isfinite(drawn)
    total = (weights * known).sum(axis=1)
    summed = (weights * np.where(known, drawn, 0.0)).sum(axis=1)
    return np.where(total > 0, summed / np.where(total > 0, total, 1.0), np.nan)


def recentred(value: float, drawn: NDArray[np.float64]) -> Estimate:
    """Return a value with the 2.5% and 97.5% points of its resamples, moved so that their mean is the value.

    Notes
    -----
    A ceiling is concave in a noisy reliability, so that its resamples lie below it on average, and a share of it above.
    """
    known = drawn[np.isfinite(drawn)]
    return percentile(value, known - known.mean() + value) if len(known) else percentile(value, known)


def percentile(value: float, drawn: NDArray[np.float64]) -> Estimate:
    """Return a value with the 2.5% and 97.5% points of its resamples; those that are not finite are left out."""
    known = drawn[np.isfinite(drawn)]
    if not len(known) or not np.isfinite(value):
        return Estimate(float(value), float("nan"), float("nan"))
    low, high = np.quantile(known, [0.025, 0.975])
    return Estimate(float(value), float(low), float(high))
