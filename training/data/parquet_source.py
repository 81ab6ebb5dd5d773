"""Image Parquet files in the layout Hugging Face uses: a column of pictures and one of labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.data.dataset import ImageSet, RawImages
from training.data.pictures import decode, stack_pictures
from training.errors import TrainingInputError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "labels", "fine_label")
INDEX_COLUMN = "index"
_ROWS_AT_ONCE = 1_000


@dataclass
class _Half:
    """What was read of the training or the test files."""

    pictures: list[np.ndarray]
    where: list[str]
    labels: list[int]
    source_index: list[int]
    groups: list[Any]
    class_names: tuple[str, ...] | None
    columns: list[str]


def read_parquet_folder(
    folder: Path, image_size: int | None, group_by: str | Path | None
) -> tuple[RawImages, dict[str, np.ndarray]]:
    """Read train*.parquet and test*.parquet (or validation*.parquet) in `folder` or below it, in order of
    their names.

    The image column is `img` or `image` (or the one the `huggingface` metadata calls an Image), a struct with
    `bytes`, or plain binary; the label column likewise, int, its class names in the metadata (else numbers).
    A column `index` becomes source_index, otherwise the row number does. Returns the images and, where
    `group_by` names a column of the training files, that column under its name.

    Raises TrainingInputError for unreadable or truncated files, missing columns, null or out-of-range labels,
    pictures that cannot be decoded or differ in size, and class names that differ between the files.
    """
    files = [_files(folder, names) for names in (("train",), ("test", "validation", "val"))]
    train, test = (_read_half(part, image_size, group_by) for part in files)
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
            f"{', '.join(class_names)}). Mend the labels or the class names."
        )
    images = stack_pictures(train.pictures + test.pictures, train.where + test.where)
    n_train = len(train.labels)
    sets = [
        ImageSet(pixels, np.array(half.labels, dtype=np.int64), np.array(half.source_index, dtype=np.int64))
        for pixels, half in ((images[:n_train], train), (images[n_train:], test))
    ]
    columns = {}
    if group_by is not None and str(group_by) in train.columns:
        column = np.empty(n_train, dtype=object)
        column[:] = [None if entry is None else str(entry) for entry in train.groups]
        columns[str(group_by)] = column
    name = folder.resolve().name
    return RawImages(name=name, class_names=class_names, train=sets[0], test=sets[1]), columns


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


def _read_half(files: list[Path], image_size: int | None, group_by: str | Path | None) -> _Half:
    half = _Half([], [], [], [], [], None, [])
    for file in files:
        _read_file(file, half, image_size, group_by)
    if not half.labels:
        raise TrainingInputError(f"{files[0]} holds no rows. Every half of the data set needs images.")
    return half


def _read_file(file: Path, half: _Half, image_size: int | None, group_by: str | Path | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as reader:
            schema = reader.schema_arrow
            image_column, label_column, class_names = _layout(file, schema)
            if half.labels and half.class_names != class_names:
                raise TrainingInputError(f"{file} names other classes than the files before it.")
            half.class_names, half.columns = class_names, schema.names
            has_index = INDEX_COLUMN in schema.names and pa.types.is_integer(schema.field(INDEX_COLUMN).type)
            wanted = [image_column, label_column] + [INDEX_COLUMN] * has_index
            grouped = group_by is not None and str(group_by) in schema.names
            wanted += [str(group_by)] * (grouped and str(group_by) not in wanted)
            for row, record in enumerate(_records(reader, wanted)):
                where = f"{file}, row {row}"
                half.pictures.append(decode(_content(record[image_column], where), where, image_size))
                half.where.append(where)
                half.labels.append(_label(record[label_column], where))
                index = record[INDEX_COLUMN] if has_index else len(half.source_index)
                half.source_index.append(_whole(index, f"{where}: {INDEX_COLUMN}"))
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


def _content(entry: Any, where: str) -> bytes:
    content = entry.get("bytes") if isinstance(entry, dict) else entry
    if not isinstance(content, bytes):
        raise TrainingInputError(f"{where}: the row holds no picture bytes. Write the file with the pictures embedded.")
    return content


def _label(value: Any, where: str) -> int:
    label = _whole(value, f"{where}: label")
    if label < 0:
        raise TrainingInputError(f"{where}: label {label} is not a class. Remove images without a label.")
    return label


def _whole(value: Any, what: str) -> int:
    if not isinstance(value, int):
        raise TrainingInputError(f"{what} must be a whole number; got {value!r}.")
    return value
