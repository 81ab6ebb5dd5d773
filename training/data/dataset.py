"""Image data sets as uint8 arrays in memory, and the players that can be left out of training."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImageSet:
    """Images (n, height, width, channels) uint8; labels and rows in the source, (n,) int64."""

    images: np.ndarray
    labels: np.ndarray
    source_index: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> ImageSet:
        """The images of the given rows, in that order."""
        return ImageSet(self.images[rows], self.labels[rows], self.source_index[rows])


@dataclass(frozen=True)
class RawImages:
    """A source as it was read: all training images, all test images, the classes, and groups where asked for.

    - test: None when the source has no test set of its own; test images are then what training leaves over.
    - groups: (n_train,) object array, the group of each training image or None where it has none; None as a
      whole when every image is its own player.
    - default_n_train, default_n_targets, default_n_audit: what `load_dataset` takes when it is not told; None
      = all training images, half of the test images, all the rest.
    """

    name: str
    class_names: tuple[str, ...]
    train: ImageSet
    test: ImageSet | None
    groups: np.ndarray | None = None
    default_n_train: int | None = None
    default_n_targets: int | None = None
    default_n_audit: int | None = None


@dataclass(frozen=True)
class Dataset:
    """A training set whose players can be left out, targets to explain, and audit examples kept out of every
    choice.

    - players: (n_train,) int64, the player each training example belongs to (0 .. n_players - 1). Singletons
      unless a grouping was given.
    - player_names: one name per player.
    """

    name: str
    class_names: tuple[str, ...]
    train: ImageSet
    targets: ImageSet
    audit: ImageSet
    players: np.ndarray
    player_names: tuple[str, ...]

    @property
    def n_players(self) -> int:
        return len(self.player_names)

    def fingerprint(self) -> str:
        """SHA-256 (hex) over every byte that decides what a campaign on this data means.

        Images, labels, source rows, the split, the players and the class names; not the data set's name.
        """
        digest = hashlib.sha256()
        for part in (self.train, self.targets, self.audit):
            for array in (part.images, part.labels, part.source_index):
                _update(digest, array)
        _update(digest, self.players)
        for names in (self.class_names, self.player_names):
            digest.update(repr(tuple(names)).encode())
        return digest.hexdigest()


def _update(digest: hashlib._Hash, array: np.ndarray) -> None:
    little_endian = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    digest.update(f"{little_endian.dtype.str}{array.shape}".encode())
    digest.update(little_endian.tobytes())
