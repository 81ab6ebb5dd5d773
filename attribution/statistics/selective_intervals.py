"""Intervals for estimates that are reported only because they are large.

A set is reported if |z| >= c. Given that, z is a normal variable truncated to both tails, and its conditional interval
(Zhong and Prentice 2008; Weinstein, Fithian and Benjamini 2013) covers the truth with its nominal probability among
reported sets, whatever the truth. Far above c it is the ordinary interval; close to c it is wide and reaches towards
zero. Sample splitting, the usual alternative, uses half of the masks for every set and covers 90-92% where effects are
near the threshold and both halves select them (docs/NEGATIVE_RESULTS.md).
"""

from __future__ import annotations

import numpy as np

from attribution.levels import Z95
from attribution.types import Array

_TAIL = 0.025  # probability beyond each end of a 95% interval
_BISECTIONS = 60  # halvings of an interval of some 40 standard errors: exact to float64


def conditional_interval(z: Array, threshold: Array) -> tuple[Array, Array]:
    """Compute equal-tailed 95% intervals of the true z, given |z| >= threshold.

    Parameters
    ----------
    z : (c,) float64
        Observed z-scores; one below its threshold is moved to it.
    threshold : (c,) or () float64
        Smallest |z| at which each was reported.

    Returns
    -------
    (c,) float64, (c,) float64
        Lower and upper ends.

    Examples
    --------
    >>> low, high = conditional_interval(np.array([3.6, 12.0]), np.array([3.5]))
    >>> low.round(1).tolist(), high.round(1).tolist()
    ([-0.4, 10.0], [4.6, 14.0])
    """
    z = np.asarray(z, dtype=np.float64)
    threshold = np.broadcast_to(np.asarray(threshold, dtype=np.float64), z.shape)
    size = np.maximum(np.abs(z), threshold)
    low, high = _solve(size, threshold, _TAIL), _solve(size, threshold, 1 - _TAIL)
    return np.where(z >= 0, low, -high), np.where(z >= 0, high, -low)


def conditional_estimate(z: Array, threshold: Array) -> tuple[Array, Array]:
    """Express conditional intervals as centre and standard error.

    Parameters
    ----------
    z : (c,) float64
        Observed z-scores.
    threshold : (c,) or () float64
        Smallest |z| at which each was reported.

    Returns
    -------
    (c,) float64, (c,) float64
        Centre and error: centre +- 1.96 error is the conditional 95% interval.
    """
    low, high = conditional_interval(z, threshold)
    return (low + high) / 2, (high - low) / (2 * Z95)


def _solve(z: Array, threshold: Array, upper_tail: float) -> Array:
    """Solve P(Z >= z | |Z| >= threshold; theta) = upper_tail for theta by bisection; z >= threshold >= 0."""
    from scipy.special import log_ndtr

    low, high = -z - threshold - 12.0, z + 12.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        beyond = log_ndtr(middle - z)
        reported = np.logaddexp(log_ndtr(middle - threshold), log_ndtr(-threshold - middle))
        above = beyond - reported > np.log(upper_tail)
        high = np.where(above, middle, high)
        low = np.where(above, low, middle)
    return (low + high) / 2
