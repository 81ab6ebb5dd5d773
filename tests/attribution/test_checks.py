"""Masks and alpha are checked by one function each, wherever they are given."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attribution.checks import check_alpha, check_masks
from attribution.errors import AttributionError
from attribution.masks.inputs import check_groups


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.2, 1.2, math.nan, math.inf, "half", None])
def test_an_alpha_outside_the_open_unit_interval_is_refused(alpha: object) -> None:
    with pytest.raises(AttributionError, match=r"alpha must .*in \(0, 1\); got"):
        check_alpha(alpha)


def test_an_alpha_keeps_its_value() -> None:
    assert check_alpha(np.float32(0.25)) == 0.25 and isinstance(check_alpha(np.float32(0.25)), float)


@pytest.mark.parametrize("dtype", [bool, np.int64, np.uint8, np.float32])
def test_masks_of_zeros_and_ones_become_contiguous_booleans(dtype: type) -> None:
    given = np.array([[0, 1], [1, 1], [0, 0]], dtype=dtype).T
    masks = check_masks(given, 3)
    assert masks.dtype == np.bool_ and masks.flags.c_contiguous
    assert np.array_equal(masks, given.astype(bool))


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (np.zeros(3, dtype=bool), "shape"),
        (np.zeros((5, 4), dtype=bool), r"\(n_masks, 3\)"),
        (np.zeros((0, 3), dtype=bool), "at least 1"),
        (np.full((2, 3), 0.5), "boolean"),
        (np.full((2, 3), 255, dtype=np.uint8), "unpackbits"),
        (np.full((2, 3), "x"), "boolean"),
    ],
)
def test_other_masks_are_refused(masks: np.ndarray, words: str) -> None:
    with pytest.raises(AttributionError, match=words):
        check_masks(masks, 3)


def test_no_masks_are_accepted_where_they_are_allowed() -> None:
    assert check_masks(np.zeros((0, 3), dtype=bool), 3, allow_empty=True).shape == (0, 3)


def test_the_name_of_the_argument_stands_in_the_message() -> None:
    with pytest.raises(AttributionError, match="^holdout_masks must"):
        check_masks(np.zeros(3), name="holdout_masks")


def test_groups_of_more_players_than_a_float_has_exponents_are_found() -> None:
    masks = np.random.default_rng(0).random((30, 2000)) < 0.5
    masks[15:] = ~masks[:15]
    assert check_groups(None, masks, 0.5).max() == 14
    assert check_groups(None, masks).max() == 29
