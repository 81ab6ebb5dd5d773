"""Groups of training images as players: found by similarity, by class or at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.data.dataset import Dataset
from training.data.near_duplicates import near_duplicate_components
from training.errors import TrainingInputError
from training.grouping.balanced_clusters import balanced_clusters, even_clusters, squared_distances
from training.grouping.request import GroupingRequest, groups_of_each_class

FeaturesOf = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Grouping:
    """Which group each training image belongs to.

    Parameters
    ----------
    groups : (n_train,) int64
        0 to n_groups - 1.
    names : tuple of str
        Of the groups: the class and a number ("truck-03").
    bounds : (int, int)
        Smallest and largest size that was asked for, over all classes.
    notes : tuple of str
        What the owner should know: sizes that near-duplicates carried outside the bounds.
    medoids : (n_groups,) int64, optional
        The image of each group that is nearest to the mean of its features; None where no features were used.
    """

    groups: np.ndarray
    names: tuple[str, ...]
    bounds: tuple[int, int]
    notes: tuple[str, ...] = ()
    medoids: np.ndarray | None = None

    @property
    def sizes(self) -> np.ndarray:
        """(n_groups,) int64: images of each group."""
        return np.bincount(self.groups, minlength=len(self.names))


def find_groups(dataset: Dataset, request: GroupingRequest, features_of: FeaturesOf) -> Grouping:
    """Join the training images of a data set into groups.

    Parameters
    ----------
    dataset : Dataset
    request : GroupingRequest
    features_of : callable
        Returns (n_train, d) features; called only where `request.by` is "similarity".

    Returns
    -------
    Grouping

    Raises
    ------
    TrainingInputError
        For more groups than distinct images of a class, and fewer groups than classes.

    Notes
    -----
    Near-duplicates (`training.data.near_duplicates`) of one class are one point of the clustering, so they are always
    in one group. Where groups stay within a class, near-duplicates with two labels are in two groups.

    Examples
    --------
    >>> from training import load_dataset
    >>> digits = load_dataset("digits", n_train=60, n_targets=10, n_audit=10)
    >>> pixels = lambda: digits.train.images.reshape(60, -1).astype(float)
    >>> found = find_groups(digits, GroupingRequest("similarity", count=12), pixels)
    >>> len(found.names), found.bounds, int(found.sizes.sum())
    (12, (1, 12), 60)
    """
    labels = dataset.train.labels
    if request.by == "class":
        names = tuple(dataset.class_names)
        if len(np.unique(labels)) != len(names):
            raise TrainingInputError("players.by=class needs a training image of every class. Set dataset.classes.")
        sizes = np.bincount(labels)
        return Grouping(labels.astype(np.int64), names, (int(sizes.min()), int(sizes.max())))
    assert request.count is not None  # the request's own check
    component = near_duplicate_components(dataset.train.images)
    features = features_of() if request.by == "similarity" else np.zeros((len(labels), 1))
    if len(features) != len(labels):
        raise TrainingInputError(f"{len(features)} features were given for {len(labels)} training images.")
    if request.across_classes:
        parts = [(np.arange(len(labels)), "group", request.count, 0)]
    else:
        of_class = groups_of_each_class(labels, dataset.class_names, request.count)
        parts = [
            (np.flatnonzero(labels == label), dataset.class_names[label], int(of_class[label]), label)
            for label in range(len(of_class))
            if of_class[label]
        ]
    groups = np.full(len(labels), -1, dtype=np.int64)
    names_found: list[str] = []
    lows, highs, outside = [], [], 0
    for rows, name, n_groups, number in parts:
        low, high = request.bounds(len(rows), n_groups)
        found = _groups_of(rows, name, component[rows], features[rows], n_groups, (low, high), request, number)
        groups[rows] = len(names_found) + found
        width = len(str(n_groups - 1))
        names_found += [f"{name}-{at:0{width}d}" for at in range(n_groups)]
        sizes = np.bincount(found, minlength=n_groups)
        outside += int(((sizes < low) | (sizes > high)).sum())
        lows.append(low)
        highs.append(high)
    bounds = (min(lows), max(highs))
    notes = () if not outside else (
        f"{outside} of {len(names_found)} groups lie outside {bounds[0]} to {bounds[1]} pictures, because "
        "near-duplicates stay in one group.",
    )
    typical = medoids(features, groups, len(names_found)) if request.by == "similarity" else None
    return Grouping(groups, tuple(names_found), bounds, notes, typical)


def _groups_of(
    rows: np.ndarray,
    name: str,
    component: np.ndarray,
    features: np.ndarray,
    n_groups: int,
    bounds: tuple[int, int],
    request: GroupingRequest,
    number: int,
) -> np.ndarray:
    """Group of each of `rows`, in the order of the groups' first images."""
    _, point, weights = np.unique(component, return_inverse=True, return_counts=True)
    if n_groups > len(weights):
        what = f"of class {name} " if not request.across_classes else ""
        raise TrainingInputError(
            f"players.count={request.count} asks for {n_groups} groups {what}and there are {len(weights)} distinct "
            f"pictures {what}({len(rows)} with near-duplicates). Lower players.count."
        )
    if request.by == "random":
        found = even_clusters(weights, n_groups, np.random.default_rng([request.seed, number]))
    else:
        position = np.zeros((len(weights), features.shape[1]))
        np.add.at(position, point, features)
        found = balanced_clusters(position / weights[:, None], weights, n_groups, bounds, request.seed)
    of_image = found[point]
    _, first, inverse = np.unique(of_image, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def with_groups(
    dataset: Dataset, groups: np.ndarray, names: Sequence[str], typical: np.ndarray | None = None
) -> Dataset:
    """Return the data set with groups of training images as its players.

    Parameters
    ----------
    dataset : Dataset
    groups : (n_train,) int64
        0 to n_groups - 1, every one of them at least once.
    names : sequence of str
        Of the groups.
    typical : (n_groups,) int64, optional
        The image that shows each group best.

    Returns
    -------
    Dataset
    """
    return replace(
        dataset,
        players=groups.astype(np.int64),
        player_names=tuple(names),
        player_keys=tuple(names),
        typical=typical,
    )


def medoids(features: np.ndarray, groups: np.ndarray, n_groups: int) -> np.ndarray:
    """Return the most typical image of each group: the one nearest to the mean of its group's features.

    Parameters
    ----------
    features : (n, d) float array
    groups : (n,) int64
    n_groups : int

    Returns
    -------
    (n_groups,) int64
        Rows.

    Examples
    --------
    >>> medoids(np.array([[0.0], [1.0], [2.0], [9.0]]), np.array([0, 0, 0, 1]), 2).tolist()
    [1, 3]
    """
    found = np.empty(n_groups, dtype=np.int64)
    for group in range(n_groups):
        rows = np.flatnonzero(groups == group)
        centre = features[rows].mean(axis=0, keepdims=True)
        found[group] = rows[int(squared_distances(features[rows], centre).argmin())]
    return found
