"""Image Parquet files in the layout Hugging Face uses: a column of pictures and one of labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.data.dataset import ImageSet, RawImages, SourceOptions, text_array
from training.data.names import as_name, composed, natural_order
from training.data.parquet_columns import INDEX_COLUMN, Columns, find_columns, read_label, whole_number
from training.data.parquet_files import hive_values, split_files
from training.data.pictures import PictureReader, stack_pictures
from training.errors import TrainingInputError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_ROWS_AT_ONCE = 1_000

LAYOUT = (
    "train-*.parquet and test-*.parquet (CIFAR-10 needs no folder of yours: dataset.source=cifar10 "
    "dataset.path=data/cifar10 downloads it once, 170 MB)"
)


@dataclass
class _Half:
    """What was read of the training or the test files."""

    pictures: list[np.ndarray] = field(default_factory=list)
    places: list[str] = field(default_factory=list)  # file:row
    paths: list[str | None] = field(default_factory=list)  # the path beside a picture's bytes
    labels: list[int | str] = field(default_factory=list)
    source_index: list[int] = field(default_factory=list)
    source_ids: list[int] = field(default_factory=list)  # of the column index, where there is one
    groups: list[Any] = field(default_factory=list)
    found: Columns | None = None  # columns of the files read so far
    columns: list[str] = field(default_factory=list)
    n_rows: int = 0


def read_parquet_folder(options: SourceOptions) -> RawImages:
    """Read train-*.parquet and test-*.parquet (or validation-*.parquet) in a folder or below it, in path order.

    The image column is `img` or `image` (or the one the `huggingface` metadata calls an Image), a struct with
    `bytes` and perhaps `path`, or plain binary. The label column is a number, or text with the class's name; class
    names are in the metadata, in the text, or are the numbers. source_index is the row in all files of the half, one
    after the other; a whole-number column `index` becomes source_ids.

    Parameters
    ----------
    options : SourceOptions
        `path` is the folder; `group_by` may name a column of the training files, `label_column` names the labels.

    Returns
    -------
    RawImages
        A picture's name is the path beside its bytes where it has one that no other picture has, else its place:
        "train-00000-of-00001.parquet:17" is row 17 (from 0) of that file below the folder.

    Raises
    ------
    TrainingInputError
        For unreadable or truncated files, missing columns, null or out-of-range labels, pictures that cannot be
        decoded (all in one error, unless they are to be left out) or differ in size, class names that differ
        between the files, numbers in `index` that repeat, and files of more than one data set.
    """
    folder = options.folder("parquet", LAYOUT)
    (train_files, train_notes), (test_files, test_notes) = (split_files(folder, half) for half in ("train", "test"))
    files = [train_files, test_files]
    reader = PictureReader(options.image_size, options.unreadable)
    train, test = (_read_half(folder, part, reader, options) for part in files)
    unreadable = reader.finish(folder)
    for half, part in ((train, files[0]), (test, files[1])):
        if not half.labels:
            raise TrainingInputError(f"{part[0]} holds no picture that can be read: all of its rows were left out.")
    class_names, labels = _classes(folder, train, test)
    images = stack_pictures(train.pictures + test.pictures, train.places + test.places)
    n_train = len(train.labels)
    names = _names(train.paths + test.paths, train.places + test.places)
    sets = [
        ImageSet(
            images[rows],
            labels[rows],
            np.array(half.source_index, dtype=np.int64),
            text_array(names[rows]),
            np.array(half.source_ids, dtype=np.int64) if half.source_ids else None,
        )
        for rows, half in ((slice(None, n_train), train), (slice(n_train, None), test))
    ]
    columns = {}
    if options.group_by is not None and options.group_by in train.columns:
        column = np.empty(n_train, dtype=object)
        column[:] = [None if entry is None else str(entry) for entry in train.groups]
        columns[options.group_by] = column
    return RawImages(
        name=folder.resolve().name,
        class_names=class_names,
        train=sets[0],
        test=sets[1],
        columns=columns,
        unreadable=unreadable,
        notes=(*_column_notes(train), *train_notes, *test_notes),
    )


def parquet_originals(options: SourceOptions, rows: Sequence[int], names: Sequence[str]) -> list[bytes | None]:
    """Read the bytes of training pictures as they are, by their rows; see `training.data.sources.read_originals`."""
    import pyarrow.parquet as pq

    folder = options.folder("parquet", LAYOUT)
    wanted, found, row = set(rows), {}, 0
    for file in split_files(folder, "train")[0]:
        with pq.ParquetFile(file) as opened:
            columns = find_columns(file, opened.schema_arrow, hive_values(folder, file), options.label_column)
            for record in _records(opened, [columns.image]):
                if row in wanted:
                    found[row] = _content(record[columns.image])[0]
                row += 1
    return [found.get(one) for one in rows]


def _classes(folder: Path, train: _Half, test: _Half) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names, and the class number of every label of both halves."""
    declared = [None if half.found is None else half.found.names for half in (train, test)]
    if _composed(declared[0]) != _composed(declared[1]):
        raise TrainingInputError(
            f"{folder}: training and test files name different classes ({declared[0]} and {declared[1]}). Write both "
            f"from the same data set."
        )
    labels = [*train.labels, *test.labels]
    named = {label for label in labels if isinstance(label, str)}
    if named and any(isinstance(label, int) for label in labels):
        raise TrainingInputError(
            f"{folder}: labels are names in some files and numbers in others. Write all from the same data set."
        )
    if named:
        class_names = tuple(sorted(named, key=natural_order(named)))
        number = {name: at for at, name in enumerate(class_names)}
        return tuple(map(as_name, class_names)), np.array([number[str(label)] for label in labels], dtype=np.int64)
    numbers = np.array(labels, dtype=np.int64)
    n_classes = 1 + int(numbers.max())
    class_names = declared[0] or tuple(str(number) for number in range(n_classes))
    if n_classes > len(class_names):
        raise TrainingInputError(
            f"{folder}: a label is {n_classes - 1} but only {len(class_names)} classes are named ("
            f"{', '.join(class_names)}). Correct the labels or the class names."
        )
    return class_names, numbers


def _composed(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(map(composed, names))


def _column_notes(half: _Half) -> list[str]:
    """A sentence about the columns of pictures and of labels, where there was a choice."""
    notes = []
    if half.found is not None and half.found.other_images:
        others = ", ".join(half.found.other_images)
        notes.append(f"Pictures are column {half.found.image}; {others} could be too (rename the others).")
    if half.found is not None and half.found.not_chosen:
        others = ", ".join(half.found.not_chosen)
        notes.append(f"Labels are column {half.found.label}; {others} could be too (dataset.label_column chooses).")
    return notes


def _names(paths: list[str | None], places: list[str]) -> list[str]:
    """The path of each picture; its place, with the path behind it, where two pictures share the path."""
    counts = Counter(paths)
    return [
        place if path is None else path if counts[path] == 1 else f"{place} ({path})"
        for path, place in zip(paths, places, strict=True)
    ]


def _read_half(folder: Path, files: list[Path], reader: PictureReader, options: SourceOptions) -> _Half:
    half = _Half()
    for file in files:
        _read_file(folder, file, half, reader, options)
    if not half.n_rows:
        raise TrainingInputError(f"{files[0]} holds no rows. Every half of the data set needs images.")
    first: dict[int, int] = {}
    for row, number in enumerate(half.source_ids):
        if first.setdefault(number, row) != row:
            raise TrainingInputError(
                f"column {INDEX_COLUMN} must number every picture once, and {number} is at "
                f"{half.places[first[number]]} and at {half.places[row]}. Number the rows through all files, or remove "
                f"the column (rows are then counted)."
            )
    return half


def _read_file(folder: Path, file: Path, half: _Half, reader: PictureReader, options: SourceOptions) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            schema = opened.schema_arrow
            hive = hive_values(folder, file)
            columns = find_columns(file, schema, hive, options.label_column)
            before = half.found
            if before is not None and _composed(before.names) != _composed(columns.names):
                raise TrainingInputError(f"{file} names other classes than the files before it.")
            if before is not None and (before.label, before.has_index) != (columns.label, columns.has_index):
                raise TrainingInputError(
                    f"{file} has other columns than the files before it: the labels are {columns.label} (before: "
                    f"{before.label}), a column {INDEX_COLUMN} is in some files only. Write all from the same data set."
                )
            half.found, half.columns = before or columns, [*schema.names, *hive]
            group_by = options.group_by if options.group_by in half.columns else None
            if group_by is not None and half.columns.count(group_by) > 1:
                raise TrainingInputError(f"{file} has two columns named {group_by}. Rename or remove one of them.")
            wanted = {columns.image, columns.label, group_by, *([INDEX_COLUMN] if columns.has_index else [])}
            for row, record in enumerate(_records(opened, [name for name in schema.names if name in wanted])):
                record = {**hive, **record}
                where = f"{file}, row {row}"
                label = read_label(record[columns.label], columns, where)
                index = half.n_rows
                own = whole_number(record[INDEX_COLUMN], f"{where}: {INDEX_COLUMN}") if columns.has_index else None
                half.n_rows += 1
                place = as_name(f"{file.relative_to(folder).as_posix()}:{row}")
                content, path = _content(record[columns.image])
                picture = reader.read(content, place)
                if picture is None:
                    continue
                half.pictures.append(picture)
                half.places.append(place)
                half.paths.append(path)
                half.labels.append(label)
                half.source_index.append(index)
                if own is not None:
                    half.source_ids.append(own)
                group = None if group_by is None else record[group_by]
                half.groups.append(None if group != group else group)  # NaN is no group either
    except (pa.ArrowException, OSError) as error:
        raise TrainingInputError(
            f"{file} is not a readable Parquet file ({str(error).strip()}). It may be cut short: "
            f"copy or download it again."
        ) from error


def _records(reader: pq.ParquetFile, columns: list[str]) -> Iterator[dict[str, Any]]:
    for batch in reader.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns):
        yield from batch.to_pylist()


def _content(entry: Any) -> tuple[bytes | None, str | None]:
    """Bytes and path of a picture, None where there are none."""
    if not isinstance(entry, dict):
        return (entry if isinstance(entry, bytes) else None), None
    content, path = entry.get("bytes"), entry.get("path")
    return (
        content if isinstance(content, bytes) else None,
        as_name(path) if isinstance(path, str) and path else None,
    )

