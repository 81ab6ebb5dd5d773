"""Find the Parquet files of a split: by their names, or by the folder they are in."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from training.errors import TrainingInputError

SPLITS = {"train": ("train",), "test": ("test", "validation", "val")}
"""Names of the files or folders of each half; the first that exists is read."""
_ALL_NAMES = tuple(name for names in SPLITS.values() for name in names)
# What follows the name of a series of files: -00000-of-00001, -0, _17, perhaps a hash.
_SHARD = re.compile(r"(?:(?:[-_.]\d+)+(?:[-_]of[-_](?P<total>\d+))?(?:[-_.][0-9a-f]{6,})?)?$")
_HIVE = re.compile(r"(?P<key>[^=]+)=(?P<value>.*)")
_LISTED = 6


def split_files(folder: Path, half: str) -> tuple[list[Path], list[str]]:
    """Find the files of one half of a data set.

    Parameters
    ----------
    folder : Path
    half : {"train", "test"}

    Returns
    -------
    files : list of Path
        `train.parquet`, `train-*.parquet`, `train_*.parquet`, or every Parquet file below a folder `train`,
        `train.parquet` or `split=train`, in order of their paths. Hidden files and folders are left out.
    notes : list of str
        A sentence where files of a series are missing.

    Raises
    ------
    TrainingInputError
        When there are none, or when they are of more than one data set: in two folders, or two series in one folder
        (`train-*` and `train_augmented-*`).
    """
    found: dict[str, list[Path]] = {name: [] for name in SPLITS[half]}
    for file in sorted(folder.rglob("*.parquet")):
        if file.is_dir():  # Spark writes a folder train.parquet with files part-*.parquet
            continue
        parts = file.relative_to(folder).parts
        name = _split_of(parts)
        if name in found and not any(part.startswith(".") for part in parts):
            found[name].append(file)
    for name, files in found.items():
        if files:
            return files, _one_series(folder, name, files)
    raise TrainingInputError(
        f"{folder} has no {half}-*.parquet. A folder of image Parquet files needs train-*.parquet and test-*.parquet, "
        f"or folders train and test with Parquet files."
    )


def hive_values(folder: Path, file: Path) -> dict[str, str | None]:
    """Read the columns that folders named `column=value` add to a file's rows."""
    values: dict[str, str | None] = {}
    for part in file.relative_to(folder).parts[:-1]:
        matched = _HIVE.fullmatch(part)
        if matched:
            value = unquote(matched["value"])
            values[matched["key"]] = None if value == "__HIVE_DEFAULT_PARTITION__" else value
    return values


def _folder_name(part: str) -> str:
    """The split that a folder's name stands for, where it stands for one."""
    return part.removeprefix("split=").removesuffix(".parquet")


def _split_of(parts: tuple[str, ...]) -> str | None:
    """The split a file belongs to: by its own name, else by the nearest folder that has a split's name."""
    stem = parts[-1].removesuffix(".parquet")
    for name in _ALL_NAMES:
        if stem == name or stem.startswith((f"{name}-", f"{name}_", f"{name}.")):
            return name
    named = [_folder_name(part) for part in reversed(parts[:-1])]
    return next((part for part in named if part in _ALL_NAMES), None)


def _one_series(folder: Path, name: str, files: list[Path]) -> list[str]:
    """Check that the files are of one series; a sentence where some of its files are missing."""
    series: dict[tuple[str, str, int | None], list[Path]] = {}
    for file in files:
        series.setdefault(_series_of(folder, name, file), []).append(file)
    if len(series) > 1:
        lines = []
        for (where, what, total), members in series.items():
            kind = f"{what}*.parquet" if what else "*.parquet"
            of = "" if total is None else f" of {total}"
            shown = ", ".join(str(file.relative_to(folder)) for file in members[:_LISTED])
            more = f" and {len(members) - _LISTED} more" if len(members) > _LISTED else ""
            lines.append(f"  {where}/{kind}, {len(members)} files{of}: {shown}{more}")
        raise TrainingInputError(
            f"{folder} holds {name} files of {len(series)} data sets; reading all of them could give a picture more "
            f"than once. Set dataset.path to the folder of one of them, or move the others away:\n" + "\n".join(lines)
        )
    ((_, _, total),) = series
    if total is not None and total != len(files):
        return [f"{len(files)} of {total} {name} files are in {folder}; the pictures of the others are missing."]
    return []


def _series_of(folder: Path, name: str, file: Path) -> tuple[str, str, int | None]:
    """Folder, name and number of files of the series a file belongs to."""
    parents = list(file.relative_to(folder).parts[:-1])
    inside = [place for place, part in enumerate(parents) if _folder_name(part) == name]
    if inside:
        return "/".join(parents[: inside[-1] + 1]), "", None
    while parents and _HIVE.fullmatch(parents[-1]):
        parents.pop()
    shard = _SHARD.search(file.stem)
    total = None if shard is None or shard["total"] is None else int(shard["total"])
    stem = file.stem if shard is None else file.stem[: shard.start()]
    return "/".join(parents) or ".", stem, total
