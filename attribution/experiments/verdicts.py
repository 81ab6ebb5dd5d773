"""Verdicts on sets that were tried by retraining, and the share that was certified."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from attribution.experiments.factorial import Interval

Verdict = Literal["certified", "refuted", "undecided"]


VERDICTS: tuple[Verdict, ...] = ("certified", "refuted", "undecided")


def verdict_of(adjusted: Interval, predicted: float) -> Verdict:
    """METHOD.md's verdict on a set.

    certified: the interval (at the level adjusted over the sets tried) excludes 0 with the predicted sign; refuted:
    it excludes half the shrunken prediction and is not certified; else undecided. Without a prediction (NaN) an
    interval that excludes 0 on either side is certified and nothing is ever refuted.
    """
    if not (math.isfinite(adjusted.low) and math.isfinite(adjusted.high)):
        return "undecided"
    excludes_zero = adjusted.low > 0 or adjusted.high < 0
    if not math.isfinite(predicted):
        return "certified" if excludes_zero else "undecided"
    if excludes_zero and math.copysign(1.0, adjusted.mean) == math.copysign(1.0, predicted):
        return "certified"
    return "refuted" if not adjusted.low <= predicted / 2 <= adjusted.high else "undecided"


@dataclass(frozen=True)
class Share:
    """How many of n sets have a verdict, with a 95% Clopper-Pearson interval."""

    count: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.count / self.n if self.n else math.nan


def certified_share(verdicts: Sequence[str]) -> Share:
    """Share of certified sets: the headline for the top 20, the false-certification rate for random sets."""
    from scipy.stats import beta

    n, count = len(verdicts), sum(verdict == "certified" for verdict in verdicts)
    if n == 0:
        return Share(0, 0, math.nan, math.nan)
    low = float(beta.ppf(0.025, count, n - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, n - count)) if count < n else 1.0
    return Share(count, n, low, high)
