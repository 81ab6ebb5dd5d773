"""Standard errors, p-values, the gate, and false discovery rate over a whole campaign.

One-step estimates: with the design known, F(S) is estimated by b(S) + mean(phi_S r), r the residuals of fits that
have not seen the row (the debiased estimate of Chernozhukov et al. 2018 for an orthonormal design, where its
correction needs no inverse). Its variance is that of phi_S r, summed up by what no split may divide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.screen import N_Z_BINS, Z_STEP, add_to_histogram

Array = NDArray[np.float64]
Method = Literal["BY", "BH"]

LEVEL = 0.05


def two_sided_p(z: Array) -> Array:
    """Two-sided normal p-value; 1 where z is NaN (an effect that cannot be told is not evidence)."""
    from scipy.special import ndtr

    p = 2.0 * ndtr(-np.abs(z))
    return np.where(np.isfinite(z), np.clip(p, 0.0, 1.0), 1.0)


def z_of(p: Array) -> Array:
    """The |z| of a two-sided p-value; 38 where p underflows."""
    from scipy.special import ndtri

    return np.minimum(np.abs(ndtri(np.clip(p, 1e-315, 1.0) / 2.0)), 38.0)


def clustered_mean(values: Array, weight: Array | None, clusters: NDArray[np.int64]) -> tuple[Array, Array]:
    """Weighted mean of each column and its standard error clustered by `clusters`: (m, c) -> (c,), (c,).

    Liang and Zeger's sandwich for a mean, with the g/(g-1) correction."""
    w = np.ones(len(values)) if weight is None else weight
    total = w.sum()
    mean = (w @ values) / total
    deviations = (values - mean) * w[:, None]
    order = np.argsort(clusters, kind="stable")
    starts = np.flatnonzero(np.diff(clusters[order], prepend=-1))
    if len(starts) == len(values):
        squares = (deviations**2).sum(axis=0)
    else:
        squares = (np.add.reduceat(deviations[order], starts, axis=0) ** 2).sum(axis=0)
    n = len(starts)
    return mean, np.sqrt(squares * (n / max(n - 1, 1))) / total


def gate_p_values(
    outputs: Array, datamodel: Array, spectrum: Array, weight: Array | None, clusters: NDArray[np.int64]
) -> Array:
    """One-sided p per target that the spectrum's squared error is the smaller one; all arrays (m, t).

    Both predictions are cross-fitted. A t-test of the difference of squared errors, clustered; 1 where the two
    never differ."""
    from scipy.stats import t as student

    gain = (outputs - datamodel) ** 2 - (outputs - spectrum) ** 2
    mean, stderr = clustered_mean(gain, weight, clusters)
    n = len(np.unique(clusters))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = student.sf(mean / stderr, n - 1)
    return np.where(stderr > 0, p, 1.0)


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
    """What a block of targets hands back for the campaign-wide step: how often each |z| was seen, per family.

    main_effects, interactions: (N_Z_BINS,) counts of |z| (of the p-value's |z|, where a test is not normal) over
    every (set, target) considered. n_approximate: how many of the interactions' |z| came from the screen only,
    with clusters taken as their masks. Bounded, whatever the campaign's size.
    """

    main_effects: NDArray[np.int64] = field(default_factory=lambda: np.zeros(N_Z_BINS, dtype=np.int64))
    interactions: NDArray[np.int64] = field(default_factory=lambda: np.zeros(N_Z_BINS, dtype=np.int64))

    def __add__(self, other: Considered) -> Considered:
        return Considered(self.main_effects + other.main_effects, self.interactions + other.interactions)

    def move(self, before: Array, after: Array) -> None:
        """Take interactions counted at |z| = before out and count them at `after`."""
        added, removed = np.zeros_like(self.interactions), np.zeros_like(self.interactions)
        add_to_histogram(added, after)
        add_to_histogram(removed, before)
        self.interactions = self.interactions + added - removed
        if (self.interactions < 0).any():
            raise AttributionError("a set was taken out of the family that had not been counted in it.")


@dataclass(frozen=True)
class QValues:
    """The rule p -> q of one family, as a table over |z|: q (N_Z_BINS,), at the lower edge of every bin.

    Benjamini-Hochberg evaluated at the bins' edges only: p is taken at the edge below it, so q is never too small
    (and at most some 1% too large at |z| = 6)."""

    q: Array
    n_tests: int

    @staticmethod
    def fit(counts: NDArray[np.int64], method: Method) -> QValues:
        n_tests = int(counts.sum())
        if n_tests == 0:
            return QValues(np.ones(N_Z_BINS), 0)
        at_least = np.cumsum(counts[::-1])[::-1]
        p_edge = two_sided_p(np.arange(N_Z_BINS, dtype=np.float64) * Z_STEP)
        ratio = p_edge * n_tests * _dependence(n_tests, method) / np.maximum(at_least, 1)
        return QValues(np.minimum(np.minimum.accumulate(ratio), 1.0), n_tests)

    def of(self, p: Array) -> Array:
        """q of each p-value of the family."""
        p = np.asarray(p, dtype=np.float64)
        bins = np.minimum(z_of(p) / Z_STEP, N_Z_BINS - 1).astype(np.int64)
        return np.maximum(self.q[bins], np.minimum(p, 1.0))


def fit_q_values(considered: Sequence[Considered], method: Method) -> dict[str, QValues]:
    """The rules for main effects and for interactions over all blocks of a campaign.

    The two are separate families. Main effects are mostly real, and counted together with them a false pair would
    be forgiven because so many true main effects were found: the rate would hold overall and fail among pairs.
    """
    total = Considered()
    for block in considered:
        total = total + block
    return {
        "main_effects": QValues.fit(total.main_effects, method),
        "interactions": QValues.fit(total.interactions, method),
    }


def _dependence(n: int, method: Method) -> float:
    """1 for Benjamini-Hochberg; 1 + 1/2 + ... + 1/n for Benjamini-Yekutieli, right under any dependence."""
    if method == "BH":
        return 1.0
    if method != "BY":
        raise AttributionError(f"the false-discovery method must be 'BY' or 'BH'; got {method!r}.")
    return float(np.log(n) + 0.5772156649015329 + 1.0 / (2.0 * n))
