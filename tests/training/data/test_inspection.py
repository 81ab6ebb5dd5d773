"""What is planted into pictures is found by name, and clean pictures give no false alarm."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import png
from training import Dataset, ImageSet, TrainingInputError, load_dataset
from training.data.inspection import KINDS, SMALL_AUDIT, SMALL_CLASS, Finding, inspect_dataset, summarize

Planted = dict[str, bytes]


def synthetic() -> Planted:
    """60 training and 60 test pictures of smooth random patterns, by path below their folder."""
    from PIL import Image

    rng = np.random.default_rng(0)
    pictures = {}
    for half in ("train", "test"):
        for row in range(60):
            coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            smooth = np.asarray(Image.fromarray(coarse).resize((32, 32), Image.Resampling.BICUBIC))
            pictures[f"{half}/{('airplane', 'frog')[row % 2]}/{row:04d}.png"] = png(smooth)
    return pictures


def cifar(shared: Path) -> Planted:
    """All airplanes and frogs among the pictures of ../shared/cifar10."""
    whole = load_dataset("parquet", path=shared / "cifar10", classes=["airplane", "frog"])
    pictures = {}
    for half, part in (("train", whole.train), ("test", whole.targets), ("test", whole.audit)):
        for image, label, index in zip(part.images, part.labels, part.source_index, strict=True):
            pictures[f"{half}/{whole.class_names[label]}/{index:05d}.png"] = png(image)
    return pictures


@pytest.fixture(scope="module", params=["synthetic", "cifar10"])
def clean(request: pytest.FixtureRequest) -> Planted:
    if request.param == "synthetic":
        return synthetic()
    return cifar(request.getfixturevalue("shared"))


def write(folder: Path, pictures: Planted) -> Path:
    for name, content in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def inspected(folder: Path, pictures: Planted, **options: object) -> tuple[Finding, ...]:
    return inspect_dataset(load_dataset("image_folder", path=write(folder, pictures), n_targets=25, **options))  # type: ignore[arg-type]


def names_of(pictures: Planted, half: str, label: str, count: int) -> list[str]:
    return [name for name in sorted(pictures) if name.startswith(f"{half}/{label}/")][:count]


def recompressed(content: bytes) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.open(io.BytesIO(content)).save(stream, format="JPEG", quality=90)
    return stream.getvalue()


def test_clean_pictures_give_no_finding(clean: Planted, tmp_path: Path) -> None:
    assert inspected(tmp_path, clean) == ()


def test_everything_planted_is_found_by_file_name_and_nothing_else(clean: Planted, tmp_path: Path) -> None:
    """The owner's folder: leaks into the test half, exact and re-encoded copies, contradicting labels, blanks."""
    pictures = dict(clean)
    airplanes, frogs = names_of(clean, "train", "airplane", 9), names_of(clean, "train", "frog", 9)
    tests = names_of(clean, "test", "frog", 2)
    planted: dict[str, list[set[str]]] = {"leak": [], "two_labels": [], "duplicates": [], "constant": []}

    def copy(kind: str, original: str, name: str, change: Callable[[bytes], bytes] = bytes) -> None:
        pictures[name] = change(clean[original])
        planted[kind].append({original, name})

    copy("leak", airplanes[0], "test/airplane/leak.png")
    copy("leak", airplanes[1], "test/airplane/leak.jpg", recompressed)
    copy("leak", frogs[0], "test/airplane/leak under another label.png")
    copy("leak", tests[0], "train/frog/from the test half.png")
    for number in range(3):
        copy("two_labels", airplanes[2 + number], f"train/frog/airplane {number}.png")
    copy("duplicates", airplanes[5], "train/airplane/copy.png")
    copy("duplicates", frogs[5], "train/frog/re-encoded.jpg", recompressed)
    pictures["train/frog/blank.png"] = png(np.full((32, 32, 3), 200, np.uint8))
    planted["constant"].append({"train/frog/blank.png"})

    found = inspected(tmp_path, pictures)
    for kind, groups in planted.items():
        assert sorted(sorted(group) for group in groups) == sorted(
            sorted(finding.names) for finding in found if finding.kind == kind
        ), kind
    assert {finding.kind for finding in found} == set(planted)
    assert [finding.kind for finding in found] == sorted([f.kind for f in found], key=KINDS.index)
    for finding in found:
        assert all(name in finding.sentence for name in finding.names)
        near = any(name.endswith(".jpg") for name in finding.names)
        assert finding.exact == (finding.kind != "constant" and not near)
    conflict = next(finding for finding in found if "test/airplane/leak under another label.png" in finding.names)
    assert set(conflict.classes) == {"airplane", "frog"} and "under 2 labels" in conflict.sentence


def test_a_leak_names_both_splits(clean: Planted, tmp_path: Path) -> None:
    original = names_of(clean, "train", "frog", 1)[0]
    pictures = {**clean, "test/frog/same.png": clean[original]}
    (leak,) = inspected(tmp_path, pictures)
    assert set(leak.splits) in ({"train", "target"}, {"train", "audit"})
    other = "the targets" if "target" in leak.splits else "the audit set"
    assert leak.sentence == f"The same picture is in training ({original}) and {other} (test/frog/same.png)."


def test_a_copy_that_a_mask_planted_is_named_after_its_original(digits: Dataset) -> None:
    from training.data.planting import plant

    planted, truth = plant(digits, clusters=5, seed=2)
    exact = {frozenset(f.names) for f in inspect_dataset(planted) if f.kind == "duplicates" and f.exact}
    assert exact == {frozenset(planted.train.names[list(cluster)]) for cluster in truth.clusters}
    assert all(any("(planted copy)" in name for name in names) for names in exact)


# ---- classes and sizes


def with_labels(dataset: Dataset, **parts: ImageSet) -> Dataset:
    return replace(dataset, **parts)  # type: ignore[arg-type]


def test_a_class_in_one_split_only_is_named(digits: Dataset) -> None:
    without = digits.audit.take(np.flatnonzero(digits.audit.labels != 3))
    found = [f for f in inspect_dataset(replace(digits, audit=without)) if f.kind == "class_missing"]
    assert [(f.classes, f.sentence) for f in found] == [(("3",), "1 class has no example in the audit set: 3.")]


def test_small_classes_are_counted(digits: Dataset) -> None:
    rows = np.flatnonzero(digits.train.labels == 7)[SMALL_CLASS - 1 :]
    kept = np.setdiff1d(np.arange(len(digits.train)), rows)
    few = replace(digits, train=digits.train.take(kept))
    (found,) = [f for f in inspect_dataset(few) if f.kind == "small_class"]
    assert found.classes == ("7",) and f"7 ({SMALL_CLASS - 1})" in found.sentence


@pytest.mark.parametrize(("n_audit", "kind"), [(0, "no_audit"), (1, "small_audit"), (SMALL_AUDIT - 1, "small_audit")])
def test_a_small_audit_set_is_a_finding(digits: Dataset, n_audit: int, kind: str) -> None:
    found = inspect_dataset(replace(digits, audit=digits.audit.take(np.arange(n_audit))))
    assert [f.kind for f in found if "audit" in f.kind] == [kind]


def test_twenty_audit_examples_are_enough(digits: Dataset) -> None:
    found = inspect_dataset(replace(digits, audit=digits.audit.take(np.arange(SMALL_AUDIT))))
    assert not [f for f in found if f.kind in ("no_audit", "small_audit")]


# ---- files that cannot be read


def test_every_unreadable_file_is_named_in_one_error(tmp_path: Path) -> None:
    pictures = synthetic()
    broken = ["train/frog/cut short.png", "train/airplane/text.jpg", "test/frog/empty.png"]
    pictures |= dict(zip(broken, (pictures["train/frog/0001.png"][:50], b"not a picture", b""), strict=True))
    with pytest.raises(TrainingInputError, match="^3 pictures in .*dataset.unreadable=skip") as raised:
        inspected(tmp_path, pictures)
    assert all(name in str(raised.value) for name in broken)


def test_unreadable_files_can_be_left_out_and_are_recorded(tmp_path: Path) -> None:
    pictures = synthetic()
    whole = load_dataset("image_folder", path=write(tmp_path / "whole", pictures))
    pictures["train/airplane/broken.png"] = b""
    folder = write(tmp_path / "broken", pictures)
    dataset = load_dataset("image_folder", path=folder, unreadable="skip")
    assert dataset.player_names == whole.player_names
    assert [name for name, _ in dataset.unreadable] == ["train/airplane/broken.png"]
    (found,) = inspect_dataset(dataset)
    assert (found.kind, found.names) == ("unreadable", ("train/airplane/broken.png",))
    assert found.sentence == "1 file was left out because it cannot be read: train/airplane/broken.png."


def test_unreadable_rows_of_parquet_are_left_out_alike(tmp_path: Path) -> None:
    from tests.training.conftest import random_pictures, write_parquet

    pictures = random_pictures(6)
    write_parquet(tmp_path / "train.parquet", [*pictures[:2], b"broken", *pictures[2:4]], [0, 1, 0, 1, 0])
    write_parquet(tmp_path / "test.parquet", [None, *pictures[4:], *random_pictures(2, seed=3)], [0, 1, 0, 1, 0])
    with pytest.raises(TrainingInputError, match="2 pictures in .*(?s:.*)train.parquet:2.*(?s:.*)test.parquet:0"):
        load_dataset("parquet", path=tmp_path)
    dataset = load_dataset("parquet", path=tmp_path, unreadable="skip")
    assert [name for name, _ in dataset.unreadable] == ["train.parquet:2", "test.parquet:0"]
    assert dataset.player_names == tuple(f"train.parquet:{row}" for row in (0, 1, 3, 4))
    assert dataset.train.source_index.tolist() == [0, 1, 3, 4] and dataset.train.labels.tolist() == [0, 1, 1, 0]


def test_a_class_none_of_whose_pictures_can_be_read_is_refused(tmp_path: Path) -> None:
    pictures = {name: b"" if name.startswith("test/frog") else content for name, content in synthetic().items()}
    with pytest.raises(TrainingInputError, match="frog holds no picture that can be read"):
        inspected(tmp_path, pictures, unreadable="skip")


def test_counts_are_in_words() -> None:
    assert summarize([]) == ""
    found = [Finding(kind=kind, sentence="") for kind in ("duplicates", "leak", "duplicates")]
    assert summarize(found) == "1 leak between splits, 2 groups of duplicates"
