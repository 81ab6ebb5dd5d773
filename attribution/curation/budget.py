"""Which players to keep under a budget: local search over the surrogate's lower confidence bound.

maximise f(x) - confidence * sqrt(Var[f(x) - f(1)]) over masks x with a given number of players, at least so many of
every class, and with every bundle kept or dropped as a whole. Greedy removal from the full set, then exchanges until
none helps, then again from random exchanges away from the best found (iterated local search). It is no ranking: what
a removal costs depends on what else has gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.curation.coverage import Coverage, CoverageState
from attribution.curation.feature_similarity import similarities, without_near_duplicates
from attribution.curation.surrogate import State, Surrogate
from attribution.errors import AttributionError
from attribution.randomness import Purpose, random_stream
from attribution.types import Array

CANDIDATES = 40  # players on either side of an exchange that are tried, best first
MAX_EXCHANGES = 2000
N_KICKS = 20
KICK_SIZE = 3  # random exchanges of one kick


@dataclass(frozen=True)
class Solution:
    """keep: (n,) bool. value: the surrogate there; bound: its lower confidence bound.

    cost: (n,) what dropping each player (or bringing it back) alone would do to the value, at the solution.
    n_exchanges: made after the greedy pass.
    """

    keep: NDArray[np.bool_]
    value: float
    bound: float
    cost: Array
    n_exchanges: int


def least_of_each_class(
    player_classes: NDArray[np.int64],
    n_keep: int,
    share: float,
    quotas: dict[int, int] | None = None,
    class_names: Sequence[str] | None = None,
) -> dict[int, int]:
    """Players of each class that stay at least: `share` of the class's part of n_keep, or the quota given for it.

    class_names: for messages. Raises AttributionError when a quota asks for more than there is, or the quotas together
    for more than n_keep.
    """
    counts = {int(label): int((player_classes == label).sum()) for label in np.unique(player_classes) if label >= 0}
    least = {label: int(share * n_keep * count / len(player_classes)) for label, count in counts.items()}
    for label, quota in (quotas or {}).items():
        if quota > counts.get(label, 0):
            name = label if class_names is None else class_names[label]
            raise AttributionError(
                f"class {name} has {counts.get(label, 0)} players; its quota asks for {quota}. Lower it in "
                "curate.class_quotas."
            )
        if quota < 0:
            raise AttributionError(f"a class quota must not be negative; got {quota}. Change curate.class_quotas.")
        least[label] = quota
    if sum(least.values()) > n_keep:
        raise AttributionError(
            f"the class quotas ask for {sum(least.values())} players"
            + (f" (classes without one keep at least {share:.0%} of their even share)" if quotas and share else "")
            + f", the budget keeps {n_keep}. Raise the budget (curate.keep_share or curate.keep_count), or lower "
            "curate.class_quotas or curate.least_class_share."
        )
    return least


def choose(
    surrogate: Surrogate | Coverage,
    n_keep: int,
    *,
    player_classes: NDArray[np.int64] | None = None,
    least: dict[int, int] | None = None,
    bundles: Sequence[Sequence[int]] = (),
    confidence: float = 1.0,
    seed: int = 0,
    pool: NDArray[np.bool_] | None = None,
) -> Solution:
    """The players to keep; see the module's docstring.

    player_classes: (n,), least: as least_of_each_class gives it. bundles: disjoint sets that go together or stay.
    seed: of the random exchanges. surrogate: of a utility, or of every target (coverage.py). Of a utility without
    member sets the greedy pass and its exchanges are the optimum's neighbourhood already, and no random ones are tried.
    pool: (n,) players that may stay at all; everybody when None.
    Raises AttributionError for a budget outside 1..n, and when bundles and quotas leave no way to reach it.
    """
    n = surrogate.n_players
    if not 1 <= n_keep <= n:
        raise AttributionError(f"the budget keeps 1 to {n} players; got {n_keep}. Change curate.keep_count.")
    search = _Search(surrogate, player_classes, least or {}, bundles, confidence, pool)
    search.remove(int(search.state.present.sum()) - n_keep)
    exchanges = search.exchange()
    if surrogate.sets or isinstance(surrogate, Coverage):
        exchanges += search.iterate(random_stream(Purpose.BUDGET_SEARCH, seed))
    state = search.state
    return Solution(state.present.copy(), state.value, search.bound(), state.gains(), exchanges)


class _Search:
    def __init__(
        self,
        surrogate: Surrogate | Coverage,
        player_classes: NDArray[np.int64] | None,
        least: dict[int, int],
        bundles: Sequence[Sequence[int]],
        confidence: float,
        pool: NDArray[np.bool_] | None,
    ) -> None:
        self.state = CoverageState(surrogate) if isinstance(surrogate, Coverage) else State(surrogate)
        self.confidence = confidence
        n = surrogate.n_players
        self.classes = np.zeros(n, dtype=np.int64) if player_classes is None else np.asarray(player_classes)
        self.least = least
        self.bundles = [list(map(int, bundle)) for bundle in bundles if len(bundle) > 1]
        self.bundled = np.zeros(n, dtype=bool)
        for bundle in self.bundles:
            self.bundled[bundle] = True
        self.variance = 0.0
        self.pool = np.ones(n, dtype=bool) if pool is None else np.asarray(pool, dtype=bool)
        self._flip(np.flatnonzero(~self.pool).tolist())

    def bound(self) -> float:
        return self.state.value - self.confidence * np.sqrt(max(self.state.variance, 0.0))

    def _spare(self) -> dict[int, int]:
        """Players of each class that could still go."""
        labels, counts = np.unique(self.classes[self.state.present], return_counts=True)
        return {int(c): int(k) - self.least.get(int(c), 0) for c, k in zip(labels, counts, strict=True)}

    def _bound_gains(self) -> Array:
        """Change of the lower bound by flipping each player alone."""
        new = np.maximum(self.variance + self.state.variance_gains(), 0.0)
        return self.state.gains() - self.confidence * (np.sqrt(new) - np.sqrt(max(self.variance, 0.0)))

    def _flip(self, players: Sequence[int]) -> None:
        for player in players:
            self.variance = max(0.0, self.variance + float(self.state.variance_gains()[player]))
            self.state.flip(player)

    def remove(self, count: int) -> None:
        """Greedy: what costs least goes first, a bundle by its cost per member."""
        while count > 0:
            gains = self._bound_gains()
            spare = self._spare()
            free = self.state.present & ~self.bundled
            free &= np.array([spare.get(int(c), 0) > 0 for c in np.unique(self.classes)])[
                np.searchsorted(np.unique(self.classes), self.classes)
            ]
            best, cost = None, -np.inf
            if free.any():
                player = int(np.flatnonzero(free)[np.argmax(gains[free])])
                best, cost = [player], float(gains[player])
            for bundle in self.bundles:
                if self.state.present[bundle[0]] and len(bundle) <= count and self._allowed(bundle, spare):
                    value = self._try(bundle) / len(bundle)
                    if value > cost:
                        best, cost = bundle, value
            if best is None:
                raise AttributionError(
                    f"{count} more players would have to go, but quotas and protected sets hold the rest. Keep more "
                    "(curate.keep_share), or lower curate.class_quotas or curate.least_class_share."
                )
            self._flip(best)
            count -= len(best)

    def _allowed(self, bundle: Sequence[int], spare: dict[int, int]) -> bool:
        labels, counts = np.unique(self.classes[list(bundle)], return_counts=True)
        return all(spare.get(int(label), 0) >= count for label, count in zip(labels, counts, strict=True))

    def _try(self, players: Sequence[int]) -> float:
        """Change of the bound by flipping several players together."""
        before, variance = self.bound(), self.variance
        for player in players:
            self.state.flip(player)
        after = self.bound()
        for player in players:
            self.state.flip(player)
        self.variance = variance
        return after - before

    def exchange(self) -> int:
        """Swap a kept player with a dropped one while that raises the bound."""
        done = 0
        while done < MAX_EXCHANGES:
            pair = self._best_exchange()
            if pair is None:
                return done
            self._flip(pair)
            done += 1
        return done

    def iterate(self, generator: np.random.Generator) -> int:
        """Kick, search again, keep what is better; the exchanges made."""
        done = 0
        best, present = self.bound(), self.state.present.copy()
        for _ in range(N_KICKS):
            self._kick(generator)
            done += self.exchange()
            if self.bound() > best + 1e-12 * max(1.0, abs(best)):
                best, present = self.bound(), self.state.present.copy()
            else:
                self._flip(np.flatnonzero(self.state.present != present).tolist())
        return done

    def _kick(self, generator: np.random.Generator) -> None:
        """Exchange a few random players of the same class, which no quota minds."""
        for _ in range(KICK_SIZE):
            present = self.state.present
            free = np.flatnonzero(present & ~self.bundled)
            if len(free) == 0:
                return
            out = int(generator.choice(free))
            alike = np.flatnonzero(~present & self.pool & ~self.bundled & (self.classes == self.classes[out]))
            if len(alike):
                self._flip([out, int(generator.choice(alike))])

    def _best_exchange(self) -> tuple[int, int] | None:
        gains = self._bound_gains()
        present = self.state.present
        leaving = _first(np.flatnonzero(present & ~self.bundled), gains)
        entering = _first(np.flatnonzero(~present & self.pool & ~self.bundled), gains)
        spare = self._spare()
        best, cost = None, 1e-12 * max(1.0, abs(self.state.value))
        base = self.bound()
        for out in leaving:
            # Flipped once, every partner's own change is exact, pair terms included.
            self.state.flip(out)
            variance = self.state.variance
            value = self.state.value
            new = np.maximum(variance + self.state.variance_gains()[entering], 0.0)
            total = value + self.state.gains_of(entering) - self.confidence * np.sqrt(new) - base
            self.state.flip(out)
            for back, gain in zip(entering.tolist(), total.tolist(), strict=True):
                same = self.classes[back] == self.classes[out]
                if gain > cost and (same or spare.get(int(self.classes[out]), 0) > 0):
                    best, cost = (int(out), int(back)), gain
        return best


def _first(players: NDArray[np.int64], gains: Array) -> NDArray[np.int64]:
    return players[np.argsort(-gains[players], kind="stable")][:CANDIDATES]


@dataclass(frozen=True)
class MetBudget:
    """solution: who stays. near: player that left as a near duplicate -> (the kept player of its class most like it, or
    -1, and their similarity)."""

    solution: Solution
    near: dict[int, tuple[int, float]]


def meet_budget(
    objective: Surrogate | Coverage,
    n_keep: int,
    *,
    player_classes: NDArray[np.int64],
    least: Mapping[int, int],
    bundles: Sequence[Sequence[int]],
    confidence: float,
    features: Array | None = None,
    near_duplicate_share: float = 0.0,
) -> MetBudget:
    """The players to keep. features: (k, n, d) of k networks; without them everything goes by the objective.

    near_duplicate_share: part of the players that go which leave as near duplicates; members of bundles never do.
    Raises AttributionError for a budget out of reach (budget.choose).
    """
    n = len(player_classes)
    pool = np.ones(n, dtype=bool)
    n_near = round(near_duplicate_share * (n - n_keep))
    if features is not None and 0 < n_near and n_keep >= 1:
        pool = without_near_duplicates(features, player_classes, n - n_near, least)
        for bundle in bundles:
            pool[list(bundle)] = True
    solution = choose(
        objective, n_keep, player_classes=player_classes, least=dict(least), bundles=bundles, confidence=confidence,
        pool=pool,
    )  # fmt: skip
    return MetBudget(solution, _nearest(features, player_classes, solution.keep, pool))


def _nearest(
    features: Array | None, player_classes: NDArray[np.int64], keep: NDArray[np.bool_], pool: NDArray[np.bool_]
) -> dict[int, tuple[int, float]]:
    found: dict[int, tuple[int, float]] = {}
    if features is None or pool.all():
        return found
    for label in np.unique(player_classes[~pool]):
        rows = np.flatnonzero(player_classes == label)
        alike = similarities(features, rows)
        np.fill_diagonal(alike, -np.inf)
        alike[:, ~keep[rows]] = -np.inf
        for at, player in enumerate(rows.tolist()):
            if not pool[player]:
                best = int(alike[at].argmax())
                known = bool(np.isfinite(alike[at, best]))
                found[player] = (int(rows[best]), float(alike[at, best])) if known else (-1, float("nan"))
    return found
