"""Image data sets as uint8 arrays in memory, and the players that can be left out of training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from training.errors import TrainingInputError


@dataclass(frozen=True)
class ImageSet:
    """Images with their labels and names.

    Parameters
    ----------
    images : (n, height, width, channels) uint8
        Grey levels 0 to 255; 1 or 3 channels.
    labels : (n,) int64
        Class of each image, 0 to C - 1.
    source_index : (n,) int64
        Row of each image in its source: its position, from 0.
    names : (n,) object array of str, optional
        What the owner calls each image (`training.data.names`); the source's rows as text when absent.
    source_ids : (n,) int64, optional
        The source's own number of each image (the column `index` of a Parquet file), where it has one.

    Examples
    --------
    >>> part = ImageSet(np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1]), np.array([7, 9]))
    >>> part.take(np.array([1])).names.tolist()
    ['9']
    """

    images: np.ndarray
    labels: np.ndarray
    source_index: np.ndarray
    names: np.ndarray = None  # type: ignore[assignment]  # filled in below
    source_ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.names is None:
            object.__setattr__(self, "names", text_array(str(index) for index in self.source_index))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> ImageSet:
        """Return the images of the given rows, in that order."""
        ids = None if self.source_ids is None else self.source_ids[rows]
        return ImageSet(self.images[rows], self.labels[rows], self.source_index[rows], self.names[rows], ids)

    @property
    def identifiers(self) -> np.ndarray:
        """(n,) int64 that identify each image: the source's own numbers where it has them, else its rows."""
        return self.source_index if self.source_ids is None else self.source_ids


def expanded(path: str | Path) -> Path:
    """Return a path with `~` replaced by the home folder.

    Raises TrainingInputError where there is no such home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise TrainingInputError(
            f"the home folder in {str(path)!r} is not known ({error}). Write the path out."
        ) from error


def text_array(texts: Iterable[str]) -> np.ndarray:
    """Make an object array of strings; NumPy's own would have a fixed width."""
    entries = list(texts)
    array = np.empty(len(entries), dtype=object)
    array[:] = entries
    return array


@dataclass(frozen=True)
class SourceOptions:
    """What a source is asked for.

    Parameters
    ----------
    path : Path, optional
        Where its files are.
    image_size : int, optional
        Pixels a side the images are reduced to; `read_source` reduces what a source did not.
    group_by : str, optional
        The column to read into `RawImages.columns`, where the source has columns.
    download : bool
        Whether missing files may be downloaded.
    unreadable : {"refuse", "skip"}
        Whether files that cannot be read are an error or are left out and listed in `RawImages.unreadable`.
    label_column : str, optional
        The column with the labels, where the source has columns; it finds one itself when absent.
    """

    path: Path | None = None
    image_size: int | None = None
    group_by: str | None = None
    download: bool = True
    unreadable: Literal["refuse", "skip"] = "refuse"
    label_column: str | None = None

    def folder(self, source: str, layout: str) -> Path:
        """Return the folder of the source's files.

        Parameters
        ----------
        source : str
            Name of the source, for the message.
        layout : str
            What the folder should hold, for the message.

        Raises
        ------
        TrainingInputError
            When no path was given, or there is no such folder.
        """
        wanted = f"Give the folder that holds {layout}"
        if self.path is None:
            raise TrainingInputError(f"source {source!r} needs a path and none was given. {wanted} (dataset.path).")
        path = expanded(self.path)
        if not path.is_dir():
            state = "is a file" if path.exists() else "does not exist"
            raise TrainingInputError(f"the folder of source {source!r}, {path}, {state}. {wanted} (dataset.path).")
        return path


@dataclass(frozen=True)
class RawImages:
    """A source as it was read, before anything is chosen.

    Parameters
    ----------
    name : str
        Of the data set.
    class_names : tuple of str
    train : ImageSet
        All training images.
    test : ImageSet or None
        All test images; None when the source has no test set of its own, and test images are then what the
        choice of training images leaves over.
    groups : (n_train,) object array, optional
        Group of each training image, or None where it has none; None as a whole when every image is its own
        player.
    default_n_train, default_n_targets, default_n_audit : int, optional
        Counts that `load_dataset` takes when none are given; None is all training images, half of the test
        images, all the rest.
    columns : mapping of str to (n_train,) object arrays
        Further columns of the training images, which `group_by` may name.
    unreadable : tuple of (name, reason)
        Files that were left out because they cannot be read.
    notes : tuple of str
        Sentences about what was read that the owner should know.
    """

    name: str
    class_names: tuple[str, ...]
    train: ImageSet
    test: ImageSet | None
    groups: np.ndarray | None = None
    default_n_train: int | None = None
    default_n_targets: int | None = None
    default_n_audit: int | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    unreadable: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A training set whose players can be left out, targets to explain, and audit examples kept out of every choice.

    Parameters
    ----------
    name : str
    class_names : tuple of str
    train, targets, audit : ImageSet
    players : (n_train,) int64
        The player each training example belongs to, 0 to n_players - 1. Every example is its own player unless
        a grouping was given.
    player_names : tuple of str
        What the owner calls each player: the name of its group, or of its one example.
    player_keys : tuple of str, optional
        What identifies each player where its name may change (files can be renamed); the names when absent.
    unreadable : tuple of (name, reason)
        Files of the source that were left out because they cannot be read.
    notes : tuple of str
        Sentences about what was read that the owner should know.
    typical : (n_players,) int64, optional
        The training example that shows a player best, where players are groups that were found.

    Examples
    --------
    >>> from training import load_dataset
    >>> dataset = load_dataset("digits", n_train=20, n_targets=10, n_audit=5)
    >>> dataset.n_players, len(dataset.targets), len(dataset.audit)
    (20, 10, 5)
    """

    name: str
    class_names: tuple[str, ...]
    train: ImageSet
    targets: ImageSet
    audit: ImageSet
    players: np.ndarray
    player_names: tuple[str, ...]
    player_keys: tuple[str, ...] | None = None
    unreadable: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    typical: np.ndarray | None = None

    @property
    def n_players(self) -> int:
        return len(self.player_names)

    def row_of_players(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the first training example of each player, and which players are one example.

        Returns
        -------
        rows : (n_players,) int64
        single : (n_players,) bool
        """
        _, rows, counts = np.unique(self.players, return_index=True, return_counts=True)
        return rows.astype(np.int64), counts == 1

    def fingerprint(self) -> str:
        """Hash every byte that decides what a campaign on this data means.

        Returns
        -------
        str
            SHA-256 (hex) of images, labels, source rows (or the source's own numbers), the split, the players, their
            keys and the class names.
            The data set's name and the examples' names are left out: who renames a folder has the same campaign.
        """
        digest = hashlib.sha256()
        for part in (self.train, self.targets, self.audit):
            for array in (part.images, part.labels, part.identifiers):
                _update(digest, array)
        _update(digest, self.players)
        keys = self.player_names if self.player_keys is None else self.player_keys
        for names in (self.class_names, keys):
            digest.update(repr(tuple(names)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def _update(digest: hashlib._Hash, array: np.ndarray) -> None:
    little_endian = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    digest.update(f"{little_endian.dtype.str}{array.shape}".encode())
    digest.update(little_endian.tobytes())
