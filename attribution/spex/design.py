"""The masks of SPEX: affine subspaces of the cube, whose Walsh-Hadamard transforms hash every set into few bins."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.checks import check_integer, check_seed
from attribution.errors import AttributionError
from attribution.randomness import Purpose, random_stream
from attribution.spex.bch import SetCode
from attribution.types import Masks

N_GROUPS = 3  # groups of bins: the fewest at which peeling works close to capacity
MAX_BITS = 20
LARGEST_ORDER = 6
_CELLS = 1 << 24  # mask bits computed at a time


class SpexDesign:
    """A set of masks, known before anything is evaluated, from which SPEX reads sparse spectra.

    For each of three groups c a binary matrix M_c (n_players x n_bits) is drawn. The masks of group c and delay d are
    M_c l + d (mod 2) for every l in {0, 1}^n_bits. The delays are 0 and the rows of a BCH code's parity check
    (`attribution.spex.bch`), so that the signs of a set over the delays spell out its members.

    Parameters
    ----------
    n_players : int
    n_bits : int
        Logarithm of the number of bins of a group, 1 to 20; about 2.4 * 2^n_bits terms can be separated.
    max_order : int
        Members of the largest set that is found, 1 to 6.
    seed : int

    Attributes
    ----------
    n_delays : int
        1 + max_order * m, with 2^m - 1 >= n_players.
    n_masks : int
        3 * n_delays * 2^n_bits.

    Raises
    ------
    AttributionError
        For sizes out of range.

    Notes
    -----
    The order of the masks is l, then group, then delay. So the first half of the masks is the design of n_bits - 1, and
    a larger design keeps every mask under its number. The design of max_order - 1 uses the first delays.

    Every player is present in half of the masks: alpha is 1/2. Inclusions of different players are not independent, so
    tests that assume they are (screens) do not apply to these masks.

    Examples
    --------
    >>> design = SpexDesign(n_players=100, n_bits=6, max_order=5, seed=0)
    >>> design.n_delays, design.n_masks, design.masks().shape
    (36, 6912, (6912, 100))
    >>> smaller = SpexDesign(n_players=100, n_bits=5, max_order=5, seed=0)
    >>> bool((design.masks()[: smaller.n_masks] == smaller.masks()).all())
    True
    """

    def __init__(self, n_players: int, n_bits: int = 8, max_order: int = 5, seed: int = 0) -> None:
        check_integer("n_players", n_players, 2)
        check_integer("n_bits", n_bits, 1)
        check_integer("max_order", max_order, 1)
        check_seed(seed)
        if n_players > 2**16 - 1:
            raise AttributionError(f"a SPEX design takes at most 65535 players; got {n_players}. Make groups of them.")
        if n_bits > MAX_BITS:
            raise AttributionError(f"n_bits must be at most {MAX_BITS}; got {n_bits}.")
        if max_order > LARGEST_ORDER:
            raise AttributionError(f"max_order must be at most {LARGEST_ORDER}; got {max_order}.")
        self.n_players, self.n_bits, self.max_order, self.seed = int(n_players), int(n_bits), int(max_order), int(seed)
        self.code = SetCode(self.n_players, self.max_order)
        self.n_delays = 1 + self.code.n_checks
        self.delays: NDArray[np.bool_] = np.zeros((self.n_delays, self.n_players), bool)
        self.delays[1:] = self.code.columns

    @property
    def n_masks(self) -> int:
        """Number of masks."""
        return self.masks_per_point << self.n_bits

    @property
    def masks_per_point(self) -> int:
        """Masks of one l: every group and delay."""
        return N_GROUPS * self.n_delays

    def __repr__(self) -> str:
        return (
            f"SpexDesign(n_players={self.n_players}, n_bits={self.n_bits}, max_order={self.max_order}, "
            f"seed={self.seed})"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SpexDesign) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def with_bits(self, n_bits: int) -> SpexDesign:
        """Return the design of the same seed with another number of bins; one of the two begins with the other."""
        return SpexDesign(self.n_players, n_bits, self.max_order, self.seed)

    @classmethod
    def within(cls, n_players: int, budget: int, max_order: int = 5, seed: int = 0) -> SpexDesign:
        """Return the largest design of at most `budget` masks.

        Raises
        ------
        AttributionError
            Where not even 8 bins a group fit. The message names the sizes that do.
        """
        smallest = cls(n_players, 3, max_order, seed)
        if smallest.n_masks <= budget:
            return smallest.with_bits(min(MAX_BITS, int(np.log2(budget // smallest.masks_per_point))))
        fitting = [
            (order, cls(n_players, 3, order, seed).n_masks)
            for order in range(max_order - 1, 0, -1)
            if cls(n_players, 3, order, seed).n_masks <= budget
        ]
        remedy = (
            f"max_order={fitting[0][0]} fits with n_bits=3 ({fitting[0][1]:,} masks)"
            if fitting
            else "no max_order fits"
        )
        raise AttributionError(
            f"SPEX at {n_players} players and max_order={max_order} takes {smallest.n_masks:,} masks with n_bits=3; "
            f"the budget is {budget:,}. {remedy[0].upper()}{remedy[1:]}; or evaluate more masks."
        )

    def directions(self) -> NDArray[np.int64]:
        """Return M as whole numbers, (3, n_players): bit j of [c, i] is 1 if direction j of group c flips player i."""
        bits = np.stack([self._column(bit) for bit in range(self.n_bits)]).astype(np.int64)
        return np.asarray((bits << np.arange(self.n_bits)[:, None, None]).sum(axis=0))

    def _column(self, bit: int) -> NDArray[np.bool_]:
        """Direction `bit` of every group, (3, n_players) bool; independent of n_bits."""
        words = random_stream(Purpose.SPEX_DESIGN, self.seed, bit).bytes(N_GROUPS * ((self.n_players + 7) // 8))
        rows = np.frombuffer(words, np.uint8).reshape(N_GROUPS, -1)
        return np.unpackbits(rows, axis=1)[:, : self.n_players].astype(bool)

    def masks(self, ids: Any = None) -> Masks:
        """Return the masks, or those of some numbers.

        Parameters
        ----------
        ids : (k,) int, optional
            Numbers of masks; those beyond n_masks belong to larger designs of the same seed.

        Returns
        -------
        (n_masks or k, n_players) bool
        """
        numbers = np.arange(self.n_masks) if ids is None else np.asarray(ids, dtype=np.int64)
        if len(numbers) and numbers.min() < 0:
            raise AttributionError(f"numbers of masks start at 0; got {int(numbers.min())}.")
        point, rest = np.divmod(numbers, self.masks_per_point)
        group, delay = np.divmod(rest, self.n_delays)
        result = np.empty((len(numbers), self.n_players), bool)
        n_bits = int(point.max()).bit_length() if len(numbers) else 0
        columns = [self._column(bit) for bit in range(n_bits)]
        step = max(1, _CELLS // self.n_players)
        for start in range(0, len(numbers), step):
            part = slice(start, start + step)
            rows = self.delays[delay[part]]
            for bit, column in enumerate(columns):
                used = ((point[part] >> bit) & 1).astype(bool)
                rows[used] ^= column[group[part][used]]
            result[part] = rows
        return result
