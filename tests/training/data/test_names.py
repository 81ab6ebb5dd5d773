"""Every example has the name its owner knows, from each source, through choice, planting and groups."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.conftest import random_pictures, write_parquet
from training import Dataset, TrainingInputError, load_dataset
from training.data.names import as_name, check_unique, original_name
from training.data.planting import plant


@given(st.text(alphabet=st.characters(codec=None)))
def test_a_name_is_one_line_of_valid_text_and_can_be_undone(text: str) -> None:
    name = as_name(text)
    assert original_name(name) == text
    assert len(name.splitlines()) <= 1 and "\n" not in name
    name.encode("utf-8")


@given(st.binary(max_size=40))
def test_any_bytes_of_a_file_name_survive(raw: bytes) -> None:
    assert os.fsencode(original_name(as_name(os.fsdecode(raw)))) == raw


@pytest.mark.parametrize("text", ["train/cat/Bildschirmfoto 2024\u202fPM.png", "猫/😺.png", "a b.png", "=1+1.png", "é"])
def test_names_that_fit_a_line_stay_as_they_are(text: str) -> None:
    assert as_name(text) == text


def test_marks_that_reverse_what_follows_are_shown() -> None:
    assert as_name("cat\u202egnp.exe") == "cat\\u202egnp.exe"


def test_pictures_are_named_by_their_paths(picture_folder: Path) -> None:
    dataset = load_dataset("image_folder", path=picture_folder, n_targets=3)
    assert dataset.player_names[:2] == ("train/ant/001.png", "train/ant/003.png")
    assert list(dataset.player_names) == dataset.train.names.tolist()
    tests = {*dataset.targets.names, *dataset.audit.names}
    assert tests == {f"test/{('bee', 'ant')[row % 2]}/{row:03d}.png" for row in range(6)}


def test_names_follow_their_pictures_through_every_choice(picture_folder: Path) -> None:
    from training.data.pictures import decode

    dataset = load_dataset("image_folder", path=picture_folder, classes=["bee", "ant"], n_train=5, n_targets=2, seed=3)
    for part in (dataset.train, dataset.targets, dataset.audit):
        for name, pixels in zip(part.names, part.images, strict=True):
            assert np.array_equal(decode(picture_folder / name, name), pixels)


@pytest.mark.parametrize(
    "file_name", [b"two\nlines.png", b"\xff\xfe.png", b"=cmd.png", b"tab\there.png", b"back\\slash.png"]
)
def test_file_names_of_any_kind_are_read(picture_folder: Path, file_name: bytes) -> None:
    folder = os.fsencode(picture_folder / "train" / "ant")
    try:
        os.rename(os.path.join(folder, b"001.png"), os.path.join(folder, file_name))
    except OSError as error:  # not every file system takes every name
        pytest.skip(f"this file system refuses {file_name!r}: {error}")
    dataset = load_dataset("image_folder", path=picture_folder)
    names = [os.fsencode(original_name(name)) for name in dataset.player_names]
    assert b"train/ant/" + file_name in names
    assert all(len(name.splitlines()) == 1 for name in dataset.player_names)


def write_struct(file: Path, paths: list[str | None], seed: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pictures = random_pictures(len(paths), seed=seed)
    image = pa.array([{"bytes": b, "path": p} for b, p in zip(pictures, paths, strict=True)])
    pq.write_table(pa.table({"image": image, "label": [row % 2 for row in range(len(paths))]}), file)


def test_parquet_pictures_are_named_by_path_or_by_file_and_row(tmp_path: Path) -> None:
    write_struct(tmp_path / "train-0.parquet", ["a.png", "twice.png", None, "twice.png"], 0)
    write_struct(tmp_path / "test-0.parquet", ["b.png", "c.png", "a.jpg", ""], 1)
    dataset = load_dataset("parquet", path=tmp_path)
    assert dataset.player_names == (
        "a.png", "train-0.parquet:1 (twice.png)", "train-0.parquet:2", "train-0.parquet:3 (twice.png)",
    )  # fmt: skip
    assert sorted([*dataset.targets.names, *dataset.audit.names]) == ["a.jpg", "b.png", "c.png", "test-0.parquet:3"]


def test_rows_are_counted_within_their_file(tmp_path: Path) -> None:
    for shard in range(2):
        write_parquet(tmp_path / "data" / f"train-{shard}.parquet", random_pictures(2, seed=shard), [0, 1])
    write_parquet(tmp_path / "data" / "test-0.parquet", random_pictures(2, seed=9), [0, 1])
    names = load_dataset("parquet", path=tmp_path).player_names
    assert names == tuple(f"data/train-{shard}.parquet:{row}" for shard in range(2) for row in range(2))


def test_digits_are_named_by_their_rows(digits: Dataset) -> None:
    assert digits.player_names == tuple(f"digits/{row}" for row in digits.train.source_index)
    assert digits.targets.names.tolist() == [f"digits/{row}" for row in digits.targets.source_index]


def test_cifar10_is_named_by_torchvisions_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Published:
        base_folder, classes = "cifar", ["cat", "dog"]

        def __init__(self, folder: str, train: bool, download: bool) -> None:
            self.data, self.targets = np.full((8, 4, 4, 3), int(train), np.uint8), [0, 1] * 4
            self.data[:, 0, 0, 0] = np.arange(8)

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Published)
    dataset = load_dataset("cifar10", path=tmp_path, n_train=8, n_targets=4)
    assert dataset.player_names == tuple(f"train/{row}" for row in range(8))
    assert set(dataset.targets.names) | set(dataset.audit.names) <= {f"test/{row}" for row in range(8)}


def test_groups_name_players_and_examples_keep_their_own_names(parquet_folder: Path) -> None:
    dataset = load_dataset("parquet", path=parquet_folder, group_by="farm")
    assert dataset.player_names == tuple(f"farm{number}" for number in range(5))
    assert dataset.train.names[0] == "data/train-00000-of-00001.parquet:0"


def test_planted_copies_are_named_after_their_originals(digits: Dataset) -> None:
    planted, truth = plant(digits, clusters=2, cluster_sizes=(3, 2), flipped=0.02)
    for cluster in truth.clusters:
        original, *copies = (planted.train.names[row] for row in cluster)
        assert original == digits.train.names[cluster[0]]
        assert copies == [f"{original} (planted copy)", f"{original} (planted copy 2)"][: len(copies)]
    assert planted.player_names == tuple(planted.train.names)
    wrong = truth.flipped
    assert planted.train.names[wrong].tolist() == digits.train.names[wrong].tolist()


def test_two_examples_of_one_name_are_one_error_with_both_places() -> None:
    check_unique(["a", "b"], "examples")
    with pytest.raises(TrainingInputError, match="two examples have the name 'a': file 1 and file 3"):
        check_unique(["a", "b", "a", "b"], "examples", ["file 1", "file 2", "file 3", "file 4"])
