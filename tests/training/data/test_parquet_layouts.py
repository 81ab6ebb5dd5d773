"""Parquet files as other programs write them: what is read is what their owner means, or a sentence says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.training.conftest import random_pictures, write_parquet
from training import TrainingInputError, load_dataset
from training.data.dataset import SourceOptions
from training.data.sources import read_source

LABELS = [0, 1] * 4


def write(file: Path, seed: int = 0, metadata: dict[str, Any] | None = None, **columns: Any) -> None:
    """Write eight pictures and the given columns."""
    table = pa.table({"image": pa.array(random_pictures(8, seed=seed), pa.binary()), **columns})
    if metadata is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": metadata}})})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)


def read(folder: Path, **options: Any) -> Any:
    return read_source("parquet", SourceOptions(path=folder, **options))


def sentence(folder: Path, **options: Any) -> str:
    with pytest.raises(TrainingInputError) as raised:
        read(folder, **options)
    return str(raised.value)


# ---- rows and the file's own numbers


def test_rows_are_counted_through_all_files_and_own_numbers_are_kept_beside_them(tmp_path: Path) -> None:
    for shard in range(2):
        ids = list(range(50 - 8 * shard, 58 - 8 * shard))
        write_parquet(tmp_path / f"train-{shard}.parquet", random_pictures(8, seed=shard), LABELS, index=ids)
    write_parquet(tmp_path / "test.parquet", random_pictures(8, seed=9), LABELS)
    raw = read(tmp_path)
    assert raw.train.source_index.tolist() == list(range(16))
    assert raw.train.source_ids.tolist() == [*range(50, 58), *range(42, 50)]
    assert raw.test.source_ids is None and raw.train.take(np.array([3])).source_ids.tolist() == [53]


def test_numbers_that_begin_again_in_every_file_are_an_error(tmp_path: Path) -> None:
    for shard in range(2):
        write_parquet(tmp_path / f"train-{shard}.parquet", random_pictures(8, seed=shard), LABELS, index=list(range(8)))
    write_parquet(tmp_path / "test.parquet", random_pictures(8, seed=9), LABELS)
    assert "0 is at train-0.parquet:0 and at train-1.parquet:0" in sentence(tmp_path)


def test_an_index_in_some_files_only_is_an_error(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-0.parquet", random_pictures(8), LABELS, index=list(range(8)))
    write_parquet(tmp_path / "train-1.parquet", random_pictures(8, seed=1), LABELS)
    write_parquet(tmp_path / "test.parquet", random_pictures(8, seed=9), LABELS)
    assert "a column index is in some files only" in sentence(tmp_path)


def test_own_numbers_identify_the_campaign_as_they_did(tmp_path: Path) -> None:
    """The same pictures with another numbering, and in another file order, are distinguished by their numbers."""
    prints = []
    for ids in (range(8), range(10, 18)):
        write_parquet(tmp_path / "train.parquet", random_pictures(8), LABELS, index=list(ids))
        write_parquet(tmp_path / "test.parquet", random_pictures(8, seed=9), LABELS)
        prints.append(load_dataset("parquet", path=tmp_path).fingerprint())
    write_parquet(tmp_path / "train.parquet", random_pictures(8), LABELS)
    assert load_dataset("parquet", path=tmp_path).fingerprint() == prints[0] != prints[1]


# ---- which files


@pytest.mark.parametrize(
    "files",
    [
        ["small/train-0.parquet", "large/train-0.parquet"],
        ["train-00000-of-00001.parquet", "train_augmented-00000-of-00001.parquet"],
        ["train-00000-of-00001.parquet", "train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
        ["train.parquet", "train-00000-of-00001.parquet"],
        ["default/train/0000.parquet", "partial/train/0000.parquet"],
        ["train/0.parquet", "train-0.parquet"],
    ],
)
def test_training_files_of_two_data_sets_are_refused_and_listed(tmp_path: Path, files: list[str]) -> None:
    for file in [*files, "test.parquet"]:
        write(tmp_path / file, label=LABELS)
    said = sentence(tmp_path)
    assert "train files of 2 data sets" in said and all(file in said for file in files)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (["train.parquet/part-0.parquet", "train.parquet/part-1.parquet"], "test.parquet/part-0.parquet"),
        (["default/train/0000.parquet", "default/train/0001.parquet"], "default/test/0000.parquet"),
        (["train/part-0.parquet", "train/part-1.parquet"], "test/part-0.parquet"),
        (["split=train/a.parquet", "split=train/b.parquet"], "split=validation/a.parquet"),
        (["train-00000-of-00002-0a1b2c3d.parquet", "train-00001-of-00002-9f8e7d6c.parquet"], "val.parquet"),
        (["data/train_0.parquet", "data/train_1.parquet"], "data/test_0.parquet"),
    ],
)
def test_the_usual_places_of_files_are_read(tmp_path: Path, train: list[str], test: str) -> None:
    for seed, file in enumerate([*train, test, ".cache/train-9.parquet"]):
        write(tmp_path / file, seed, label=LABELS)
    raw = read(tmp_path)
    assert (len(raw.train), len(raw.test), raw.notes) == (16, 8, ())
    assert raw.train.names[8] == f"{train[1]}:0"


def test_missing_files_of_a_series_are_noted(tmp_path: Path) -> None:
    write(tmp_path / "train-00001-of-00003.parquet", label=LABELS)
    write(tmp_path / "test.parquet", 1, label=LABELS)
    assert read(tmp_path).notes[0].startswith("1 of 3 train files")


# ---- which column, of which type


@pytest.mark.parametrize(
    ("labels", "class_names"),
    [
        (pa.array(["dog", "cat"] * 4), ("cat", "dog")),
        (pa.array(["dog", "cat"] * 4, pa.large_string()), ("cat", "dog")),
        (pa.array(["dog", "cat"] * 4, pa.string_view()), ("cat", "dog")),
        (pa.array(["dog", "cat"] * 4).dictionary_encode(), ("cat", "dog")),
        (pa.array(["10", "9"] * 4), ("9", "10")),
        (pa.array([1.0, 0.0] * 4), ("0", "1")),
        (pa.array([True, False] * 4), ("False", "True")),
        (pa.array([1, 0] * 4, pa.uint8()).dictionary_encode(), ("0", "1")),
    ],
    ids=["text", "large text", "text view", "category", "numbers as text", "float", "bool", "number category"],
)
def test_labels_of_any_common_type(tmp_path: Path, labels: pa.Array, class_names: tuple[str, ...]) -> None:
    write(tmp_path / "train.parquet", label=labels)
    write(tmp_path / "test.parquet", 1, label=labels)
    raw = read(tmp_path)
    assert raw.class_names == class_names and raw.train.labels.tolist() == [1, 0] * 4


@pytest.mark.parametrize("value", [None, "", 0.5, float("nan")])
def test_labels_that_are_none_are_named(tmp_path: Path, value: Any) -> None:
    labels = [*([0.0, 1.0] if isinstance(value, float) else ["a", "b"]), value]
    write(tmp_path / "train.parquet", label=(labels * 3)[:8])
    write(tmp_path / "test.parquet", 1, label=(labels[:2] * 4))
    assert "row 2: label" in sentence(tmp_path)


@pytest.mark.parametrize("kind", [pa.binary_view(), pa.large_binary()])
def test_pictures_as_views(tmp_path: Path, kind: pa.DataType) -> None:
    for half, seed in (("train", 0), ("test", 1)):
        table = pa.table({"img": pa.array(random_pictures(8, seed=seed), kind), "label": LABELS})
        pq.write_table(table, tmp_path / f"{half}.parquet")
    assert read(tmp_path).train.images.shape == (8, 8, 8, 3)


def test_folders_can_hold_the_labels(tmp_path: Path) -> None:
    for half in ("train", "test"):
        for seed, name in enumerate(("tree%20frog", "bee")):
            write(tmp_path / half / f"label={name}" / "part-0.parquet", seed)
    raw = read(tmp_path)
    assert raw.class_names == ("bee", "tree frog") and raw.train.labels.tolist() == [0] * 8 + [1] * 8


def class_label(*names: str) -> dict[str, Any]:
    return {"_type": "ClassLabel", "names": list(names)}


def test_the_usual_name_goes_first_and_the_choice_is_said(tmp_path: Path) -> None:
    metadata = {"species": class_label("ant", "bee"), "label": class_label("good", "bad")}
    for half, seed in (("train", 0), ("test", 1)):
        write(tmp_path / f"{half}.parquet", seed, metadata, species=LABELS, label=LABELS[::-1])
    raw = read(tmp_path)
    assert raw.class_names == ("good", "bad") and raw.train.labels.tolist() == LABELS[::-1]
    assert raw.notes == ("Labels are column label; species could be too (dataset.label_column chooses).",)
    assert read(tmp_path, label_column="species").class_names == ("ant", "bee")


def test_any_column_can_be_chosen_and_none_is_guessed(tmp_path: Path) -> None:
    for half, seed in (("train", 0), ("test", 1)):
        metadata = {name: class_label("ant", "bee") for name in ("species", "sex")}
        write(tmp_path / f"{half}.parquet", seed, metadata, species=LABELS, sex=LABELS, target=LABELS)
    assert "has 2 label columns: species, sex" in sentence(tmp_path)
    assert len(read(tmp_path, label_column="target").train) == 8
    assert "has no column breed; its columns are image, species" in sentence(tmp_path, label_column="breed")


@pytest.mark.parametrize("twice", ["label", "image", "index"])
def test_two_columns_of_one_name_are_an_error(tmp_path: Path, twice: str) -> None:
    columns = {"image": pa.array(random_pictures(8)), "label": pa.array(LABELS), "index": pa.array(range(8))}
    names = [*columns, twice]
    table = pa.Table.from_arrays([columns[name] for name in names], names=names)
    for half in ("train", "test"):
        pq.write_table(table, tmp_path / f"{half}.parquet")
    assert f"has two columns named {twice}" in sentence(tmp_path)


def test_class_names_are_compared_in_composed_form(tmp_path: Path) -> None:
    for half, name in (("train", "cafe\u0301"), ("test", "caf\u00e9")):
        write(tmp_path / "text" / f"{half}.parquet", len(name), label=[name, "bar"] * 4)
        write(tmp_path / "declared" / f"{half}.parquet", len(name), {"label": class_label(name, "bar")}, label=LABELS)
    assert read(tmp_path / "text").class_names == ("bar", "caf\u00e9")
    assert load_dataset("parquet", path=tmp_path / "declared", classes=["bar", "caf\u00e9"]).class_names[0] == "bar"


# ---- classes by number


@pytest.mark.parametrize(
    ("named", "asked", "found"),
    [
        ([str(number) for number in range(12)], [2, 10], ("2", "10")),
        (["010", "007", "100"], [7, 100], ("007", "100")),
        (["ant", "bee", "cow"], [2, 0], ("cow", "ant")),
    ],
)
def test_a_number_is_the_class_of_that_name_where_classes_are_numbers(
    tmp_path: Path, named: list[str], asked: list[int], found: tuple[str, ...]
) -> None:
    labels = [at % len(named) for at in range(24)]
    for half, seed in (("train", 0), ("test", 1)):
        write_parquet(tmp_path / f"{half}.parquet", random_pictures(24, seed=seed), labels, names=named)
    assert load_dataset("parquet", path=tmp_path, classes=asked, n_targets=1).class_names == found


def test_no_position_is_taken_for_a_class_that_a_number_does_not_name(tmp_path: Path) -> None:
    for half, seed in (("train", 0), ("test", 1)):
        write_parquet(tmp_path / f"{half}.parquet", random_pictures(8, seed=seed), LABELS, names=["1", "2"])
    with pytest.raises(TrainingInputError, match="unknown class 0"):
        load_dataset("parquet", path=tmp_path, classes=[0, 1])


# ---- what no owner means


def test_labels_that_are_identifiers_are_no_classes(tmp_path: Path) -> None:
    """2^62 classes, each with a name, would fill the memory before anything is said."""
    for label in (900_000, 2**62, 2**63 + 1):
        for half, seed in (("train", 0), ("test", 1)):
            write(tmp_path / f"{half}.parquet", seed, label=pa.array([0, label] * 4, pa.uint64()))
        said = "must be below 2^63" if label > 2**63 else f"{label} is no class"
        assert f"row 1: label {said}" in sentence(tmp_path)


@pytest.mark.parametrize(("kind", "first"), [(pa.uint64(), 2**63), (pa.int64(), None)])
def test_own_numbers_that_are_none_are_named(tmp_path: Path, kind: pa.DataType, first: int | None) -> None:
    for half, seed in (("train", 0), ("test", 1)):
        write(tmp_path / f"{half}.parquet", seed, label=LABELS, index=pa.array([first, *range(7)], kind))
    assert f"row 0: index must be {'a whole number' if first is None else 'below 2^63'}" in sentence(tmp_path)


def test_a_choice_between_two_columns_of_pictures_is_said(tmp_path: Path) -> None:
    for half, seed in (("train", 0), ("test", 1)):
        write(tmp_path / f"{half}.parquet", seed, label=LABELS, img=random_pictures(8, seed=seed + 5))
    raw = read(tmp_path)
    assert raw.notes == ("Pictures are column img; image could be too (rename the others).",)


@pytest.mark.parametrize(
    ("names", "said"),
    [("ab", "must be a list of text; .* hold 'ab'"), (["ant", None], "must be a list of text"),
     (["ant", "ant"], "two classes of column label are named 'ant'"),
     (["caf\u00e9", "cafe\u0301"], "two classes of column label are named")],
)  # fmt: skip
def test_names_that_name_no_classes_are_refused(tmp_path: Path, names: Any, said: str) -> None:
    for half, seed in (("train", 0), ("test", 1)):
        write(tmp_path / f"{half}.parquet", seed, {"label": {"_type": "ClassLabel", "names": names}}, label=LABELS)
    with pytest.raises(TrainingInputError, match=said):
        read(tmp_path)


@pytest.mark.parametrize("features", [[1, 2], "text", None, {"label": None}, {"label": {"_type": "ClassLabel"}}])
def test_metadata_of_another_form_are_left_aside(tmp_path: Path, features: Any) -> None:
    for half, seed in (("train", 0), ("test", 1)):
        write(tmp_path / f"{half}.parquet", seed, features, label=LABELS)
    assert read(tmp_path).class_names == ("0", "1")


@pytest.mark.parametrize("group", [None, float("nan")])
def test_a_group_that_is_missing_is_none(tmp_path: Path, group: float | None) -> None:
    for half, seed in (("train", 0), ("test", 1)):
        write(tmp_path / f"{half}.parquet", seed, label=LABELS, farm=[group, *[1.0] * 7])
    with pytest.raises(TrainingInputError, match="names no group for 1 of 8"):
        load_dataset("parquet", path=tmp_path, group_by="farm")


@pytest.mark.parametrize(
    "image",
    [pa.array([None, *random_pictures(7)]),
     pa.array([None, *({"bytes": one, "path": None} for one in random_pictures(7))]),
     pa.array([{"bytes": None, "path": "/x/a.png"}, *({"bytes": one, "path": None} for one in random_pictures(7))])],
    ids=["null", "null struct", "a path alone"],
)  # fmt: skip
def test_rows_without_a_picture_are_named_and_keep_their_place(tmp_path: Path, image: pa.Array) -> None:
    pq.write_table(pa.table({"image": image, "label": LABELS}), tmp_path / "train.parquet")
    write(tmp_path / "test.parquet", 1, label=LABELS)
    assert "train.parquet:0: the row holds no picture bytes" in sentence(tmp_path)
    raw = read(tmp_path, unreadable="skip")
    assert raw.train.source_index.tolist() == list(range(1, 8)) and raw.train.labels.tolist() == LABELS[1:]


@pytest.mark.parametrize(
    "labels",
    [pa.array([b"a", b"b"] * 4), pa.nulls(8), pa.array([[0], [1]] * 4), pa.array([0, 1] * 4, pa.date32()),
     pa.array([0, 1] * 4, pa.int8()).cast(pa.decimal128(5, 0))],
    ids=["bytes", "null", "list", "date", "decimal"],
)  # fmt: skip
def test_labels_of_a_type_that_is_no_class_are_refused(tmp_path: Path, labels: pa.Array) -> None:
    for half, seed in (("train", 0), ("test", 1)):
        write(tmp_path / f"{half}.parquet", seed, label=labels)
    assert "column label a number or a class name; they are" in sentence(tmp_path)
