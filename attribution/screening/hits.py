"""Sets that passed a screen, with the statistics they passed on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Hits:
    """Member sets of one target and their statistics.

    members: (c, order), padded with -1. sums: (k, c) sum of phi_S r per fold; squares: (k, c) sum of its squares per
    fold, by row group.
    """

    members: NDArray[np.int64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
