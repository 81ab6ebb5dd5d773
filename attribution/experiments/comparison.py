"""Comparing two arms of a verification: paired differences over seeds, with and without the examples' own spread."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attribution.errors import AttributionError
from attribution.experiments.factorial import t_interval
from attribution.types import Array


@dataclass(frozen=True)
class Difference:
    """Accuracy of an arm, of the one it is held against, and their difference. low, high: over seeds, for these audit
    examples. low_examples, high_examples: over seeds and audit examples both. n: seeds with a number in both arms."""

    accuracy: float
    accuracy_against: float
    difference: float
    low: float
    high: float
    low_examples: float
    high_examples: float
    n: int
    level: float

    @property
    def verdict(self) -> str:
        """Plainly: better, worse, or no difference shown."""
        if not math.isfinite(self.low):
            return "too few models to tell"
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no difference shown"


def compare(correct: Array, against: Array, level: float = 0.05) -> Difference:
    """Paired comparison: (seeds, examples) 0/1 of both arms, row s of both from the same seed; NaN rows are lost.

    The interval over seeds is Student's on the paired differences. For the other one the variance of the mean over a
    two-way layout of random seeds and random examples is s_rows^2/R + s_columns^2/C - s^2/(RC) (method of moments),
    never below the first. Raises AttributionError for arms of different shapes.
    """
    from scipy.stats import t as student

    if correct.shape != against.shape or correct.ndim != 2:
        raise AttributionError(f"two arms need the same shape (seeds, examples); got {correct.shape}, {against.shape}.")
    whole = np.isfinite(correct).all(axis=1) & np.isfinite(against).all(axis=1)
    kept, other = correct[whole], against[whole]
    n_seeds, n_examples = kept.shape
    if n_seeds == 0 or n_examples == 0:
        unknown = math.nan
        return Difference(unknown, unknown, unknown, unknown, unknown, unknown, unknown, n_seeds, level)
    apart = kept - other
    by_seed = apart.mean(axis=1)
    interval = t_interval(by_seed, level)
    low_examples = high_examples = math.nan
    if n_seeds > 1 and n_examples > 1:
        rows = float(by_seed.var(ddof=1)) / n_seeds
        columns = float(apart.mean(axis=0).var(ddof=1)) / n_examples
        both = float(apart.var(ddof=1)) / (n_seeds * n_examples)
        stderr = math.sqrt(max(rows, rows + columns - both))
        half = float(student.ppf(1 - level / 2, min(n_seeds, n_examples) - 1)) * stderr
        low_examples, high_examples = interval.mean - half, interval.mean + half
    return Difference(
        float(kept.mean()), float(other.mean()), interval.mean, interval.low, interval.high,
        low_examples, high_examples, n_seeds, level,
    )  # fmt: skip
