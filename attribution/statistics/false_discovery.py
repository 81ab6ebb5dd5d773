"""False discovery rate over a whole campaign: adjusted p-values, and q-values from histograms of |z|."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.levels import FDR_LEVEL
from attribution.statistics.p_values import two_sided_p, z_of
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP, Stratum, ZHistograms
from attribution.types import Array

Method = Literal["BY", "BH"]

# Prior share of their order's weight that sets by heredity have; their share of its tests where that is larger.
# A choice: a tenth costs the other triples a factor 1/.9 at most (tests/attribution/screening/test_heredity.py).
HEREDITY_SHARE = {2: 0.5, 3: 0.1}
# Prior weight of an order whose sets only a proxy or a structured design proposes, beside 1 for pairs and for triples.
# A choice: they are some tens of tests a target, so that even so each weighs more than a screened pair, and pairs and
# triples pay 1% for them.
_LARGER_WEIGHT = 0.02
# Pseudo-count of discoveries given to the prior weights. A choice; its effect: benchmarks/attribution.md, "Strata".
_PRIOR_DISCOVERIES = 10.0


def adjust(p: Array, method: Method = "BH") -> Array:
    """Adjust the p-values of one family held in memory.

    Parameters
    ----------
    p : (c,) float64
        P-values.
    method : "BH" or "BY"
        Benjamini-Hochberg (1995), or Benjamini-Yekutieli (2001), which holds under any dependence.

    Returns
    -------
    (c,) float64
        Adjusted p-values (scipy.stats.false_discovery_control).

    Raises
    ------
    AttributionError
        If the method is another one.

    Examples
    --------
    >>> adjust(np.array([0.01, 0.04])).tolist()
    [0.02, 0.04]
    """
    from scipy.stats import false_discovery_control

    _check_method(method)
    p = np.asarray(p, dtype=np.float64)
    return np.asarray(false_discovery_control(p, method=method.lower())) if len(p) else p.copy()


@dataclass(frozen=True)
class QValues:
    """The rule from p to q of one family of tests that are known by their histogram.

    Attributes
    ----------
    q : dict of Stratum to (N_Z_BINS,) float64
        q at the lower edge of every bin of |z|.
    n_tests : int
        Number of tests in the family.

    Notes
    -----
    Weighted Benjamini-Hochberg (Genovese, Roeder and Wasserman 2006): a stratum with the share w of the family's
    weight and N_s of its N tests has p N_s / (w N) in place of p.

    Prior shares are equal between orders, so that a million triples do not drown the pairs; within an order, sets by
    heredity have HEREDITY_SHARE. The prior shares count as _PRIOR_DISCOVERIES discoveries; to these, each stratum's own
    discoveries are added (weights learned from the p-values, as in Ignatiadis et al. 2016). The first discovery of a
    stratum may be chance and adds nothing. False discoveries are thereby allotted to strata in proportion to their own
    discoveries, so that many true pairs cannot license false triples. In a campaign without discoveries the shares are
    the prior ones.

    The rule is evaluated at the bins' edges, with p taken at the lower edge: q is never too small, and some 1% too
    large at |z| = 6.

    Examples
    --------
    >>> histograms = ZHistograms()
    >>> histograms.add_tests(Stratum(2), np.array([0.1, 0.5, 5.0]))
    >>> rule = QValues.fit(histograms.counts, "BH")
    >>> [round(stratum_z, 2) for stratum_z in rule.reached_at(0.05).values()]
    [2.39]
    """

    q: dict[Stratum, Array]
    n_tests: int

    @staticmethod
    def fit(counts: Mapping[Stratum, NDArray[np.int64]], method: Method) -> QValues:
        """Fit the rule of one family.

        Parameters
        ----------
        counts : {Stratum: (N_Z_BINS,) int64}
            Histogram of |z| of each stratum's tests.
        method : "BH" or "BY"
            As in `adjust`.

        Returns
        -------
        QValues
            The rule; without tests one that holds no stratum.

        Raises
        ------
        AttributionError
            If the method is another one.
        """
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
        # Tests of equal weighted p (the same edge in several strata) count together.
        last = np.searchsorted(weighted[order], weighted[order], side="right") - 1
        ratio = weighted[order] * n_tests * _dependence(n_tests, method) / np.maximum(at_most[last], 1)
        q = np.empty(len(weighted))
        q[order] = np.minimum(np.minimum.accumulate(ratio[::-1])[::-1], 1.0)
        return QValues(dict(zip(counts, q.reshape(len(counts), N_Z_BINS), strict=True)), n_tests)

    def reached_at(self, fdr_level: float) -> dict[Stratum, float]:
        """Return {stratum: smallest |z| whose q is at most fdr_level}, without strata that never reach it."""
        passing = {stratum: np.flatnonzero(q <= fdr_level) for stratum, q in self.q.items()}
        return {stratum: float(bins[0]) * Z_STEP for stratum, bins in passing.items() if len(bins)}

    def of(self, p: Array, strata: Stratum | Sequence[Stratum]) -> Array:
        """Return the q-values of tests of the family.

        Parameters
        ----------
        p : (c,) float64
            P-values.
        strata : Stratum, or c of them
            The stratum of all tests, or of each.

        Returns
        -------
        (c,) float64
            q-values; 1 in a stratum without tests.
        """
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
    """Fit the rules for main effects and for interactions over all blocks of a campaign.

    Parameters
    ----------
    blocks : sequence of ZHistograms
        The tests of each block of targets.
    method : "BH" or "BY"
        As in `adjust`.

    Returns
    -------
    (QValues, QValues)
        The rule of main effects and that of interactions, two separate families: most main effects are real, and in
        one family their discoveries would license false pairs.
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
    """Compute each stratum's share of the family's weight: prior shares, then added discoveries."""
    n_tests = {stratum: int(held.sum()) for stratum, held in counts.items()}
    weights = {order: 1.0 if order <= 3 else _LARGER_WEIGHT for order in {stratum.order for stratum in n_tests}}
    shares: dict[Stratum, float] = {}
    for order, weight in weights.items():
        of_order = weight / sum(weights.values())
        hereditary, plain = Stratum(order, by_heredity=True), Stratum(order)
        n_hereditary, n_plain = n_tests.get(hereditary, 0), n_tests.get(plain, 0)
        share = 0.0
        if n_hereditary:
            share = max(HEREDITY_SHARE.get(order, 0.0), n_hereditary / (n_hereditary + n_plain))
        if not n_plain:
            share = 1.0
        shares |= {hereditary: share * of_order, plain: (1 - share) * of_order}
    found = {stratum: max(0, _n_discoveries(held, p_edge, method) - 1) for stratum, held in counts.items()}
    total = _PRIOR_DISCOVERIES + sum(found.values())
    return {stratum: (_PRIOR_DISCOVERIES * shares[stratum] + found[stratum]) / total for stratum in n_tests}


def _n_discoveries(counts: NDArray[np.int64], p_edge: Array, method: Method) -> int:
    """Count the tests of one stratum that have q <= FDR_LEVEL in a family of their own."""
    n_tests = int(counts.sum())
    at_least = np.cumsum(counts[::-1])[::-1]
    passing = p_edge * n_tests * _dependence(n_tests, method) <= FDR_LEVEL * at_least
    return int(at_least[passing].max(initial=0))


def _dependence(n: int, method: Method) -> float:
    """Return the factor on p: 1 for BH; for BY the harmonic number 1 + 1/2 + ... + 1/n = digamma(n + 1) + gamma."""
    from scipy.special import digamma

    _check_method(method)
    return 1.0 if method == "BH" else float(digamma(n + 1) + np.euler_gamma)


def _check_method(method: str) -> None:
    """Raise AttributionError for another method than BH and BY."""
    if method not in ("BH", "BY"):
        raise AttributionError(f"the false-discovery method must be 'BY' or 'BH'; got {method!r}.")
