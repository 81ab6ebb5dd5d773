"""The table of data sources, and functions of the user's own."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from conf import schema
from training import ImageSet, TrainingInputError, load_dataset
from training.data.dataset import RawImages, SourceOptions
from training.data.sources import SOURCES

HERE = "tests.training.data.test_sources"
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
ROWS = np.arange(30)
NAMES = np.array([f"s3://bucket/{row}.png" for row in ROWS], dtype=object)
WHOLE = RawImages("own", ("a", "b"), ImageSet(PIXELS, ROWS % 2, ROWS, NAMES), None)


def own_source(options: SourceOptions) -> RawImages:
    """What a user writes: the smallest source there can be."""
    return WHOLE


def no_images(options: SourceOptions) -> list[int]:
    return [1, 2, 3]


def labels_out_of_range(options: SourceOptions) -> RawImages:
    return RawImages("own", ("a", "b"), ImageSet(PIXELS, ROWS % 3, ROWS, NAMES), None)


def float_pixels(options: SourceOptions) -> RawImages:
    return RawImages("own", ("a", "b"), ImageSet(PIXELS / 255, ROWS % 2, ROWS, NAMES), None)


def two_of_one_name(options: SourceOptions) -> RawImages:
    names = NAMES.copy()
    names[17] = names[4]
    return RawImages("own", ("a", "b"), ImageSet(PIXELS, ROWS % 2, ROWS, names), None)


def lines_in_a_name(options: SourceOptions) -> RawImages:
    names = NAMES.copy()
    names[3] = "two\nlines"
    return RawImages("own", ("a", "b"), ImageSet(PIXELS, ROWS % 2, ROWS, names), None)


def rows_twice(options: SourceOptions) -> RawImages:
    return RawImages("own", ("a", "b"), ImageSet(PIXELS, ROWS % 2, ROWS // 2, NAMES), None)


NOT_A_FUNCTION = 3


def test_the_configuration_takes_the_sources_of_the_table() -> None:
    assert {schema.DatasetConfig(source=name).source for name in SOURCES} == set(SOURCES)
    with pytest.raises(ValidationError, match=f"no source 'imagenet'. Sources: {', '.join(SOURCES)}, or a function"):
        schema.DatasetConfig(source="imagenet")


def test_a_function_of_the_users_own_is_a_source() -> None:
    dataset = load_dataset(f"{HERE}:own_source", n_train=20, n_targets=5, image_size=4)
    assert dataset.train.images.shape == (20, 4, 4, 3)
    assert dataset.player_names == tuple(NAMES[dataset.train.source_index])
    assert schema.DatasetConfig(source=f"{HERE}:own_source").source == f"{HERE}:own_source"


def test_one_line_adds_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "photos", own_source)
    assert load_dataset("photos", n_train=20).name == "own"
    with pytest.raises(TrainingInputError, match="Sources: digits, .*, photos, a function"):
        load_dataset("fotos")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("no_images", "returned a list; it must return a RawImages"),
        ("labels_out_of_range", "train: labels run from 0 to 2; 2 class names allow 0 to 1"),
        ("float_pixels", r"images must be .* uint8 .*; got float64 \(30, 8, 8, 3\)"),
        ("rows_twice", "train: source_index 0 is 2 times there"),
        ("two_of_one_name", "two training examples .*4.png': row 4 of the .* and row 17 of"),
        ("missing", "cannot be imported .*no attribute 'missing'.* the other sources are digits,"),
        ("NOT_A_FUNCTION", "is a int, not a function"),
    ],
)
def test_what_a_function_gets_wrong_is_named(function: str, said: str) -> None:
    with pytest.raises(TrainingInputError, match=said):
        load_dataset(f"{HERE}:{function}", n_train=28)


def test_a_module_that_does_not_exist_is_named() -> None:
    with pytest.raises(TrainingInputError, match="No module named 'nowhere_at_all'.*PYTHONPATH"):
        load_dataset("nowhere_at_all:photos")


def test_names_of_the_users_own_are_made_one_line() -> None:
    assert "two\\nlines" in load_dataset(f"{HERE}:lines_in_a_name", n_train=28).player_names
