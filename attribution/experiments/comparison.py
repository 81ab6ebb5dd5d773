"""Comparing two arms of a verification: paired differences whose interval is over seeds and audit examples together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attribution.errors import AttributionError
from attribution.experiments.factorial import t_interval
from attribution.types import Array


@dataclass(frozen=True)
class Difference:
    """The difference of two arms' accuracy with its interval over seeds and audit examples.

    Parameters
    ----------
    accuracy, accuracy_against
        Mean accuracy of the arm and of the one it is compared with, 0 to 1.
    difference
        Mean paired difference.
    low, high
        Its interval over seeds and audit examples together (crossed). The verdict goes by it.
    low_seeds, high_seeds
        Its interval over seeds alone: other trainings judged on the same audit examples.
    n
        Seeds with a number in both arms.
    n_examples
        Audit examples.
    level
        Each interval covers with probability 1 - level.
    """

    accuracy: float
    accuracy_against: float
    difference: float
    low: float
    high: float
    low_seeds: float
    high_seeds: float
    n: int
    n_examples: int
    level: float

    @property
    def smallest(self) -> float:
        """The smallest difference these models and examples could have shown: half the interval's width."""
        return (self.high - self.low) / 2

    @property
    def verdict(self) -> str:
        """One of better, worse, no difference shown, too few models to tell."""
        if not math.isfinite(self.low):
            return "too few models to tell"
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no difference shown"


def compare(correct: Array, against: Array, level: float = 0.05) -> Difference:
    """Compare two arms pair by pair, for other seeds and other examples of the same kind.

    Parameters
    ----------
    correct, against
        (seeds, examples) 0/1 of both arms; row s of both is trained from the same seed. Rows with NaN are left out.
    level
        1 - coverage of each interval. Divide it by the number of comparisons that are claimed together.

    Returns
    -------
    Difference
        NaN intervals for fewer than two seeds or two examples.

    Raises
    ------
    AttributionError
        For arms of different shapes.

    Notes
    -----
    D[r, c] = mu + a_r + b_c + e_rc with random seeds r = 1..R and random examples c = 1..C (two-way random effects).
    The variance of the mean is sigma_a^2/R + sigma_b^2/C + sigma_e^2/(RC). The sum s_rows^2/R + s_columns^2/C of the
    variances of row and column means exceeds it by sigma_e^2/(RC) in expectation; that excess is kept, as in the
    pigeonhole bootstrap (Owen and Eckles 2012, "Bootstrapping data arrays of arbitrary order", section 3), because an
    estimate of it can make the variance too small. Student's t takes Satterthwaite's degrees of freedom.

    Where two arms differ on few examples, s_columns^2 is too small whenever these few agree in sign. Two examples are
    therefore added to the variance, one of each sign and as large as the largest column mean (Bonett and Price 2012,
    "Adjusted Wald confidence interval for a difference of binomial proportions based on paired data", whose
    differences are 0 and 1). The mean is not changed. The error rate is measured by
    `benchmarks/decisions/verification_null.py`.

    Examples
    --------
    >>> import numpy as np
    >>> generator = np.random.default_rng(0)
    >>> against = (generator.random((20, 200)) < 0.7).astype(float)
    >>> compare(np.maximum(against, generator.random((20, 200)) < 0.3), against).verdict
    'better'
    >>> compare(against[:1], against[:1]).verdict
    'too few models to tell'
    """
    if correct.shape != against.shape or correct.ndim != 2:
        raise AttributionError(f"two arms need the same shape (seeds, examples); got {correct.shape}, {against.shape}.")
    whole = np.isfinite(correct).all(axis=1) & np.isfinite(against).all(axis=1)
    kept, other = correct[whole], against[whole]
    n_seeds, n_examples = kept.shape
    unknown = math.nan
    if n_seeds == 0 or n_examples == 0:
        return Difference(unknown, unknown, unknown, unknown, unknown, unknown, unknown, n_seeds, n_examples, level)
    apart = kept - other
    over_seeds = t_interval(apart.mean(axis=1), level)
    half = crossed_half_width(apart, level)
    mean = over_seeds.mean
    return Difference(
        float(kept.mean()), float(other.mean()), mean, mean - half, mean + half, over_seeds.low, over_seeds.high,
        n_seeds, n_examples, level,
    )  # fmt: skip


def crossed_half_width(values: Array, level: float = 0.05) -> float:
    """Compute half the width of the interval of a mean over random seeds and random examples.

    Parameters
    ----------
    values
        (seeds, examples) finite numbers; see `compare` for the variance.
    level
        1 - coverage.

    Returns
    -------
    float
        NaN for fewer than two seeds or two examples.
    """
    from scipy.stats import t as student

    n_seeds, n_examples = values.shape
    if n_seeds < 2 or n_examples < 2:
        return math.nan
    columns = values.mean(axis=0)
    largest = float(np.abs(columns).max())
    columns = np.concatenate([columns, [largest, -largest]])
    of_seeds = float(values.mean(axis=1).var(ddof=1)) / n_seeds
    of_examples = float(columns.var(ddof=1)) / len(columns)
    variance = of_seeds + of_examples
    if variance == 0:
        return 0.0
    freedom = variance**2 / (of_seeds**2 / (n_seeds - 1) + of_examples**2 / (n_examples - 1))
    return float(student.ppf(1 - level / 2, freedom)) * math.sqrt(variance)


def differing_share(correct: Array, again: Array | None = None, n_seeds: int = 1) -> float:
    """Estimate d, the mean square of what two fixed training sets differ by on an example, from models of many sets.

    Parameters
    ----------
    correct
        (models, examples) 0/1, each model trained on another random set.
    again
        The same sets trained once more with other seeds; without it seed noise counts as a difference of the sets,
        and d is an upper bound.
    n_seeds
        Models of each set in the comparison that is planned; noise of single trainings is divided by it.

    Returns
    -------
    float
        Between 0 and 1. Two sets whose models are right on p_A and p_B of their trainings differ by (p_A - p_B)^2.

    Notes
    -----
    Two models differ on the share 2 p (1 - p) of an example, p over models. The covariance of both trainings of a set
    is the variance of its p over sets, and 2 cov is what two sets differ by apart from seeds.
    """
    rate = correct.mean(axis=0)
    single = float((2 * rate * (1 - rate)).mean())
    if again is None:
        return single
    between = float(2 * ((correct - rate) * (again - again.mean(axis=0))).mean())
    between = min(max(between, 0.0), single)
    return between + (single - between) / max(1, n_seeds)


def smallest_difference(differing: float, n_examples: int, level: float = 0.05) -> float:
    """Compute the smallest difference in accuracy that an audit set can show, about 2 sqrt(d / n) at level .05.

    Parameters
    ----------
    differing
        d, between 0 and 1; see `differing_share`.
    n_examples
        Audit examples.
    level
        1 - coverage of the interval that has to exclude 0.

    Returns
    -------
    float
        As a share (0.03 is 3 percentage points); infinite without examples.

    Examples
    --------
    >>> round(smallest_difference(0.1, 400), 3)
    0.032
    """
    from scipy.special import ndtri

    if n_examples < 1:
        return math.inf
    # The two added examples of `compare` are at most 1 apart.
    variance = (differing * n_examples + 2) / (n_examples + 2) ** 2
    return float(ndtri(1 - level / 2)) * math.sqrt(variance)
