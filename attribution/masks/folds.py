"""Assignment of masks to cross-fitting folds; replicates and antithetic partners share a fold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError

N_FOLDS = 6  # even, so that the folds make two halves


def assign_folds(groups: NDArray[np.int64], n_folds: int, seed: int) -> NDArray[np.int64]:
    """(m,) fold of every row: groups (m,) codes 0..g-1 dealt at random to n_folds folds, none divided.

    Raises AttributionError when there are fewer groups than folds, and for a negative seed.
    """
    if seed < 0:
        raise AttributionError(f"seed must be at least 0; got {seed}.")
    n_groups = int(groups.max()) + 1
    if n_groups < n_folds:
        raise AttributionError(
            f"{n_folds} folds need at least as many distinct groups of masks; got {n_groups}. Give more masks."
        )
    order = np.random.default_rng((seed, 1)).permutation(n_groups)
    fold_of_group = np.empty(n_groups, dtype=np.int64)
    fold_of_group[order] = np.arange(n_groups) % n_folds
    return fold_of_group[groups]
