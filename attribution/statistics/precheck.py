"""Whether outputs respond to the data at all, from a handful of evaluations: noise ceiling and slope."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attribution.errors import AttributionError
from attribution.types import Array

PERMUTATIONS = 5000


@dataclass(frozen=True)
class ReplicateSignal:
    """The part of the outputs' variance that the mask explains, pooled over targets.

    Parameters
    ----------
    ceiling
        Share of the variance over masks and seeds that is due to the mask: the best R² a prediction from masks can
        have. 0 where the estimate is negative.
    low, high
        Its 95% interval, by leaving out one mask at a time.
    p_value
        Of outputs that do not depend on the mask: permutations of one evaluation's masks against the other's.
    per_target
        (n_targets,) ceiling of each target; NaN for one that never changes.
    n_masks
        Masks with two numbers.

    Examples
    --------
    >>> import numpy as np
    >>> steady = np.arange(12.0).reshape(4, 3)
    >>> replicate_signal(steady, steady).ceiling
    1.0
    """

    ceiling: float
    low: float
    high: float
    p_value: float
    per_target: Array
    n_masks: int


def replicate_signal(first: Array, second: Array, seed: int = 0) -> ReplicateSignal:
    """Estimate how much of the outputs' variance is due to the mask, from two evaluations of each mask.

    Parameters
    ----------
    first, second
        (n_masks, n_targets) outputs of the same masks with two seeds. Masks with a NaN are left out.
    seed
        Of the permutations.

    Returns
    -------
    ReplicateSignal
        NaN where fewer than three masks have numbers, or where nothing varies.

    Raises
    ------
    AttributionError
        For arrays of different shapes.

    Notes
    -----
    With y_mr = mu + a_m + e_mr the covariance over masks of the two evaluations estimates the variance of a_m, and
    half the mean squared difference that of e_mr. The pooled ceiling is sum_t var(a) / sum_t (var(a) + var(e)), so
    that targets count by their variance. The permutation test keeps all targets of an evaluation together, so that
    it holds for dependent targets; with n masks its smallest p-value is 1 / n!.

    Examples
    --------
    >>> import numpy as np
    >>> generator = np.random.default_rng(0)
    >>> signal = generator.standard_normal((8, 30))
    >>> noise = generator.standard_normal((2, 8, 30))
    >>> found = replicate_signal(signal + noise[0], signal + noise[1])
    >>> round(found.ceiling, 1), found.p_value < 0.01
    (0.5, True)
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != two.shape or one.ndim != 2:
        raise AttributionError(
            f"two evaluations need the same shape (n_masks, n_targets); got {one.shape} and {two.shape}."
        )
    whole = np.isfinite(one).all(axis=1) & np.isfinite(two).all(axis=1)
    one, two = one[whole], two[whole]
    n = len(one)
    unknown = math.nan
    nothing = ReplicateSignal(unknown, unknown, unknown, unknown, np.full(one.shape[1], unknown), n)
    if n < 3:
        return nothing
    signal, noise = _parts(one, two)
    total = float((signal + noise).sum())
    if total <= 0:
        return nothing
    with np.errstate(divide="ignore", invalid="ignore"):
        per_target = np.clip(signal / (signal + noise), 0.0, 1.0)
    low, high = _jackknife(one, two)
    return ReplicateSignal(
        max(0.0, float(signal.sum()) / total), low, high, _permutation_p(one, two, seed), per_target, n
    )


def _parts(one: Array, two: Array) -> tuple[Array, Array]:
    """(n_targets,) variance due to the mask and variance due to the seed."""
    a, b = one - one.mean(axis=0), two - two.mean(axis=0)
    return (a * b).sum(axis=0) / (len(one) - 1), ((a - b) ** 2).sum(axis=0) / (2 * (len(one) - 1))


def _jackknife(one: Array, two: Array) -> tuple[float, float]:
    from scipy.stats import t as student

    n = len(one)
    if n < 4:
        return math.nan, math.nan
    left_out = []
    for row in range(n):
        keep = np.arange(n) != row
        signal, noise = _parts(one[keep], two[keep])
        total = float((signal + noise).sum())
        left_out.append(float(signal.sum()) / total if total > 0 else math.nan)
    values = np.array(left_out)
    signal, noise = _parts(one, two)
    centre = float(signal.sum()) / float((signal + noise).sum())
    half = float(student.ppf(0.975, n - 1)) * math.sqrt((n - 1) / n * float(((values - values.mean()) ** 2).sum()))
    return max(0.0, centre - half), min(1.0, centre + half)


def _permutation_p(one: Array, two: Array, seed: int) -> float:
    """Share of permutations of the masks whose summed covariance is as large."""
    from itertools import permutations

    n = len(one)
    products = (one - one.mean(axis=0)) @ (two - two.mean(axis=0)).T  # [i, j]: mask i of one with mask j of two
    rows = np.arange(n)
    if math.factorial(n) <= PERMUTATIONS:
        orders = np.array(list(permutations(range(n))))
    else:
        generator = np.random.default_rng(seed)
        orders = np.array([rows, *(generator.permutation(n) for _ in range(PERMUTATIONS - 1))])
    sums = products[rows, orders].sum(axis=1)
    return float((sums >= products[rows, rows].sum() - 1e-12 * np.abs(products).max()).mean())
