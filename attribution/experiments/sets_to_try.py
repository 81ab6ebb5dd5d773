"""Certifying interactions by experiment: which sets are tried, at what size, and what the result is called.

METHOD.md, "Certifying an interaction by experiment". Everything that decides an outcome (the sets, the family, the
level, the number of base masks and the rule that may raise it) is fixed before a result is looked at; the only thing
a running experiment may look at is the width of its intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.fourier.kinds import KINDS
from attribution.randomness import Purpose, random_stream
from attribution.statistics.listing import listing_q
from attribution.types import Array


@dataclass(frozen=True)
class Candidate:
    """A set to be tried on one target. predicted: the shrunken I(S), NaN where the campaign has no prediction.

    origin: "reported" (the top sets), "kind" or "exploratory" (sets_to_try.py), "random" or "named". matched_to: place
    of the set a random one stands beside, -1 otherwise. evidence: what it was ranked by. The rest is what the campaign
    said of it, kept for the tables.
    """

    members: tuple[int, ...]
    target: int
    predicted: float
    origin: str = "reported"
    matched_to: int = -1
    evidence: float = math.nan
    banzhaf: float = math.nan
    joint_surplus: float = math.nan
    q_value: float = math.nan
    kind: str = ""
    class_split: str = ""

    @property
    def order(self) -> int:
        return len(self.members)


def top_sets(interactions: Mapping[str, Sequence[Any]], count: int = 20, level: float = 0.1) -> list[Candidate]:
    """The sets a campaign puts first: distinct member sets by pooled evidence, each on its best target.

    interactions: columns of the interactions table. Eligible is a row of an individual target (pooled targets are
    left out) behind an open gate whose specific part has q <= level. A set's pooled evidence is the sum of z^2 over
    its eligible rows, z the specific part in standard errors; its target is the one of largest |z|. Ties go to the
    smaller members. Fewer than `count` are returned when fewer are eligible; none is a result as well.
    """
    rows: dict[tuple[int, ...], list[int]] = {}
    q_value, z = listing_q(interactions), _evidence(interactions)
    for row, (target, gate) in enumerate(zip(interactions["target"], interactions["gate_open"], strict=True)):
        if target >= 0 and gate and q_value[row] <= level and math.isfinite(z[row]):
            rows.setdefault(tuple(interactions["members"][row]), []).append(row)
    return candidates_of(interactions, rows, count)


def _evidence(interactions: Mapping[str, Sequence[Any]]) -> Array:
    """|z| of every row's specific part; of I(S) in a table without one."""
    value, stderr = ("specific", "specific_stderr") if "specific" in interactions else ("value", "stderr")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(
            np.asarray(interactions[value], dtype=np.float64) / np.asarray(interactions[stderr], dtype=np.float64)
        )


def candidates_of(
    interactions: Mapping[str, Sequence[Any]], rows: Mapping[tuple[int, ...], Sequence[int]], count: int
) -> list[Candidate]:
    """The `count` sets of largest pooled evidence as candidates; rows: member set -> its rows that count."""
    value, z = np.asarray(interactions["value"], dtype=np.float64), _evidence(interactions)
    evidence = {members: float(np.sum(z[list(found)] ** 2)) for members, found in rows.items()}
    chosen = []
    for members in sorted(rows, key=lambda members: (-evidence[members], members))[:count]:
        best = max(rows[members], key=lambda row: (z[row], -row))
        chosen.append(
            Candidate(
                members=members,
                target=int(interactions["target"][best]),
                predicted=float(interactions["shrunken"][best]),
                evidence=evidence[members],
                banzhaf=float(value[best]),
                joint_surplus=float(interactions["joint_surplus"][best]),
                q_value=float(interactions["q_value"][best]),
                kind=str(interactions["kind"][best]),
                class_split=str(interactions["class_split"][best]),
            )
        )
    return chosen


def matched_random_sets(
    candidates: Sequence[Candidate],
    main_effects: Mapping[int, Array],
    player_classes: NDArray[np.int64],
    excluded: Sequence[tuple[int, ...]],
    seed: int,
    n_nearest: int = 5,
) -> list[Candidate]:
    """One random set beside each candidate: same target, same classes, members of like main effects on the target.

    main_effects: target -> (n,) effects. player_classes: (n,). excluded: sets the campaign reports (their pairs
    included): a random set may hold none of them. Each member is drawn from the `n_nearest` players of its class
    whose main effect is nearest to the member's own. The random set takes over the prediction it stands beside, so
    that both meet the same rule. Raises AttributionError when a class has too few players.
    """
    generator = random_stream(Purpose.MATCHED_RANDOM_SETS, seed)
    known = {tuple(sorted(pair)) for members in excluded for pair in _pairs(members)}
    result = []
    for place, candidate in enumerate(candidates):
        effects = np.asarray(main_effects[candidate.target], dtype=np.float64)
        pools = []
        for player in candidate.members:
            alike = np.flatnonzero(player_classes == player_classes[player])
            alike = alike[~np.isin(alike, candidate.members)]
            order = np.argsort(np.abs(effects[alike] - effects[player]), kind="stable")
            pools.append(alike[order])
        members = _draw(pools, known, n_nearest, generator)
        if members is None:
            raise AttributionError(
                f"no random set like {candidate.members} exists: its classes have too few other players. "
                "Set certify.n_random=0, or use a campaign of more players."
            )
        result.append(
            Candidate(members, candidate.target, candidate.predicted, origin="random", matched_to=place)
        )
    return result


def _draw(
    pools: list[NDArray[np.int64]], known: set[tuple[int, ...]], n_nearest: int, generator: np.random.Generator
) -> tuple[int, ...] | None:
    """A set with one member of each pool and no reported pair; the pools widen until there is one."""
    width = n_nearest
    while True:
        for _ in range(50):
            drawn = [int(generator.choice(pool[:width])) if len(pool) else -1 for pool in pools]
            if -1 in drawn or len(set(drawn)) < len(drawn):
                continue
            if not any(pair in known for pair in _pairs(tuple(drawn))):
                return tuple(sorted(drawn))
        if width >= max(len(pool) for pool in pools):
            return None
        width *= 2


def _pairs(members: Sequence[int]) -> list[tuple[int, ...]]:
    return [tuple(sorted((a, b))) for at, a in enumerate(members) for b in members[at + 1 :]]


def with_prediction(candidate: Candidate, row: Mapping[str, Any] | None) -> Candidate:
    """A named set with what the campaign says of it, where it says something (row of the interactions table)."""
    if row is None:
        return candidate
    return replace(
        candidate,
        predicted=float(row["shrunken"]),
        banzhaf=float(row["value"]),
        joint_surplus=float(row["joint_surplus"]),
        q_value=float(row["q_value"]),
        kind=str(row["kind"]),
        class_split=str(row["class_split"]),
    )


SHARE_OF_RAW = 0.5  # of the estimate of an exploratory set: what its experiment is planned to see


def sets_of_kind(
    interactions: Mapping[str, Sequence[Any]],
    *,
    kinds: Sequence[str] = (),
    orders: Sequence[int] = (),
    count: int = 20,
    level: float = 0.1,
) -> list[Candidate]:
    """The strongest sets of some kinds and orders (all of either when empty), each on its best individual target.

    interactions: columns of the interactions table. A set's pooled evidence is the sum of z^2 over its rows of those
    kinds, best first. Its origin is "kind" where its best row lies behind an open gate with q <= level; else it is
    "exploratory", and what is predicted of it is the sign of I with the size of the shrunken estimate, which may be
    next to nothing. Raises AttributionError for a kind that does not exist.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise AttributionError(f"there is no kind {', '.join(unknown)}. Kinds: {', '.join(KINDS)}.")
    rows: dict[tuple[int, ...], list[int]] = {}
    for row, (target, kind) in enumerate(zip(interactions["target"], interactions["kind"], strict=True)):
        members = tuple(int(player) for player in interactions["members"][row])
        value, stderr = float(interactions["value"][row]), float(interactions["stderr"][row])
        wanted = (not kinds or kind in kinds) and (not orders or len(members) in orders)
        if target >= 0 and wanted and stderr > 0 and math.isfinite(value):
            rows.setdefault(members, []).append(row)
    supported = {
        (int(target), tuple(int(player) for player in members))
        for target, members, gate, q in zip(
            *(interactions[name] for name in ("target", "members", "gate_open")), listing_q(interactions), strict=True
        )
        if gate and q <= level
    }
    found = candidates_of(interactions, rows, count)
    return [
        replace(candidate, origin="kind")
        if (candidate.target, candidate.members) in supported
        else replace(
            candidate, origin="exploratory", predicted=math.copysign(candidate.predicted, candidate.banzhaf)
        )
        for candidate in found
    ]


def planned_effect(candidate: Candidate) -> float:
    """The size of I(S) that an experiment is planned to see: what is predicted; of an exploratory set, whose shrunken
    estimate may be next to nothing, at least half of the raw one."""
    if candidate.origin != "exploratory":
        return candidate.predicted
    size = np.nanmax([abs(candidate.predicted), SHARE_OF_RAW * abs(candidate.banzhaf)])
    return math.copysign(float(size), candidate.banzhaf)
