"""Writing files so that they exist whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.errors import CampaignBusy, StoreError
from flows.storage.checksums import damaged_columns, recorded_identity, stamp
from flows.storage.object_store import ObjectPath, lease

ADDED_LATER = frozenset({"text", "source_id"})  # columns that files written before do not have: they are null in them
REMEDY = "`coterie audit CAMPAIGN --repair` sets it aside; running again recomputes its rows"


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Call `write(temporary)` and rename the result to `path`: a crash leaves the old file or none.

    Parameters
    ----------
    path : Path
        The file to write; its folder is made where it is missing.
    write : callable
        Takes the path of a temporary file and writes the content there.

    Raises
    ------
    StoreError
        When the disk is full, the folder cannot be written or the object store refuses the upload.

    Notes
    -----
    Temporary names begin with a dot, which every scan of a table skips.
    """
    if isinstance(path, ObjectPath):
        with tempfile.TemporaryDirectory(prefix="coterie-") as folder:
            local = Path(folder) / path.name
            write(local)
            path.put(local.read_bytes())
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _explain(error, path) from error
    finally:
        with suppress(OSError):  # what stopped the writing may stop this as well
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """The rename itself reaches the disk only with the folder's entry."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(error: OSError, path: Path) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"the disk is full: {path} could not be written. Everything written before is kept; "
            "free some space and run the same command again"
        )
    return StoreError(f"{path} could not be written: {error}. Check the folder's permissions, then run again")


def move(path: Path, to: Path) -> None:
    """Rename a file within the campaign's folder, and make the folder it goes to.

    Parameters
    ----------
    path : Path
    to : Path
        The new path; a file that exists there is replaced.

    Raises
    ------
    StoreError
        When the file cannot be moved.
    """
    if isinstance(path, ObjectPath) and isinstance(to, ObjectPath):
        path.rename_to(to)
        return
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, to)
        _sync_folder(to.parent)
    except OSError as error:
        raise _explain(error, to) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, atomically.

    Parameters
    ----------
    path : Path
    text : str

    Raises
    ------
    StoreError
        When the file cannot be written.
    """
    write_atomically(path, lambda temporary: _put_text(temporary, text))


def _put_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write `content` as readable JSON, atomically.

    Parameters
    ----------
    path : Path
    content : Any
        A JSON value.

    Raises
    ------
    StoreError
        When the file cannot be written.
    """
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Any
        The JSON value.

    Raises
    ------
    StoreError
        When the file cannot be read or is not JSON; the message names it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}. Restore it, or use a new campaign.folder") from error


def write_table(path: Path, table: pa.Table, identity: str | None = None) -> None:
    """Write one Parquet file, atomically, with checksums of its columns and the campaign it belongs to.

    Parameters
    ----------
    path : Path
    table : pyarrow.Table
    identity : str, optional
        Identity hash of the campaign; None for a table of no particular campaign.

    Raises
    ------
    StoreError
        When the file cannot be written.
    """
    stamped = stamp(table, identity)
    # Outputs do not repeat: with a dictionary of their values a fragment took 2.7 times as long and half as much
    # room again.
    words = [field.name for field in table.schema if pa.types.is_string(field.type)]
    write_atomically(
        path, lambda temporary: pq.write_table(stamped, temporary, compression="zstd", use_dictionary=words)
    )


def read_table(
    path: Path, schema: pa.Schema, columns: list[str] | None = None, identity: str | None = None
) -> pa.Table:
    """Read one Parquet file, and check it against its schema and its values against their checksums.

    Parameters
    ----------
    path : Path
    schema : pyarrow.Schema
        All columns of the table, with their types.
    columns : list of str, optional
        The columns to read; None reads all columns of `schema`.
    identity : str, optional
        Identity hash of the campaign that the file must belong to; None accepts any.

    Returns
    -------
    pyarrow.Table
        The columns in the order asked for, cast to the types of `schema`.

    Raises
    ------
    StoreError
        When the file is missing, unreadable, damaged, of other columns or of another campaign; the message
        names it.
    """
    try:
        # memory_map off: a truncated file must be an error, not a bus error. partitioning off: names are not values.
        table = pq.read_table(columns=columns, memory_map=False, partitioning=None, **source_arguments(path, "source"))
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing. `coterie run` writes it again") from error
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise StoreError(f"{path} is not a readable Parquet file ({_first_line(error)}). {REMEDY}") from error
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    try:
        later = [field for field in wanted if field.name in ADDED_LATER and field.name not in table.column_names]
        own = pa.schema([field for field in wanted if field not in later])
        read = table.select(own.names).cast(own)
        read.validate(full=True)
        damaged = damaged_columns(read.replace_schema_metadata(table.schema.metadata))
        for field in later:
            read = read.append_column(field, pa.nulls(read.num_rows, field.type))
        read = read.select(wanted.names)
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise StoreError(f"{path} does not hold the columns of its table ({_first_line(error)}). {REMEDY}") from error
    if damaged:
        raise StoreError(f"{path} is damaged: the checksum of {', '.join(damaged)} does not hold. {REMEDY}")
    owner = recorded_identity(table)
    if identity is not None and owner not in (None, identity):
        raise StoreError(f"{path} was written for another campaign (identity {str(owner)[:12]}). {REMEDY}")
    return read


def source_arguments(path: Path, name: str) -> dict[str, Any]:
    """Return the arguments with which pyarrow finds a file.

    Parameters
    ----------
    path : Path
    name : str
        What pyarrow's function calls the argument for the file.

    Returns
    -------
    dict
        The path under `name`; for an object store its key under `name`, and `filesystem`.
    """
    if isinstance(path, ObjectPath):
        return {name: path.key, "filesystem": path.filesystem}
    return {name: path}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[Callable[[], None]]:
    """Hold a lock file while in the block; the system releases it when its owner dies.

    Parameters
    ----------
    path : Path
        The lock file; its folder is made where it is missing.
    what : str
        What the lock protects, for the message.

    Yields
    ------
    callable
        A check to call before writing. In an object store, where a lock is a lease, it raises CampaignBusy
        once the lease has been lost.

    Raises
    ------
    CampaignBusy
        When a living process holds the lock.
    StoreError
        When the folder cannot be made or written.
    """
    if isinstance(path, ObjectPath):
        with lease(path, what) as check:
            yield check
        return
    import fcntl

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("a+")
    except OSError as error:
        raise _explain(error, path) from error
    with opened as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            owner = handle.read().strip() or "another process"
            raise CampaignBusy(
                f"{what} is being written by {owner}. Wait until it ends (or stop it), then run again"
            ) from error
        handle.truncate(0)
        handle.write(f"process {os.getpid()}")
        handle.flush()
        try:
            yield lambda: None
        finally:
            handle.truncate(0)
            fcntl.flock(handle, fcntl.LOCK_UN)
