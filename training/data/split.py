"""Choose training images class by class, and split test images into targets and audit examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.data.dataset import Dataset, ImageSet, RawImages
from training.data.names import as_name, as_number, check_unique, composed
from training.data.near_duplicates import near_duplicate_components
from training.errors import TrainingInputError
from training.randomness import permutation, word_rows


def choose_and_split(
    raw: RawImages,
    *,
    classes: Sequence[str | int] | None,
    n_train: int | None,
    n_targets: int | None,
    n_audit: int | None,
    group_by: str | Path | None,
    seed: int,
) -> Dataset:
    """Make a `Dataset` of a raw source.

    Parameters
    ----------
    raw : RawImages
    classes, n_train, n_targets, n_audit, group_by, seed
        See `training.load_dataset`.

    Returns
    -------
    Dataset

    Raises
    ------
    TrainingInputError
        For classes that do not exist, more images than there are, training images without a group, and training
        examples that share a name.

    Notes
    -----
    Test images are put in a random order; the first n_targets are the targets. Of the others, near-duplicates of a
    target are left out, and the first n_audit of what remains are the audit examples: a near-duplicate of a target
    is never an audit example.
    """
    raw = keep_classes(raw, classes)
    has_own_test = raw.test is not None
    n_train = _count("n_train", n_train, raw.default_n_train, len(raw.train), "training images")
    chosen = balanced_choice(raw.train.labels, len(raw.class_names), n_train, seed)
    if raw.test is not None:
        pool = raw.test
    else:
        left = np.ones(len(raw.train), dtype=bool)
        left[chosen] = False
        pool = raw.train.take(np.flatnonzero(left))
    default_targets = raw.default_n_targets if raw.default_n_targets is not None else (len(pool) + 1) // 2
    if not has_own_test:
        default_targets = min(default_targets, (len(pool) + 1) // 2)
    n_targets = _count("n_targets", n_targets, default_targets, len(pool), "test images")
    targets, audit = split_test(pool, n_targets, seed)
    if n_audit is None:
        n_audit = len(audit) if raw.default_n_audit is None else min(raw.default_n_audit, len(audit))
    elif not 0 <= n_audit <= len(audit):
        raise TrainingInputError(
            f"n_audit = {n_audit}, but of {len(pool)} test images {len(audit)} are neither targets nor "
            f"near-duplicates of one. Ask for fewer audit examples or fewer targets."
        )
    players, player_names, player_keys = _players(raw, chosen)
    return Dataset(
        name=raw.name,
        class_names=raw.class_names,
        train=raw.train.take(chosen),
        targets=pool.take(targets),
        audit=pool.take(audit[:n_audit]),
        players=players,
        player_names=player_names,
        player_keys=player_keys,
        unreadable=raw.unreadable,
        notes=raw.notes,
    )


def keep_classes(raw: RawImages, classes: Sequence[str | int] | None) -> RawImages:
    """Keep the named classes and relabel them.

    Parameters
    ----------
    raw : RawImages
    classes : sequence of str or int, optional
        Names or numbers; all classes when absent. A number is the class of that name where classes are named by
        numbers, else a position.

    Returns
    -------
    RawImages
        Labels are 0 to C - 1, in the order of `classes`.

    Raises
    ------
    TrainingInputError
        For unknown classes, one named twice, and fewer than two.
    """
    if classes is None:
        return raw
    wanted = [_class_number(entry, raw.class_names) for entry in classes]
    if len(set(wanted)) != len(wanted) or len(wanted) < 2:
        raise TrainingInputError(f"classes must name at least two different classes; got {list(classes)!r}.")
    relabel = np.full(len(raw.class_names), -1, dtype=np.int64)
    relabel[wanted] = np.arange(len(wanted))

    def kept(part: ImageSet) -> tuple[ImageSet, np.ndarray]:
        rows = np.flatnonzero(relabel[part.labels] >= 0)
        taken = part.take(rows)
        return replace(taken, labels=relabel[taken.labels]), rows

    train, rows = kept(raw.train)
    return replace(
        raw,
        class_names=tuple(raw.class_names[number] for number in wanted),
        train=train,
        test=None if raw.test is None else kept(raw.test)[0],
        groups=None if raw.groups is None else raw.groups[rows],
    )


def _class_number(entry: str | int, class_names: tuple[str, ...]) -> int:
    """Position of a class given by name or number; where classes are named by numbers, a number is a name."""
    named = [composed(name) for name in class_names]
    if isinstance(entry, str) and composed(entry) in named:
        return named.index(composed(entry))
    if isinstance(entry, (int, np.integer)) and not isinstance(entry, bool):
        numbers = [as_number(name) for name in class_names]
        if numbers.count(int(entry)) == 1:
            return numbers.index(int(entry))
        if 0 <= entry < len(class_names) and all(number is None for number in numbers):
            return int(entry)
    shown = ", ".join(class_names[:20]) + (", …" if len(class_names) > 20 else "")
    raise TrainingInputError(
        f"unknown class {entry!r}. The data set has {len(class_names)} classes: {shown}; give names, or "
        f"positions 0 to {len(class_names) - 1} where no class is named by a number."
    )


def balanced_choice(labels: np.ndarray, n_classes: int, n_chosen: int, seed: int) -> np.ndarray:
    """Choose images class by class, class counts as even as possible, from the seed alone.

    Parameters
    ----------
    labels : (n,) int64
    n_classes, n_chosen : int
    seed : int

    Returns
    -------
    (n_chosen,) int64
        Rows, sorted.
    """
    order = permutation(word_rows("training_choice", seed, 0, 1, len(labels))[0])
    by_class = [order[labels[order] == label] for label in range(n_classes)]
    # Round r takes the r-th image of every class that still has one; a random class order breaks the last
    # round.
    ranks = np.concatenate([np.arange(len(rows)) for rows in by_class])
    class_order = permutation(word_rows("class_order", seed, 0, 1, n_classes)[0])
    place = np.empty(n_classes, dtype=np.int64)
    place[class_order] = np.arange(n_classes)
    places = np.concatenate([np.full(len(rows), place[label]) for label, rows in enumerate(by_class)])
    taken = np.lexsort((places, ranks))[:n_chosen]
    return np.sort(np.concatenate(by_class)[taken])


def split_test(pool: ImageSet, n_targets: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split test images into targets and possible audit examples, in random order.

    Parameters
    ----------
    pool : ImageSet
        The test images.
    n_targets : int
    seed : int

    Returns
    -------
    targets : (n_targets,) int64
        Rows.
    audit : (n_possible,) int64
        Rows that are no near-duplicate of a target.
    """
    order = permutation(word_rows("test_split", seed, 0, 1, len(pool))[0])
    targets, rest = order[:n_targets], order[n_targets:]
    component = near_duplicate_components(pool.images)
    return targets, rest[~np.isin(component[rest], component[targets])]


def _count(name: str, given: int | None, default: int | None, available: int, what: str) -> int:
    count = given if given is not None else (min(default, available) if default is not None else available)
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise TrainingInputError(f"{name} must be a whole number of at least 1; got {count!r}.")
    if count > available:
        raise TrainingInputError(
            f"{name} = {count}, but there are only {available} {what}. Ask for {available} or fewer"
            f"{', or leave it out to take all' if name == 'n_train' and default is None else ''}."
        )
    return int(count)


def _players(raw: RawImages, chosen: np.ndarray) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Player of each chosen training image, the players' names and their keys; groups in order of first appearance."""
    if raw.groups is None:
        names = tuple(raw.train.names[chosen].tolist())
        keys = tuple(str(index) for index in raw.train.identifiers[chosen])
        check_unique(names, "training examples", [f"row {key} of the training images" for key in keys])
        # Source rows and not names: renaming a file leaves a campaign what it is.
        return np.arange(len(chosen), dtype=np.int64), names, keys
    without = sum(group is None for group in raw.groups[chosen])
    if without:
        raise TrainingInputError(
            f"group_by names no group for {without} of {len(chosen)} training images. Name one for each image that "
            f"is trained on."
        )
    number: dict[str, int] = {}
    spelling: dict[str, str] = {}  # groups are compared in composed form, and keep the spelling they have first
    groups = [spelling.setdefault(composed(str(group)), str(group)) for group in raw.groups[chosen]]
    players = np.array([number.setdefault(group, len(number)) for group in groups], dtype=np.int64)
    return players, tuple(as_name(group) for group in number), tuple(number)
