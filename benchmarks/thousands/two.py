"""Two classes of 950 pictures of CIFAR-10: road vehicles, and craft of the air and the sea; 540 pictures for the test.

    coterie run cifar2 dataset.source=benchmarks.thousands.two:pictures dataset.path=FOLDER dataset.classes=null \
        dataset.n_train=1900 dataset.n_targets=140 players.by=similarity players.count=100 ...

Not collected by pytest.
"""

from __future__ import annotations

import numpy as np

from training.data.dataset import ImageSet, RawImages, SourceOptions
from training.data.parquet_source import read_parquet_folder

CLASSES = {"road": ("automobile", "truck"), "air or sea": ("airplane", "ship")}
N_TRAIN_OF_EACH = 950


def pictures(options: SourceOptions) -> RawImages:
    """Read CIFAR-10's Parquet files as two classes; what 950 training pictures of each leave over joins the test."""
    raw = read_parquet_folder(options)
    train, spare, test = [], [], []
    for label, members in enumerate(CLASSES.values()):
        numbers = [raw.class_names.index(name) for name in members]
        rows = np.flatnonzero(np.isin(raw.train.labels, numbers))
        train.append(_as_class(raw.train.take(rows[:N_TRAIN_OF_EACH]), label))
        spare.append(_as_class(raw.train.take(rows[N_TRAIN_OF_EACH:]), label))
        test.append(_as_class(raw.test.take(np.flatnonzero(np.isin(raw.test.labels, numbers))), label))
    return RawImages("road-or-not", tuple(CLASSES), train=_joined(train), test=_joined([*test, *spare]))


def _as_class(part: ImageSet, label: int) -> ImageSet:
    return ImageSet(part.images, np.full(len(part), label), part.source_index, part.names)


def _joined(parts: list[ImageSet]) -> ImageSet:
    """One set of several, its rows numbered again: the halves of the source number theirs from 0."""
    columns = ([getattr(part, name) for part in parts] for name in ("images", "labels", "names"))
    images, labels, names = (np.concatenate(column) for column in columns)
    return ImageSet(images, labels, np.arange(len(labels)), names)
