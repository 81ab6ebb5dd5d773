"""Sets of few players from the bits that the rows of a BCH code's parity check give them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attribution.spex.galois import Field, GaloisField, galois_field

_CELLS = 1 << 22  # row x player values of one block of the root search: 16 MB


class SetCode:
    """A code whose syndromes name sets of up to `max_order` of n players.

    Player j has the column (a^j, a^3j, a^5j, ...) of GF(2^m), written as bits. A set's syndrome is the sum of its
    members' columns; sets of up to max_order members have different syndromes (a binary BCH code that corrects as
    many errors, of which only the parity check is used).

    Parameters
    ----------
    n_players : int
    max_order : int

    Attributes
    ----------
    n_checks : int
        Bits of a syndrome, max_order * m with n_players <= 2^m - 1. Those of max_order - 1 come first.

    Examples
    --------
    >>> code = SetCode(n_players=20, max_order=3)
    >>> syndrome = code.columns[:, [3, 11, 17]].sum(axis=1) % 2
    >>> members, known = code.decode(syndrome[None].astype(bool))
    >>> members.tolist(), known.tolist()
    ([[3, 11, 17]], [True])
    """

    def __init__(self, n_players: int, max_order: int) -> None:
        self.n_players, self.max_order = n_players, max_order
        self.field: GaloisField = galois_field(max(2, int(n_players).bit_length()))
        m = self.field.m
        self.n_checks = max_order * m
        players = np.arange(n_players, dtype=np.int64)
        values = np.stack([self.field.power(players * (2 * i + 1)) for i in range(max_order)])  # (t, n)
        bits = (values[:, None, :] >> np.arange(m)[None, :, None]) & 1
        self.columns: NDArray[np.uint8] = bits.reshape(self.n_checks, n_players).astype(np.uint8)

    def decode(self, bits: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return the set of each syndrome.

        Parameters
        ----------
        bits : (rows, n_checks) bool

        Returns
        -------
        members : (rows, max_order) int32
            Ascending, padded with n_players.
        known : (rows,) bool
            Whether a set of at most max_order players has the syndrome.

        Notes
        -----
        Berlekamp's algorithm for binary codes (every second discrepancy is zero), then a search of all roots. Both are
        loops over max_order, on all rows at once.
        """
        field, t, n_rows = self.field, self.max_order, len(bits)
        packed = (bits.reshape(n_rows, t, field.m) << np.arange(field.m)).sum(axis=2).astype(np.int32)
        syndromes = np.zeros((n_rows, 2 * t + 1), np.int32)
        syndromes[:, 1::2] = packed
        for i in range(2, 2 * t + 1, 2):
            syndromes[:, i] = field.times(syndromes[:, i // 2], syndromes[:, i // 2])
        locator, degree = self._locators(syndromes)
        members = np.full((n_rows, t), self.n_players, np.int32)
        known = degree <= t
        self._find_roots(locator, degree, members, known)
        return members, known

    def _locators(self, syndromes: Field) -> tuple[Field, NDArray[np.int64]]:
        """Locator polynomial of each row, (rows, t + 1) by ascending power, and its degree."""
        field, t, n_rows = self.field, self.max_order, len(syndromes)
        width = 2 * t + 2
        locator, before = np.zeros((n_rows, width), np.int32), np.zeros((n_rows, width), np.int32)
        locator[:, 0] = before[:, 1] = 1
        degree, scale = np.zeros(n_rows, np.int64), np.ones(n_rows, np.int32)
        for step in range(0, 2 * t, 2):
            discrepancy = syndromes[:, step + 1].copy()
            for k in range(1, min(step, t) + 1):
                discrepancy ^= field.times(locator[:, k], syndromes[:, step + 1 - k])
            factor = field.over(discrepancy, scale)
            changed = locator ^ field.times(factor[:, None], before)
            longer = (discrepancy != 0) & (2 * degree <= step)
            before = np.where(longer[:, None], locator, before)
            scale = np.where(longer, discrepancy, scale)
            degree = np.where(longer, step + 1 - degree, degree)
            locator = changed
            before[:, 2:] = before[:, :-2].copy()
            before[:, :2] = 0
        return locator[:, : t + 1], degree

    def _find_roots(
        self, locator: Field, degree: NDArray[np.int64], members: NDArray[np.int32], known: NDArray[np.bool_]
    ) -> None:
        """Fill in the players at whose columns the locator vanishes; not known where they are fewer than its degree."""
        field = self.field
        players = np.arange(self.n_players, dtype=np.int64)
        shifts = np.mod(-players[:, None] * np.arange(self.max_order + 1), field.order).astype(np.int32)  # (n, t + 1)
        for order in range(1, self.max_order + 1):
            rows = np.flatnonzero(known & (degree == order))
            for start in range(0, len(rows), max(1, _CELLS // self.n_players)):
                some = rows[start : start + max(1, _CELLS // self.n_players)]
                logs = field.log(locator[some])
                value = np.ones((len(some), self.n_players), np.int32)
                for k in range(1, order + 1):
                    value ^= field.exp(np.minimum(logs[:, k, None] + shifts[None, :, k], 4 * field.order))
                root = value == 0
                complete = root.sum(axis=1) == order
                known[some[~complete]] = False
                found = np.nonzero(root[complete])[1].reshape(-1, order)
                members[some[complete], :order] = found
