"""Files with one row a mask, read in blocks of rows: npy, npz, Parquet, and lists of indices as text or JSON.

No file is read whole. A block of an npy file is mapped, copied and unmapped again, so that memory is that of a block.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from flows.banks.errors import BankError

ARRAY_SUFFIXES = (".npy", ".npz", ".parquet", ".json", ".txt", ".csv")


class Rows(Protocol):
    """Rows of a file, in the file's order."""

    @property
    def label(self) -> str:
        """The file, and what of it, as the user named it."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns; of lists of indices, columns is -1."""
        ...

    def blocks(self, n_rows: int) -> Iterator[Any]:
        """Yield every row once, in blocks of at most `n_rows`: 2-D arrays, or lists of 1-D arrays (indices)."""
        ...


@dataclass(frozen=True)
class NpyRows:
    """An npy file, one row a mask, or one column a mask where `transposed` is set."""

    path: Path
    stored_shape: tuple[int, ...]
    transposed: bool = False

    @property
    def label(self) -> str:
        return str(self.path)

    @property
    def shape(self) -> tuple[int, int]:
        return _oriented(self.stored_shape, self.transposed)

    def blocks(self, n_rows: int) -> Iterator[np.ndarray]:
        for start in range(0, self.shape[0], n_rows):
            mapped = _mapped(self.path)  # mapped block by block: pages of earlier blocks do not stay in memory
            if mapped.shape != self.stored_shape:
                raise BankError(
                    f"{self.path} changed while it was read: its shape was {self.stored_shape}. Import again"
                )
            table = mapped.reshape(len(mapped), -1)
            yield np.array(table[:, start : start + n_rows].T if self.transposed else table[start : start + n_rows])
            del mapped, table


@dataclass(frozen=True)
class NpzRows:
    """An array of an npz file. It is decompressed as it is read, where its rows lie one after the other."""

    path: Path
    key: str
    stored_shape: tuple[int, ...]
    transposed: bool = False

    @property
    def label(self) -> str:
        return f"{self.path}:{self.key}"

    @property
    def shape(self) -> tuple[int, int]:
        return _oriented(self.stored_shape, self.transposed)

    def blocks(self, n_rows: int) -> Iterator[np.ndarray]:
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.key}.npy") as stream:
            shape, fortran, dtype = _npy_header(stream, self.label)
            if shape != self.stored_shape:
                raise BankError(
                    f"{self.path} changed while it was read: its shape was {self.stored_shape}. Import again"
                )
            if self.transposed or (fortran and len(shape) > 1):  # rows do not follow one another: read whole
                values = np.frombuffer(stream.read(), dtype)
                table = (values.reshape(shape[::-1]).T if fortran else values.reshape(shape)).reshape(shape[0], -1)
                table = table.T if self.transposed else table
                for start in range(0, len(table), n_rows):
                    yield np.array(table[start : start + n_rows])
                return
            width = int(np.prod(shape[1:], dtype=np.int64))
            for start in range(0, shape[0], n_rows):
                count = min(n_rows, shape[0] - start)
                content = stream.read(count * width * dtype.itemsize)
                yield np.frombuffer(content, dtype).reshape(count, width)


@dataclass(frozen=True)
class ParquetRows:
    """A list column of a Parquet file or of a folder of them, or all their columns of numbers; one row a mask."""

    paths: tuple[Path, ...]
    column: str | None
    stored_shape: tuple[int, int]

    @property
    def label(self) -> str:
        where = self.paths[0] if len(self.paths) == 1 else self.paths[0].parent
        return f"{where}:{self.column}" if self.column else str(where)

    @property
    def shape(self) -> tuple[int, int]:
        return self.stored_shape

    def blocks(self, n_rows: int) -> Iterator[Any]:
        import pyarrow.parquet as pq

        for path in self.paths:
            with pq.ParquetFile(path) as file:
                names = [self.column] if self.column else number_columns(file.schema_arrow)
                for batch in file.iter_batches(batch_size=n_rows, columns=names):
                    yield self._block(batch)

    def _block(self, batch: Any) -> Any:
        if self.column is None:
            return np.column_stack([column.to_numpy(zero_copy_only=False) for column in batch.columns])
        column = batch.column(0)
        if column.null_count:
            raise BankError(
                f"{self.label} has rows without a value (null). Remove them, with their rows of the other file"
            )
        if self.shape[1] < 0:
            ends = column.offsets.to_numpy() - column.offsets[0].as_py()
            return [values for values in np.split(column.flatten().to_numpy(), ends[1:-1])]
        kind = str(column.type)
        if kind.startswith("fixed_size_binary") or kind in ("binary", "large_binary"):
            return np.frombuffer(b"".join(column.to_pylist()), np.uint8).reshape(len(column), -1)
        flat = column.flatten().to_numpy(zero_copy_only=False)
        if flat.size != len(column) * self.shape[1]:
            raise BankError(f"{self.label} has lists of different lengths. Every row needs {self.shape[1]} values")
        return flat.reshape(len(column), self.shape[1])


@dataclass(frozen=True)
class IndexLists:
    """Lists of indices held in memory: of a JSON file, of a text file with a subset a line, or of many subset files."""

    label: str
    lists: tuple[np.ndarray, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.lists), -1

    def blocks(self, n_rows: int) -> Iterator[list[np.ndarray]]:
        for start in range(0, len(self.lists), n_rows):
            yield list(self.lists[start : start + n_rows])


def open_rows(given: str | Path, wanted: tuple[str, ...]) -> Rows:
    """Open a file of masks or outputs.

    Parameters
    ----------
    given
        An npy, npz, Parquet, JSON or text file, or a folder of Parquet files; `FILE:NAME` takes an array of an npz
        file or a column of a Parquet file by its name.
    wanted
        Names an array or column may have, tried in this order where none is given.

    Returns
    -------
    Rows

    Raises
    ------
    BankError
        For a file that does not exist, of another kind, or without such an array.
    """
    text = str(given)
    path, key = Path(text).expanduser(), None
    if not path.exists() and ":" in text:
        head, _, key = text.rpartition(":")
        path = Path(head).expanduser()
    if not path.exists():
        raise BankError(f"there is no file {text!r}. Give an npy, npz, Parquet, JSON or text file")
    try:
        return _open(path, key, wanted)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BankError(
            f"{path} cannot be read ({' '.join(str(error).split())}). Write it again, or give another file"
        ) from error


def _open(path: Path, key: str | None, wanted: tuple[str, ...]) -> Rows:
    if path.is_dir() or path.suffix == ".parquet":
        return _open_parquet(path, key, wanted)
    if path.suffix == ".npy":
        mapped = _mapped(path)
        if mapped.ndim not in (1, 2):
            raise BankError(
                f"{path} has {mapped.ndim} dimensions {mapped.shape}; masks and outputs have two, (n_masks, …)"
            )
        return NpyRows(path, mapped.shape)
    if path.suffix == ".npz":
        return _open_npz(path, key, wanted)
    if path.suffix == ".json":
        return IndexLists(str(path), index_lists(json.loads(path.read_text(encoding="utf-8")), str(path)))
    if path.suffix in (".txt", ".csv"):
        lines = path.read_text(encoding="utf-8").splitlines()
        return IndexLists(str(path), index_lists([line.replace(",", " ").split() for line in lines], str(path)))
    raise BankError(
        f"{path} has the suffix {path.suffix!r}; known are {', '.join(ARRAY_SUFFIXES)} and folders of Parquet"
    )


def _open_npz(path: Path, key: str | None, wanted: tuple[str, ...]) -> NpzRows:
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        chosen = _choose(path, key, wanted, names, "array")
        with archive.open(f"{chosen}.npy") as stream:
            shape, _, dtype = _npy_header(stream, f"{path}:{chosen}")
    if dtype.hasobject or len(shape) not in (1, 2):
        raise BankError(
            f"{path}:{chosen} is {dtype} {shape}; masks and outputs are numbers of two dimensions, (n_masks, …)"
        )
    return NpzRows(path, chosen, shape)


def _open_parquet(path: Path, key: str | None, wanted: tuple[str, ...]) -> ParquetRows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = tuple(sorted(path.glob("*.parquet"))) if path.is_dir() else (path,)
    if not paths:
        raise BankError(f"{path} holds no Parquet files. Give a file, or a folder that holds *.parquet")
    n_rows = 0
    for one in paths:
        try:
            with pq.ParquetFile(one) as file:
                schema, n_rows = file.schema_arrow, n_rows + file.metadata.num_rows
                first = next(file.iter_batches(batch_size=1), None)
        except pa.ArrowException as error:
            raise BankError(f"{one} cannot be read as Parquet ({' '.join(str(error).split())})") from error
    lists = [field.name for field in schema if _is_list(field.type) or pa.types.is_fixed_size_binary(field.type)]
    if key is None and not set(lists) & set(wanted):
        numbers = number_columns(schema)
        if len(numbers) > len(lists):
            return ParquetRows(paths, None, (n_rows, len(numbers)))
    chosen = _choose(path, key, wanted, lists, "list column")
    kind = schema.field(chosen).type
    if pa.types.is_fixed_size_binary(kind):
        width = kind.byte_width
    elif pa.types.is_fixed_size_list(kind):
        width = kind.list_size
    else:
        lengths = _list_lengths(paths, chosen)
        width = int(lengths[0]) if len(np.unique(lengths)) == 1 else -1
        if width >= 0 and first is not None and pa.types.is_integer(kind.value_type):
            width = width if _looks_like_a_mask(first.column(schema.get_field_index(chosen))) else -1
    return ParquetRows(paths, chosen, (n_rows, width))


def _looks_like_a_mask(column: Any) -> bool:
    values = column.flatten().to_numpy()
    return bool(np.isin(values, (-1, 0, 1)).all()) and len(values) > 2


def _list_lengths(paths: tuple[Path, ...], column: str) -> np.ndarray:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    lengths = []
    for path in paths:
        with pq.ParquetFile(path) as file:
            lengths += [pc.list_value_length(batch.column(0)).to_numpy(False)
                        for batch in file.iter_batches(batch_size=4096, columns=[column])]  # fmt: skip
    return np.concatenate(lengths) if lengths else np.zeros(1, np.int64)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def number_columns(schema: Any) -> list[str]:
    """Return the names of a schema's columns of numbers or booleans."""
    import pyarrow as pa

    known = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating)
    return [field.name for field in schema if any(fits(field.type) for fits in known)]


def index_lists(content: Any, where: str) -> tuple[np.ndarray, ...]:
    """Return lists of indices as arrays.

    Raises
    ------
    BankError
        For anything but a list of lists of whole numbers from 0.
    """
    if not isinstance(content, list) or not content:
        raise BankError(f"{where} must hold a list of subsets, each a list of player numbers")
    found = []
    for number, one in enumerate(content):
        try:
            values = np.array([int(value) for value in one], np.int64)
        except (TypeError, ValueError) as error:
            raise BankError(f"subset {number} of {where} holds something that is no whole number ({error})") from error
        if len(values) and values.min() < 0:
            raise BankError(f"subset {number} of {where} holds the number {values.min()}; players count from 0")
        found.append(values)
    return tuple(found)


def transposed(rows: Rows) -> Rows:
    """Return the same array with rows and columns exchanged.

    Raises
    ------
    BankError
        For a file whose rows are rows by its format.
    """
    if isinstance(rows, NpyRows | NpzRows):
        return replace(rows, transposed=not rows.transposed)
    raise BankError(
        f"{rows.label} has one row a mask by its format, and its number of rows does not fit the other file"
    )


def can_be_transposed(rows: Rows) -> bool:
    """Whether rows and columns of the file can be exchanged."""
    return isinstance(rows, NpyRows | NpzRows) and len(rows.stored_shape) == 2


def paths_of(rows: Rows) -> tuple[Path, ...]:
    """Return the files that rows are read from."""
    if isinstance(rows, ParquetRows):
        return rows.paths
    if isinstance(rows, NpyRows | NpzRows):
        return (rows.path,)
    path = Path(rows.label)
    return (path,) if path.exists() else ()


def _choose(path: Path, key: str | None, wanted: tuple[str, ...], names: list[str], what: str) -> str:
    if key is not None:
        if key not in names:
            raise BankError(f"{path} has no {what} {key!r}; it has {', '.join(names) or 'none'}")
        return key
    for name in wanted:
        if name in names:
            return name
    if len(names) == 1:
        return names[0]
    raise BankError(
        f"{path} has {len(names)} {what}s ({', '.join(names[:8])}) and none is called {' or '.join(wanted)}. Name one: "
        f"{path}:NAME"
    )


def _oriented(shape: tuple[int, ...], transposed: bool) -> tuple[int, int]:
    table = (shape[0], 1) if len(shape) == 1 else (shape[0], shape[1])
    return table[::-1] if transposed else table


def _mapped(path: Path) -> np.ndarray:
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise BankError(
            f"{path} cannot be mapped into memory ({' '.join(str(error).split())}). Save it with numpy.save"
        ) from error
    return np.asarray(mapped) if mapped.ndim == 0 else mapped


def _npy_header(stream: Any, where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise BankError(f"{where} holds Python objects, which are not read. Save numbers, or lists of indices as JSON")
    return shape, fortran, dtype
