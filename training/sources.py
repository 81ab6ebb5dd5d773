"""Where images come from. Every source ends as one `RawImages`; `training.split` makes a `Dataset` of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data import ImageSet
from training.errors import TrainingInputError

SOURCES = ("digits", "cifar10", "parquet", "image_folder")


@dataclass(frozen=True)
class RawImages:
    """A source as it was read: all training images, all test images, the classes, and groups where asked for.

    - test: None when the source has no test set of its own; test images are then what training leaves over.
    - groups: (n_train,) object array, one group name per training image, or None (every image its own player).
    - default_n_train, default_n_targets, default_n_audit: what `load_dataset` takes when it is not told; None = all
      training images, half of the test images, all the rest.
    """

    name: str
    class_names: tuple[str, ...]
    train: ImageSet
    test: ImageSet | None
    groups: np.ndarray | None = None
    default_n_train: int | None = None
    default_n_targets: int | None = None
    default_n_audit: int | None = None


def read_source(
    source: str, *, path: str | Path | None, image_size: int | None, group_by: str | Path | None, download: bool
) -> RawImages:
    """Read a source by name or by path, images reduced to `image_size`, groups attached where `group_by` is given."""
    if image_size is not None and (isinstance(image_size, bool) or image_size < 1):
        raise TrainingInputError(f"image_size must be a positive number of pixels; got {image_size!r}.")
    if source not in SOURCES:
        source, path = _detect(source), source
    if source == "digits":
        raw = _read_digits()
    else:
        raise TrainingInputError("not yet")
    return raw


def _detect(source: str) -> str:
    raise TrainingInputError(f"unknown source {source!r}")


def _read_digits() -> RawImages:
    """The 1,797 handwritten digits (8x8, 17 grey levels) that ship inside scikit-learn; levels spread over 0..255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255.0 / 16.0)).astype(np.uint8)[..., None]
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
