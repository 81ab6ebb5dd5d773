"""Assignment of masks to cross-fitting folds; replicates and antithetic partners share a fold."""

from __future__ import annotations

import numpy as np

from attribution.checks import check_seed
from attribution.errors import AttributionError
from attribution.randomness import Purpose, random_stream
from attribution.types import Labels

# Even, so that folds make two halves of equal size; a choice: each fit then uses 5/6 of the masks.
N_FOLDS = 6


def assign_folds(groups: Labels, n_folds: int, seed: int) -> Labels:
    """Deal row groups at random to folds.

    Parameters
    ----------
    groups : (m,) int64
        Row groups as codes 0..g-1.
    n_folds : int
        Number of folds.
    seed : int
        Seed of the assignment, at least 0.

    Returns
    -------
    (m,) int64
        Fold of every row; the rows of a group share one.

    Raises
    ------
    AttributionError
        If there are fewer groups than folds, or the seed is no integer of at least 0.
    """
    check_seed(seed)
    n_groups = int(groups.max()) + 1
    if n_groups < n_folds:
        raise AttributionError(
            f"{n_folds} folds need at least as many distinct groups of masks; got {n_groups}. Give more masks."
        )
    order = random_stream(Purpose.FOLDS, seed).permutation(n_groups)
    fold_of_group = np.empty(n_groups, dtype=np.int64)
    fold_of_group[order] = np.arange(n_groups) % n_folds
    return fold_of_group[groups]
