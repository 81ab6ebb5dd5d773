"""Folders of pictures as they are: suffixes, sub-folders, numbers and accents in class names, files passed over."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import random_pictures
from training import TrainingInputError, load_dataset
from training.data.dataset import RawImages, SourceOptions
from training.data.inspection import inspect_dataset
from training.data.names import as_name, original_name
from training.data.sources import read_source


def fill(folder: Path, *files: str, seed: int = 0) -> None:
    """Write a picture of its own into each file."""
    for file, picture in zip(files, random_pictures(len(files), seed=seed), strict=True):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(picture)


def read(folder: Path) -> RawImages:
    return read_source("image_folder", SourceOptions(path=folder))


def names(folder: Path) -> list[str]:
    return read(folder).train.names.tolist()


def test_pictures_without_a_usual_suffix_and_in_sub_folders_are_read(picture_folder: Path) -> None:
    fill(picture_folder / "train" / "ant", "a.jfif", "b.JPE", "0f3c", "deep/er/c.png", "deep/d.gif", seed=5)
    assert {f"train/ant/{name}" for name in ("a.jfif", "b.JPE", "0f3c", "deep/er/c.png", "deep/d.gif")} < set(
        names(picture_folder)
    )
    assert len(names(picture_folder)) == 8 + 5 and read(picture_folder).notes == ()


def test_what_is_passed_over_is_counted_and_named_before_training(picture_folder: Path) -> None:
    fill(picture_folder, "train/loose.png", "train/ant/x.heic", "train/bee/deep/y.psd", "test/ant/._z.png", seed=5)
    (picture_folder / "train" / "ant" / "notes").write_text("no picture")
    (picture_folder / "train" / "ant" / ".DS_Store").write_text("no picture")
    assert len(names(picture_folder)) == 8
    findings = inspect_dataset(load_dataset("image_folder", path=picture_folder))
    (sentence,) = [finding.sentence for finding in findings if finding.kind == "reading"]
    assert sentence.startswith("5 files were passed over")
    for name in ("train/loose.png", "train/ant/notes", "train/ant/x.heic", "train/bee/deep/y.psd", "test/ant/._z.png"):
        assert name in sentence


def test_a_link_back_to_a_folder_above_ends(picture_folder: Path) -> None:
    (picture_folder / "train" / "ant" / "back").symlink_to(picture_folder / "train" / "ant", target_is_directory=True)
    assert len(names(picture_folder)) == 8


def test_rows_count_as_torchvision_does_where_it_reads_the_same_files(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    files = [f"{label}/{name}" for label in (*map(str, range(12)), "x") for name in ("b.png", "a/c.png", "a.png")]
    for half, seed in (("train", 0), ("test", 1)):
        fill(tmp_path / half, *files, seed=seed)
    for path, _ in (raw := ImageFolder(str(tmp_path / "train"))).samples:
        assert os.path.isfile(path)
    train = read(tmp_path).train
    listed = [Path(path).relative_to(tmp_path).as_posix() for path, _ in raw.samples]
    assert [listed[at] for at in train.source_index] == train.names.tolist()


def test_classes_that_are_numbers_are_in_order_of_the_numbers(tmp_path: Path) -> None:
    for half, seed in (("train", 0), ("test", 1)):
        fill(tmp_path / half, *(f"{label}/{at}.png" for label in range(12) for at in "ab"), seed=seed)
    raw = read(tmp_path)
    assert raw.class_names == tuple(str(number) for number in range(12))
    assert [raw.class_names[label] for label in raw.train.labels] == [name.split("/")[1] for name in raw.train.names]
    chosen = load_dataset("image_folder", path=tmp_path, classes=[2, 10], n_targets=1)
    assert chosen.class_names == ("2", "10") and {name.split("/")[1] for name in chosen.train.names} == {"2", "10"}


def test_accents_are_compared_in_composed_form(tmp_path: Path) -> None:
    for half, form, seed in (("train", "NFD", 0), ("test", "NFC", 1)):
        label = unicodedata.normalize(form, "Ångström")
        fill(tmp_path / half, f"{label}/a.png", f"{label}/b.png", "bar/a.png", "bar/b.png", seed=seed)
    dataset = load_dataset("image_folder", path=tmp_path, classes=["Ångström", "bar"], n_targets=1)
    assert np.bincount(dataset.train.labels).tolist() == [2, 2]
    for name in dataset.train.names:
        assert (tmp_path / name).is_file()


def test_two_folders_of_one_name_are_an_error(tmp_path: Path) -> None:
    for form in ("NFD", "NFC"):
        fill(tmp_path / "train", f"{unicodedata.normalize(form, 'é')}/a.png", "b/a.png")
    fill(tmp_path / "test", "é/a.png", "b/a.png")
    if len(list((tmp_path / "train").iterdir())) < 3:
        pytest.skip("this file system has one form of names")
    with pytest.raises(TrainingInputError, match="two folders named é"):
        read(tmp_path)


def test_the_home_folder_is_written_as_a_tilde(picture_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(picture_folder.parent))
    short = f"~/{picture_folder.name}"
    (picture_folder / "groups.csv").write_text("group\n" + "a\nb\n" * 4)
    whole = load_dataset("image_folder", path=picture_folder)
    assert load_dataset("image_folder", path=short).fingerprint() == whole.fingerprint()
    assert load_dataset(short).fingerprint() == whole.fingerprint()
    assert load_dataset(short, group_by=f"{short}/groups.csv").n_players == 2
    with pytest.raises(TrainingInputError, match="the home folder in '~nobody-of-this-name/x' is not known"):
        load_dataset("image_folder", path="~nobody-of-this-name/x")


def test_a_folder_of_plain_pictures_keeps_the_fingerprint_it_had(tmp_path: Path) -> None:
    """Campaigns of earlier versions go on: the hash is of the code before sub-folders and orientations were read."""
    for half, count, seed in (("train", 40, 0), ("test", 30, 1)):
        for row, picture in enumerate(random_pictures(count, seed=seed)):
            file = tmp_path / half / ("bee", "ant", "cow")[row % 3] / f"{row:03d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture)
    dataset = load_dataset("image_folder", path=tmp_path, image_size=4, n_targets=9)
    assert dataset.fingerprint().startswith("219b10047df9")
    assert load_dataset("digits").fingerprint().startswith("97e8ecff472e")


def test_a_class_folder_that_is_a_link_is_read_and_named_as_it_stands(picture_folder: Path, tmp_path: Path) -> None:
    whole = names(picture_folder)
    (picture_folder / "train" / "ant").rename(tmp_path / "elsewhere")
    (picture_folder / "train" / "ant").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert names(picture_folder) == whole
    for name in whole:
        assert (picture_folder / name).is_file()


def test_a_pipe_is_passed_over_and_never_read(picture_folder: Path) -> None:
    os.mkfifo(picture_folder / "train" / "ant" / "x.png")
    raw = read(picture_folder)
    assert len(raw.train) == 8 and raw.notes[0].endswith(": train/ant/x.png.")


def test_links_that_lead_nowhere_are_named(picture_folder: Path) -> None:
    (picture_folder / "train" / "ant" / "x.png").symlink_to("nowhere.png")
    (picture_folder / "train" / "cow").symlink_to("nowhere")
    with pytest.raises(TrainingInputError, match="train/ant/x.png: not a readable picture"):
        read(picture_folder)
    (picture_folder / "train" / "ant" / "x.png").unlink()
    assert "train/cow" in read(picture_folder).notes[0]


def test_a_half_that_is_not_read_is_named(picture_folder: Path) -> None:
    fill(picture_folder / "val", "ant/a.png", "bee/a.png", seed=5)
    fill(picture_folder / "extra", "ant/a.png", seed=6)
    assert read(picture_folder).notes == ("Pictures are read from train and test; extra, val beside them is not used.",)


@pytest.mark.parametrize("label", ["two\nlines", " blank ", "-rf", "a,b", "100%", "x..", "=1+1", "\u202eevil"])
def test_class_folders_of_any_name_are_one_line_and_lead_back(tmp_path: Path, label: str) -> None:
    for half, seed in (("train", 0), ("test", 1)):
        fill(tmp_path / half, f"{label}/a b.png", f"{label}/c.png", "x/a.png", "x/b.png", seed=seed)
    raw = read(tmp_path)
    assert as_name(label) in raw.class_names and len(raw.class_names) == 2
    assert {original_name(name) for name in raw.train.names} >= {f"train/{label}/a b.png", f"train/{label}/c.png"}
    chosen = load_dataset("image_folder", path=tmp_path, classes=[as_name(label), "x"], n_targets=1)
    assert chosen.class_names == (as_name(label), "x")
