"""Propose sets of players that may be copies of one another, from half of a campaign's masks.

With P_S = prod_{i in S} (1 - x_i), q = 1 - alpha and residuals r of the datamodel, the statistic of "any member of S
and j is present" (duplicates/any_present_test.py) is, for all j at once, one matrix product:

    sum g_{S+j} r = -(r P_S)' (1 - x_j) + q^k sum r - q^{k-1} sum_{i in S+j} sum (x_i - alpha) r,   k = |S| + 1,

so sets are grown one player at a time and the best are kept (a beam), along a direction in which the members' main
effects point: redundancy reduces what the members do. A direction is one target, or all targets weighted by a player's
main effects (copies act alike on all targets). A second source are players with similar main effects on all targets.
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

MIN_ABSENT = 6  # masks without any member; with fewer the statistic of a set rests on single masks
MIN_ALIGNED_Z = -1.5  # z of a main effect along the direction; below it a player cannot be a member
PER_DIRECTION = 3  # proposals of one direction
SINGLE_TARGETS = 40  # targets searched alone where weighted targets are searched too: those of largest main effects
DIRECTION_PLAYERS = 200  # players whose main effects serve as directions: those of largest main effects
N_REFINED = 200  # proposals that are improved by exchanging single players


@dataclass(frozen=True)
class Proposal:
    """A set of players that may be copies.

    Attributes
    ----------
    players : tuple of int
    weights : ndarray of shape (n_targets,)
        Direction of the targets, of length 1, along which the members' main effects are positive.
    score : float
        z^2 / 2 on the proposing masks minus ln (n choose k).
    source : {"search", "profiles"}
        The beam search, or similar main effects.
    """

    players: Players
    weights: Array
    score: float
    source: str


def overlap(a: Players, b: Players) -> bool:
    """Return True if two sets share more than half of the smaller one."""
    return 2 * len(set(a) & set(b)) > min(len(a), len(b))


class CopyProposals:
    """Search one half of the masks for sets of copies.

    Parameters
    ----------
    masks : ndarray of bool, shape (n_masks, n_players)
    residuals : ndarray of shape (n_masks, n_targets)
        Residuals of the datamodel, scaled to unit variance.
    z : ndarray of shape (n_targets, n_players)
        Main effects divided by their standard errors.
    alpha : float
        Inclusion probability.
    max_size : int
        Members of the largest set.
    width : int
        Sets kept at each size.
    """

    def __init__(
        self, masks: NDArray[np.bool_], residuals: Array, z: Array, alpha: float, max_size: int, width: int
    ) -> None:
        self.absent: Float32 = np.ascontiguousarray(~masks.T, dtype=np.float32)
        self.residuals: Float32 = residuals.astype(np.float32)
        self.z, self.alpha, self.max_size, self.width = z, alpha, max_size, width
        self.log_choose = [math.lgamma(s + 1) for s in range(len(self.absent) + 1)]

    def proposals(self, across_targets: bool) -> list[Proposal]:
        """Return proposals, best first; of sets that overlap by more than half, only the best.

        across_targets: search along players' main effects on all targets too, and among similar players.
        """
        best: dict[Players, Proposal] = {}
        for weights, seed in self._directions(across_targets):
            for proposal in self._in_direction(weights, seed):
                if proposal.players not in best or best[proposal.players].score < proposal.score:
                    best[proposal.players] = proposal
        found = sorted(best.values(), key=lambda p: -p.score)
        if across_targets:
            found = [self._refined(p) for p in [*found[:N_REFINED], *self._similar()]]
        found.sort(key=lambda p: -p.score)
        kept: list[Proposal] = []
        for proposal in found:
            if not any(overlap(proposal.players, other.players) for other in kept):
                kept.append(proposal)
        return kept

    def _directions(self, across_targets: bool) -> Iterator[tuple[Array, int | None]]:
        """Weights of the targets (t,), and the player that a set along this player's own direction must contain."""
        n_targets = len(self.z)
        strongest = np.argsort(-(self.z**2).sum(axis=1), kind="stable")
        for target in strongest[:SINGLE_TARGETS] if across_targets else range(n_targets):
            for sign in (1.0, -1.0):
                w = np.zeros(n_targets)
                w[target] = sign
                yield w, None
        if across_targets:
            for player in np.argsort(-(self.z**2).sum(axis=0), kind="stable")[:DIRECTION_PLAYERS]:
                w = direction_of(self.z, (player,))
                if w.any():
                    yield w, int(player)

    def _size_limit(self) -> int:
        m, q = self.absent.shape[1], 1 - self.alpha
        return max(2, min(self.max_size, int(math.log(m / MIN_ABSENT) / -math.log(q)) + 1))

    def _score(self, z: Any, n: int, k: int) -> Any:
        """Evidence corrected for the choice of k out of n players: z^2 / 2 - ln (n choose k)."""
        lg = self.log_choose
        return np.sign(z) * z**2 / 2 - (lg[n] - lg[k] - lg[n - k])

    def _extended(
        self, product: Float32, sets: NDArray[np.int64], own: Float32, total: float, r: Float32, absent: Float32
    ) -> Float32:
        """z of every set extended by every player: product (b, m) of the sets, own (n,) sums of (x_i - alpha) r."""
        k, q, m = sets.shape[1] + 1, 1 - self.alpha, absent.shape[1]
        sums = -((product * r) @ absent.T) + q**k * total - q ** (k - 1) * (own[sets].sum(axis=1)[:, None] + own)
        absent_rows = product @ absent.T
        # sum g^2: g is q^k + k alpha q^{k-1} - 1 where all are absent, and the linear part alone elsewhere.
        none = q**k + k * self.alpha * q ** (k - 1)
        squares = (1 - 2 * none) * absent_rows + m * (q ** (2 * k) + k * self.alpha * q ** (2 * k - 1))
        squares = np.maximum(squares, 0.5 * m * any_present_variance(k, self.alpha))
        z = sums / np.sqrt(squares * (r @ r / m))
        z[absent_rows < MIN_ABSENT] = -np.inf
        np.put_along_axis(z, sets, -np.inf, axis=1)
        return np.asarray(z, dtype=np.float32)

    def _in_direction(self, w: Array, seed: int | None) -> list[Proposal]:
        """Grow sets along one direction by a beam search; from one player if `seed` is given."""
        r = self.residuals @ w.astype(np.float32)
        aligned = w @ self.z / np.sqrt((w**2).sum())
        allowed = np.flatnonzero(aligned > MIN_ALIGNED_Z)
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

    def _similar(self) -> list[Proposal]:
        """Players with similar main effects over the targets: the groups of an average-linkage tree."""
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

    def _refined(self, proposal: Proposal) -> Proposal:
        """Replace the direction by the members' own, and add, remove or exchange a player while the score improves."""
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
            opposed = w_now @ self.z <= MIN_ALIGNED_Z
            k = len(players)
            options: list[tuple[float, Players]] = []
            without = [players[:at] + players[at + 1 :] for at in range(k)]
            for bases in ([players] if k < self._size_limit() else [], without):
                if not bases:
                    continue
                z = self._each_extended(bases, own, r)
                z[:, opposed] = -np.inf
                added = z.argmax(axis=1).tolist()
                options += [(z[at, j], (*base, j)) for at, (base, j) in enumerate(zip(bases, added, strict=True))]
            if k > 2:
                z = self._each_extended([base[:-1] for base in without], own, r)
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

    def _each_extended(self, bases: list[Players], own: Float32, r: Float32) -> Float32:
        """z of sets of one size, each extended by every player: (b, n)."""
        sets = np.array(bases)
        product = self.absent[sets].prod(axis=1)
        return self._extended(product, sets, own, float(r.sum()), r, self.absent)
