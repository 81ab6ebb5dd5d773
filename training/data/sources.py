"""Where images come from. Every source returns one `RawImages`; `training.data.split` makes a `Dataset` of it.

A new source is one file with a function `(SourceOptions) -> RawImages` and one line in `SOURCES`. A function of
your own needs neither: name it `package.module:function`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from training.data.cifar10_source import read_cifar10
from training.data.dataset import Dataset, ImageSet, RawImages, SourceOptions, expanded
from training.data.digits_source import read_digits
from training.data.folder_source import folder_originals, read_image_folder
from training.data.groups import attach_groups
from training.data.names import as_name
from training.data.parquet_source import parquet_originals, read_parquet_folder
from training.data.pictures import reduce_all
from training.data.split import choose_and_split
from training.errors import TrainingInputError

SOURCES: dict[str, Callable[..., RawImages]] = {
    "digits": read_digits,
    "cifar10": read_cifar10,
    "parquet": read_parquet_folder,
    "image_folder": read_image_folder,
}
_ORIGINALS: dict[str, Callable[..., list[bytes | None]]] = {
    "parquet": parquet_originals,
    "image_folder": folder_originals,
}
_OWN_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_known(source: str) -> bool:
    """Whether a source is in the table, or written like a function of the user's own."""
    return source in SOURCES or _OWN_FUNCTION.fullmatch(source) is not None


def read_source(source: str, options: SourceOptions) -> RawImages:
    """Read a source whole.

    Parameters
    ----------
    source : str
        A name in `SOURCES`, a function `package.module:function`, or the path of a folder (its content then says
        which of `parquet` and `image_folder` it is).
    options : SourceOptions

    Returns
    -------
    RawImages
        Images reduced to `options.image_size`, groups attached where `options.group_by` is given.

    Raises
    ------
    TrainingInputError
        For a source that does not exist, cannot be read, or returns something else.
    """
    size = options.image_size
    if size is not None and (isinstance(size, bool) or int(size) != size or size < 1):
        raise TrainingInputError(f"image_size must be a positive number of pixels; got {size!r}.")
    if source in SOURCES:
        raw = SOURCES[source](options)
    elif _OWN_FUNCTION.fullmatch(source):
        raw = _checked(_own_function(source)(options), source)
    else:
        raw = SOURCES[detect_source(source)](replace(options, path=expanded(source)))
    raw = replace(
        raw, train=_reduced(raw.train, size), test=None if raw.test is None else _reduced(raw.test, size)
    )
    return raw if options.group_by is None else attach_groups(raw, options.group_by)


def read_originals(
    source: str, options: SourceOptions, rows: Sequence[int], names: Sequence[str]
) -> list[bytes | None]:
    """Read the encoded bytes of training pictures as their owner keeps them: neither reduced nor re-encoded.

    Parameters
    ----------
    source : str
        A source whose pictures are files or bytes: `parquet` or `image_folder`.
    options : SourceOptions
    rows : sequence of int
        source_index of each picture.
    names : sequence of str
        Name of each picture.

    Returns
    -------
    list of bytes or None
        None where the source holds no such picture, and for all pictures of other sources.

    Raises
    ------
    TrainingInputError
        When the source cannot be read any more.
    """
    if source not in _ORIGINALS:
        return [None] * len(rows)
    return _ORIGINALS[source](options, rows, names)


def detect_source(path: str | Path) -> str:
    """Recognize a folder's layout.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    str
        `parquet` or `image_folder`.

    Raises
    ------
    TrainingInputError
        When there is no such folder, or it has neither layout.
    """
    folder = expanded(path)
    if not folder.is_dir():
        raise TrainingInputError(
            f"{str(path)!r} is neither a source nor a folder. Sources: {', '.join(SOURCES)}, a function of your own "
            f"(package.module:function), or the path of a folder."
        )
    if next(folder.rglob("*.parquet"), None) is not None:
        return "parquet"
    if (folder / "train").is_dir():
        return "image_folder"
    raise TrainingInputError(
        f"{folder} holds neither Parquet files (train-*.parquet, test-*.parquet) nor pictures in "
        f"train/<class>/ and test/<class>/. Arrange it in one of these ways."
    )


def _own_function(source: str) -> Callable[..., RawImages]:
    """Import the function that `package.module:function` names."""
    module, _, name = source.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise TrainingInputError(
            f"source {source!r} cannot be imported ({error}). Its module must be on Python's path (PYTHONPATH) and "
            f"hold the function; the other sources are {', '.join(SOURCES)}."
        ) from error
    if not callable(found):
        raise TrainingInputError(f"source {source!r} is a {type(found).__name__}, not a function.")
    return found


def _checked(raw: RawImages, source: str) -> RawImages:
    """Check what a function of the user's own returned, and make its names one line each."""
    if not isinstance(raw, RawImages):
        raise TrainingInputError(f"source {source!r} returned a {type(raw).__name__}; it must return a RawImages.")
    for half, part in (("train", raw.train), ("test", raw.test)):
        if part is None:
            continue
        n = len(part.labels)
        lengths = {len(part.images), n, len(part.source_index), len(part.names)}
        if part.images.dtype != np.uint8 or part.images.ndim != 4 or len(lengths) != 1 or n == 0:
            raise TrainingInputError(
                f"source {source!r}, {half}: images must be (n, height, width, channels) uint8 with n labels, source "
                f"rows and names; got {part.images.dtype} {part.images.shape} with {n} labels, "
                f"{len(part.source_index)} rows and {len(part.names)} names."
            )
        values, counts = np.unique(part.source_index, return_counts=True)
        if counts.max() > 1:
            raise TrainingInputError(
                f"source {source!r}, {half}: source_index {values[counts.argmax()]} is {counts.max()} times there. It "
                f"must be a row of its own for each image."
            )
        if part.labels.min() < 0 or part.labels.max() >= len(raw.class_names):
            raise TrainingInputError(
                f"source {source!r}, {half}: labels run from {part.labels.min()} to {part.labels.max()}; "
                f"{len(raw.class_names)} class names allow 0 to {len(raw.class_names) - 1}."
            )
    return replace(raw, train=_named(raw.train), test=None if raw.test is None else _named(raw.test))


def _named(part: ImageSet) -> ImageSet:
    names = part.names.copy()
    names[:] = [as_name(str(name)) for name in part.names]
    return replace(part, names=names)


def _reduced(part: ImageSet, image_size: int | None) -> ImageSet:
    if image_size is None or part.images.shape[1:3] == (image_size, image_size):
        return part
    return replace(part, images=reduce_all(part.images, image_size, part.names.tolist()))


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
    unreadable: Literal["refuse", "skip"] = "refuse",
    label_column: str | None = None,
    seed: int = 0,
) -> Dataset:
    """Read a data set and split its test images into targets and audit examples.

    Parameters
    ----------
    source : str
        `digits` (ships with scikit-learn), `cifar10` (torchvision, downloaded once into `path`), `parquet` (a
        folder of image Parquet files in the layout Hugging Face uses), `image_folder` (train/<class>/*.png,
        test/<class>/*.png), the path of such a folder, or `package.module:function`, a function of your own
        `(SourceOptions) -> RawImages`.
    path : str or Path, optional
        Where the source's files are.
    classes : sequence of str or int, optional
        Classes to keep, by name or number, in the order of their new labels. Where classes are named by numbers, a
        number is a name.
    n_train, n_targets, n_audit : int, optional
        How many images of each. None takes the source's default (digits: 200, 400, 400; otherwise all training
        images, half of the test images as targets, the rest as audit examples). Training images are drawn class
        by class, as evenly as the classes allow.
    image_size : int, optional
        Reduce to this many pixels a side by averaging areas.
    group_by : str or Path, optional
        A column of the Parquet file, or an index file, with the group of each training example; the players are
        then the groups.
    download : bool
        Whether missing files may be downloaded.
    unreadable : {"refuse", "skip"}
        Whether files that cannot be read are an error (one that lists them all) or are left out and listed in
        `Dataset.unreadable`.
    label_column : str, optional
        The column of the Parquet files that holds the labels; `label`, `labels` or `fine_label` when absent, else the
        one that the files declare a class label.
    seed : int
        Decides the choice of training images and the split of the test images, and nothing else.

    Returns
    -------
    Dataset

    Raises
    ------
    TrainingInputError
        Its message holds what was wrong, what was given and what to do.

    Examples
    --------
    >>> dataset = load_dataset("digits", classes=["3", "8"], n_train=40, n_targets=20, n_audit=20)
    >>> dataset.class_names, dataset.player_names[:2]
    (('3', '8'), ('digits/28', 'digits/103'))
    """
    options = SourceOptions(
        path=None if path is None else expanded(path),
        image_size=image_size,
        group_by=None if group_by is None else str(group_by),
        download=download,
        unreadable=unreadable,
        label_column=label_column,
    )
    return choose_and_split(
        read_source(source, options),
        classes=classes,
        n_train=n_train,
        n_targets=n_targets,
        n_audit=n_audit,
        group_by=group_by,
        seed=seed,
    )
