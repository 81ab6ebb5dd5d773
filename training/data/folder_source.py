"""Pictures in folders: train/<class>/<picture> and test/<class>/<picture>."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.data.dataset import ImageSet, RawImages, SourceOptions, text_array
from training.data.names import as_name, composed, natural_order, original_name
from training.data.pictures import PictureReader, stack_pictures
from training.errors import TrainingInputError

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
_BEGINNINGS = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")
_NAMED = 6  # files that a note lists
LAYOUT = "your pictures as train/<class>/ and test/<class>/"


def read_image_folder(options: SourceOptions) -> RawImages:
    """Read train/<class>/ and test/<class>/ (or val/, validation/); classes are the folder names in order.

    Parameters
    ----------
    options : SourceOptions
        `path` is the folder that holds both halves.

    Returns
    -------
    RawImages
        A picture's name is its path below the folder, with forward slashes. Pictures in sub-folders of a class
        belong to the class. Classes are in order of their numbers where all of them are numbers, else of their names.
        source_index is the place among the pictures of the half, class by class in order of the names as text; this
        is the order of torchvision's ImageFolder, which counts other files (hidden ones; no .gif, .jfif, .jpe, .pbm,
        .pnm and none without a suffix), so names say which picture is meant. Other files are passed over and noted.

    Raises
    ------
    TrainingInputError
        For a missing folder or half, a class missing from one half or without pictures, pictures that cannot be
        read (all in one error, unless they are to be left out), and pictures of different sizes when `image_size`
        is not given.
    """
    folder = options.folder("image_folder", LAYOUT)
    halves = [_half(folder, ("train",)), _half(folder, ("test", "val", "validation"))]
    folders = [_class_folders(half) for half in halves]
    listings = [{key: _list_pictures(entry) for key, entry in entries.items()} for entries in folders]
    for this, other in ((0, 1), (1, 0)):
        missing = sorted(set(folders[other]) - set(folders[this]))
        if missing:
            raise TrainingInputError(
                f"{halves[this]} has no class {', '.join(map(as_name, missing))}, which {halves[other]} has. Every "
                f"class needs pictures for training and for testing: add the folder, or move the class out of both."
            )
    named = {key: entry.name for key, entry in folders[0].items()}  # in the training half's spelling
    keys = sorted(named, key=lambda key: named[key])
    order = natural_order(named.values())
    ordered = sorted(keys, key=lambda key: order(named[key]))
    classes = tuple(named[key] for key in ordered)
    if len(classes) < 2:
        count = "one class folder" if len(classes) == 1 else "no class folder"
        raise TrainingInputError(f"{halves[0]} holds {count}; at least two are needed.")
    reader = PictureReader(options.image_size, options.unreadable)
    passed: list[Path] = []
    parts = []
    for half, listing in zip(halves, listings, strict=True):
        passed += sorted(entry for entry in half.iterdir() if not entry.is_dir() and not entry.name.startswith("."))
        passed += [file for key in keys for file in listing[key][1]]
        numbered = [(ordered.index(key), listing[key][0]) for key in keys]
        parts.append(_read_half(folder, numbered, reader))
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
        notes=(*_passed_note(folder, passed), *_other_halves(folder, halves)),
    )


def folder_originals(options: SourceOptions, rows: Sequence[int], names: Sequence[str]) -> list[bytes | None]:
    """Read the files of training pictures as they are, by their names; see `training.data.sources.read_originals`."""
    folder = options.folder("image_folder", LAYOUT)
    files = [folder / original_name(name) for name in names]
    return [file.read_bytes() if file.is_file() else None for file in files]


def _read_half(
    folder: Path, classes: list[tuple[int, list[Path]]], reader: PictureReader
) -> tuple[list[np.ndarray], list[int], list[int], list[str]]:
    """Pictures, labels, places in the listing and names of all that can be read."""
    pictures: list[np.ndarray] = []
    labels: list[int] = []
    rows: list[int] = []
    names: list[str] = []
    files = ((file, label) for label, listing in classes for file in listing)
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


def _class_folders(half: Path) -> dict[str, Path]:
    """The class folders of a half by their names in composed form, which is how names are compared."""
    found: dict[str, Path] = {}
    for entry in sorted(half.iterdir()):
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        other = found.setdefault(composed(entry.name), entry)
        if other != entry:
            raise TrainingInputError(
                f"{half} has two folders named {as_name(composed(entry.name))}, with different bytes for the same "
                f"letters. Put their pictures into one."
            )
    return found


def _list_pictures(entry: Path) -> tuple[list[Path], list[Path]]:
    """Pictures of a class folder and below it, in order of their folders and names; and files passed over."""
    pictures: list[Path] = []
    passed: list[Path] = []
    for folder in sorted(_folders(entry, ()), key=str):
        for file in sorted(one for one in folder.iterdir() if not one.is_dir()):
            hidden = file.name.startswith(".")
            known = file.suffix.lower() in SUFFIXES
            if not (file.is_file() or file.is_symlink()):  # a pipe or a socket, which would never end
                passed.append(file)
            elif not hidden and (known or (not file.suffix and _begins_like_a_picture(file))):
                pictures.append(file)
            elif known or not hidden:
                passed.append(file)
    if not pictures:
        raise TrainingInputError(f"class folder {entry} holds no pictures ({', '.join(SUFFIXES)}). Add some.")
    return pictures, passed


def _folders(folder: Path, above: tuple[Path, ...]) -> list[Path]:
    """A folder and those below it; hidden ones and links back to a folder above are left out."""
    real = folder.resolve()
    if real in above:
        return []
    found = [folder]
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.name.startswith("."):
            found += _folders(entry, (*above, real))
    return found


def _begins_like_a_picture(file: Path) -> bool:
    """Whether a file without a suffix begins as a PNG, JPEG, GIF, BMP, WebP or TIFF file does."""
    try:
        with file.open("rb") as opened:
            start = opened.read(12)
    except OSError as error:
        raise TrainingInputError(f"{file} cannot be opened ({error}). Make it readable or remove it.") from error
    return start.startswith(_BEGINNINGS) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


def _other_halves(folder: Path, read: list[Path]) -> list[str]:
    """A sentence about folders beside those of training and testing, whose pictures are not used."""
    others = sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and entry not in read and entry.name[:1] != "."
    )
    if not others:
        return []
    shown = ", ".join(as_name(name) for name in others[:_NAMED])
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    return [f"Pictures are read from {read[0].name} and {read[1].name}; {shown}{more} beside them is not used."]


def _passed_note(folder: Path, passed: list[Path]) -> list[str]:
    """A sentence that counts and names the files that were passed over."""
    if not passed:
        return []
    shown = ", ".join(as_name(file.relative_to(folder).as_posix()) for file in passed[:_NAMED])
    more = f" and {len(passed) - _NAMED:,} more" if len(passed) > _NAMED else ""
    count = "1 file was" if len(passed) == 1 else f"{len(passed):,} files were"
    return [f"{count} passed over (hidden, outside a class folder, or without a picture's suffix): {shown}{more}."]
