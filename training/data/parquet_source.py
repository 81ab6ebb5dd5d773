"""Image Parquet files in the layout Hugging Face uses: a column of pictures and one of labels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.data.dataset import ImageSet, RawImages, SourceOptions, text_array
from training.data.names import as_name
from training.data.pictures import PictureReader, stack_pictures
from training.errors import TrainingInputError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "labels", "fine_label")
INDEX_COLUMN = "index"
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
    labels: list[int] = field(default_factory=list)
    source_index: list[int] = field(default_factory=list)
    groups: list[Any] = field(default_factory=list)
    class_names: tuple[str, ...] | None = None
    columns: list[str] = field(default_factory=list)
    n_rows: int = 0


def read_parquet_folder(options: SourceOptions) -> RawImages:
    """Read train*.parquet and test*.parquet (or validation*.parquet) in a folder or below it, in order of their names.

    The image column is `img` or `image` (or the one the `huggingface` metadata calls an Image), a struct with
    `bytes` and perhaps `path`, or plain binary; the label column likewise, int, its class names in the metadata
    (else numbers). A column `index` becomes source_index, otherwise the row number does.

    Parameters
    ----------
    options : SourceOptions
        `path` is the folder; `group_by` may name a column of the training files.

    Returns
    -------
    RawImages
        A picture's name is the path beside its bytes where it has one that no other picture has, else its place:
        "train-00000-of-00001.parquet:17" is row 17 (from 0) of that file below the folder.

    Raises
    ------
    TrainingInputError
        For unreadable or truncated files, missing columns, null or out-of-range labels, pictures that cannot be
        decoded (all in one error, unless they are to be left out) or differ in size, and class names that differ
        between the files.
    """
    folder = options.folder("parquet", LAYOUT)
    files = [_files(folder, names) for names in (("train",), ("test", "validation", "val"))]
    reader = PictureReader(options.image_size, options.unreadable)
    train, test = (_read_half(folder, part, reader, options.group_by) for part in files)
    unreadable = reader.finish(folder)
    for half, part in ((train, files[0]), (test, files[1])):
        if not half.labels:
            raise TrainingInputError(f"{part[0]} holds no picture that can be read: all of its rows were left out.")
    if train.class_names != test.class_names:
        raise TrainingInputError(
            f"{folder}: training and test files name different classes ({train.class_names} and "
            f"{test.class_names}). Write both from the same data set."
        )
    n_classes = 1 + max(max(train.labels), max(test.labels))
    class_names = train.class_names or tuple(str(number) for number in range(n_classes))
    if n_classes > len(class_names):
        raise TrainingInputError(
            f"{folder}: a label is {n_classes - 1} but only {len(class_names)} classes are named ("
            f"{', '.join(class_names)}). Correct the labels or the class names."
        )
    images = stack_pictures(train.pictures + test.pictures, train.places + test.places)
    n_train = len(train.labels)
    names = _names(train.paths + test.paths, train.places + test.places)
    sets = [
        ImageSet(
            images[rows],
            np.array(half.labels, dtype=np.int64),
            np.array(half.source_index, dtype=np.int64),
            text_array(names[rows]),
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
    )


def _names(paths: list[str | None], places: list[str]) -> list[str]:
    """The path of each picture; its place, with the path behind it, where two pictures share the path."""
    counts = Counter(paths)
    return [
        place if path is None else path if counts[path] == 1 else f"{place} ({path})"
        for path, place in zip(paths, places, strict=True)
    ]


def _files(folder: Path, names: tuple[str, ...]) -> list[Path]:
    for name in names:
        found = sorted(
            file
            for file in folder.rglob("*.parquet")
            if file.stem == name or file.name.startswith((f"{name}-", f"{name}_"))
        )
        if found:
            return found
    raise TrainingInputError(
        f"{folder} has no {names[0]}-*.parquet. A folder of image Parquet files needs train-*.parquet and "
        f"test-*.parquet."
    )


def _read_half(folder: Path, files: list[Path], reader: PictureReader, group_by: str | None) -> _Half:
    half = _Half()
    for file in files:
        _read_file(folder, file, half, reader, group_by)
    if not half.n_rows:
        raise TrainingInputError(f"{files[0]} holds no rows. Every half of the data set needs images.")
    return half


def _read_file(folder: Path, file: Path, half: _Half, reader: PictureReader, group_by: str | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            schema = opened.schema_arrow
            image_column, label_column, class_names = _layout(file, schema)
            if half.n_rows and half.class_names != class_names:
                raise TrainingInputError(f"{file} names other classes than the files before it.")
            half.class_names, half.columns = class_names, schema.names
            has_index = INDEX_COLUMN in schema.names and pa.types.is_integer(schema.field(INDEX_COLUMN).type)
            wanted = [image_column, label_column] + [INDEX_COLUMN] * has_index
            grouped = group_by is not None and group_by in schema.names
            wanted += [str(group_by)] * (grouped and group_by not in wanted)
            for row, record in enumerate(_records(opened, wanted)):
                where = f"{file}, row {row}"
                label = _label(record[label_column], where)
                index = _whole(record[INDEX_COLUMN] if has_index else half.n_rows, f"{where}: {INDEX_COLUMN}")
                half.n_rows += 1
                place = as_name(f"{file.relative_to(folder).as_posix()}:{row}")
                content, path = _content(record[image_column])
                picture = reader.read(content, place)
                if picture is None:
                    continue
                half.pictures.append(picture)
                half.places.append(place)
                half.paths.append(path)
                half.labels.append(label)
                half.source_index.append(index)
                half.groups.append(record[str(group_by)] if grouped else None)
    except (pa.ArrowException, OSError) as error:
        raise TrainingInputError(
            f"{file} is not a readable Parquet file ({str(error).strip()}). It may be cut short: "
            f"copy or download it again."
        ) from error


def _records(reader: pq.ParquetFile, columns: list[str]) -> Iterator[dict[str, Any]]:
    for batch in reader.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns):
        yield from batch.to_pylist()


def _layout(file: Path, schema: pa.Schema) -> tuple[str, str, tuple[str, ...] | None]:
    """Image column, label column and class names of a file, from its metadata and its column names."""
    import pyarrow as pa

    features: dict[str, Any] = {}
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        features = {}  # metadata is optional: the column names decide then
    declared = {
        kind: [name for name, feature in features.items() if _kind(feature) == kind and name in schema.names]
        for kind in ("Image", "ClassLabel")
    }
    image = next((name for name in [*declared["Image"], *IMAGE_COLUMNS] if name in schema.names), None)
    label = next((name for name in [*declared["ClassLabel"], *LABEL_COLUMNS] if name in schema.names), None)
    if image is None or label is None:
        missing = "image column (img or image)" if image is None else "label column (label)"
        raise TrainingInputError(f"{file} has no {missing}; its columns are {', '.join(schema.names)}.")
    image_type = schema.field(image).type
    plain = pa.types.is_binary(image_type) or pa.types.is_large_binary(image_type)
    struct = pa.types.is_struct(image_type) and any(field.name == "bytes" for field in image_type)
    if not (plain or struct) or not pa.types.is_integer(schema.field(label).type):
        raise TrainingInputError(
            f"{file}: column {image} must be a struct with bytes (or binary) and column {label} a number; "
            f"they are {image_type} and {schema.field(label).type}."
        )
    names = features.get(label, {}).get("names") if isinstance(features.get(label), dict) else None
    return image, label, tuple(str(name) for name in names) if names else None


def _kind(feature: Any) -> str:
    return str(feature.get("_type", "")) if isinstance(feature, dict) else ""


def _content(entry: Any) -> tuple[bytes | None, str | None]:
    """Bytes and path of a picture, None where there are none."""
    if not isinstance(entry, dict):
        return (entry if isinstance(entry, bytes) else None), None
    content, path = entry.get("bytes"), entry.get("path")
    return (
        content if isinstance(content, bytes) else None,
        as_name(path) if isinstance(path, str) and path else None,
    )


def _label(value: Any, where: str) -> int:
    label = _whole(value, f"{where}: label")
    if label < 0:
        raise TrainingInputError(f"{where}: label {label} is not a class. Remove images without a label.")
    return label


def _whole(value: Any, what: str) -> int:
    if not isinstance(value, int):
        raise TrainingInputError(f"{what} must be a whole number; got {value!r}.")
    return value
