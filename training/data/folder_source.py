"""Pictures in folders: train/<class>/<picture> and test/<class>/<picture>."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.data.dataset import ImageSet, RawImages
from training.data.pictures import decode, stack_pictures
from training.errors import TrainingInputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def read_image_folder(folder: Path, image_size: int | None) -> RawImages:
    """Read train/<class>/ and test/<class>/ (or val/, validation/); classes are the folder names, sorted.

    source_index is a picture's place in the sorted listing of its half. Files without a picture's suffix are
    passed over. Raises TrainingInputError for a missing half, a class missing from one half or without
    pictures, unreadable pictures, and pictures of different sizes when `image_size` is not given.
    """
    halves = [_half(folder, ("train",)), _half(folder, ("test", "val", "validation"))]
    listings = [_pictures(half) for half in halves]
    for this, other, half in ((0, 1, halves[0]), (1, 0, halves[1])):
        missing = sorted(set(listings[other]) - set(listings[this]))
        if missing:
            raise TrainingInputError(
                f"{half} has no class {', '.join(missing)}, which {halves[other]} has. Every class needs "
                f"pictures for training and for testing: add the folder or take the class away from both."
            )
    classes = tuple(sorted(listings[0]))
    if len(classes) < 2:
        raise TrainingInputError(f"{halves[0]} holds {len(classes)} class folders; at least two are needed.")
    files = [[(file, label) for label, name in enumerate(classes) for file in part[name]] for part in listings]
    # Both halves in one stack: one size and one number of channels for all.
    images = stack_pictures(
        (decode(file, str(file), image_size) for part in files for file, _ in part),
        [str(file) for part in files for file, _ in part],
    )
    n_train = len(files[0])
    sets = [
        ImageSet(
            pixels,
            np.array([label for _, label in part], dtype=np.int64),
            np.arange(len(part), dtype=np.int64),
        )
        for pixels, part in zip((images[:n_train], images[n_train:]), files, strict=True)
    ]
    return RawImages(name=folder.resolve().name, class_names=classes, train=sets[0], test=sets[1])


def _half(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise TrainingInputError(
        f"{folder} has no folder {' or '.join(names)}. Arrange pictures as train/<class>/ and test/<class>/."
    )


def _pictures(half: Path) -> dict[str, list[Path]]:
    """The pictures of each class folder, sorted by name."""
    found = {}
    for entry in sorted(half.iterdir()):
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        pictures = sorted(
            file for file in entry.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        )
        if not pictures:
            raise TrainingInputError(f"class folder {entry} holds no pictures ({', '.join(SUFFIXES)}). Add some.")
        found[entry.name] = pictures
    return found
