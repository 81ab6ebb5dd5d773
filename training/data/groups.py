"""Player groups: training images that are one player, named by a column of the Parquet file or by an index file."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.data.dataset import RawImages, expanded
from training.errors import TrainingInputError

_HEADERS = (["group"], ["source_index", "group"], ["index", "group"])
_ROWS, _OWN_NUMBERS = _HEADERS[1:]


def attach_groups(raw: RawImages, group_by: str) -> RawImages:
    """Give every training image its group.

    Parameters
    ----------
    raw : RawImages
    group_by : str
        A column of `raw.columns`; else the path of an index file (`read_index_file`).

    Returns
    -------
    RawImages
        With its `groups`.

    Raises
    ------
    TrainingInputError
        When there is neither, or the file does not fit the training images.
    """
    if group_by in raw.columns:
        return replace(raw, groups=raw.columns[group_by])
    file = expanded(group_by)
    if not file.is_file():
        raise TrainingInputError(
            f"group_by = {group_by!r} is neither a column of the training files nor an index file. "
            f"Give a column, or a file with one group per training image or lines 'source_index,group'."
        )
    return replace(raw, groups=read_index_file(file, raw.train.source_index, raw.train.source_ids))


def read_index_file(file: Path, source_index: np.ndarray, source_ids: np.ndarray | None = None) -> np.ndarray:
    """Read the group of each training image from a text file.

    Parameters
    ----------
    file : Path
        Either one group name per line, as many lines as the source has training images and in their order; or
        lines `source_index,group`, in any order, for as many images as will be used. A header line is optional
        (`group`, or `source_index,group`), but where the source numbers its images itself (the column `index` of a
        Parquet file) it decides: `index,group` means those numbers, `source_index,group` rows from 0.
    source_index : (n_train,) int64
        Rows of the training images in their source.
    source_ids : (n_train,) int64, optional
        The source's own numbers of them.

    Returns
    -------
    (n_train,) object array
        None where the file names no group.

    Raises
    ------
    TrainingInputError
        For any other content.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as handle:
            rows = [[cell.strip() for cell in row] for row in csv.reader(handle) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingInputError(f"index file {file} cannot be read as text ({error}).") from error
    header = [cell.lower() for cell in rows[0]] if rows else []
    if header in _HEADERS:
        rows = rows[1:]
    widths = {len(row) for row in rows}
    if not rows or len(widths) != 1 or not widths <= {1, 2} or any("" in row for row in rows):
        raise TrainingInputError(
            f"index file {file} must hold one group name per line, or lines 'source_index,group', without gaps."
        )
    groups = np.full(len(source_index), None, dtype=object)
    if widths == {1}:
        if len(rows) != len(source_index):
            raise TrainingInputError(
                f"index file {file} has {len(rows)} lines for {len(source_index)} training images. Give one "
                f"line per image, or lines 'source_index,group'."
            )
        groups[:] = [row[0] for row in rows]
        return groups
    if source_ids is not None and not np.array_equal(source_ids, source_index):
        if header not in (_ROWS, _OWN_NUMBERS):
            raise TrainingInputError(
                f"index file {file}: the training files number their images in a column index, which differs from "
                f"their rows. Begin the file with 'index,group' for those numbers or 'source_index,group' for rows."
            )
        source_index = source_ids if header == _OWN_NUMBERS else source_index
    place: dict[int, list[int]] = {}
    for row, index in enumerate(source_index.tolist()):
        place.setdefault(index, []).append(row)
    named: dict[int, str] = {}
    for line, (text, group) in enumerate(rows, start=1):
        if not text.lstrip("-").isdigit() or int(text) not in place:
            what = header[0] if header in (_ROWS, _OWN_NUMBERS) else "source_index"
            raise TrainingInputError(f"index file {file}, entry {line}: no training image has {what} {text!r}.")
        if named.setdefault(int(text), group) != group:
            raise TrainingInputError(
                f"index file {file}, entry {line}: image {text} is in group {named[int(text)]!r} and in "
                f"{group!r}. An image belongs to one player."
            )
        groups[place[int(text)]] = group
    return groups
