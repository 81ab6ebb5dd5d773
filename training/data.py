"""Image data sets as uint8 arrays in memory, and the players that can be left out of training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


def load_dataset(
    source: str,
    *,
    path: str | Path | None = None,
    classes: Sequence[str | int] | None = None,
    n_train: int | None = None,
    n_targets: int | None = None,
    n_audit: int | None = None,
    image_size: int | None = None,
    group_by: str | Path | None = None,
    download: bool = True,
    seed: int = 0,
) -> Dataset:
    """Read a data set and split its test images into targets and audit examples.

    source: `digits` (ships inside scikit-learn: no network, no download), `cifar10` (torchvision, downloaded
    once into `path`), `parquet` (a folder of image Parquet files in the layout Hugging Face uses),
    `image_folder` (train/<class>/*.png, test/<class>/*.png), or the path of such a folder. classes: the
    classes to keep, by name or number, in the order of their new labels. n_train, n_targets, n_audit: how
    many images of each; None takes the source's default (digits: 200, 400, 400; otherwise all training
    images, half of the test images as targets, the rest as audit examples). Training images are drawn class
    by class, as evenly as the classes allow. image_size: reduce to this many pixels a side by averaging
    areas. group_by: a column of the Parquet file or an index file that names each training example's group;
    the players are then the groups (`training.players`). seed: decides the choice of training images and the
    split of the test images, and nothing else.

    Raises TrainingInputError: its message says what was wrong, what was given and what to do.
    """
    from training.sources import read_source
    from training.split import choose_and_split

    raw = read_source(source, path=path, image_size=image_size, group_by=group_by, download=download)
    return choose_and_split(
        raw,
        classes=classes,
        n_train=n_train,
        n_targets=n_targets,
        n_audit=n_audit,
        group_by=group_by,
        seed=seed,
    )
