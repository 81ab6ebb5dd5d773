"""Standard errors, p-values, the gate, and false discovery rate over a whole campaign.

One-step estimates: with the design known, F(S) is estimated by b(S) + mean(phi_S r), r the residuals of fits that
have not seen the row (the debiased estimate of Chernozhukov et al. 2018 for an orthonormal design, where its
correction needs no inverse). Its variance is that of phi_S r, summed up by what no split may divide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.statistics.p_values import two_sided_p, z_of
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP, Stratum, ZHistograms
from attribution.types import Array

Method = Literal["BY", "BH"]

LEVEL = 0.05
# Prior share of their order's weight that sets by heredity have; their share of its tests where that is larger.
HEREDITY_SHARE = {2: 0.5, 3: 0.1}
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


@dataclass(frozen=True)
class QValues:
    """The rule p -> q of one family: {stratum: (N_Z_BINS,) q at the lower edge of every bin of |z|}.

    Weighted Benjamini-Hochberg (Genovese, Roeder and Wasserman 2006): a stratum with the share w of the family's weight
    and N_s of its N tests has p N_s / (w N) in place of p. Beforehand every order has the same share, so that a million
    triples do not drown the pairs, and sets by heredity have HEREDITY_SHARE of their order's. To these
    shares, worth _BEFOREHAND findings, each stratum's findings by itself are added (weights learned from the p-values
    themselves, as in Ignatiadis et al. 2016; the first one of a stratum may be chance and adds nothing): of as many
    false findings as the level allows over all, a stratum then has its share, where many pairs would otherwise pay for
    false triples. In a campaign without findings the shares are those of before. Evaluated at the bins' edges with p
    taken at the edge below, so q is never too small (and some 1% too large at |z| = 6).
    """

    q: dict[Stratum, Array]
    n_tests: int

    @staticmethod
    def fit(counts: Mapping[Stratum, NDArray[np.int64]], method: Method) -> QValues:
        """The rule for the tests in `counts`, {stratum: (N_Z_BINS,)}, as one family."""
        counts = {stratum: held for stratum, held in counts.items() if held.sum() > 0}
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

    def reached_at(self, level: float) -> dict[Stratum, float]:
        """{stratum: smallest |z| whose q is at most `level`}, without the strata where none is."""
        passing = {stratum: np.flatnonzero(q <= level) for stratum, q in self.q.items()}
        return {stratum: float(bins[0]) * Z_STEP for stratum, bins in passing.items() if len(bins)}

    def of(self, p: Array, strata: Stratum | Sequence[Stratum]) -> Array:
        """Return q of each p-value of the family, given the stratum of its set: one of all, or one of each."""
        p = np.asarray(p, dtype=np.float64)
        bins = np.minimum(z_of(p) / Z_STEP, N_Z_BINS - 1).astype(np.int64)
        result = np.ones(p.shape)
        if isinstance(strata, Stratum):
            return self.q[strata][bins] if strata in self.q else result
        for stratum, q in self.q.items():
            now = np.array([own == stratum for own in strata], dtype=bool)
            result[now] = q[bins[now]]
        return result


def fit_q_values(blocks: Sequence[ZHistograms], method: Method) -> tuple[QValues, QValues]:
    """The rules for main effects and for interactions, over all blocks of a campaign.

    The two are separate families. Main effects are mostly real, and counted together with them a false pair would
    be forgiven because so many true main effects were found: the rate would hold overall and fail among pairs.
    """
    total = ZHistograms()
    for block in blocks:
        total = total + block
    main = {stratum: counts for stratum, counts in total.counts.items() if stratum.order == 1}
    larger = {stratum: counts for stratum, counts in total.counts.items() if stratum.order > 1}
    return QValues.fit(main, method), QValues.fit(larger, method)


def _shares(
    counts: Mapping[Stratum, NDArray[np.int64]], p_edge: Array, method: Method
) -> dict[Stratum, float]:
    """Each stratum's share of the family's weight: equal between orders and divided within them, then by findings."""
    n_tests = {stratum: int(held.sum()) for stratum, held in counts.items()}
    orders = {stratum.order for stratum in n_tests}
    shares: dict[Stratum, float] = {}
    for order in orders:
        hereditary, plain = Stratum(order, by_heredity=True), Stratum(order)
        n_hereditary, n_plain = n_tests.get(hereditary, 0), n_tests.get(plain, 0)
        share = 0.0
        if n_hereditary:
            share = max(HEREDITY_SHARE.get(order, 0.0), n_hereditary / (n_hereditary + n_plain))
        if not n_plain:
            share = 1.0
        shares |= {hereditary: share / len(orders), plain: (1 - share) / len(orders)}
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
