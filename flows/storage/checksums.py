"""Checksums of table columns, kept in the Parquet file that they belong to.

A file's key-value metadata holds one sha256 per column, of the column's values and not of its bytes on disk, so that
one file stays one atomic thing and a reader of some columns checks just those. What the format may store in more than
one way (the bits under a null, chunking, dictionaries) does not enter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

CHECKSUMS = b"coterie.sha256"
IDENTITY = b"coterie.identity"


def stamp(table: pa.Table, identity: str | None = None) -> pa.Table:
    """Return the table with the checksums of its columns, and the campaign it belongs to, in its metadata.

    Parameters
    ----------
    table : pyarrow.Table
    identity : str, optional
        Identity hash of the campaign; None for a table of no particular campaign.

    Returns
    -------
    pyarrow.Table
        The same columns; the schema's metadata is replaced.
    """
    sums = {name: column_digest(table[name]) for name in table.column_names}
    metadata = {CHECKSUMS: json.dumps(sums)}
    if identity is not None:
        metadata[IDENTITY] = identity
    return table.replace_schema_metadata(metadata)


def damaged_columns(table: pa.Table) -> list[str]:
    """Return the columns whose values are not those that were written.

    Parameters
    ----------
    table : pyarrow.Table
        With the metadata of its file.

    Returns
    -------
    list of str
        Names of the columns, in the table's order.

    Raises
    ------
    ValueError
        When the table carries no checksums, or none that can be read.
    """
    recorded = (table.schema.metadata or {}).get(CHECKSUMS)
    if recorded is None:
        raise ValueError("it carries no checksums")
    sums = json.loads(recorded)
    if not isinstance(sums, dict):
        raise ValueError("its checksums are not a table of columns")
    return [name for name in table.column_names if sums.get(name) != column_digest(table[name])]


def recorded_identity(table: pa.Table) -> str | None:
    """Return the identity hash of the campaign that a table was written for.

    Parameters
    ----------
    table : pyarrow.Table
        With the metadata of its file.

    Returns
    -------
    str or None
        None for a table written for no particular campaign.
    """
    found = (table.schema.metadata or {}).get(IDENTITY)
    return None if found is None else found.decode("utf-8", "replace")


def column_digest(column: pa.ChunkedArray) -> str:
    """Compute the SHA-256 over a column's type, its nulls and its values.

    Parameters
    ----------
    column : pyarrow.ChunkedArray

    Returns
    -------
    str
        64 hexadecimal digits; they do not depend on how the column is cut into chunks.
    """
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # a column of no chunks stays one in older pyarrow
        array = pa.array([], column.type)
    total = hashlib.sha256(str(array.type).encode())
    for part in _parts(array):
        total.update(part)
    return total.hexdigest()


def _parts(array: pa.Array) -> Iterator[bytes]:
    yield len(array).to_bytes(8, "little")
    if array.null_count:
        yield np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes()
        array = array.drop_null()
    kind = array.type
    if pa.types.is_fixed_size_list(kind):
        yield from _parts(array.flatten())
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield array.value_lengths().to_numpy().astype(np.int64).tobytes()
        yield from _parts(array.flatten())
    elif pa.types.is_fixed_size_binary(kind):
        width = kind.byte_width
        yield array.buffers()[1].slice(array.offset * width, len(array) * width).to_pybytes() if len(array) else b""
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        values = array.cast(pa.binary()).to_pylist()
        yield np.array([len(value) for value in values], np.int64).tobytes()
        yield b"".join(values)
    else:
        yield np.ascontiguousarray(array.to_numpy(zero_copy_only=False)).tobytes()
