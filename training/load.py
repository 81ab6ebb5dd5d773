"""From the name of a source to a data set: read, choose, split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.data import Dataset
from training.sources import read_source
from training.split import choose_and_split


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
