"""How well flags agree with a known truth: precision, recall, average precision."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Agreement:
    """found of `relevant` items among `flagged` flags; precision is NaN without a flag, recall without an item."""

    found: int
    flagged: int
    relevant: int

    @property
    def precision(self) -> float:
        return self.found / self.flagged if self.flagged else math.nan

    @property
    def recall(self) -> float:
        return self.found / self.relevant if self.relevant else math.nan


def agreement(flagged: Set[object], relevant: Set[object]) -> Agreement:
    """Compare a set of flags with the truth."""
    return Agreement(len(flagged & relevant), len(flagged), len(relevant))


def average_precision(relevant: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Mean precision at the rank of every relevant item, ranked by descending score; ties count as one block.

    sum_k (R_k - R_{k-1}) P_k over the distinct scores, as scikit-learn defines it. NaN without a relevant item.
    """
    if not relevant.any():
        return math.nan
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(relevant[order])
    last = np.append(np.diff(score[order]) != 0, True)
    at = np.flatnonzero(last)
    gained = np.diff(hits[at], prepend=0)
    return float((gained * hits[at] / (at + 1)).sum() / hits[-1])
