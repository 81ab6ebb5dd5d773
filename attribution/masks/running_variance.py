"""Variances of many targets from blocks of rows, so that nobody holds all outputs at once."""

from __future__ import annotations

import numpy as np


class RunningVariance:
    """Per-target variance of rows that arrive in blocks (Chan, Golub and LeVeque 1983, pairwise update)."""

    def __init__(self, n_targets: int) -> None:
        self.count = 0
        self.mean = np.zeros(n_targets)
        self._squares = np.zeros(n_targets)

    def add(self, outputs: np.ndarray) -> None:
        """Take in a block of outputs, (m, n_targets)."""
        if not len(outputs):
            return
        block = np.asarray(outputs, dtype=np.float64)
        mean = block.mean(axis=0)
        total, delta = self.count + len(block), mean - self.mean
        self._squares += ((block - mean) ** 2).sum(axis=0) + delta**2 * self.count * len(block) / total
        self.mean += delta * len(block) / total
        self.count = total

    @property
    def variance(self) -> np.ndarray:
        """(n_targets,) variance over the rows so far; zero before the second row."""
        return self._squares / max(self.count - 1, 1)


def most_variable(variance: np.ndarray, count: int | None) -> np.ndarray:
    """Ids of the `count` targets of highest variance (all when None), highest first; ties by id."""
    order = np.lexsort((np.arange(len(variance)), -variance))
    return order if count is None else order[:count]
