"""Standard errors, p-values, the gate, and false discovery rate over a whole campaign.

One-step estimates: with the design known, F(S) is estimated by b(S) + mean(phi_S r), r the residuals of fits that
have not seen the row (the debiased estimate of Chernozhukov et al. 2018 for an orthonormal design, where its
correction needs no inverse). Its variance is that of phi_S r, summed up by what no split may divide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.statistics.p_values import two_sided_p, z_of
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP, add_to_histogram
from attribution.types import Array

Method = Literal["BY", "BH"]

LEVEL = 0.05
LED = 100  # added to the order of sets that smaller ones lead to (heredity.py): a stratum of their own
LED_SHARE = {2: 0.5, 3: 0.1}  # of their order's weight beforehand; their share of its tests where that is more
_BEFOREHAND = 10.0  # findings that the weights beforehand are worth


def adjust(p: Array, method: Method = "BH") -> Array:
    """Adjusted p-values of one family held in memory: Benjamini-Hochberg, or Benjamini-Yekutieli."""
    p = np.asarray(p, dtype=np.float64)
    n = len(p)
    if n == 0:
        return p.copy()
    order = np.argsort(p, kind="stable")
    q = p[order] * n * _dependence(n, method) / np.arange(1, n + 1)
    result = np.empty(n)
    result[order] = np.minimum(np.minimum.accumulate(q[::-1])[::-1], 1.0)
    return result


@dataclass
class Considered:
    """What a block of targets hands back for the campaign-wide step: how often each |z| was seen, by order.

    counts: {stratum: (N_Z_BINS,)} over every (set, target) considered; where a test is not normal, the |z| of its
    p-value. A stratum is an order, or LED + order. Bounded, whatever the campaign's size.
    """

    counts: dict[int, NDArray[np.int64]] = field(default_factory=dict)

    def __add__(self, other: Considered) -> Considered:
        result = Considered({order: counts.copy() for order, counts in self.counts.items()})
        for order, counts in other.counts.items():
            result.add(order, counts)
        return result

    def add(self, stratum: int, counts: NDArray[np.int64]) -> None:
        """Add a histogram of |z|."""
        self.counts[stratum] = self.counts[stratum] + counts if stratum in self.counts else counts.copy()

    def add_tests(self, stratum: int, z: Array) -> None:
        """Add tests one by one."""
        counts = np.zeros(N_Z_BINS, dtype=np.int64)
        add_to_histogram(counts, z)
        self.add(stratum, counts)

    def move(self, stratum: int, before: Array, after: Array) -> None:
        """Take tests counted at |z| = before out and count them at `after`."""
        added, removed = np.zeros(N_Z_BINS, dtype=np.int64), np.zeros(N_Z_BINS, dtype=np.int64)
        add_to_histogram(added, after)
        add_to_histogram(removed, before)
        self.add(stratum, added - removed)

    def n_tests(self, stratum: int) -> int:
        return int(self.counts[stratum].sum()) if stratum in self.counts else 0


@dataclass(frozen=True)
class QValues:
    """The rule p -> q of one family: {stratum: (N_Z_BINS,) q at the lower edge of every bin of |z|}.

    Weighted Benjamini-Hochberg (Genovese, Roeder and Wasserman 2006): a stratum with the share w of the family's weight
    and N_s of its N tests has p N_s / (w N) in place of p. Beforehand every order has the same share, so that a million
    triples do not drown the pairs, and the sets that smaller ones lead to have LED_SHARE of their order's. To these
    shares, worth _BEFOREHAND findings, each stratum's findings by itself are added (weights learned from the p-values
    themselves, as in Ignatiadis et al. 2016; the first one of a stratum may be chance and adds nothing): of as many
    false findings as the level allows over all, a stratum then has its share, where many pairs would otherwise pay for
    false triples. In a campaign without findings the shares are those of before. Evaluated at the bins' edges with p
    taken at the edge below, so q is never too small (and some 1% too large at |z| = 6).
    """

    q: dict[int, Array]
    n_tests: int

    @staticmethod
    def fit(counts: Mapping[int, NDArray[np.int64]], method: Method) -> QValues:
        """The rule for the tests in `counts`, {stratum: (N_Z_BINS,)}, as one family."""
        counts = {order: held for order, held in counts.items() if held.sum() > 0}
        n_tests = int(sum(held.sum() for held in counts.values()))
        if not counts:
            return QValues({}, 0)
        p_edge = two_sided_p(np.arange(N_Z_BINS, dtype=np.float64) * Z_STEP)
        shares = _shares(counts, p_edge, method)
        weighted = np.concatenate(
            [p_edge * (held.sum() / (shares[stratum] * n_tests)) for stratum, held in counts.items()]
        )
        tests = np.concatenate(list(counts.values()))
        order = np.argsort(weighted, kind="stable")
        at_most = np.cumsum(tests[order])
        # Tests of equal weighted p (the same edge in several orders) count together.
        last = np.searchsorted(weighted[order], weighted[order], side="right") - 1
        ratio = weighted[order] * n_tests * _dependence(n_tests, method) / np.maximum(at_most[last], 1)
        q = np.empty(len(weighted))
        q[order] = np.minimum(np.minimum.accumulate(ratio[::-1])[::-1], 1.0)
        return QValues(dict(zip(counts, q.reshape(len(counts), N_Z_BINS), strict=True)), n_tests)

    def reached_at(self, level: float) -> dict[int, float]:
        """{stratum: smallest |z| whose q is at most `level`}, without the strata where none is."""
        passing = {stratum: np.flatnonzero(q <= level) for stratum, q in self.q.items()}
        return {stratum: float(bins[0]) * Z_STEP for stratum, bins in passing.items() if len(bins)}

    def of(self, p: Array, strata: NDArray[np.integer] | int) -> Array:
        """q of each p-value of the family, given the stratum of its set."""
        p = np.asarray(p, dtype=np.float64)
        bins = np.minimum(z_of(p) / Z_STEP, N_Z_BINS - 1).astype(np.int64)
        result = np.ones(p.shape)
        which = np.broadcast_to(strata, p.shape)
        for stratum, q in self.q.items():
            now = which == stratum
            result[now] = q[bins[now]]
        return result


def fit_q_values(considered: Sequence[Considered], method: Method) -> tuple[QValues, QValues]:
    """The rules for main effects and for interactions, over all blocks of a campaign.

    The two are separate families. Main effects are mostly real, and counted together with them a false pair would
    be forgiven because so many true main effects were found: the rate would hold overall and fail among pairs.
    """
    total = Considered()
    for block in considered:
        total = total + block
    main = {order: counts for order, counts in total.counts.items() if order == 1}
    larger = {stratum: counts for stratum, counts in total.counts.items() if stratum > 1}
    return QValues.fit(main, method), QValues.fit(larger, method)


def _shares(counts: Mapping[int, NDArray[np.int64]], p_edge: Array, method: Method) -> dict[int, float]:
    """Each stratum's share of the family's weight: equal between orders and divided within them, then by findings."""
    n_tests = {stratum: int(held.sum()) for stratum, held in counts.items()}
    orders = {stratum % LED for stratum in n_tests}
    shares: dict[int, float] = {}
    for order in orders:
        led, others = n_tests.get(LED + order, 0), n_tests.get(order, 0)
        of_led = max(LED_SHARE.get(order, 0.0), led / (led + others)) if led else 0.0
        if not others:
            of_led = 1.0
        shares |= {LED + order: of_led / len(orders), order: (1 - of_led) / len(orders)}
    found = {stratum: max(0, _findings(held, p_edge, method) - 1) for stratum, held in counts.items()}
    total = _BEFOREHAND + sum(found.values())
    return {stratum: (_BEFOREHAND * shares[stratum] + found[stratum]) / total for stratum in n_tests}


def _findings(counts: NDArray[np.int64], p_edge: Array, method: Method) -> int:
    """How many tests of one stratum have q <= LEVEL by themselves."""
    n_tests = int(counts.sum())
    at_least = np.cumsum(counts[::-1])[::-1]
    passing = p_edge * n_tests * _dependence(n_tests, method) <= LEVEL * at_least
    return int(at_least[passing].max(initial=0))


def _dependence(n: int, method: Method) -> float:
    """1 for Benjamini-Hochberg; 1 + 1/2 + ... + 1/n for Benjamini-Yekutieli, right under any dependence."""
    if method == "BH":
        return 1.0
    if method != "BY":
        raise AttributionError(f"the false-discovery method must be 'BY' or 'BH'; got {method!r}.")
    return float(np.log(n) + 0.5772156649015329 + 1.0 / (2.0 * n))
