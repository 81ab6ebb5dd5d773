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


@dataclass(frozen=True)
class KnownPart:
    """A part of every pair's sum that a model of all pairs gives, and that the residuals of a screen lack.

    Attributes
    ----------
    left, right : (t, n, 2) float32
        The part of the pair (i, j) on target t is left[t, i] @ right[t, j].
    counts : int64, shape of the screen's histogram
        Histogram of |z| with that part, added to in place.

    Examples
    --------
    >>> sides = np.array([[[1.0, 0.0], [2.0, 0.0]]], dtype=np.float32)
    >>> known = KnownPart(3.0 * sides, sides, np.zeros(4, dtype=np.int64))
    >>> float(known.left[0, 0] @ known.right[0, 1])
    6.0
    """

    left: NDArray[np.float32]
    right: NDArray[np.float32]
    counts: NDArray[np.int64]
