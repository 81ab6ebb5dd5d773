"""Which columns of a Parquet file hold the pictures, the labels and the file's own numbers, and how labels are read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.data.names import composed
from training.errors import TrainingInputError

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "labels", "fine_label")
INDEX_COLUMN = "index"
MOST_CLASSES = 100_000  # numbers without names count from 0: a larger one is an identifier and no class; a choice


@dataclass(frozen=True)
class Columns:
    """Columns of a file.

    Parameters
    ----------
    image, label : str
    names : tuple of str, optional
        Class names that the file's metadata declare.
    text : bool
        Whether labels are class names (text, categories, True and False) instead of numbers.
    has_index : bool
        Whether the file numbers its rows in a whole-number column `index`.
    not_chosen : tuple of str
        Other columns that could have been the label.
    other_images : tuple of str
        Other columns that could have been the pictures.
    """

    image: str
    label: str
    names: tuple[str, ...] | None
    text: bool
    has_index: bool
    not_chosen: tuple[str, ...]
    other_images: tuple[str, ...] = ()


def find_columns(file: Path, schema: pa.Schema, hive: Mapping[str, str | None], label_column: str | None) -> Columns:
    """Find a file's columns by their usual names and its `huggingface` metadata.

    Parameters
    ----------
    file : Path
    schema : pyarrow.Schema
    hive : mapping of str to str
        Columns that the file's folders add (`parquet_files.hive_values`).
    label_column : str, optional
        The label column; else a usual name (`label`, `labels`, `fine_label`), else the one column that the metadata
        declare a ClassLabel.

    Returns
    -------
    Columns

    Raises
    ------
    TrainingInputError
        For missing columns, two columns of one name, several possible labels none of which has a usual name, and
        columns of a type that cannot be read.
    """
    import pyarrow as pa

    features: dict[str, Any] = {}
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        pass
    if not isinstance(features, dict):
        features = {}  # metadata is optional: the column names decide then
    here = list(dict.fromkeys([*schema.names, *hive]))
    images = _possible(features, "Image", IMAGE_COLUMNS, here)
    labels = _possible(features, "ClassLabel", LABEL_COLUMNS, here)
    image = images[0] if images else None
    label = (labels[0] if labels else None) if label_column is None else label_column
    listed = ", ".join(here)
    if image is None:
        raise TrainingInputError(f"{file} has no image column (img or image); its columns are {listed}.")
    if label is None or label not in here:
        wanted = "label column (label)" if label_column is None else f"column {label_column}"
        raise TrainingInputError(
            f"{file} has no {wanted}; its columns are {listed}. Name the one to use with dataset.label_column."
        )
    if label_column is None and label not in LABEL_COLUMNS and len(labels) > 1:
        raise TrainingInputError(
            f"{file} has {len(labels)} label columns: {', '.join(labels)}. Choose one, for example "
            f"dataset.label_column={labels[0]}."
        )
    for name in (image, label, INDEX_COLUMN):
        if schema.names.count(name) + (name in hive) > 1:
            raise TrainingInputError(f"{file} has two columns named {name}. Rename or remove one of them.")
    image_type = _plain(schema.field(image).type) if image in schema.names else pa.string()
    label_type = _plain(schema.field(label).type) if label in schema.names else pa.string()
    struct = pa.types.is_struct(image_type) and any(field.name == "bytes" for field in image_type)
    text = _is_text(label_type) or pa.types.is_boolean(label_type)
    number = pa.types.is_integer(label_type) or pa.types.is_floating(label_type)
    if not (_is_binary(image_type) or struct) or not (text or number):
        raise TrainingInputError(
            f"{file}: column {image} must be a struct with bytes (or binary) and column {label} a number or a class "
            f"name; they are {image_type} and {label_type}."
        )
    feature = features.get(label)
    names = feature.get("names") if isinstance(feature, dict) else None
    if names is not None and not (isinstance(names, list) and all(type(name) in (str, int) for name in names)):
        raise TrainingInputError(
            f"{file}: the class names of column {label} must be a list of text; the file's metadata hold {names!r}. "
            "Write the file again with names."
        )
    repeated = [name for name, count in Counter(composed(str(name)) for name in names or ()).items() if count > 1]
    if repeated:
        raise TrainingInputError(
            f"{file}: two classes of column {label} are named {repeated[0]!r}. Give each class a name of its own."
        )
    return Columns(
        image=image,
        label=label,
        names=tuple(str(name) for name in names) if names else None,
        text=text,
        has_index=INDEX_COLUMN in schema.names and pa.types.is_integer(schema.field(INDEX_COLUMN).type),
        not_chosen=tuple(name for name in labels if name != label),
        other_images=tuple(name for name in images if name != image),
    )


def read_label(value: Any, columns: Columns, where: str) -> int | str:
    """Read one label: a class number, or a class name in Unicode's composed form (NFC).

    Raises TrainingInputError for a missing label, a negative or broken number, and a name that is not declared.
    """
    if not columns.text:
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        label = whole_number(whole, f"{where}: label")
        if label < 0:
            raise TrainingInputError(f"{where}: label {label} is not a class. Remove images without a label.")
        if label >= MOST_CLASSES:
            raise TrainingInputError(
                f"{where}: label {label} is no class: numbers of classes count from 0 and stay below {MOST_CLASSES:,}. "
                "Number the classes, or write their names as text."
            )
        return label
    if value is None or value == "":
        raise TrainingInputError(f"{where}: label {value!r} is not a class. Remove images without a label.")
    name = composed(str(value))
    if columns.names is None:
        return name
    declared = [composed(each) for each in columns.names]
    if name not in declared:
        raise TrainingInputError(f"{where}: label {value!r} is none of the declared classes ({', '.join(declared)}).")
    return declared.index(name)


def whole_number(value: Any, what: str) -> int:
    """Check a whole number of at most 63 bits. Raises TrainingInputError for anything else."""
    if not isinstance(value, int):
        raise TrainingInputError(f"{what} must be a whole number; got {value!r}.")
    if not -(2**63) <= value < 2**63:
        raise TrainingInputError(f"{what} must be below 2^63; got {value!r}. Number the pictures from 0.")
    return value


def _possible(features: Mapping[str, Any], kind: str, usual: tuple[str, ...], here: list[str]) -> list[str]:
    """Columns that may hold what is wanted: those of a usual name, then those the metadata declare."""
    declared = [
        name for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == kind and name in here
    ]  # fmt: skip
    return list(dict.fromkeys([*(name for name in usual if name in here), *declared]))


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of a category's values; any other type as it is."""
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))
