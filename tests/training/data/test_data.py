"""Data sets: what is read, how it is split, who the players are."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import random_pictures, write_parquet
from training import TrainingInputError, load_dataset
from training.data.near_duplicates import near_duplicate_components
from training.data.pictures import reduce_area


def test_digits_need_nothing_but_scikit_learn(digits):
    assert (len(digits.train), len(digits.targets), len(digits.audit)) == (200, 400, 400)
    assert digits.train.images.shape == (200, 8, 8, 1) and digits.train.images.dtype == np.uint8
    assert digits.train.images.max() == 255 and digits.class_names == tuple("0123456789")
    assert np.bincount(digits.train.labels).tolist() == [20] * 10
    assert digits.n_players == 200 and np.array_equal(digits.players, np.arange(200))


def test_no_image_serves_two_purposes(digits):
    rows = np.concatenate([part.source_index for part in (digits.train, digits.targets, digits.audit)])
    assert len(np.unique(rows)) == len(rows)


def test_the_seed_decides_the_choice_and_the_split(digits):
    assert load_dataset("digits").fingerprint() == digits.fingerprint()
    other = load_dataset("digits", seed=1)
    assert not np.array_equal(other.train.source_index, digits.train.source_index)
    assert not np.array_equal(other.targets.source_index, digits.targets.source_index)


def test_the_fingerprint_changes_with_anything_that_changes_the_meaning(small_digits):
    train = small_digits.train
    images = train.images.copy()
    images[3, 2, 2, 0] ^= 1
    labels = train.labels.copy()
    labels[0] = (labels[0] + 1) % 10
    players = small_digits.players.copy()
    players[0] = 1
    changed = [
        replace(small_digits, train=replace(train, images=images)),
        replace(small_digits, train=replace(train, labels=labels)),
        replace(small_digits, train=replace(train, source_index=train.source_index + 1)),
        replace(small_digits, players=players),
        replace(small_digits, player_keys=("x", *small_digits.player_keys[1:])),
        replace(small_digits, class_names=("zero", *small_digits.class_names[1:])),
        replace(small_digits, targets=small_digits.audit, audit=small_digits.targets),
        replace(small_digits, audit=small_digits.audit.take(np.arange(19))),
    ]
    prints = {dataset.fingerprint() for dataset in [small_digits, *changed]}
    assert len(prints) == len(changed) + 1
    renamed = replace(train, names=train.names + ".png")
    names = tuple(renamed.names)
    other = replace(small_digits, name="other", train=renamed, player_names=names)
    assert other.fingerprint() == small_digits.fingerprint()  # who renames files has the same campaign


@pytest.mark.parametrize(("n_train", "counts"), [(20, {2}), (25, {2, 3}), (1_700, set())])
def test_training_images_are_drawn_class_by_class(n_train, counts):
    dataset = load_dataset("digits", n_train=n_train, n_targets=20, n_audit=5)
    found = np.bincount(dataset.train.labels, minlength=10)
    assert found.sum() == n_train
    assert not counts or set(found.tolist()) == counts


def test_classes_are_kept_in_the_order_given_and_relabelled():
    dataset = load_dataset("digits", classes=["7", 1], n_train=50, n_targets=20)
    assert dataset.class_names == ("7", "1")
    whole = load_dataset("digits", n_train=1_000, n_targets=20)
    label_of = dict(zip(whole.train.source_index.tolist(), whole.train.labels.tolist(), strict=True))
    pairs = {
        (label_of[index], label)
        for index, label in zip(dataset.train.source_index.tolist(), dataset.train.labels.tolist(), strict=True)
        if index in label_of
    }
    assert pairs == {(7, 0), (1, 1)}


# ---- near-duplicates


def test_near_duplicates_form_chains_and_distant_images_do_not():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 9, 8, 3), dtype=np.uint8)
    images[7] = images[3]  # an exact copy
    images[20] = np.clip(images[3].astype(int) + rng.integers(-9, 10, images[3].shape), 0, 255)  # close to both
    images[31] = np.clip(images[20].astype(int) + rng.integers(-9, 10, images[3].shape), 0, 255)  # close to the last
    component = near_duplicate_components(images)
    assert len({int(component[row]) for row in (3, 7, 20, 31)}) == 1
    assert len(np.unique(component)) == 37


def test_near_duplicates_agree_with_brute_force(monkeypatch, digits):
    """All pairs on all pixels, joined naively, against blocks of rows on block means."""
    images = load_dataset("digits", n_train=10, n_targets=700, n_audit=0).targets.images
    flat = images.reshape(len(images), -1).astype(float)
    threshold = 0.3
    distance = np.sqrt(((flat[:, None] - flat[None]) ** 2).mean(axis=2)) / images.std()
    labels = np.arange(len(images))
    for left, right in zip(*np.nonzero(distance < threshold), strict=True):
        labels[labels == labels[right]] = labels[left]
    monkeypatch.setattr("training.data.near_duplicates._ROWS_AT_ONCE", 64)
    monkeypatch.setattr("training.data.near_duplicates._PAIRS_AT_ONCE", 7)
    component = near_duplicate_components(images, threshold)
    assert 10 < len(np.unique(component)) < len(images) - 10
    assert (
        len(np.unique(np.stack([labels, component]), axis=1).T) == len(np.unique(labels)) == len(np.unique(component))
    )


def test_images_that_differ_by_brightness_alone_are_near_duplicates_up_to_the_distance():
    """Brightness orders the search, so this is its edge; components are numbered by their first image."""
    images = np.random.default_rng(0).integers(40, 200, (300, 8, 8, 1), dtype=np.uint8)
    images[1::2] = images[::2] + 7
    deviation = images.std()
    within, beyond = (near_duplicate_components(images, distance / deviation) for distance in (7.01, 6.99))
    assert within.tolist() == [row // 2 for row in range(300)] and beyond.tolist() == list(range(300))


def test_a_near_duplicate_of_a_target_is_never_an_audit_example(tmp_path):
    """Every test picture twice, the copy one grey level brighter: targets and audit examples share none of
    them."""
    pictures = np.random.default_rng(0).integers(0, 255, (20, 8, 8, 3), dtype=np.uint8)
    twice = np.concatenate([pictures, pictures + 1])
    from tests.training.conftest import png

    write_parquet(tmp_path / "train.parquet", random_pictures(4, seed=9), [0, 1, 0, 1])
    write_parquet(tmp_path / "test.parquet", [png(p) for p in twice], [0, 1] * 20)
    dataset = load_dataset(str(tmp_path), n_targets=10)
    targets, audit = dataset.targets.source_index % 20, dataset.audit.source_index % 20
    assert not set(targets) & set(audit)
    assert len(targets) == 10 and len(audit) == 40 - 2 * len(set(targets))


@pytest.mark.parametrize("images", [np.zeros((0, 4, 4, 1)), np.zeros((5, 4, 4, 1))], ids=["none", "all blank"])
def test_degenerate_image_sets_have_components(images):
    assert len(np.unique(near_duplicate_components(images.astype(np.uint8)))) == min(len(images), 1)


# ---- Parquet


def test_a_hugging_face_folder_is_read_as_it_is(parquet_folder):
    dataset = load_dataset(str(parquet_folder))
    assert dataset.class_names == ("cat", "dog", "cow")
    assert dataset.train.images.shape == (24, 8, 8, 3)
    assert dataset.train.source_index.tolist() == list(range(24))
    assert dataset.train.source_ids.tolist() == list(range(100, 124))
    assert sorted([*dataset.targets.source_index, *dataset.audit.source_index]) == list(range(12))
    original = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    assert np.array_equal(dataset.train.images, original)
    assert load_dataset("parquet", path=parquet_folder).fingerprint() == dataset.fingerprint()


def test_several_files_are_read_in_order_of_their_names(tmp_path):
    pictures = random_pictures(9)
    for shard, rows in enumerate((range(0, 4), range(4, 9))):
        write_parquet(
            tmp_path / f"train-0000{shard}-of-00002.parquet",
            [pictures[row] for row in rows],
            [row % 2 for row in rows],
        )
    write_parquet(tmp_path / "validation-00000-of-00001.parquet", random_pictures(4, seed=3), [0, 1, 0, 1])
    dataset = load_dataset(str(tmp_path))
    assert dataset.train.source_index.tolist() == list(range(9))
    assert dataset.train.labels.tolist() == [row % 2 for row in range(9)]
    assert dataset.class_names == ("0", "1")


def test_real_cifar10_images(shared):
    dataset = load_dataset(
        "parquet",
        path=shared / "cifar10",
        classes=["automobile", "truck"],
        n_train=200,
        n_targets=100,
        image_size=16,
    )
    assert dataset.class_names == ("automobile", "truck")
    assert dataset.train.images.shape == (200, 16, 16, 3)
    assert np.bincount(dataset.train.labels).tolist() == [100, 100]
    assert dataset.train.source_index.max() < 5_000  # rows of the file
    assert dataset.train.source_ids.max() > 5_000  # the column `index`: places in the full data set
    assert len(dataset.audit) > 50


def test_truncated_parquet(parquet_folder):
    file = parquet_folder / "data" / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(TrainingInputError, match=f"{file} is not a readable Parquet file .* may be cut short"):
        load_dataset(str(parquet_folder))


def test_damaged_parquet_pages(parquet_folder):
    file = parquet_folder / "data" / "train-00000-of-00001.parquet"
    content = bytearray(file.read_bytes())
    content[8:400] = b"\xff" * 392
    file.write_bytes(bytes(content))
    with pytest.raises(TrainingInputError, match="train-00000-of-00001.parquet"):
        load_dataset(str(parquet_folder))


@pytest.mark.parametrize(
    ("pictures", "labels", "names", "said"),
    [
        ([b"not a picture"] * 4, [0, 1, 0, 1], None, "train.parquet:0: not a readable picture"),
        ([random_pictures(1)[0][:60]] * 4, [0, 1, 0, 1], None, "not a readable picture"),
        (random_pictures(2) + random_pictures(2, size=9), [0, 1, 0, 1], None, "pictures differ in size"),
        (random_pictures(4), [0, 1, 5, 1], ["a", "b"], "a label is 5 but only 2 classes are named"),
        (random_pictures(4), [0, 1, -1, 1], ["a", "b"], "row 2: label -1 is not a class"),
        (random_pictures(4), [0, 1, None, 1], ["a", "b"], "row 2: label must be a whole number; got None"),
        ([random_pictures(1)[0], None] * 2, [0, 1, 0, 1], None, "train.parquet:1: the row holds no picture bytes"),
        ([], [], None, "holds no rows"),
    ],
)
def test_bad_rows_are_named(tmp_path, pictures, labels, names, said):
    write_parquet(tmp_path / "train.parquet", pictures, labels, names=names)
    write_parquet(tmp_path / "test.parquet", random_pictures(4, seed=1), [0, 1, 0, 1], names=names)
    with pytest.raises(TrainingInputError) as raised:
        load_dataset(str(tmp_path))
    assert said in str(raised.value)


def test_halves_of_different_data_sets(tmp_path):
    write_parquet(tmp_path / "train.parquet", random_pictures(4), [0, 1, 0, 1], names=["a", "b"])
    write_parquet(tmp_path / "test.parquet", random_pictures(4, seed=1), [0, 1, 0, 1], names=["a", "c"])
    with pytest.raises(TrainingInputError, match="name different classes"):
        load_dataset(str(tmp_path))


def test_a_folder_with_training_files_only(tmp_path):
    write_parquet(tmp_path / "train-0.parquet", random_pictures(4), [0, 1, 0, 1])
    with pytest.raises(TrainingInputError, match="needs train-.* and test-"):
        load_dataset(str(tmp_path))


def test_a_table_without_pictures(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name in ("train", "test"):
        pq.write_table(pa.table({"text": ["a"], "label": [0]}), tmp_path / f"{name}.parquet")
    with pytest.raises(TrainingInputError, match="has no image column .* its columns are text, label"):
        load_dataset(str(tmp_path))


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # the pictures have 64: between the limit and twice the limit
    write_parquet(tmp_path / "train.parquet", random_pictures(2), [0, 1])
    write_parquet(tmp_path / "test.parquet", random_pictures(2), [0, 1])
    with pytest.raises(TrainingInputError, match="above 50 pixels are refused"):
        load_dataset(str(tmp_path))


# ---- pictures in folders


def test_pictures_in_folders(picture_folder):
    dataset = load_dataset(str(picture_folder), n_targets=3)
    assert dataset.class_names == ("ant", "bee")
    assert np.bincount(dataset.train.labels).tolist() == [4, 4]
    assert dataset.train.images.shape == (8, 8, 8, 3)
    original = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    assert np.array_equal(dataset.train.images[:4], original[1::2])


@pytest.mark.parametrize(("half", "other"), [("train", "test"), ("test", "train")])
def test_a_class_missing_from_one_half_is_named(picture_folder, half, other):
    for file in (picture_folder / half / "bee").iterdir():
        file.unlink()
    (picture_folder / half / "bee").rmdir()
    with pytest.raises(TrainingInputError, match=f"{half} has no class bee, which .*{other} has"):
        load_dataset("image_folder", path=picture_folder)


def test_an_empty_class_folder_is_named(picture_folder):
    (picture_folder / "train" / "wasp").mkdir()
    with pytest.raises(TrainingInputError, match="wasp holds no pictures"):
        load_dataset(str(picture_folder))


def test_sizes_must_agree_or_image_size_be_given(picture_folder):
    (picture_folder / "test" / "ant" / "wide.png").write_bytes(random_pictures(1, size=12)[0])
    with pytest.raises(TrainingInputError, match="pictures differ in size: .* Give image_size"):
        load_dataset(str(picture_folder))
    assert load_dataset(str(picture_folder), image_size=4).train.images.shape == (8, 4, 4, 3)


def test_an_undecodable_picture_is_named(picture_folder):
    file = picture_folder / "train" / "ant" / "001.png"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(TrainingInputError, match="001.png: not a readable picture"):
        load_dataset(str(picture_folder))


def test_grey_and_colour_pictures_mix_without_loss(picture_folder):
    from tests.training.conftest import png

    grey = np.random.default_rng(5).integers(0, 256, (8, 8), dtype=np.uint8)
    (picture_folder / "train" / "ant" / "000.png").write_bytes(png(grey))
    dataset = load_dataset(str(picture_folder))
    assert np.array_equal(dataset.train.images[0], np.repeat(grey[..., None], 3, axis=2))


def test_sixteen_bit_pictures_are_refused_rather_than_clipped(picture_folder):
    from tests.training.conftest import png

    (picture_folder / "train" / "ant" / "000.png").write_bytes(png(np.full((8, 8), 40_000, dtype=np.uint16)))
    with pytest.raises(TrainingInputError, match="not 8-bit grey or colour"):
        load_dataset(str(picture_folder))


# ---- reduction


def test_reduction_is_the_mean_of_the_area():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    exact = pixels.reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
    reduced = reduce_area(pixels, 16, "here")
    assert np.abs(reduced - exact).max() <= 1.0  # rounded once per direction
    assert reduce_area(pixels[:, :20], 10, "here").shape == (10, 10, 3)


def test_pictures_are_never_enlarged():
    with pytest.raises(TrainingInputError, match="image_size = 16 is larger than the picture"):
        load_dataset("digits", image_size=16)


# ---- players


def test_a_column_of_the_file_names_the_players(parquet_folder):
    dataset = load_dataset(str(parquet_folder), group_by="farm")
    assert dataset.n_players == 5
    assert dataset.player_names == ("farm0", "farm1", "farm2", "farm3", "farm4")
    assert np.array_equal(dataset.players, np.arange(24) % 5)
    assert dataset.fingerprint() != load_dataset(str(parquet_folder)).fingerprint()


@pytest.mark.parametrize(("header", "first_row"), [("index,group\n", 100), ("source_index,group\n", 0)])
def test_an_index_file_names_the_players(parquet_folder, tmp_path, header, first_row):
    by_line, by_index = tmp_path / "lines.csv", tmp_path / "index.csv"
    by_line.write_text("group\n" + "".join(f"g{row % 7}\n" for row in range(24)))
    lines = [f"{first_row + row},g{row % 7}\n" for row in reversed(range(24))]
    by_index.write_text(header + "".join(lines))
    first = load_dataset(str(parquet_folder), group_by=by_line)
    assert first.n_players == 7 and np.array_equal(first.players, np.arange(24) % 7)
    assert load_dataset(str(parquet_folder), group_by=str(by_index)).fingerprint() == first.fingerprint()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a\nb\n", "has 2 lines for 24 training images"),
        ("index,group\n100,a\n100,b\n", "image 100 is in group 'a' and in 'b'"),
        ("index,group\n100,a\n999,b\n", "no training image has index '999'"),
        ("source_index,group\n100,a\n", "no training image has source_index '100'"),
        ("100,a\n101,b\n", "Begin the file with 'index,group'"),
        ("100,a\n101\n", "one group name per line, or lines 'source_index,group'"),
        ("index,group\n100,a\n", "names no group for 23 of 24 training images"),
        ("", "one group name per line"),
        (b"\xff\xfe\x00", "cannot be read as text"),
    ],
)
def test_index_files_that_do_not_fit(parquet_folder, tmp_path, content, said):
    file = tmp_path / "groups.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TrainingInputError) as raised:
        load_dataset(str(parquet_folder), group_by=file)
    assert said in str(raised.value)


def test_group_by_must_name_something(parquet_folder):
    with pytest.raises(TrainingInputError, match="neither a column of the training files nor an index file"):
        load_dataset(str(parquet_folder), group_by="barn")


# ---- requests that cannot be met


@pytest.mark.parametrize(
    ("request_values", "said"),
    [
        ({"n_targets": 1_790}, "n_targets = 1790, but there are only 1597 test images"),
        ({"n_train": 5_000}, "n_train = 5000, but there are only 1797 training images"),
        ({"n_train": 0}, "n_train must be a whole number of at least 1; got 0"),
        ({"n_targets": 0}, "n_targets must be a whole number of at least 1"),
        ({"n_audit": 1_500}, "n_audit = 1500, but of 1597 test images"),
        ({"classes": ["3", "ten"]}, "unknown class 'ten'. The data set has 10 classes: 0, 1, 2"),
        ({"classes": [3, 12]}, "unknown class 12"),
        ({"classes": ["3"]}, "at least two different classes"),
        ({"classes": ["3", 3]}, "at least two different classes"),
        ({"image_size": 0}, "image_size must be a positive number of pixels; got 0"),
    ],
)
def test_requests_that_cannot_be_met_are_refused_in_words(request_values, said):
    with pytest.raises(TrainingInputError) as raised:
        load_dataset("digits", **request_values)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("parquet", "holds train-.*parquet and test-.*dataset.source=cifar10"),
        ("image_folder", "holds your pictures as train/<class>/ and test/<class>/"),
    ],
)
def test_a_missing_folder_is_named_with_the_layout_of_its_source(tmp_path, source, said):
    missing = tmp_path / "pictures"
    with pytest.raises(TrainingInputError, match=f"{source}', {missing}, does not exist. Give the folder that {said}"):
        load_dataset(source, path=missing)
    with pytest.raises(TrainingInputError, match=f"needs a path and none was given. Give the folder that {said}"):
        load_dataset(source)


def test_no_network_names_both_ways_out(tmp_path):
    with pytest.raises(TrainingInputError, match="Connect to a network .* folder of image Parquet files"):
        load_dataset("cifar10", path=tmp_path / "empty", download=False)


def test_cifar10_files_that_are_not_the_published_ones_are_refused(tmp_path):
    """torchvision verifies checksums: files of the right names with other bytes are never trained on."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"]:
        (folder / name).write_bytes(b"something else")
    with pytest.raises(TrainingInputError, match="not .complete and unchanged."):
        load_dataset("cifar10", path=tmp_path, download=False)


def test_a_folder_with_neither_layout(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(TrainingInputError, match="neither Parquet files .* nor pictures"):
        load_dataset(str(tmp_path))


# ---- cost of importing


def test_importing_training_loads_nothing_heavy():
    heavy = [
        "torch",
        "torchvision",
        "sklearn",
        "scipy",
        "pyarrow",
        "PIL",
        "ray",
        "prefect",
        "attribution",
        "flows",
    ]
    code = f"import json, sys, training; print(json.dumps([m for m in {heavy!r} if m in sys.modules]))"
    root = Path(__file__).parents[3]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == []
