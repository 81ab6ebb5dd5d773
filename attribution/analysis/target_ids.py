"""Numbers of targets: 0 and above are single targets, negative numbers are means over many.

The mean over all targets is -1; the mean over the targets of class c is -(2 + c).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MEAN_OF_ALL = -1


def mean_of_class(label: int) -> int:
    """Return the number of the mean over a class's targets.

    Examples
    --------
    >>> mean_of_class(3), class_of_mean(mean_of_class(3)), class_of_mean(MEAN_OF_ALL)
    (-5, 3, None)
    """
    return -(2 + label)


def is_single(target: int) -> bool:
    """Whether a number is that of one target, not of a mean."""
    return target >= 0


def class_of_mean(target: int) -> int | None:
    """Return the class that a number is the mean of; None for the mean of all and for single targets."""
    return -2 - target if target < MEAN_OF_ALL else None


def classes_of_means(targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `class_of_mean` of many numbers, -1 where it is None."""
    return np.where(targets < MEAN_OF_ALL, -2 - targets, -1)


def targets_of(target: int, target_classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the targets that a number covers, (n_targets,) bool; target_classes: (n_targets,) their labels."""
    if is_single(target):
        return np.arange(len(target_classes)) == target
    label = class_of_mean(target)
    return np.ones(len(target_classes), bool) if label is None else np.asarray(target_classes) == label


def exists(target: int, n_targets: int, n_classes: int) -> bool:
    """Whether a campaign of n_targets targets and n_classes classes has this number."""
    return mean_of_class(n_classes - 1) <= target < n_targets
