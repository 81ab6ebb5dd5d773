"""Sets that passed a screen, with the statistics they passed on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ScreenedSets:
    """Member sets of one target and their statistics on each of k folds.

    Attributes
    ----------
    members : (c, order) int64
        Players of each set, padded with -1.
    sums : (k, c) float64
        Sum over a fold's rows of phi_S r, r the residuals.
    squares : (k, c) float64
        Sum over a fold's row groups of the square of their part of that sum.

    Examples
    --------
    >>> pair = ScreenedSets(np.array([[3, 7]]), np.array([[2.0], [4.0]]), np.array([[1.0], [3.0]]))
    >>> (pair.sums.sum(axis=0) / np.sqrt(pair.squares.sum(axis=0))).tolist()  # z on all masks
    [3.0]
    """

    members: NDArray[np.int64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
