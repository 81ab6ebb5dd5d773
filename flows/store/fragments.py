"""Fragments: Parquet files whose names hold their rows, so that a listing of names answers what exists."""

from __future__ import annotations

from pathlib import Path

from flows.errors import StoreError
from flows.store.roles import IDS_PER_ROLE, RowRange, missing_shards

FAILED = ".failed"
OUTCOME_TABLES = ("outputs", "results")


def fragment_path(folder: Path, rows: RowRange, *, failed: bool = False) -> Path:
    """Return the path of a fragment: `<rows>.parquet`, or `<rows>.failed.parquet` for rows of a failed shard.

    Parameters
    ----------
    folder : Path
    rows : RowRange
    failed : bool

    Returns
    -------
    Path
    """
    return folder / f"{rows.name}{FAILED if failed else ''}.parquet"


def is_failure(path: Path) -> bool:
    """Check whether a fragment holds the rows of a failed shard.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
    """
    return path.name.endswith(f"{FAILED}.parquet")


def rows_of(path: Path) -> RowRange:
    """Return the rows that a fragment's name promises.

    Parameters
    ----------
    path : Path

    Returns
    -------
    RowRange

    Raises
    ------
    ValueError
        If the name is not a fragment's.
    """
    return RowRange.parse(path.name.removesuffix(".parquet").removesuffix(FAILED))


def fragment_paths(folder: Path) -> list[Path]:
    """List every Parquet file of a folder of fragments, whatever its name; temporary files are left out.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of Path
    """
    found = folder.glob("*.parquet") if folder.is_dir() else ()
    return sorted(path for path in found if not path.name.startswith("."))


def list_fragments(folder: Path) -> list[tuple[RowRange, Path]]:
    """List the fragments of a folder with their rows.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of (RowRange, Path)

    Raises
    ------
    StoreError
        For a file whose name is not a fragment's.
    """
    found = []
    for path in fragment_paths(folder):
        try:
            found.append((rows_of(path), path))
        except ValueError as error:
            raise StoreError(f"{path} is no fragment of this campaign ({error}). Move it elsewhere") from error
    return found


def current_fragments(folder: Path) -> list[tuple[RowRange, Path]]:
    """List the fragments of a folder of outcomes; a failure is dropped once a retry succeeded, whole or in parts.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of (RowRange, Path)
        Sorted by rows.

    Raises
    ------
    StoreError
        If two fragments hold an outcome of the same row.
    """
    found = list_fragments(folder)
    outcomes = sorted((rows, path) for rows, path in found if not is_failure(path))
    refuse_overlap(outcomes)
    failures = [(rows, path) for rows, path in found if is_failure(path)]
    still = set(missing_shards((rows for rows, _ in failures), (rows for rows, _ in outcomes), IDS_PER_ROLE))
    return sorted([*outcomes, *((rows, path) for rows, path in failures if rows in still)])


def refuse_overlap(fragments: list[tuple[RowRange, Path]]) -> None:
    """Check that no row is in two fragments, because no row may count twice.

    Parameters
    ----------
    fragments : list of (RowRange, Path)
        Sorted by rows.

    Raises
    ------
    StoreError
        If two of them hold the same row.
    """
    for (rows, path), (after, other) in zip(fragments, fragments[1:], strict=False):
        if (rows.role, rows.replicate) == (after.role, after.replicate) and after.first < rows.last:
            raise StoreError(
                f"{path.name} and {other.name} in {path.parent} hold the same rows. "
                "`coterie audit CAMPAIGN --repair` sets one of them aside"
            )
