"""A look at the data before anything is trained on it: leaks, near-duplicates, contradicting labels, poor pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.data.dataset import Dataset, ImageSet
from training.data.near_duplicates import NEAR_DUPLICATE_DISTANCE, components_of_parts, image_hashes

KINDS = (
    "leak", "two_labels", "duplicates", "no_audit", "small_audit", "class_missing", "small_class", "constant",
    "unreadable", "reading",
)  # fmt: skip
"""Kinds of findings, the gravest first."""
SPLITS = ("train", "target", "audit")
SPLIT_NAMES = {"train": "training", "target": "the targets", "audit": "the audit set"}
CONSTANT_SD = 3.0
"""Standard deviation over a picture's pixels, in grey levels of 0 to 255, below which it counts as constant. The
smallest of 6,000 CIFAR-10 images is 13.8: none is a false alarm."""
SMALL_CLASS = 10
"""Training examples a class needs at least; a model sees about half of them."""
SMALL_AUDIT = 20
"""Audit examples below which no comparison of training sets can be decided: one example is 5 points of accuracy."""
NAMED = 6


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing to know about the data.

    Parameters
    ----------
    kind : str
        One of `KINDS`. leak: one picture in two splits. two_labels: one picture under several labels, within a
        split. duplicates: one picture several times, within a split. constant: a picture without content.
        class_missing: a class without examples in a split. small_class, small_audit, no_audit: too few examples.
        unreadable: files that were left out. reading: what the source read, passed over or chose.
    sentence : str
        The finding in words, with at most six names.
    names : tuple of str
        Names of the examples.
    splits : tuple of {"train", "target", "audit"}
        Split of each example.
    positions : tuple of int
        Row of each example within its split.
    classes : tuple of str
        Class of each example, or the classes that the finding is about.
    exact : bool
        Whether all of these pictures agree in every pixel; else some are near-duplicates.
    """

    kind: str
    sentence: str
    names: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    positions: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    exact: bool = False


def inspect_dataset(dataset: Dataset, threshold: float = NEAR_DUPLICATE_DISTANCE) -> tuple[Finding, ...]:
    """Look for what makes results wrong or misleading.

    Parameters
    ----------
    dataset : Dataset
    threshold : float
        Distance of near-duplicates, in standard deviations of all pixels (`NEAR_DUPLICATE_DISTANCE` holds which
        changes of a picture it finds, and its false alarms on clean pictures).

    Returns
    -------
    tuple of Finding
        The gravest kind first.

    Notes
    -----
    Hashes take linear time, near-duplicates all pairs of about the same brightness on block means. `plan` of 45,000
    images of 16 x 16 pixels takes 7 seconds of one core, this included (benchmarks/thousands.md). Memory beside the
    images is about 200 MB and 1.5 kilobytes an image.
    6,000 clean CIFAR-10 images in ten classes give no finding. 1,787 digits of 8 x 8 pixels give eight groups that
    are nearly the same picture: so few pixels make different pictures alike.

    Examples
    --------
    >>> from training import load_dataset
    >>> dataset = load_dataset("digits", n_train=100, n_targets=50, n_audit=10)
    >>> [finding.kind for finding in inspect_dataset(dataset)]
    ['small_audit', 'class_missing']
    """
    parts = dict(zip(SPLITS, (dataset.train, dataset.targets, dataset.audit), strict=True))
    found = [
        *inspect_pictures(parts, dataset.class_names, threshold),
        *_classes(parts, dataset.class_names),
        *_audit(len(dataset.audit)),
        *_unreadable(dataset.unreadable),
        *(Finding(kind="reading", sentence=note) for note in dataset.notes),
    ]
    return tuple(sorted(found, key=lambda finding: KINDS.index(finding.kind)))


def inspect_pictures(
    parts: Mapping[str, ImageSet], class_names: Sequence[str], threshold: float = NEAR_DUPLICATE_DISTANCE
) -> list[Finding]:
    """Find pictures that occur more than once, within and across splits, and pictures without content.

    Parameters
    ----------
    parts : mapping of str to ImageSet
        The images of each split.
    class_names : sequence of str
    threshold : float
        See `inspect_dataset`.

    Returns
    -------
    list of Finding
        One for each group of near-duplicates, whatever it is found to be, and one for each constant picture.
    """
    splits = [split for split, part in parts.items() for _ in range(len(part))]
    positions = [row for part in parts.values() for row in range(len(part))]
    names = [str(name) for part in parts.values() for name in part.names]
    labels = [int(label) for part in parts.values() for label in part.labels]
    hashes = [digest for part in parts.values() for digest in image_hashes(part.images)]
    component = components_of_parts([part.images for part in parts.values()], threshold)
    constant = np.concatenate([_standard_deviations(part.images) < CONSTANT_SD for part in parts.values()])

    def finding(kind: str, sentence: str, rows: Sequence[int], exact: bool = False) -> Finding:
        return Finding(
            kind=kind,
            sentence=sentence,
            names=tuple(names[row] for row in rows),
            splits=tuple(splits[row] for row in rows),
            positions=tuple(positions[row] for row in rows),
            classes=tuple(class_names[labels[row]] for row in rows),
            exact=exact,
        )

    found = []
    order = np.argsort(component, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(component[order])) + 1):
        if len(rows) < 2 or constant[rows].all():  # blank pictures are alike, and named as blank below
            continue
        kind, sentence, exact = _describe(
            [names[row] for row in rows],
            [splits[row] for row in rows],
            [class_names[labels[row]] for row in rows],
            len({hashes[row] for row in rows}) == 1,
        )
        found.append(finding(kind, sentence, rows.tolist(), exact))
    for row in np.flatnonzero(constant).tolist():
        sentence = f"{names[row]} ({SPLIT_NAMES.get(splits[row], splits[row])}) is one colour, or all but so."
        found.append(finding("constant", sentence, [row]))
    # Exact copies before near ones, larger groups first, within a kind.
    return sorted(found, key=lambda item: (KINDS.index(item.kind), not item.exact, -len(item.names), item.names))


def _describe(
    names: list[str], splits: list[str], classes: list[str], exact: bool
) -> tuple[str, str, bool]:
    """Kind and sentence of a group of near-duplicates."""
    what = "the same picture" if exact else "nearly the same picture"
    two_labels = len(set(classes)) > 1
    labelled = [f"{name} ({label})" for name, label in zip(names, classes, strict=True)] if two_labels else names
    if len(set(splits)) > 1:
        places = []
        for split in dict.fromkeys(splits):
            here = [name for name, other in zip(labelled, splits, strict=True) if other == split]
            places.append(f"{SPLIT_NAMES.get(split, split)} ({_list(here)})")
        labels = f", under {len(set(classes))} labels" if two_labels else ""
        return "leak", f"{what[0].upper()}{what[1:]} is in {_and(places)}{labels}.", exact
    if two_labels:
        return "two_labels", f"{what[0].upper()}{what[1:]} has {len(set(classes))} labels: {_list(labelled)}.", exact
    where = SPLIT_NAMES.get(splits[0], splits[0])
    return "duplicates", f"{what[0].upper()}{what[1:]} is {len(names)} times in {where}: {_list(names)}.", exact


def _classes(parts: Mapping[str, ImageSet], class_names: Sequence[str]) -> list[Finding]:
    """Classes without examples in a split, and classes with few training examples."""
    found = []
    counts = {split: np.bincount(part.labels, minlength=len(class_names)) for split, part in parts.items()}
    for split, count in counts.items():
        missing = tuple(class_names[label] for label in np.flatnonzero(count == 0).tolist()) if count.any() else ()
        if missing:
            sentence = f"{_number(len(missing), 'class has', 'classes have')} no example in {SPLIT_NAMES[split]}: "
            found.append(Finding(kind="class_missing", sentence=f"{sentence}{_list(missing)}.", classes=missing))
    small = [label for label, count in enumerate(counts["train"]) if 0 < count < SMALL_CLASS]
    if small:
        listed = _list([f"{class_names[label]} ({counts['train'][label]})" for label in small])
        sentence = (
            f"{_number(len(small), 'class has', 'classes have')} fewer than {SMALL_CLASS} training examples: {listed}. "
            f"A model sees about half of them."
        )
        found.append(
            Finding(kind="small_class", sentence=sentence, classes=tuple(class_names[label] for label in small))
        )
    return found


def _audit(n_audit: int) -> list[Finding]:
    if n_audit == 0:
        sentence = "There is no audit example: no decision can be verified. Lower dataset.n_targets."
        return [Finding(kind="no_audit", sentence=sentence)]
    if n_audit < SMALL_AUDIT:
        sentence = (
            f"There {'is' if n_audit == 1 else 'are'} {_number(n_audit, 'audit example', 'audit examples')}: one is "
            f"{100 / n_audit:.0f} points of accuracy, so verify can "
            f"show nothing smaller. Lower dataset.n_targets or add test pictures."
        )
        return [Finding(kind="small_audit", sentence=sentence)]
    return []


def _unreadable(files: Sequence[tuple[str, str]]) -> list[Finding]:
    if not files:
        return []
    names = tuple(name for name, _ in files)
    count = _number(len(files), "file was left out because it", "files were left out because they")
    sentence = f"{count} cannot be read: {_list(names)}."
    return [Finding(kind="unreadable", sentence=sentence, names=names)]


def summarize(findings: Sequence[Finding]) -> str:
    """Count findings by kind.

    Examples
    --------
    >>> summarize([Finding(kind="leak", sentence=""), Finding(kind="leak", sentence="")])
    '2 leaks between splits'
    """
    counts = Counter(finding.kind for finding in findings)
    return ", ".join(_number(counts[kind], *_WORDS[kind]) for kind in KINDS if counts[kind])


_WORDS = {
    "leak": ("leak between splits", "leaks between splits"),
    "two_labels": ("picture under two labels", "pictures under two labels"),
    "duplicates": ("group of duplicates", "groups of duplicates"),
    "no_audit": ("empty audit set", "empty audit sets"),
    "small_audit": ("small audit set", "small audit sets"),
    "class_missing": ("split without some class", "splits without some class"),
    "small_class": ("note on small classes", "notes on small classes"),
    "constant": ("constant picture", "constant pictures"),
    "unreadable": ("note on unreadable files", "notes on unreadable files"),
    "reading": ("note on what was read", "notes on what was read"),
}


def _standard_deviations(images: np.ndarray) -> np.ndarray:
    """Standard deviation of each image's pixels, (n,) float64, the channels of a pixel apart."""
    found = np.empty(len(images))
    for row, image in enumerate(images):
        found[row] = np.sqrt(image.reshape(-1, image.shape[-1]).var(axis=0).mean())
    return found


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _number(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
