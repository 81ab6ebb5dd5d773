"""The column `mask` of Parquet tables: eight players to a byte."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from training.packed_masks import PackedMasks, packed_width


def mask_column(masks: np.ndarray) -> pa.Array:
    """Return masks as the column `mask`.

    Parameters
    ----------
    masks : (m, n_players) bool

    Returns
    -------
    pyarrow.Array
        (m,) fixed-size binary, eight players to a byte.
    """
    return mask_column_packed(PackedMasks.pack(masks).bits)


def mask_column_packed(bits: np.ndarray) -> pa.Array:
    """Return packed masks as the column `mask`.

    Parameters
    ----------
    bits : (m, packed_width(n_players)) uint8

    Returns
    -------
    pyarrow.Array
        (m,) fixed-size binary.
    """
    bits = np.ascontiguousarray(bits)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(bits.shape[1]), len(bits), [None, pa.py_buffer(bits)])


def packed_column(column: pa.ChunkedArray, n_players: int) -> PackedMasks:
    """Return the column `mask` as packed masks, without a copy of a single chunk; the inverse of `mask_column`.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        (m,) fixed-size binary.
    n_players : int

    Returns
    -------
    PackedMasks
    """
    array, width = column.combine_chunks(), packed_width(n_players)
    start = array.offset * width
    bits = np.frombuffer(array.buffers()[1], np.uint8)[start : start + len(array) * width]
    return PackedMasks(bits.reshape(-1, width), n_players)
