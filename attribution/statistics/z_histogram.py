"""Histograms of |z| over all tests of a campaign, reported or not, so that q-values can count them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attribution.types import Array, Floating

Z_STEP = 0.002  # width of a bin of |z|; a choice: q-values are then at most 1% too large at |z| = 6
N_Z_BINS = 19_000  # |z| up to 38, beyond which a two-sided p-value underflows


def add_to_histogram(counts: NDArray[np.int64], z: Floating, row: NDArray[np.int8] | None = None) -> None:
    """Count |z| into bins of width Z_STEP, the last one open.

    Parameters
    ----------
    counts : (N_Z_BINS,) or (rows, N_Z_BINS) int64
        Histograms, added to in place.
    z : array of float
        z-scores.
    row : array of int8, as z, or None
        Row of `counts` that each is counted in; None if there is one histogram.
    """
    z = np.ravel(z)
    bins = np.minimum(np.abs(z) * z.dtype.type(1.0 / Z_STEP), z.dtype.type(N_Z_BINS - 1)).astype(np.int64)
    if row is not None:
        bins += np.ravel(row).astype(np.int64) * N_Z_BINS
    counts += np.bincount(bins, minlength=counts.size).reshape(counts.shape)


class Stratum(NamedTuple):
    """A family of hypotheses within a campaign's tests: sets of one order, by heredity or not.

    Attributes
    ----------
    order : int
        Number of members of the sets; 1 for main effects.
    by_heredity : bool
        Whether smaller sets singled these out: pairs of players that have main effects, and triples that contain two
        significant pairs (screening/heredity.py).

    Examples
    --------
    >>> Stratum(3, by_heredity=True)
    Stratum(order=3, by_heredity=True)
    """

    order: int
    by_heredity: bool = False


@dataclass
class ZHistograms:
    """The |z| of every (set, target) that a block of targets tested, counted by stratum.

    The size is bounded whatever the campaign's size, so that a block can return it for the campaign-wide q-values.

    Attributes
    ----------
    counts : dict of Stratum to (N_Z_BINS,) int64
        Number of tests in each bin of |z|. Where a test is not normal, its |z| is that of its p-value.

    Examples
    --------
    >>> histograms = ZHistograms()
    >>> histograms.add_tests(Stratum(2), np.array([0.3, 4.1]))
    >>> histograms.replace(Stratum(2), np.array([4.1]), np.array([3.9]))
    >>> histograms.n_tests(Stratum(2))
    2
    """

    counts: dict[Stratum, NDArray[np.int64]] = field(default_factory=dict)

    def __add__(self, other: ZHistograms) -> ZHistograms:
        result = ZHistograms({stratum: counts.copy() for stratum, counts in self.counts.items()})
        for stratum, counts in other.counts.items():
            result.add(stratum, counts)
        return result

    def add(self, stratum: Stratum, counts: NDArray[np.int64]) -> None:
        """Add a histogram of |z|, (N_Z_BINS,)."""
        self.counts[stratum] = self.counts[stratum] + counts if stratum in self.counts else counts.copy()

    def add_tests(self, stratum: Stratum, z: Array) -> None:
        """Add tests one by one: z (c,)."""
        counts = np.zeros(N_Z_BINS, dtype=np.int64)
        add_to_histogram(counts, z)
        self.add(stratum, counts)

    def replace(self, stratum: Stratum, before: Array, after: Array) -> None:
        """Count tests at |z| = `after` that were counted at `before`; both (c,)."""
        added, removed = np.zeros(N_Z_BINS, dtype=np.int64), np.zeros(N_Z_BINS, dtype=np.int64)
        add_to_histogram(added, after)
        add_to_histogram(removed, before)
        self.add(stratum, added - removed)

    def n_tests(self, stratum: Stratum) -> int:
        """Return the number of tests of one stratum."""
        return int(self.counts[stratum].sum()) if stratum in self.counts else 0


@dataclass
class TestFamilies:
    """The two families of tests that a block counts: of interactions, and of their specific parts.

    Sets of three and more members have no saturation part: both families hold their tests, which are counted once.

    Attributes
    ----------
    interaction : ZHistograms
        Tests of I(S) = 0, and of main effects.
    specific : ZHistograms
        Tests of the specific part of pairs.

    Examples
    --------
    >>> families = TestFamilies()
    >>> families.interaction.add_tests(Stratum(3), np.array([4.0]))
    >>> families.specific.add_tests(Stratum(2), np.array([2.0, 1.0]))
    >>> {stratum.order: int(held.sum()) for stratum, held in families.of_specific_parts().counts.items()}
    {2: 2, 3: 1}
    """

    __test__ = False  # no test class of pytest's

    interaction: ZHistograms = field(default_factory=ZHistograms)
    specific: ZHistograms = field(default_factory=ZHistograms)

    def of_specific_parts(self) -> ZHistograms:
        """Return the whole family of specific parts: pairs, and larger sets as they are."""
        larger = {stratum: held for stratum, held in self.interaction.counts.items() if stratum.order != 2}
        return self.specific + ZHistograms(larger)
