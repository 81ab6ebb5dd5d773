"""Target-major copies of the outputs, so that one target reads fast however many models there are.

Fragments hold all targets of a few models; a reader of one target has to open all of them. A compacted file holds many
models with one row per target: reading a target is one small row group. Files cover fixed ranges of rows, so that
compaction is incremental: a range that has not changed since is not written again. They are a cache: readers check
which fragments a file came from, fall back to the fragments where it is not current, and anybody may delete them.

    compact/fit-r0-000000000-000016384.parquet    target int32, mask_id list<int64>, output list<float32>
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.errors import StoreError
from flows.storage.files import source_arguments, write_atomically
from flows.store.campaign import Campaign, digest
from flows.store.fragments import is_failure, rows_of
from flows.store.roles import RowRange

ROWS_PER_FILE = 16_384
BYTES_AT_ONCE = 2**29
TARGETS_PER_GROUP = 16
FEW = 0.25  # of a copy's row groups; to read more of them takes longer than to read the fragments
SOURCE = b"coterie.source"


@dataclass(frozen=True)
class CompactionSummary:
    """Count the files of a compaction.

    Attributes
    ----------
    written : int
        Files written.
    current : int
        Files that were current already.
    """

    written: int
    current: int


def compact(campaign: Campaign) -> CompactionSummary:
    """Bring the compacted files up to date.

    Parameters
    ----------
    campaign : Campaign
        This process holds its lock.

    Returns
    -------
    CompactionSummary

    Raises
    ------
    StoreError
        When a fragment cannot be read or a file cannot be written.
    """
    written = current = 0
    for block, fragments in _blocks(campaign).items():
        path, source = _path(campaign, block), _source(fragments)
        if _recorded_source(path) == source:
            current += 1
            continue
        _write(campaign, path, fragments, source)
        written += 1
    return CompactionSummary(written, current)


def read_target(
    campaign: Campaign, target: int, role: str = "fit", replicate: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Read the outputs of one target; rows without a number are left out.

    Parameters
    ----------
    campaign : Campaign
    target : int
        In [0, n_targets).
    role : str
        One of `roles.ROLES`.
    replicate : int
        0, or n for the n-th further training of the same masks.

    Returns
    -------
    mask_ids : (m,) int64
        Ascending.
    outputs : (m,) float32

    Raises
    ------
    StoreError
        For a target that does not exist, or a fragment that cannot be read.

    Notes
    -----
    Uses compacted files where they are current, the fragments elsewhere.
    """
    if not 0 <= target < campaign.n_targets:
        raise StoreError(f"target must lie in [0, {campaign.n_targets}); got {target}")
    ids, values = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for found, outputs in read_targets(campaign, np.array([target]), role, replicate):
        ids.append(found)
        values.append(outputs[:, 0])
    mask_ids = np.concatenate(ids)
    order = np.argsort(mask_ids)
    return mask_ids[order], np.concatenate(values)[order]


def read_targets(
    campaign: Campaign, targets: np.ndarray, role: str = "fit", replicate: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read the outputs of some targets, block by block; rows without a number are left out.

    Parameters
    ----------
    campaign : Campaign
    targets : (n,) int
        Ids in [0, n_targets).
    role : str
        One of `roles.ROLES`.
    replicate : int
        0, or n for the n-th further training of the same masks.

    Yields
    ------
    mask_ids : (m,) int64
        Of one block.
    outputs : (m, n) float32

    Raises
    ------
    StoreError
        When a fragment cannot be read.

    Notes
    -----
    Uses compacted files where they are current and at most a share FEW of their row groups is wanted (or there is
    one target), the fragments elsewhere.
    """
    groups = len(np.unique(targets // TARGETS_PER_GROUP))
    few = len(targets) == 1 or groups <= FEW * -(-campaign.n_targets // TARGETS_PER_GROUP)
    for block, fragments in _blocks(campaign).items():
        if (block.role, block.replicate) != (role, replicate):
            continue
        compacted = _read_compacted(_path(campaign, block), _source(fragments), targets) if few else None
        if compacted is not None:
            yield compacted
            continue
        for path in fragments:
            ids, outputs, _ = campaign.read_outputs(path)
            yield ids, outputs[:, targets]


def _blocks(campaign: Campaign) -> dict[RowRange, list[Path]]:
    """Fragments by the fixed range of rows that their first row lies in."""
    blocks: dict[RowRange, list[Path]] = {}
    for path in campaign.fragment_paths("outputs"):
        if is_failure(path):
            continue
        rows = rows_of(path)
        first = rows.first // ROWS_PER_FILE * ROWS_PER_FILE
        blocks.setdefault(RowRange(rows.role, rows.replicate, first, first + ROWS_PER_FILE), []).append(path)
    return blocks


def _path(campaign: Campaign, block: RowRange) -> Path:
    return campaign.folder / "compact" / f"{block.name}.parquet"


def _source(fragments: list[Path]) -> str:
    """Names and times of the fragments: another name or another writing makes a compacted file stale."""
    return digest([[path.name, path.stat().st_mtime_ns] for path in fragments])


def _recorded_source(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        return str((pq.read_schema(**source_arguments(path, "where")).metadata or {}).get(SOURCE, b"").decode())
    except (OSError, pa.ArrowException):  # a cache that cannot be read is made again
        return None


def _write(campaign: Campaign, path: Path, fragments: list[Path], source: str) -> None:
    """Several passes over the fragments, each for as many targets as memory allows."""
    at_once = max(TARGETS_PER_GROUP, BYTES_AT_ONCE // (4 * ROWS_PER_FILE) // TARGETS_PER_GROUP * TARGETS_PER_GROUP)
    schema = pa.schema(
        [("target", pa.int32()), ("mask_id", pa.list_(pa.int64())), ("output", pa.list_(pa.float32()))],
        metadata={SOURCE: source, b"coterie.note": json.dumps("a cache of outputs/; may be deleted")},
    )

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer:
            for first in range(0, campaign.n_targets, at_once):
                targets = np.arange(first, min(first + at_once, campaign.n_targets))
                ids, outputs = _columns(campaign, fragments, targets)
                lists = pa.ListArray.from_arrays(
                    pa.array(np.arange(len(targets) + 1) * len(ids), pa.int32()),
                    pa.array(np.ascontiguousarray(outputs.T).reshape(-1)),
                )
                masks = pa.ListArray.from_arrays(
                    pa.array(np.arange(len(targets) + 1) * len(ids), pa.int32()), pa.array(np.tile(ids, len(targets)))
                )
                table = pa.table([pa.array(targets, pa.int32()), masks, lists], schema=schema)
                writer.write_table(table, row_group_size=TARGETS_PER_GROUP)

    write_atomically(path, write)


def _columns(campaign: Campaign, fragments: list[Path], targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mask_ids (m,), outputs (m, len(targets))) of rows with a number, in mask_id order."""
    ids, values = [np.zeros(0, np.int64)], [np.zeros((0, len(targets)), np.float32)]
    for path in fragments:
        found, outputs, _ = campaign.read_outputs(path)
        ids.append(found)
        values.append(outputs[:, targets])
    mask_ids = np.concatenate(ids)
    order = np.argsort(mask_ids)
    return mask_ids[order], np.concatenate(values)[order]


def _read_compacted(path: Path, source: str, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """None where the file is not there, not current or not whole."""
    if not path.is_file():
        return None
    try:
        with pq.ParquetFile(page_checksum_verification=True, **source_arguments(path, "source")) as file:
            if (file.schema_arrow.metadata or {}).get(SOURCE, b"").decode() != source:
                return None
            groups = targets // TARGETS_PER_GROUP
            mask_ids = _first_list(file.read_row_group(int(groups[0]), ["mask_id"])["mask_id"])
            outputs = np.empty((len(mask_ids), len(targets)), np.float32)
            for group in np.unique(groups):
                wanted = np.flatnonzero(groups == group)
                rows = file.read_row_group(int(group), ["target", "output"])
                at = targets[wanted] % TARGETS_PER_GROUP
                if rows.num_rows <= at.max() or (rows["target"].to_numpy()[at] != targets[wanted]).any():
                    return None
                values = rows["output"].combine_chunks().flatten().to_numpy().reshape(rows.num_rows, len(mask_ids))
                outputs[:, wanted] = values[at].T
    except (OSError, ValueError, pa.ArrowException, IndexError):
        return None
    return mask_ids, outputs


def _first_list(column: pa.ChunkedArray) -> np.ndarray:
    """The mask ids of the first target of a group; every target of a file has the same."""
    ids: np.ndarray = column.combine_chunks()[0].values.to_numpy()
    return ids
