"""How a bank writes its masks: 0 and 1, -1 and +1, packed bits, or lists of the players that are included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from flows.banks.arrays import Rows
from flows.banks.errors import BankError

Encoding = Literal["binary", "signs", "packed", "indices"]
BitOrder = Literal["big", "little"]
ENCODINGS: tuple[str, ...] = ("auto", "binary", "signs", "packed", "indices")
LOOKED_AT = 256  # masks by which the encoding is recognised; every later mask is checked against it


@dataclass(frozen=True)
class MaskReader:
    """Reads the masks of a file as booleans, True where a player is included.

    Parameters
    ----------
    rows
        The file.
    encoding
        How it writes a mask.
    n_players
        Columns of the masks that are read.
    bit_order
        Of packed bits: `big`, NumPy's default, has the first player in the highest bit of a byte.
    inverted
        Whether the file marks the players that are left out.
    notes
        What was recognised and not given, in sentences.
    """

    rows: Rows
    encoding: Encoding
    n_players: int
    bit_order: BitOrder = "big"
    inverted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def n_masks(self) -> int:
        """Rows of the file."""
        return self.rows.shape[0]

    def blocks(self, n_rows: int) -> Iterator[np.ndarray]:
        """Yield (up to n_rows, n_players) bool, every mask once. Raises BankError for a mask written otherwise."""
        first = 0
        for block in self.rows.blocks(n_rows):
            masks = self._decode(block, first)
            first += len(masks)
            yield ~masks if self.inverted else masks

    def _decode(self, block: Any, first: int) -> np.ndarray:
        if self.encoding == "indices":
            return self._of_indices(block, first)
        values = np.asarray(block)
        if self.encoding == "packed":
            masks = np.unpackbits(values, axis=1, bitorder=self.bit_order)
            if masks[:, self.n_players :].any():
                row = first + int(masks[:, self.n_players :].any(axis=1).argmax())
                raise BankError(
                    f"mask {row} of {self.rows.label} includes a player beyond the last of {self.n_players}"
                )
            return masks[:, : self.n_players].astype(bool)
        if values.dtype == bool:
            return values
        low = -1 if self.encoding == "signs" else 0
        bad = (values != 1) & (values != low)
        if bad.any():
            row, column = (int(place[0]) for place in np.nonzero(bad))
            raise BankError(
                f"mask {first + row} of {self.rows.label} holds {values[row, column]} at player {column}, and earlier "
                "masks "
                f"hold {low} and 1 alone. Correct it, or remove the mask and its outputs"
            )
        return np.asarray(values == 1)

    def _of_indices(self, block: Any, first: int) -> np.ndarray:
        masks = np.zeros((len(block), self.n_players), bool)
        for row, subset in enumerate(block):
            players = np.asarray(subset)
            if players.dtype.kind == "f":
                players = players[np.isfinite(players)].astype(np.int64)
            if len(players) and (players.min() < 0 or players.max() >= self.n_players):
                raise BankError(
                    f"subset {first + row} of {self.rows.label} holds player {players.max()}, and there are "
                    f"{self.n_players}, counted from 0. Give --players, or --n-players"
                )
            masks[row, players] = True
            if masks[row].sum() != len(players):
                raise BankError(f"subset {first + row} of {self.rows.label} names a player twice")
        return masks


def recognise(
    rows: Rows,
    n_players: int | None,
    *,
    encoding: str = "auto",
    bit_order: BitOrder | None = None,
    inverted: bool = False,
    block_rows: int = 1024,
) -> MaskReader:
    """Find out how a file writes its masks.

    Parameters
    ----------
    rows
        The file, one row a mask.
    n_players
        Number of players where the user gives one; packed bits and lists of indices do not say it.
    encoding
        One of `ENCODINGS`; `auto` looks at the values of the first masks.
    bit_order
        Of packed bits; when None, the order that leaves the bits beyond the last player empty.
    inverted
        Whether the file marks players that are left out.
    block_rows
        Masks read at a time.

    Returns
    -------
    MaskReader

    Raises
    ------
    BankError
        For values that are no masks, and for a number of players that contradicts the file.
    """
    if encoding not in ENCODINGS:
        raise BankError(f"unknown mask format {encoding!r}; the formats are {', '.join(ENCODINGS)}")
    first = next(rows.blocks(LOOKED_AT), None)
    if first is None or not len(first):
        raise BankError(f"{rows.label} holds no masks")
    found = _encoding_of(rows, first) if encoding == "auto" else encoding
    if found == "indices":
        return _indices(rows, n_players, inverted, block_rows)
    if found == "packed":
        return _packed(rows, n_players, bit_order, inverted, block_rows)
    width = rows.shape[1]
    if n_players is not None and width != n_players:
        raise BankError(
            f"{rows.label} has {width} columns and there are {n_players} players. Give the players of this bank, one "
            "row "
            "a column of the masks"
        )
    notes = (f"{rows.label} holds -1 and +1: +1 is read as included",) if found == "signs" else ()
    return MaskReader(rows, "signs" if found == "signs" else "binary", width, inverted=inverted, notes=notes)


def _encoding_of(rows: Rows, first: Any) -> Encoding:
    if rows.shape[1] < 0:
        return "indices"
    values = np.asarray(first)
    if values.dtype == bool:
        return "binary"
    if values.dtype.kind not in "iuf":
        raise BankError(
            f"{rows.label} holds {values.dtype}; masks are booleans, 0 and 1, -1 and 1, packed bits or indices"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise BankError(
            f"{rows.label} holds NaN or infinite values; a mask says of every player whether it is included"
        )
    distinct = np.unique(values)
    if np.isin(distinct, (0, 1)).all():
        return "binary"
    if np.isin(distinct, (-1, 1)).all():
        return "signs"
    if values.dtype == np.uint8:  # lists of player numbers in so few bits are read where --mask-format says so
        return "packed"
    whole = values.dtype.kind in "iu" or bool((values == np.round(values)).all())
    rising = np.sort(values, axis=1)
    if whole and distinct[0] >= 0 and values.shape[1] > 1 and (np.diff(rising.astype(np.int64), axis=1) > 0).all():
        return "indices"
    raise BankError(
        f"{rows.label} holds {', '.join(f'{value:g}' for value in distinct[:4])}{', …' if len(distinct) > 4 else ''}, "
        "which "
        "are no masks: those are booleans, 0 and 1, -1 and 1, packed bits (uint8) or lists of player numbers"
    )


def _indices(rows: Rows, n_players: int | None, inverted: bool, block_rows: int) -> MaskReader:
    notes: tuple[str, ...] = ()
    if n_players is None:
        largest = max(int(np.max(subset, initial=-1)) for block in rows.blocks(block_rows) for subset in block)
        n_players = largest + 1
        notes = (f"{rows.label} lists player numbers; the largest is {largest}, so {n_players} players are assumed",)
    return MaskReader(rows, "indices", n_players, inverted=inverted, notes=notes)


def _packed(
    rows: Rows, n_players: int | None, bit_order: BitOrder | None, inverted: bool, block_rows: int
) -> MaskReader:
    """Packed bits do not say how many players there are, nor which end of a byte is the first."""
    most = 8 * rows.shape[1]
    used = np.zeros(most, np.int64)
    for block in rows.blocks(block_rows):
        values = np.asarray(block)
        if values.dtype != np.uint8:
            raise BankError(f"{rows.label} is {values.dtype}; packed bits are uint8 (numpy.packbits)")
        used += np.unpackbits(values, axis=1, bitorder="big").sum(axis=0, dtype=np.int64)
    little_used = used.reshape(-1, 8)[:, ::-1].ravel()
    last = {"big": _last(used), "little": _last(little_used)}
    if n_players is None:
        fitting: list[BitOrder] = [order for order in ("big", "little") if last[order] == min(last.values())]
    else:
        fitting = [order for order in ("big", "little") if last[order] <= n_players]
        if not fitting or not most - 8 < n_players <= most:
            raise BankError(
                f"{rows.label} packs {most - 7} to {most} players into {rows.shape[1]} bytes, of which {last['big']} "
                f"are used, and there are {n_players} players"
            )
    if bit_order is None and len(fitting) > 1:
        raise BankError(
            f"{rows.label} holds packed bits, and nothing in it says which end of a byte is the first player. Give "
            "--bit-order big (what numpy.packbits does by default) or --bit-order little"
        )
    order: BitOrder = bit_order or fitting[0]
    note = f"{rows.label} holds packed bits"
    if n_players is None:
        n_players = last[order]
        note += f"; the last that is ever set is {n_players - 1}, so {n_players} players are assumed"
    why = "as given" if bit_order else "in the other order bits beyond the last player are set"
    note = f"{note}; the first player is the {'highest' if order == 'big' else 'lowest'} bit of a byte ({why})"
    return MaskReader(rows, "packed", n_players, order, inverted, (note,))


def _last(used: np.ndarray) -> int:
    """Number of columns up to the last that is used."""
    found = np.flatnonzero(used)
    return int(found[-1]) + 1 if len(found) else 0
