"""Random streams of the package: one number per purpose, so that no two purposes draw the same values."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream is drawn for. The numbers are fixed: another number draws other values for the same seed."""

    FOLDS = 1  # assignment of row groups to folds (masks/folds.py)
    BOOTSTRAP = 3  # resamples of held-out masks (statistics/faithfulness.py)
    LEARNING_CURVE = 11  # subsets of masks (analysis/learning_curve.py)
    SCORE_BOOTSTRAP = 12  # resamples of masks, targets and seeds (scoring/bootstrap.py)
    RANDOM_ATTRIBUTION = 13  # the baseline that knows nothing (scoring/baselines.py)
    RANDOM_REMOVAL = 14  # players removed at random (flows/scoring/removal.py)
    MATCHED_RANDOM_SETS = 20  # random sets to certify (experiments/sets_to_try.py)
    BUDGET_SEARCH = 30  # order of exchanges (curation/budget.py)
    SPEX_DESIGN = 50  # directions of structured masks (spex/design.py)
    BLEND = 51  # masks on which a mixture's spread is measured (estimators/blended_proxyspex.py)
    BALANCED_REMOVAL = 40  # class-balanced random removals of a verification (flows/verify.py)


def random_stream(purpose: Purpose, *seed: int) -> np.random.Generator:
    """Return the stream of one purpose for one seed.

    Parameters
    ----------
    purpose : Purpose
        What the stream is drawn for.
    *seed : int
        The seed, at least 0, and indices within the purpose if it needs several streams.

    Examples
    --------
    >>> random_stream(Purpose.FOLDS, 0).permutation(4).tolist()
    [3, 0, 2, 1]
    """
    return np.random.default_rng((*seed, int(purpose)))
