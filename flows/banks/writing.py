"""The second reading of a bank: its rows as fragments of a campaign."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flows.banks.assignment import Assignment
from flows.banks.errors import BankError
from flows.banks.layouts import BankFiles
from flows.banks.masks import MaskReader
from flows.banks.scan import Scan, mask_rows, output_blocks
from flows.storage.mask_column import mask_column_packed
from flows.store.campaign import Campaign
from flows.store.roles import RowRange
from training.packed_masks import PackedMasks, packed_width

FRAGMENT_BYTES = 2**25  # outputs, or packed masks, in one fragment
MOST_ROWS = 65_536  # in one fragment
NO_NUMBER = "the bank holds no finite number in this row"


def rows_per_fragment(row_bytes: int) -> int:
    """Rows of one fragment."""
    return max(1, min(MOST_ROWS, FRAGMENT_BYTES // row_bytes))


class RowFile:
    """Rows of equal length, written in any order and read in theirs: a file, because they may not fit in memory."""

    def __init__(self, file: Any, width: int, dtype: type) -> None:
        self._file, self._width, self._dtype = file, width, np.dtype(dtype)

    def put(self, places: np.ndarray, rows: np.ndarray) -> None:
        """Write rows (m, width) to their places (m,); runs of neighbouring places are one write."""
        if not len(places):
            return
        content = np.ascontiguousarray(rows, self._dtype)
        size = self._width * self._dtype.itemsize
        starts = np.flatnonzero(np.diff(places, prepend=places[:1] - 2) != 1)
        for start, stop in zip(starts, [*starts[1:], len(places)], strict=True):
            self._file.seek(int(places[start]) * size)
            self._file.write(content[start:stop].tobytes())

    def read(self, first: int, last: int) -> np.ndarray:
        """Return rows [first, last)."""
        size = self._width * self._dtype.itemsize
        self._file.seek(first * size)
        content = self._file.read((last - first) * size)
        return np.frombuffer(content, self._dtype).reshape(last - first, self._width)


@contextmanager
def row_file(folder: Path | None, width: int, dtype: type) -> Iterator[RowFile]:
    """Open a temporary `RowFile` that is gone with the block; folder: where it lies, the system's when None."""
    with tempfile.TemporaryFile(dir=folder) as file:
        yield RowFile(file, width, dtype)


def write_masks(campaign: Campaign, files: BankFiles, reader: MaskReader, found: Scan, plan: Assignment) -> None:
    """Write every row's mask. Raises BankError when the file is no longer as it was scanned."""
    parts = plan.parts()
    order = np.concatenate([of_bank for _, of_bank in parts])
    by_mask = np.argsort(
        found.mask_of_row[order], kind="stable"
    )  # places in the campaign, in the order of the bank's masks
    wanted = found.mask_of_row[order][by_mask]
    width = packed_width(reader.n_players)
    with row_file(_scratch(campaign), width, np.uint8) as scratch:
        first = 0
        for number, masks in enumerate(reader.blocks(mask_rows(reader.n_players))):
            packed = PackedMasks.pack(masks).bits
            _check_unchanged(found.mask_sums, number, packed, reader.rows.label)
            low, high = np.searchsorted(wanted, (first, first + len(masks)))
            places = by_mask[low:high]
            in_order = np.argsort(places, kind="stable")
            scratch.put(places[in_order], packed[wanted[low:high][in_order] - first])
            first += len(masks)
        start = 0
        for rows, of_bank in parts:
            for piece, offset in _pieces(rows, rows_per_fragment(width)):
                bits = scratch.read(start + offset, start + offset + len(piece))
                campaign.write_masks(piece, _mask_table(piece, bits, rows))
            start += len(of_bank)


def write_outputs(campaign: Campaign, files: BankFiles, found: Scan, plan: Assignment) -> None:
    """Write every row's outputs. Raises BankError when the file is no longer as it was scanned."""
    n_targets = campaign.n_targets
    at_once = rows_per_fragment(4 * n_targets)
    fit, *others = plan.parts()
    place = np.full(len(found.good), -1, np.int64)  # of held-out rows, in the scratch file
    starts: list[int] = []
    for _, of_bank in others:
        starts.append(int(place.max()) + 1)
        place[of_bank] = starts[-1] + np.arange(len(of_bank))
    is_fit = np.zeros(len(found.good), bool)
    is_fit[fit[1]] = True
    pieces = _pieces(fit[0], at_once)
    piece, _ = next(pieces)
    waiting = np.empty((len(piece), n_targets), np.float32)
    filled, n_done = 0, 0
    with row_file(_scratch(campaign), n_targets, np.float32) as scratch:
        first = 0
        for number, values in enumerate(output_blocks(files)):
            _check_unchanged(found.output_sums, number, values, files.outputs.label)
            here = slice(first, first + len(values))
            kept = np.flatnonzero(place[here] >= 0)
            order = np.argsort(place[here][kept], kind="stable")
            scratch.put(place[here][kept][order], values[kept[order]])
            fitted = values[is_fit[here]]
            while len(fitted):
                taken = min(len(fitted), len(piece) - filled)
                waiting[filled : filled + taken] = fitted[:taken]
                fitted, filled = fitted[taken:], filled + taken
                if filled == len(piece):
                    good = found.good[fit[1][n_done : n_done + filled]]
                    campaign.write_outputs(piece, _output_table(campaign, piece, waiting[:filled], good))
                    n_done, filled = n_done + filled, 0
                    piece, _ = next(pieces, (piece, 0))
            first += len(values)
        for (rows, of_bank), start in zip(others, starts, strict=True):
            for part, offset in _pieces(rows, at_once):
                values = scratch.read(start + offset, start + offset + len(part))
                good = found.good[of_bank[offset : offset + len(part)]]
                campaign.write_outputs(part, _output_table(campaign, part, values, good))


def _pieces(rows: RowRange, at_once: int) -> Iterator[tuple[RowRange, int]]:
    """Cut a range of rows into fragments: (rows of the fragment, where it begins in the range)."""
    for first in range(rows.first, rows.last, at_once):
        yield RowRange(rows.role, rows.replicate, first, min(first + at_once, rows.last)), first - rows.first


def _mask_table(rows: RowRange, bits: np.ndarray, of: RowRange) -> pa.Table:
    ids = np.arange(rows.mask_ids.start, rows.mask_ids.stop, dtype=np.int64)
    return pa.table(
        {
            "mask_id": ids,
            "replicate": np.full(len(rows), of.replicate, np.int32),
            "role": pa.array([of.role] * len(rows)),
            "seed_group": ids,
            "mask": mask_column_packed(bits),
        }
    )


def _output_table(campaign: Campaign, rows: RowRange, values: np.ndarray, good: np.ndarray) -> pa.Table:
    """Rows of the outputs; what only a training knows (accuracies, seconds, host) is null."""
    schema = campaign.schema("outputs")
    flat = pa.array(np.where(good[:, None], values, np.float32(0)).reshape(-1))
    known = {
        "mask_id": pa.array(np.arange(rows.mask_ids.start, rows.mask_ids.stop, dtype=np.int64)),
        "replicate": pa.array(np.full(len(rows), rows.replicate, np.int32)),
        "status": pa.array(np.where(good, "ok", "diverged").tolist()),
        "reason": pa.array(np.where(good, "", NO_NUMBER).tolist()),
        "outputs": pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=pa.array(~good)),
        "shard": pa.array(np.full(len(rows), rows.first // campaign.shard_size, np.int64)),
    }
    columns = [known.get(field.name, pa.nulls(len(rows), field.type)) for field in schema]
    return pa.table(columns, schema=schema)


def _check_unchanged(sums: tuple[int, ...], number: int, block: np.ndarray, label: str) -> None:
    if number >= len(sums) or zlib.crc32(block.tobytes()) != sums[number]:
        raise BankError(
            f"{label} changed while it was read. No campaign was written; import again when nothing writes to it"
        )


def _scratch(campaign: Campaign) -> Path | None:
    """Where temporary files lie: beside the campaign, which has room for them, unless it is in an object store."""
    return campaign.folder if os.path.isdir(str(campaign.folder)) else None
