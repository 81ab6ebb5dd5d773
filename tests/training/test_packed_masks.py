"""Packed masks hold what was packed, and refuse what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import TrainingInputError
from training.packed_masks import PackedMasks


@given(st.integers(1, 20), st.integers(0, 5), st.randoms(use_true_random=False))
def test_packing_and_selecting_commute(n_players: int, n_masks: int, random) -> None:
    masks = np.array([[random.random() < 0.5 for _ in range(n_players)] for _ in range(n_masks)], dtype=bool)
    masks = masks.reshape(n_masks, n_players)
    packed = PackedMasks.pack(masks)
    assert len(packed) == n_masks and np.array_equal(packed.unpack(), masks)
    rows = np.flatnonzero([random.random() < 0.5 for _ in range(n_masks)]).tolist()
    assert np.array_equal(packed[rows].unpack(), masks[rows]) and packed[1:] == PackedMasks.pack(masks[1:])
    assert [one.unpack().tolist() for one in packed] == [[row] for row in masks.tolist()]


@pytest.mark.parametrize("bits", [np.zeros((2, 3), np.uint8), np.zeros((2, 2), bool), np.zeros(2, np.uint8)], ids=str)
def test_bytes_of_another_shape_are_refused(bits: np.ndarray) -> None:
    with pytest.raises(TrainingInputError, match="9 players are packed into .n_masks, 2. uint8"):
        PackedMasks(bits, 9)
