"""Variances of many targets from blocks of rows, so that all outputs are never in memory at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attribution.types import Array, Outputs


class RunningVariance:
    """Per-target mean and variance of rows that arrive in blocks.

    Parameters
    ----------
    n_targets : int
        Number of targets, t.

    Attributes
    ----------
    count : int
        Number of rows so far.
    mean : (t,) float64
        Mean of each target so far.

    Notes
    -----
    Pairwise update of Chan, Golub and LeVeque (1983).

    Examples
    --------
    >>> running = RunningVariance(1)
    >>> running.add(np.array([[1.0], [2.0]]))
    >>> running.add(np.array([[3.0]]))
    >>> running.variance.tolist()
    [1.0]
    """

    def __init__(self, n_targets: int) -> None:
        self.count = 0
        self.mean = np.zeros(n_targets)
        self._squares = np.zeros(n_targets)

    def add(self, outputs: Outputs) -> None:
        """Add a block of outputs, (m, t)."""
        if not len(outputs):
            return
        block = np.asarray(outputs, dtype=np.float64)
        mean = block.mean(axis=0)
        total, delta = self.count + len(block), mean - self.mean
        self._squares += ((block - mean) ** 2).sum(axis=0) + delta**2 * self.count * len(block) / total
        self.mean += delta * len(block) / total
        self.count = total

    @property
    def variance(self) -> Array:
        """Variance of each target so far, (t,); zero before the second row."""
        return np.asarray(self._squares / max(self.count - 1, 1))


def most_variable(variance: Array, count: int | None) -> NDArray[np.int64]:
    """List the targets of largest variance.

    Parameters
    ----------
    variance : (t,) float64
        Variance of each target.
    count : int or None
        Number of targets; None for all.

    Returns
    -------
    (count,) int64
        Targets, largest variance first; ties by index.
    """
    order = np.lexsort((np.arange(len(variance)), -variance))
    return order if count is None else order[:count]
