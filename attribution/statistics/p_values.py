"""Conversions between z-scores and p-values, clustered means, and the gate's test of squared errors.

The p-value of an interaction is computed in `attribution.interactions.estimates_and_p_values`; its q-value in
`attribution.statistics.false_discovery`.
"""

from __future__ import annotations

import numpy as np

from attribution.levels import Z95
from attribution.masks.weights import effective_groups, effective_number
from attribution.types import Array, Labels

# 1e-315 lies just above the smallest positive float64; its two-sided |z| is 38.
_SMALLEST_P, _LARGEST_Z = 1e-315, 38.0


def two_sided_p(z: Array, df: float | Array | None = None) -> Array:
    """Convert z-scores or t-statistics to two-sided p-values.

    Parameters
    ----------
    z : array of float64
        z-scores; NaN where an effect is not identified.
    df : float, array or None
        Degrees of freedom of Student's t; None for the normal distribution. Use it if the effect was also fitted: the
        residuals are then too small and z too large, by a factor sqrt(1 + z^2 / m).

    Returns
    -------
    array of float64
        P-values; 1 where z is NaN or infinite.
    """
    from scipy.special import ndtr, stdtr

    p = 2.0 * (ndtr(-np.abs(z)) if df is None else stdtr(df, -np.abs(z)))
    return np.where(np.isfinite(z), np.clip(p, 0.0, 1.0), 1.0)


def without_skewness(z: Array, skewness: Array) -> Array:
    """Correct t-statistics of means for the skewness of what was averaged; none becomes larger.

    Parameters
    ----------
    z : array of float64
        Means over their standard errors.
    skewness : array of float64
        Skewness of the values over the square root of their number.

    Returns
    -------
    array of float64
        Hall's (1992) cubic transformation, which removes the first-order error of the normal approximation, where it
        is smaller than z; 0 where it has the other sign. A mean that is large with the long tail has a standard error
        that is too large, and is left as it is.

    Examples
    --------
    >>> without_skewness(np.array([-5.0, 5.0, -5.0]), np.array([0.3, 0.3, 0.0])).round(2).tolist()
    [-2.87, 5.0, -5.0]
    """
    a = np.where(np.abs(skewness) > 1e-9, skewness, 1.0)
    corrected = ((1.0 + a * z / 3.0) ** 3 - 1.0) / a + a / 6.0
    size = np.clip(np.sign(z) * corrected, 0.0, np.abs(z))
    return np.where(np.abs(skewness) > 1e-9, np.sign(z) * size, z)


def z_of(p: Array) -> Array:
    """Convert two-sided p-values to |z|.

    Parameters
    ----------
    p : array of float64
        P-values.

    Returns
    -------
    array of float64
        |z|, at most 38, where p underflows.

    Examples
    --------
    >>> round(float(z_of(np.array(0.05))), 2)
    1.96
    """
    from scipy.special import ndtri

    return np.minimum(np.abs(ndtri(np.clip(p, _SMALLEST_P, 1.0) / 2.0)), _LARGEST_Z)


def z_threshold(expected_false: float, n_tests: float) -> float:
    """Compute the |z| that a given number of null tests is expected to exceed.

    Parameters
    ----------
    expected_false : float
        Expected number of null tests with a larger |z|.
    n_tests : float
        Number of tests.

    Returns
    -------
    float
        The threshold; 0 if expected_false is n_tests or more.
    """
    from scipy.special import ndtri

    return float(max(0.0, -ndtri(min(0.5, expected_false / 2.0 / max(n_tests, 1.0)))))


def interval_factor(df: float | None) -> float:
    """Compute the factor by which a standard error grows so that +-1.96 of it is a 95% interval.

    Parameters
    ----------
    df : float or None
        Degrees of freedom of the standard error; None for the normal distribution.

    Returns
    -------
    float
        The .975 quantile of Student's t over 1.96; 1 for None.

    Examples
    --------
    >>> round(interval_factor(37.0), 3)
    1.034
    """
    from scipy.special import stdtrit

    return 1.0 if df is None else float(stdtrit(df, 0.975)) / Z95


def clustered_mean(values: Array, weight: Array | None, groups: Labels) -> tuple[Array, Array]:
    """Compute the weighted mean of each column and its standard error clustered by row group.

    Parameters
    ----------
    values : (m, c) float64
        One column per statistic.
    weight : (m,) float64 or None
        Weights of the rows; None for ones.
    groups : (m,) int64
        Row group of each row, any integers.

    Returns
    -------
    (c,) float64, (c,) float64
        Means and standard errors.

    Notes
    -----
    Liang and Zeger's (1986) sandwich estimate for a mean, with the factor g / (g - 1) for g effective groups
    (`effective_groups`).
    """
    w = np.ones(len(values)) if weight is None else weight
    total = w.sum()
    mean = (w @ values) / total
    deviations = (values - mean) * w[:, None]
    order = np.argsort(groups, kind="stable")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(groups[order])) + 1])
    if len(starts) == len(values):
        squares = (deviations**2).sum(axis=0)
    else:
        squares = (np.add.reduceat(deviations[order], starts, axis=0) ** 2).sum(axis=0)
    n = effective_number(np.add.reduceat(w[order], starts))
    return mean, np.sqrt(squares * (n / max(n - 1, 1))) / total


def gate_p_values(outputs: Array, datamodel: Array, spectrum: Array, weight: Array | None, groups: Labels) -> Array:
    """Test for each target whether the spectrum predicts better than the datamodel.

    Parameters
    ----------
    outputs, datamodel, spectrum : (m, t) float64
        Outputs, and the cross-fitted predictions of the datamodel and of the spectrum.
    weight : (m,) float64 or None
        Weights of the rows; None for ones.
    groups : (m,) int64
        Row group of each row.

    Returns
    -------
    (t,) float64
        One-sided p-values of the clustered t-test of the difference of squared errors, with g - 1 degrees of freedom
        for g effective groups (`effective_groups`); 1 where the two predictions never differ.

    Notes
    -----
    With d the difference of the predictions and r what the datamodel leaves, the gain is 2 d r - d^2. Far from alpha
    one half d is skewed, because it is large on the few masks of rare cells; where r is skewed as well, the mean of
    d r has a tail that the test allows for (`without_skewness`). Its skewness is computed from that of d and that of
    r: no gain on these few masks is needed to know it.
    """
    from scipy.stats import t as student

    gain = (outputs - datamodel) ** 2 - (outputs - spectrum) ** 2
    mean, stderr = clustered_mean(gain, weight, groups)
    n = effective_groups(weight, groups)
    z = np.divide(mean, stderr, out=np.zeros_like(mean), where=stderr > 0)
    skewness = _skewness_of_gain(outputs - datamodel, spectrum - datamodel, weight)
    p = student.sf(np.where(z > 0, without_skewness(z, skewness), z), n - 1)
    return np.where(stderr > 0, p, 1.0)


def _skewness_of_gain(residual: Array, difference: Array, weight: Array | None) -> Array:
    """Skewness of the sum over rows of 2 d r, given d, if all r have one distribution: (t,)."""
    w = np.ones(len(residual)) if weight is None else weight
    r = residual - np.average(residual, axis=0, weights=w)
    second, third = (np.average(r**power, axis=0, weights=w) for power in (2, 3))
    # Residuals that are one constant have rounding errors alone, and no skewness.
    spread = np.where(second > 1e-12 * (residual**2).max(axis=0), second, np.inf)
    d = difference * w[:, None]
    size = (d**2).sum(axis=0)
    of_d = (d**3).sum(axis=0) / np.where(size > 0, size, np.inf) ** 1.5
    return np.asarray(third / spread**1.5 * of_d)
