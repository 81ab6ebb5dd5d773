"""P-values, z-scores, clustered means, and the gate's test of squared errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attribution.types import Array


def two_sided_p(z: Array, df: float | Array | None = None) -> Array:
    """Two-sided p-value; 1 where z is NaN (an effect that cannot be told is not evidence).

    df: degrees of freedom of Student's t, for an effect that was taken out of the residuals its error comes from:
    that alone makes z the larger, by a factor sqrt(1 + z^2 / m). None: normal."""
    from scipy.special import ndtr, stdtr

    p = 2.0 * (ndtr(-np.abs(z)) if df is None else stdtr(df, -np.abs(z)))
    return np.where(np.isfinite(z), np.clip(p, 0.0, 1.0), 1.0)


def z_of(p: Array) -> Array:
    """The |z| of a two-sided p-value; 38 where p underflows."""
    from scipy.special import ndtri

    return np.minimum(np.abs(ndtri(np.clip(p, 1e-315, 1.0) / 2.0)), 38.0)


def z_threshold(expected_false: float, n_tests: float) -> float:
    """Return the |z| that `expected_false` of n_tests null effects exceed by chance; 0 where that is half or more."""
    from scipy.special import ndtri

    return float(max(0.0, -ndtri(min(0.5, expected_false / 2.0 / max(n_tests, 1.0)))))


def clustered_mean(values: Array, weight: Array | None, groups: NDArray[np.int64]) -> tuple[Array, Array]:
    """Weighted mean of each column and its standard error clustered by `groups`: (m, c) -> (c,), (c,).

    Liang and Zeger's sandwich for a mean, with the g/(g-1) correction."""
    w = np.ones(len(values)) if weight is None else weight
    total = w.sum()
    mean = (w @ values) / total
    deviations = (values - mean) * w[:, None]
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    if len(starts) == len(values):
        squares = (deviations**2).sum(axis=0)
    else:
        squares = (np.add.reduceat(deviations[order], starts, axis=0) ** 2).sum(axis=0)
    n = len(starts)
    return mean, np.sqrt(squares * (n / max(n - 1, 1))) / total


def gate_p_values(
    outputs: Array, datamodel: Array, spectrum: Array, weight: Array | None, groups: NDArray[np.int64]
) -> Array:
    """One-sided p per target that the spectrum's squared error is the smaller one; all arrays (m, t).

    Both predictions are cross-fitted. A t-test of the difference of squared errors, clustered; 1 where the two
    never differ."""
    from scipy.stats import t as student

    gain = (outputs - datamodel) ** 2 - (outputs - spectrum) ** 2
    mean, stderr = clustered_mean(gain, weight, groups)
    n = len(np.unique(groups))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = student.sf(mean / stderr, n - 1)
    return np.where(stderr > 0, p, 1.0)
