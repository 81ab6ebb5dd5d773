"""What is asked of a grouping, and the bounds on the sizes of its groups."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.errors import TrainingInputError

WAYS = ("similarity", "class", "random")


@dataclass(frozen=True)
class GroupingRequest:
    """How training images are joined into groups.

    Parameters
    ----------
    by : {"similarity", "class", "random"}
        Close in feature space, of one class, or drawn at random.
    count : int, optional
        Number of groups; needed unless `by` is "class".
    across_classes : bool
        Whether a group may hold images of several classes.
    balance : float
        Sizes lie between 1/balance and balance times the mean size, at least 1.
    seed : int
        Decides random draws and the starts of the clustering.

    Raises
    ------
    TrainingInputError
        For values outside these bounds.

    Examples
    --------
    >>> GroupingRequest("similarity", count=10).bounds(n_images=200, n_groups=10)
    (10, 40)
    """

    by: str
    count: int | None = None
    across_classes: bool = False
    balance: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.by not in WAYS:
            raise TrainingInputError(f"players.by must be one of {', '.join(WAYS)}; got {self.by!r}.")
        if self.by != "class" and (self.count is None or self.count < 2):
            raise TrainingInputError(
                f"players.by={self.by} needs players.count, the number of groups, of at least 2; got {self.count}."
            )
        if self.by == "class" and self.count is not None:
            raise TrainingInputError(
                f"players.by=class makes one group of each class, so players.count={self.count} cannot be met. Leave "
                "players.count empty, or set players.by=similarity."
            )
        if not math.isfinite(self.balance) or self.balance < 1:
            raise TrainingInputError(f"players.balance must be at least 1; got {self.balance}.")

    def bounds(self, n_images: int, n_groups: int) -> tuple[int, int]:
        """Return the smallest and the largest size of a group of `n_images` images in `n_groups` groups."""
        mean = n_images / n_groups
        return max(1, math.floor(mean / self.balance)), max(math.ceil(mean), math.floor(mean * self.balance))


def groups_of_each_class(labels: np.ndarray, class_names: tuple[str, ...], count: int) -> np.ndarray:
    """Divide a number of groups among the classes, in proportion to their images, at least one each.

    Parameters
    ----------
    labels : (n,) int64
    class_names : tuple of str
    count : int

    Returns
    -------
    (n_classes,) int64
        They sum to `count`; 0 for a class without images.

    Raises
    ------
    TrainingInputError
        For fewer groups than classes.

    Examples
    --------
    >>> groups_of_each_class(np.array([0] * 30 + [1] * 10), ("cat", "dog"), 8).tolist()
    [6, 2]
    """
    sizes = np.bincount(labels, minlength=len(class_names))
    present = sizes > 0
    if count < present.sum():
        raise TrainingInputError(
            f"players.count={count} is fewer than the {present.sum()} classes, and a group holds images of one class. "
            f"Raise players.count, or set players.across_classes=true."
        )
    # Largest remainder (Hamilton), after one group for each class.
    quota = (count - present.sum()) * sizes / sizes.sum()
    found = present + np.floor(quota).astype(np.int64)
    order = np.argsort(-(quota - np.floor(quota)), kind="stable")
    found[order[: count - found.sum()]] += 1
    return found.astype(np.int64)
