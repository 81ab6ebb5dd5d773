"""Sets of players that may be copies of one another, proposed from some of a campaign's masks.

With P_S = prod_{i in S} (1 - x_i), q = 1 - alpha and residuals r of the datamodel, the statistic of "any member of S
and j is present" (duplicates/any_present_test.py) is, for all j at once, one matrix product:

    sum g_{S+j} r = -(r P_S)' (1 - x_j) + q^k sum r - q^{k-1} sum_{i in S+j} sum (x_i - alpha) r,   k = |S| + 1,

so sets are grown one player at a time, the best ones kept (a beam), in a direction in which the members' main effects
point: redundancy takes from what the members do. A direction is one target, or targets weighted by a player's main
effects (copies act alike on all targets). A second source are players whose main effects on all targets are alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.duplicates.any_present_test import any_present_variance, direction_of
from attribution.types import Array, Float32

Players = tuple[int, ...]

LEAST_ABSENT = 6  # masks without any member, for a set to be looked at
CONTRARY = -1.5  # a player whose main effect in a direction lies below, in standard errors, cannot be a member
PER_DIRECTION = 3  # proposals of one direction
SINGLE_TARGETS = 40  # targets looked at alone where all are also looked at together: those of largest main effects
SEEDS = 200  # players whose main effects are directions: those of largest
POLISHED = 200  # proposals that are improved by one player in or out


@dataclass(frozen=True)
class Proposal:
    """weights: (t,), of length one, oriented so that the members' main effects are above 0. score: z^2 / 2 of the
    proposing masks less ln (n choose k). source: "search" or "profiles"."""

    players: Players
    weights: Array
    score: float
    source: str


def overlap(a: Players, b: Players) -> bool:
    """Whether two sets share more than half of the smaller one."""
    return 2 * len(set(a) & set(b)) > min(len(a), len(b))


class ClusterProposals:
    """Proposals from one half of the masks. residuals: (m, t) of unit variance; z: (t, n) main effects in their
    standard errors."""

    def __init__(
        self, masks: NDArray[np.bool_], residuals: Array, z: Array, alpha: float, max_size: int, width: int
    ) -> None:
        self.absent: Float32 = np.ascontiguousarray(~masks.T, dtype=np.float32)
        self.residuals: Float32 = residuals.astype(np.float32)
        self.z, self.alpha, self.max_size, self.width = z, alpha, max_size, width
        self.log_choose = [math.lgamma(s + 1) for s in range(len(self.absent) + 1)]

    def proposals(self, pool: bool) -> list[Proposal]:
        """Best first; of sets that overlap by more than half only the best."""
        best: dict[Players, Proposal] = {}
        for weights, seed in self._directions(pool):
            for proposal in self._in_direction(weights, seed):
                if proposal.players not in best or best[proposal.players].score < proposal.score:
                    best[proposal.players] = proposal
        found = sorted(best.values(), key=lambda p: -p.score)
        if pool:
            found = [self._polished(p) for p in found[:POLISHED]] + [self._polished(p) for p in self._alike()]
        found.sort(key=lambda p: -p.score)
        kept: list[Proposal] = []
        for proposal in found:
            if not any(overlap(proposal.players, other.players) for other in kept):
                kept.append(proposal)
        return kept

    def _directions(self, pool: bool) -> Iterator[tuple[Array, int | None]]:
        """Weights of the targets (t,), and the player a set must hold where the direction is that player's."""
        n_targets = len(self.z)
        strongest = np.argsort(-(self.z**2).sum(axis=1), kind="stable")
        for target in strongest[:SINGLE_TARGETS] if pool else range(n_targets):
            for sign in (1.0, -1.0):
                w = np.zeros(n_targets)
                w[target] = sign
                yield w, None
        if pool:
            for player in np.argsort(-(self.z**2).sum(axis=0), kind="stable")[:SEEDS]:
                w = direction_of(self.z, (player,))
                if w.any():
                    yield w, int(player)

    def _size_limit(self) -> int:
        m, q = self.absent.shape[1], 1 - self.alpha
        return max(2, min(self.max_size, int(math.log(m / LEAST_ABSENT) / -math.log(q)) + 1))

    def _score(self, z: Any, n: int, k: int) -> Any:
        """Evidence less what choosing k of n players is worth: z^2 / 2 - ln (n choose k)."""
        lg = self.log_choose
        return np.sign(z) * z**2 / 2 - (lg[n] - lg[k] - lg[n - k])

    def _extended(
        self, product: Float32, sets: NDArray[np.int64], own: Float32, total: float, r: Float32, absent: Float32
    ) -> Float32:
        """z of every set joined by every player: product (b, m) of the sets, own (n,) sums of (x_i - alpha) r."""
        k, q, m = sets.shape[1] + 1, 1 - self.alpha, absent.shape[1]
        sums = -((product * r) @ absent.T) + q**k * total - q ** (k - 1) * (own[sets].sum(axis=1)[:, None] + own)
        absent_rows = product @ absent.T
        # sum g^2: g is q^k + k alpha q^{k-1} - 1 where all are absent, and the linear part alone elsewhere.
        none = q**k + k * self.alpha * q ** (k - 1)
        squares = (1 - 2 * none) * absent_rows + m * (q ** (2 * k) + k * self.alpha * q ** (2 * k - 1))
        squares = np.maximum(squares, 0.5 * m * any_present_variance(k, self.alpha))
        z = sums / np.sqrt(squares * (r @ r / m))
        z[absent_rows < LEAST_ABSENT] = -np.inf
        np.put_along_axis(z, sets, -np.inf, axis=1)
        return np.asarray(z, dtype=np.float32)

    def _in_direction(self, w: Array, seed: int | None) -> list[Proposal]:
        """Grow sets along one direction by a beam; from one player where `seed` is given."""
        r = self.residuals @ w.astype(np.float32)
        aligned = w @ self.z / np.sqrt((w**2).sum())
        allowed = np.flatnonzero(aligned > CONTRARY)
        if seed is not None and seed not in allowed:
            return []
        absent, n = self.absent[allowed], len(allowed)
        if n < 2 or not r.any():
            return []
        total = float(r.sum())
        own = (1 - self.alpha) * total - absent @ r
        key = np.random.default_rng(0).integers(1, 2**62, size=n)
        start = np.arange(n) if seed is None else np.flatnonzero(allowed == seed)
        sets, product = start[:, None], absent[start]
        found: list[tuple[float, Players]] = []
        for k in range(2, min(self._size_limit(), n) + 1):
            z = self._extended(product, sets, own, total, r, absent)
            flat = z.ravel()
            top = np.argpartition(flat, -min(len(flat), self.width * k))[-min(len(flat), self.width * k) :]
            top = top[np.argsort(-flat[top], kind="stable")]
            top = top[flat[top] > 0]
            if len(top) == 0:
                break
            base, added = np.divmod(top, n)
            _, first = np.unique(key[sets[base]].sum(axis=1) + key[added], return_index=True)
            first = np.sort(first)[: self.width]
            base, added, best = base[first], added[first], flat[top][first].astype(np.float64)
            sets, product = np.column_stack([sets[base], added]), product[base] * absent[added]
            scores = self._score(best, n, k)
            found += [
                (float(scores[at]), tuple(sorted(allowed[sets[at]].tolist()))) for at in range(min(10, len(sets)))
            ]
        found.sort(key=lambda item: -item[0])
        kept: list[Proposal] = []
        for score, players in found:
            if not any(overlap(players, other.players) for other in kept):
                kept.append(Proposal(players, w, score, "search"))
            if len(kept) == PER_DIRECTION:
                break
        return kept

    def _alike(self) -> list[Proposal]:
        """Players whose main effects over targets are alike: the groups of an average-linkage tree."""
        from scipy.cluster.hierarchy import linkage

        z = self.z.T
        length = np.sqrt((z**2).sum(axis=1))
        known = np.flatnonzero(length > 0)
        if len(known) < 2:
            return []
        profiles = z[known] / length[known, None]
        tree = linkage(profiles, "average", metric="cosine")
        groups: list[list[int]] = [[int(p)] for p in known]
        result = []
        for a, b, _, _ in tree:
            groups.append(groups[int(a)] + groups[int(b)])
            if len(groups[-1]) <= self._size_limit():
                players = tuple(sorted(groups[-1]))
                w = direction_of(self.z, players)
                if w.any():
                    result.append(Proposal(players, w, -np.inf, "profiles"))
        return result

    def _polished(self, proposal: Proposal) -> Proposal:
        """Members' own mean direction in place of the one they were found in; one player in, out or exchanged while
        it pays."""
        players, w, score = proposal.players, proposal.weights, proposal.score
        n = len(self.absent)
        for _ in range(self.max_size):
            w_now = direction_of(self.z, players)
            if not w_now.any():
                break
            r = self.residuals @ w_now.astype(np.float32)
            if not r.any():
                break
            own = (1 - self.alpha) * float(r.sum()) - self.absent @ r
            contrary = w_now @ self.z <= CONTRARY
            k = len(players)
            options: list[tuple[float, Players]] = []
            without = [players[:at] + players[at + 1 :] for at in range(k)]
            for bases in ([players] if k < self._size_limit() else [], without):
                if not bases:
                    continue
                z = self._joined(bases, own, r)
                z[:, contrary] = -np.inf
                added = z.argmax(axis=1).tolist()
                options += [(z[at, j], (*base, j)) for at, (base, j) in enumerate(zip(bases, added, strict=True))]
            if k > 2:
                z = self._joined([base[:-1] for base in without], own, r)
                options += [(z[at, base[-1]], base) for at, base in enumerate(without)]
            scored = [(float(self._score(float(z), n, len(s))), s) for z, s in options if np.isfinite(z)]
            if not scored:
                break
            score, best_players = max(scored)
            now = tuple(sorted(best_players))
            w = w_now
            if now == tuple(sorted(players)):
                break
            players = now
        return Proposal(tuple(sorted(players)), w, score, proposal.source)

    def _joined(self, bases: list[Players], own: Float32, r: Float32) -> Float32:
        """z of sets of one size, each joined by every player: (b, n)."""
        sets = np.array(bases)
        product = self.absent[sets].prod(axis=1)
        return self._extended(product, sets, own, float(r.sum()), r, self.absent)
