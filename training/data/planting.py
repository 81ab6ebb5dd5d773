"""Planted truth: copies and wrong labels put into a data set on purpose, so that anyone can see what is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.data.dataset import Dataset, ImageSet
from training.data.names import copy_name
from training.errors import TrainingInputError
from training.randomness import permutation, uniforms, word_rows

LARGEST_CLUSTER = 10
NEAR_BRIGHTNESS = 0.1  # a near copy is up to so much brighter or darker
NEAR_NOISE = 0.1  # sd of its pixel noise, in standard deviations of all pixels


@dataclass(frozen=True)
class Planted:
    """What was planted, in rows of the training set.

    Parameters
    ----------
    clusters : tuple of tuple of int
        Rows of each group of copies; the first is the original.
    near : tuple of bool
        Whether the copies of each group are near-duplicates instead of exact.
    flipped : (n_flipped,) int64
        Rows with a wrong label.
    true_labels : (n_flipped,) int64
        The labels they had.
    """

    clusters: tuple[tuple[int, ...], ...]
    near: tuple[bool, ...]
    flipped: np.ndarray
    true_labels: np.ndarray

    def pairs(self) -> set[tuple[int, int]]:
        """Return every pair of rows that are copies of one another."""
        return {
            (min(a, b), max(a, b))
            for cluster in self.clusters
            for at, a in enumerate(cluster)
            for b in cluster[at + 1 :]
        }


NOTHING = Planted((), (), np.zeros(0, np.int64), np.zeros(0, np.int64))


def plant(
    dataset: Dataset,
    *,
    clusters: int = 0,
    cluster_sizes: Sequence[int] = (2,),
    near_share: float = 0.0,
    flipped: float = 0.0,
    seed: int = 0,
) -> tuple[Dataset, Planted]:
    """Put copies and wrong labels into the training set; everything else stays as it was.

    Parameters
    ----------
    dataset : Dataset
    clusters : int
        Groups of copies to plant. A copy takes the place of another example of the original's class, so that the
        number of examples of each class does not change; it is named after its original ("x (planted copy)").
    cluster_sizes : sequence of int
        Sizes of the groups, the original included, taken in turn; 2 to 10.
    near_share : float
        Share of the groups whose copies are near-duplicates, a little brighter or darker and noisier, instead of
        exact. They lie below `near_duplicates.NEAR_DUPLICATE_DISTANCE` of their original: what a re-encoding does, not
        another photograph of the same thing.
    flipped : float
        Share of the training examples that get the label of another class, drawn evenly. No example is both a copy
        and wrongly labelled.
    seed : int
        Decides all of it.

    Returns
    -------
    Dataset, Planted

    Raises
    ------
    TrainingInputError
        For sizes outside 2 to 10, shares outside [0, 1], and more than the data set can hold.

    Examples
    --------
    >>> from training import load_dataset
    >>> dataset, truth = plant(load_dataset("digits", n_train=40, n_targets=10), clusters=2, flipped=0.05)
    >>> len(truth.clusters), len(truth.flipped)
    (2, 2)
    """
    _check(dataset, clusters, cluster_sizes, near_share, flipped)
    if not clusters and not flipped:
        return dataset, NOTHING
    images, labels = dataset.train.images.copy(), dataset.train.labels.copy()
    source = dataset.train.source_index.copy()
    ids = None if dataset.train.source_ids is None else dataset.train.source_ids.copy()
    example_names, names = dataset.train.names.copy(), list(dataset.player_names)
    keys = list(dataset.player_names if dataset.player_keys is None else dataset.player_keys)
    order = permutation(word_rows("planting", seed, 0, 1, len(labels))[0])
    groups = _draw_clusters(order, labels, clusters, cluster_sizes)
    near = tuple(at < round(near_share * len(groups)) for at in range(len(groups)))
    spread = float(dataset.train.images.std())
    singletons = len(names) == len(labels)
    for group, is_near in zip(groups, near, strict=True):
        original = dataset.train.images[group[0]]
        player = dataset.players[group[0]]
        for place, row in enumerate(group[1:], start=1):
            images[row] = _near_copy(original, spread, seed, row) if is_near else original
            source[row] = source[group[0]]
            if ids is not None:
                ids[row] = ids[group[0]]
            example_names[row] = copy_name(example_names[group[0]], place)
            if singletons:
                names[dataset.players[row]] = copy_name(names[player], place)
                keys[dataset.players[row]] = f"{keys[player]}-copy{place}"
    wrong = _draw_flipped(order, groups, round(flipped * len(labels)))
    true_labels = labels[wrong]
    shift = word_rows("planted_labels", seed, 0, 1, max(1, len(wrong)))[0][: len(wrong)]
    n_classes = len(dataset.class_names)
    labels[wrong] = (true_labels + 1 + (shift % np.uint64(n_classes - 1)).astype(np.int64)) % n_classes
    planted = replace(
        dataset,
        train=ImageSet(images, labels, source, example_names, ids),
        player_names=tuple(names),
        player_keys=tuple(keys),
    )
    return planted, Planted(groups, near, wrong, true_labels)


def _draw_clusters(
    order: np.ndarray, labels: np.ndarray, count: int, sizes: Sequence[int]
) -> tuple[tuple[int, ...], ...]:
    """Rows of each cluster, all of one class; originals in random order, copies the next free rows of the class."""
    free = {int(label): [int(row) for row in order if labels[row] == label] for label in np.unique(labels)}
    groups: list[tuple[int, ...]] = []
    for at in range(count):
        size = int(sizes[at % len(sizes)])
        roomy = (pool for pool in (free[int(labels[row])] for row in order) if len(pool) >= size)
        pool = next(roomy, None)
        if pool is None:
            raise TrainingInputError(
                f"{count} clusters of {list(sizes)} copies do not fit into {len(labels)} training examples "
                f"(cluster {at + 1} found no class with {size} free ones). Plant fewer, or use more examples."
            )
        order = order[1:]  # the next cluster starts from another example's class
        groups.append(tuple(pool.pop(0) for _ in range(size)))
    return tuple(groups)


def _draw_flipped(order: np.ndarray, groups: tuple[tuple[int, ...], ...], count: int) -> np.ndarray:
    copies = {row for group in groups for row in group}
    free = [int(row) for row in order[::-1] if int(row) not in copies]
    if count > len(free):
        raise TrainingInputError(
            f"{count} wrong labels do not fit beside {len(copies)} copies in {len(order)} training examples. "
            "Plant fewer."
        )
    return np.sort(np.array(free[:count], dtype=np.int64))


def _near_copy(original: np.ndarray, spread: float, seed: int, row: int) -> np.ndarray:
    """A copy with its own brightness and pixel noise, from (seed, row)."""
    drawn = uniforms(word_rows("near_copy", seed, row, 1, original.size + 1)[0])
    brightness = 1 + NEAR_BRIGHTNESS * (2 * drawn[0] - 1)
    # Uniform noise of the wanted standard deviation: no transform whose last bit could differ between machines.
    noise = (2 * drawn[1:] - 1).reshape(original.shape) * NEAR_NOISE * spread * 3**0.5
    return np.clip(np.rint(original * brightness + noise), 0, 255).astype(np.uint8)


def _check(dataset: Dataset, clusters: int, sizes: Sequence[int], near_share: float, flipped: float) -> None:
    if clusters < 0 or not sizes or any(not 2 <= size <= LARGEST_CLUSTER for size in sizes):
        raise TrainingInputError(
            f"planted clusters need a count of at least 0 and sizes of 2 to {LARGEST_CLUSTER}; got {clusters} of "
            f"{list(sizes)}."
        )
    for name, share in (("near_share", near_share), ("flipped", flipped)):
        if not 0 <= share <= 1:
            raise TrainingInputError(f"{name} is a share of 0 to 1; got {share}.")
    if flipped and len(dataset.class_names) < 2:
        raise TrainingInputError("a wrong label needs at least two classes.")
