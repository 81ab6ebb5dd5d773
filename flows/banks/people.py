"""Players and targets of a bank as people know them, from tables and pictures of the user's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flows.banks.errors import BankError
from flows.games.user_rows import UserRows, read_rows
from training.data.pictures import decode

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")


def read_people(what: str, given: str | Path | None, pictures: str | Path | None = None) -> UserRows | None:
    """Read the table of players or of targets.

    Parameters
    ----------
    what
        "players" or "targets".
    given
        A CSV or Parquet file, see `flows.games.user_rows.read_rows`; None where the user gives none.
    pictures
        Folder with a picture for each row, called like the row (its name, or its name and a suffix).

    Returns
    -------
    UserRows or None

    Raises
    ------
    BankError
        For a folder that holds no picture of any row.
    BadRows
        For a table that cannot be read.
    """
    if given is None:
        return None
    rows = read_rows(what, str(given))
    if pictures is None:
        return rows
    folder = Path(pictures).expanduser()
    if not folder.is_dir():
        raise BankError(f"--pictures names {str(pictures)!r}, which is no folder")
    found = tuple(
        own if own is not None else _picture(folder, name) for own, name in zip(rows.pictures, rows.names, strict=True)
    )
    return replace(rows, pictures=found)


def of_length(what: str, rows: UserRows | None, count: int) -> UserRows:
    """Return rows that fit the bank: numbered ones where the user gave none.

    Rows of targets flagged `audit` have no column in the bank: they say what a trainer returns beside its targets.

    Raises
    ------
    BankError
        When the table has another length than the masks or outputs have columns.
    """
    if rows is None:
        return read_rows(what, count)
    has = len(rows.player_names) if what == "players" else int((~rows.audit).sum())
    if has != count:
        columns = "masks" if what == "players" else "outputs"
        raise BankError(
            f"the table of {what} has {has:,} {what} and the {columns} have {count:,} columns. Give one row a column, "
            "in their order"
        )
    if what == "players" and rows.audit.any():
        raise BankError("the table of players marks audit examples; only targets can be. Leave those rows out")
    return rows


def count_of(what: str, rows: UserRows | None) -> int | None:
    """Number of players or targets of a table; None without one."""
    return None if rows is None else len(rows.player_names) if what == "players" else int((~rows.audit).sum())


def _picture(folder: Path, name: str) -> bytes | None:
    """The picture of a row by its name, reduced for showing."""
    for path in (folder / name, *(folder / f"{name}{suffix}" for suffix in SUFFIXES)):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            return _reduced(path)
    return None


def _reduced(path: Path) -> bytes:
    import io

    from PIL import Image

    from flows.games.user_rows import PICTURE_SIDE

    pixels = decode(path, str(path))
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    packed = io.BytesIO()
    image.save(packed, "PNG")
    return packed.getvalue()
