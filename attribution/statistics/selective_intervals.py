"""Intervals for estimates that are only reported because they came out large.

A set is reported when |z| >= c. Given that, z is a normal variable truncated to both tails, and its conditional
interval (Zhong and Prentice 2008; Weinstein, Fithian and Benjamini 2013) covers the truth with its nominal
probability among reported sets, whatever the truth. Far above c it is the ordinary interval; close to c it is wide
and reaches towards zero, as it should. Sample splitting, the usual way, wastes half of the masks on every set and
covers 90-92% where effects are near the cut and both halves select them.
"""

from __future__ import annotations

import numpy as np

from attribution.types import Array

TAIL = 0.025
CRITICAL_Z = 1.959963984540054


def conditional_interval(z: Array, cut: Array) -> tuple[Array, Array]:
    """Equal-tailed 95% interval of the true z given |z| >= cut, per entry: (c,), (c,) -> low (c,), high (c,).

    z below its cut is taken to lie on it."""
    z = np.asarray(z, dtype=np.float64)
    cut = np.broadcast_to(np.asarray(cut, dtype=np.float64), z.shape)
    size = np.maximum(np.abs(z), cut)
    low, high = _solve(size, cut, TAIL), _solve(size, cut, 1 - TAIL)
    return np.where(z >= 0, low, -high), np.where(z >= 0, high, -low)


def conditional_estimate(z: Array, cut: Array) -> tuple[Array, Array]:
    """The interval as a centre and a standard error: centre +- 1.96 error is the conditional 95% interval."""
    low, high = conditional_interval(z, cut)
    return (low + high) / 2, (high - low) / (2 * CRITICAL_Z)


def _solve(z: Array, cut: Array, upper_tail: float) -> Array:
    """theta with P(Z >= z | |Z| >= cut; theta) = upper_tail, which rises with theta; z >= cut >= 0."""
    from scipy.special import log_ndtr

    low, high = -z - cut - 12.0, z + 12.0
    for _ in range(60):
        middle = (low + high) / 2
        beyond = log_ndtr(middle - z)
        reported = np.logaddexp(log_ndtr(middle - cut), log_ndtr(-cut - middle))
        above = beyond - reported > np.log(upper_tail)
        high = np.where(above, middle, high)
        low = np.where(above, low, middle)
    return (low + high) / 2
