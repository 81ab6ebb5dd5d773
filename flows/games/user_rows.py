"""Players and targets as the user hands them in: a CSV or Parquet file, a table of a function, or a number.

Columns that have a meaning: name, class, group, text, picture (a path or encoded bytes), audit. Every other column is
shown to people as part of the row's text.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flows.errors import CoterieError
from flows.store import schemas
from training.data.names import as_name

MEANINGS = ("name", "class", "group", "text", "picture", "audit")
SYNONYMS = {"label": "class", "class_name": "class", "image": "picture", "id": "name"}
NO_CLASS = "all"
TEXT_SHOWN = 400  # characters of a row's text that are kept
PICTURE_SIDE = 128  # pixels; larger pictures are reduced
_TRUE, _FALSE = {"1", "true", "yes", "y"}, {"", "0", "false", "no", "n", "none", "nan"}


class BadRows(CoterieError):
    """Players or targets that cannot be read, or that do not fit each other."""

    exit_code = 8


@dataclass(frozen=True)
class UserRows:
    """Rows of a table of players or of targets.

    Parameters
    ----------
    names
        (n,) one line of text each, all different.
    classes
        (n,) name of each row's class; `NO_CLASS` where there is none.
    groups
        (n,) name of the player a row belongs to, or None where every row is its own.
    texts
        (n,) what is shown where a picture would be; empty: the name.
    pictures
        (n,) encoded pictures, or None.
    audit
        (n,) bool, True for audit examples.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    groups: tuple[str, ...] | None
    texts: tuple[str, ...]
    pictures: tuple[bytes | None, ...]
    audit: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def digest(self) -> str:
        """Return a digest of names, classes, groups and audit flags: what identifies the rows.

        Returns
        -------
        str
            16 hexadecimal digits.
        """
        content = json.dumps([self.names, self.classes, self.groups, self.audit.tolist()])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def player_of_row(self) -> np.ndarray:
        """(n,) int64, the player of each row; players are numbered by the first row of their group."""
        if self.groups is None:
            return np.arange(len(self), dtype=np.int64)
        number: dict[str, int] = {}
        return np.array([number.setdefault(group, len(number)) for group in self.groups], dtype=np.int64)

    @property
    def player_names(self) -> tuple[str, ...]:
        """Names of the players: of the groups, or of the rows."""
        return self.names if self.groups is None else tuple(dict.fromkeys(self.groups))

    def without_content(self) -> UserRows:
        """Return the rows without texts and pictures: what an evaluation needs."""
        return replace(self, texts=("",) * len(self), pictures=(None,) * len(self))


def read_rows(what: str, given: Any, group_by: str | None = None) -> UserRows:
    """Read a table of players or targets.

    Parameters
    ----------
    what
        "players" or "targets", for names and messages.
    given
        The path of a CSV or Parquet file; a number of rows; or what a function returned: a number, a list of names, a
        list of dictionaries, a dictionary of columns, a pyarrow table, a pandas data frame or a path.
    group_by
        Column whose values name the players; the column `group` when None, where there is one.

    Returns
    -------
    UserRows

    Raises
    ------
    BadRows
        For a file that cannot be read, a column that does not exist, no rows, or names that are not unique.
    """
    folder = Path()
    if isinstance(given, str) and given.strip().isdigit():
        given = int(given)
    if isinstance(given, (str, Path)):
        folder = Path(given).expanduser().absolute().parent
        columns: Mapping[str, Sequence[Any]] = _read_file(what, Path(given).expanduser())
    else:
        columns = _columns(what, given)
    return rows_of_columns(what, columns, group_by, folder)


def rows_of_columns(
    what: str, columns: Mapping[str, Sequence[Any]], group_by: str | None = None, folder: Path | None = None
) -> UserRows:
    """Make rows of columns.

    Parameters
    ----------
    what
        "players" or "targets", for names and messages.
    columns
        Values by column; all of one length.
    group_by
        As in `read_rows`.
    folder
        Where relative paths of pictures begin.

    Returns
    -------
    UserRows

    Raises
    ------
    BadRows
        As in `read_rows`.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise BadRows(f"the columns of {what} have different lengths: {lengths}. Give every column a value per row")
    n = next(iter(lengths.values()), 0)
    if not n:
        raise BadRows(f"there are no {what}: the table has no rows. Give a table with at least one row")
    if group_by is not None and group_by not in columns:
        raise BadRows(f"game.group_by = {group_by!r} is no column of {what}; the columns are {', '.join(columns)}")
    known = _by_meaning(columns)
    groups = columns[group_by] if group_by is not None else known.get("group")
    stem = what.removesuffix("s")
    names = [_text(value) for value in known["name"]] if "name" in known else [f"{stem} {row}" for row in range(n)]
    repeated = next((name for name, times in _counts(names).items() if times > 1), None)
    if repeated is not None:
        raise BadRows(f"{what}: the name {repeated!r} is given to several rows. Names must be unique")
    return UserRows(
        names=tuple(names),
        classes=tuple(_text(value) or NO_CLASS for value in known["class"]) if "class" in known else (NO_CLASS,) * n,
        groups=None if groups is None else tuple(_text(value) or name for value, name in zip(groups, names)),  # noqa: B905
        texts=_texts(known, columns, n),
        pictures=_pictures(what, known, folder or Path(), n),
        audit=np.array([_flag(what, value) for value in known["audit"]]) if "audit" in known else np.zeros(n, bool),
    )


def examples_of(players: UserRows, targets: UserRows) -> tuple[pa.Table, tuple[str, ...]]:
    """Make the `examples` table of players and targets.

    Parameters
    ----------
    players, targets : UserRows
        Rows of `targets` that are flagged become audit examples.

    Returns
    -------
    table : pyarrow.Table
        Rows of the splits train, target and audit, in this order.
    class_names : tuple of str
        Names of the classes, in the order of their labels.
    """
    class_names = tuple(dict.fromkeys([*players.classes, *targets.classes]))
    label = {name: number for number, name in enumerate(class_names)}
    parts = []
    everyone = np.arange(len(players))
    splits = (("train", players, everyone), ("target", targets, np.flatnonzero(~targets.audit)),
              ("audit", targets, np.flatnonzero(targets.audit)))  # fmt: skip
    for split, rows, chosen in splits:
        of_player = rows.player_of_row if split == "train" else np.full(len(rows), -1)
        picked = chosen.tolist()
        groups = rows.groups if split == "train" else None
        columns = {
            "split": [split] * len(picked),
            "position": np.arange(len(picked), dtype=np.int32),
            "name": [rows.names[row] for row in picked],
            "group": [None if groups is None or groups[row] == rows.names[row] else groups[row] for row in picked],
            "source_index": chosen.astype(np.int64),
            "source_id": [None] * len(picked),
            "label": [label[rows.classes[row]] for row in picked],
            "class_name": [rows.classes[row] for row in picked],
            "player": of_player[chosen].astype(np.int32),
            "image": [rows.pictures[row] for row in picked],
            "text": [rows.texts[row] or None for row in picked],
        }
        parts.append(pa.table({name: pa.array(columns[name], schemas.EXAMPLES.field(name).type)
                               for name in schemas.EXAMPLES.names}, schema=schemas.EXAMPLES))  # fmt: skip
    return pa.concat_tables(parts), class_names


# --- reading -------------------------------------------------------------------------------------------------


def _read_file(what: str, path: Path) -> dict[str, Sequence[Any]]:
    if not path.is_file():
        raise BadRows(f"the {what} file {str(path)!r} does not exist. Give a CSV or Parquet file with a row each")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            import pyarrow.parquet as pq

            table = pq.read_table(path, partitioning=None)
            return {name: table[name].to_pylist() for name in table.column_names}
        with path.open(newline="", encoding="utf-8-sig") as handle:
            header_line = handle.readline()
            handle.seek(0)
            delimiter = next((one for one in "\t;" if one in header_line and "," not in header_line), ",")
            reader = csv.DictReader(handle, delimiter="\t" if path.suffix.lower() == ".tsv" else delimiter)
            lines = list(reader)
            header = list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise BadRows(f"the {what} file {path} cannot be read as CSV or Parquet ({error})") from error
    uneven = next((number for number, line in enumerate(lines, 2) if None in line or None in line.values()), None)
    if uneven is not None:
        raise BadRows(f"the {what} file {path}, line {uneven}: not as many values as the header has columns")
    return {name: [line[name] for line in lines] for name in header}


def _columns(what: str, given: Any) -> Mapping[str, Sequence[Any]]:
    """Columns of what a function returned."""
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool):
        stem = what.removesuffix("s")
        return {"name": [f"{stem} {row}" for row in range(int(given))]}
    if isinstance(given, pa.Table):
        return {name: given[name].to_pylist() for name in given.column_names}
    if isinstance(given, Mapping):
        return {str(name): list(values) for name, values in given.items()}
    if hasattr(given, "to_dict") and hasattr(given, "columns"):  # a pandas data frame, without importing pandas
        return {str(name): given[name].tolist() for name in given.columns}
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes)):
        found = list(given)
        if found and all(isinstance(item, Mapping) for item in found):
            return {str(name): [item.get(name) for item in found] for name in found[0]}
        return {"name": found}
    raise BadRows(
        f"{what} are a {type(given).__name__}; a table is needed: a number of rows, a list of names, a list of "
        "dictionaries, a dictionary of columns, a pyarrow table or a pandas data frame"
    )


def _by_meaning(columns: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    known = {name: columns[name] for name in MEANINGS if name in columns}
    for synonym, meaning in SYNONYMS.items():
        if synonym in columns:
            known.setdefault(meaning, columns[synonym])
    return known


def _texts(known: Mapping[str, Sequence[Any]], columns: Mapping[str, Sequence[Any]], n: int) -> tuple[str, ...]:
    """The column `text`, or what the row's other columns hold."""
    if "text" in known:
        return tuple("" if value is None or value != value else str(value)[:TEXT_SHOWN] for value in known["text"])
    others = [name for name in columns if name not in MEANINGS and name not in SYNONYMS]
    return tuple(", ".join(f"{name} {_short(columns[name][row])}" for name in others)[:TEXT_SHOWN] for row in range(n))


def _pictures(what: str, known: Mapping[str, Sequence[Any]], folder: Path, n: int) -> tuple[bytes | None, ...]:
    if "picture" not in known:
        return (None,) * n
    return tuple(_picture(what, value, folder) for value in known["picture"])


def _picture(what: str, value: Any, folder: Path) -> bytes | None:
    from PIL import Image

    if value is None or value == "":
        return None
    path = folder / str(value) if not isinstance(value, bytes) else None
    try:
        content = value if path is None else path.read_bytes()
        with Image.open(io.BytesIO(content)) as opened:
            image = opened if opened.mode in ("L", "RGB") else opened.convert("RGB")
            image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
            packed = io.BytesIO()
            image.save(packed, format="PNG")
    except (OSError, ValueError) as error:
        raise BadRows(f"{what}: the picture {path or 'in a row'} cannot be read ({error})") from error
    return packed.getvalue()


def _text(value: Any) -> str:
    return "" if value is None or value != value else as_name(str(value)).strip()


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _flag(what: str, value: Any) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise BadRows(f"{what}: audit is {value!r}; it must be true or false")


def _counts(names: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts
