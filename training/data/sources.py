"""Where images come from. Every source ends as one `RawImages`; `training.data.split` makes a `Dataset` of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.data.dataset import Dataset, ImageSet, RawImages
from training.data.folder_source import read_image_folder
from training.data.groups import attach_groups
from training.data.parquet_source import read_parquet_folder
from training.data.pictures import reduce_all
from training.data.split import choose_and_split
from training.errors import TrainingInputError

SOURCES = ("digits", "cifar10", "parquet", "image_folder")
TWO_WAYS_OUT = (
    "Two ways out: give a folder of image Parquet files (source 'parquet' and its path), or connect to a "
    "network so that source 'cifar10' can download the data set once (170 MB)."
)


def read_source(
    source: str,
    *,
    path: str | Path | None,
    image_size: int | None,
    group_by: str | Path | None,
    download: bool,
) -> RawImages:
    """Read a source by name or by path, images reduced to `image_size`, groups attached where `group_by` is
    given.

    Raises TrainingInputError; see `training.data.sources.load_dataset`.
    """
    if image_size is not None and (isinstance(image_size, bool) or int(image_size) != image_size or image_size < 1):
        raise TrainingInputError(f"image_size must be a positive number of pixels; got {image_size!r}.")
    if source not in SOURCES:
        source, path = detect_source(source), source
    columns: dict[str, np.ndarray] = {}
    if source == "digits":
        raw = _read_digits(image_size)
    elif source == "cifar10":
        raw = _read_cifar10(Path(path if path is not None else "data"), download, image_size)
    elif source == "parquet":
        raw, columns = read_parquet_folder(_folder(source, path), image_size, group_by)
    else:
        raw = read_image_folder(_folder(source, path), image_size)
    return raw if group_by is None else attach_groups(raw, group_by, columns)


def detect_source(path: str | Path) -> str:
    """`parquet` or `image_folder`, by what lies in the folder. Raises TrainingInputError otherwise."""
    folder = Path(path)
    if not folder.is_dir():
        raise TrainingInputError(
            f"{str(path)!r} is neither a source ({', '.join(SOURCES)}) nor a folder. {TWO_WAYS_OUT}"
        )
    if next(folder.rglob("*.parquet"), None) is not None:
        return "parquet"
    if (folder / "train").is_dir():
        return "image_folder"
    raise TrainingInputError(
        f"{folder} holds neither Parquet files (train-*.parquet, test-*.parquet) nor pictures in "
        f"train/<class>/ and test/<class>/. Arrange it in one of these ways."
    )


def _folder(source: str, path: str | Path | None) -> Path:
    if path is None:
        raise TrainingInputError(f"source {source!r} needs the path of its folder; none was given. {TWO_WAYS_OUT}")
    folder = Path(path)
    if not folder.is_dir():
        raise TrainingInputError(f"source {source!r}: there is no folder {folder}. {TWO_WAYS_OUT}")
    return folder


def _read_digits(image_size: int | None = None) -> RawImages:
    """The 1,797 handwritten digits (8x8, levels 0..16 spread over 0..255) inside scikit-learn."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255.0 / 16.0)).astype(np.uint8)[..., None]
    pixels = reduce_all(pixels, image_size, "digits")
    everything = ImageSet(pixels, bunch.target.astype(np.int64), np.arange(len(pixels), dtype=np.int64))
    return RawImages(
        name="digits",
        class_names=tuple(str(digit) for digit in range(10)),
        train=everything,
        test=None,
        default_n_train=200,
        default_n_targets=400,
        default_n_audit=400,
    )


def _read_cifar10(folder: Path, download: bool, image_size: int | None) -> RawImages:
    """The full CIFAR-10 through torchvision, which downloads it once and verifies its checksums."""
    from torchvision.datasets import CIFAR10

    try:
        parts = [CIFAR10(str(folder), train=train, download=download) for train in (True, False)]
    except (
        RuntimeError,
        OSError,
        EOFError,
    ) as error:  # wrong checksum; no network (URLError is an OSError); cut off
        wanted = "and could not be downloaded" if download else "and downloading is switched off"
        raise TrainingInputError(
            f"CIFAR-10 is not (complete and unchanged) in {folder / CIFAR10.base_folder} {wanted}: {error}. "
            f"{TWO_WAYS_OUT}"
        ) from error
    sets = [
        ImageSet(
            reduce_all(np.asarray(part.data), image_size, "cifar10"),
            np.asarray(part.targets, dtype=np.int64),
            np.arange(len(part.targets), dtype=np.int64),
        )
        for part in parts
    ]
    return RawImages(name="cifar10", class_names=tuple(parts[0].classes), train=sets[0], test=sets[1])


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
