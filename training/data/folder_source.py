"""Pictures in folders: train/<class>/<picture> and test/<class>/<picture>."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.data.dataset import ImageSet, RawImages, SourceOptions, text_array
from training.data.names import as_name
from training.data.pictures import PictureReader, stack_pictures
from training.errors import TrainingInputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
LAYOUT = "your pictures as train/<class>/ and test/<class>/"


def read_image_folder(options: SourceOptions) -> RawImages:
    """Read train/<class>/ and test/<class>/ (or val/, validation/); classes are the folder names, sorted.

    Parameters
    ----------
    options : SourceOptions
        `path` is the folder that holds both halves.

    Returns
    -------
    RawImages
        A picture's name is its path below the folder, with forward slashes; its source_index is its place in the
        sorted listing of its half. Files without a picture's suffix are passed over.

    Raises
    ------
    TrainingInputError
        For a missing folder or half, a class missing from one half or without pictures, pictures that cannot be
        read (all in one error, unless they are to be left out), and pictures of different sizes when `image_size`
        is not given.
    """
    folder = options.folder("image_folder", LAYOUT)
    halves = [_half(folder, ("train",)), _half(folder, ("test", "val", "validation"))]
    listings = [_pictures(half) for half in halves]
    for this, other in ((0, 1), (1, 0)):
        missing = sorted(set(listings[other]) - set(listings[this]))
        if missing:
            raise TrainingInputError(
                f"{halves[this]} has no class {', '.join(map(as_name, missing))}, which {halves[other]} has. Every "
                f"class needs pictures for training and for testing: add the folder, or move the class out of both."
            )
    classes = tuple(sorted(listings[0]))
    if len(classes) < 2:
        raise TrainingInputError(f"{halves[0]} holds {len(classes)} class folders; at least two are needed.")
    reader = PictureReader(options.image_size, options.unreadable)
    parts = [_read_half(folder, [listing[name] for name in classes], reader) for listing in listings]
    unreadable = reader.finish(folder)
    for half, (_, labels, _, _) in zip(halves, parts, strict=True):
        emptied = sorted(set(range(len(classes))) - set(labels))
        if emptied:
            raise TrainingInputError(
                f"{half / classes[emptied[0]]} holds no picture that can be read: all of its files were left out."
            )
    # Both halves in one stack: one size and one number of channels for all.
    n_train = len(parts[0][0])
    images = stack_pictures(parts[0][0] + parts[1][0], parts[0][3] + parts[1][3])
    train, test = (
        ImageSet(pixels, np.array(labels, dtype=np.int64), np.array(rows, dtype=np.int64), text_array(names))
        for pixels, (_, labels, rows, names) in zip((images[:n_train], images[n_train:]), parts, strict=True)
    )
    return RawImages(
        name=folder.resolve().name,
        class_names=tuple(map(as_name, classes)),
        train=train,
        test=test,
        unreadable=unreadable,
    )


def _read_half(
    folder: Path, classes: list[list[Path]], reader: PictureReader
) -> tuple[list[np.ndarray], list[int], list[int], list[str]]:
    """Pictures, labels, places in the listing and names of all that can be read."""
    pictures: list[np.ndarray] = []
    labels: list[int] = []
    rows: list[int] = []
    names: list[str] = []
    files = ((file, label) for label, listing in enumerate(classes) for file in listing)
    for row, (file, label) in enumerate(files):
        name = as_name(file.relative_to(folder).as_posix())
        picture = reader.read(file, name)
        if picture is not None:
            pictures.append(picture)
            labels.append(label)
            rows.append(row)
            names.append(name)
    return pictures, labels, rows, names


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
