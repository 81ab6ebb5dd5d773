"""CIFAR-10 through torchvision, which downloads it once and verifies its checksums."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.data.dataset import ImageSet, RawImages, SourceOptions, text_array
from training.errors import TrainingInputError


def read_cifar10(options: SourceOptions) -> RawImages:
    """Read the full CIFAR-10; images are named `train/0` to `train/49999` and `test/0` to `test/9999`.

    Parameters
    ----------
    options : SourceOptions
        `path` is torchvision's folder ("data" when absent); `download` lets it fetch what is missing.

    Returns
    -------
    RawImages

    Raises
    ------
    TrainingInputError
        When the files are missing, cannot be downloaded, or are not those that were published.
    """
    from torchvision.datasets import CIFAR10

    folder = options.path if options.path is not None else Path("data")
    try:
        parts = [CIFAR10(str(folder), train=train, download=options.download) for train in (True, False)]
    except (RuntimeError, OSError, EOFError) as error:  # wrong checksum; no network (URLError is an OSError); cut off
        wanted = "and could not be downloaded" if options.download else "and downloading is switched off"
        raise TrainingInputError(
            f"CIFAR-10 is not (complete and unchanged) in {folder / CIFAR10.base_folder} {wanted}: {error}. Connect to "
            f"a network (it is downloaded once, 170 MB), or give a folder of image Parquet files instead (source "
            f"'parquet' and its path)."
        ) from error
    sets = [
        ImageSet(
            np.asarray(part.data),
            np.asarray(part.targets, dtype=np.int64),
            np.arange(len(part.targets), dtype=np.int64),
            text_array(f"{half}/{row}" for row in range(len(part.targets))),
        )
        for half, part in zip(("train", "test"), parts, strict=True)
    ]
    return RawImages(name="cifar10", class_names=tuple(parts[0].classes), train=sets[0], test=sets[1])
