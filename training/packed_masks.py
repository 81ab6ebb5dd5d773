"""Masks packed eight players to a byte: the form in which masks are stored and sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.errors import TrainingInputError


@dataclass(frozen=True)
class PackedMasks:
    """Masks, eight players to a byte.

    Parameters
    ----------
    bits
        (n_masks, packed_width(n_players)) uint8; player 0 is the lowest bit of the first byte.
    n_players
        Players of a mask; the bits above them are 0.

    Raises
    ------
    TrainingInputError
        When the bytes of a mask do not fit the number of players.

    Examples
    --------
    >>> packed = PackedMasks.pack(np.array([[True, False, True], [False, True, True]]))
    >>> packed.bits.tolist()
    [[5], [6]]
    >>> packed[[1]].unpack().tolist()
    [[False, True, True]]
    """

    bits: np.ndarray
    n_players: int

    def __post_init__(self) -> None:
        if self.bits.ndim != 2 or self.bits.dtype != np.uint8 or self.bits.shape[1] != packed_width(self.n_players):
            raise TrainingInputError(
                f"{self.n_players} players are packed into (n_masks, {packed_width(self.n_players)}) uint8; got "
                f"{self.bits.shape} {self.bits.dtype}. Use PackedMasks.pack(masks)."
            )

    @classmethod
    def pack(cls, masks: np.ndarray) -> PackedMasks:
        """Pack (n_masks, n_players) bool."""
        return cls(np.ascontiguousarray(np.packbits(masks, axis=1, bitorder="little")), masks.shape[1])

    def unpack(self) -> np.ndarray:
        """Return the masks as (n_masks, n_players) bool."""
        return np.unpackbits(self.bits, axis=1, bitorder="little", count=self.n_players).astype(bool)

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, rows: slice | list[int] | np.ndarray) -> PackedMasks:
        """Select masks by a slice, by row numbers or by a boolean array."""
        return PackedMasks(np.ascontiguousarray(self.bits[rows]), self.n_players)

    def __iter__(self) -> Iterator[PackedMasks]:
        """Iterate over single masks, each of one row."""
        return (self[row : row + 1] for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PackedMasks):
            return NotImplemented
        return self.n_players == other.n_players and np.array_equal(self.bits, other.bits)

    __hash__ = None  # type: ignore[assignment]


def packed_width(n_players: int) -> int:
    """Return the bytes of one packed mask."""
    return (n_players + 7) // 8
