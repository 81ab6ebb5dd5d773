"""Certifying interactions by experiment: which sets are tried, at what size, and what the result is called.

METHOD.md, "Certifying an interaction by experiment". Everything that decides an outcome (the sets, the family, the
level, the number of base masks and the rule that may raise it) is fixed before a result is looked at; the only thing
a running experiment may look at is the width of its intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.factorial import Interval, n_cells

Array = NDArray[np.float64]
Verdict = Literal["certified", "refuted", "undecided"]
VERDICTS: tuple[Verdict, ...] = ("certified", "refuted", "undecided")


@dataclass(frozen=True)
class Candidate:
    """A set to be tried on one target. predicted: the shrunken I(S), NaN where the campaign has no prediction.

    origin: "reported" (the top sets), "kind" or "exploratory" (kind_sets.py), "random" or "named". matched_to: place of
    the set a random one stands beside, -1 otherwise. evidence: what it was ranked by. The rest is what the campaign
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
    left out) behind an open gate with q <= level. A set's pooled evidence is the sum of z^2 (z = I / standard error)
    over its eligible rows; its target is the one of largest |z|. Ties go to the smaller members. Fewer than `count`
    are returned when fewer are eligible; none is a result as well.
    """
    rows: dict[tuple[int, ...], list[int]] = {}
    value = np.asarray(interactions["banzhaf"], dtype=np.float64)
    stderr = np.asarray(interactions["stderr"], dtype=np.float64)
    q_value = np.asarray(interactions["q_value"], dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.abs(value / stderr)
    for row, (target, gate) in enumerate(zip(interactions["target"], interactions["gate_open"], strict=True)):
        if target >= 0 and gate and q_value[row] <= level and math.isfinite(z[row]):
            rows.setdefault(tuple(interactions["members"][row]), []).append(row)
    return candidates_of(interactions, rows, count)


def candidates_of(
    interactions: Mapping[str, Sequence[Any]], rows: Mapping[tuple[int, ...], Sequence[int]], count: int
) -> list[Candidate]:
    """The `count` sets of largest pooled evidence as candidates; rows: member set -> its rows that count."""
    value = np.asarray(interactions["banzhaf"], dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.abs(value / np.asarray(interactions["stderr"], dtype=np.float64))
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
    generator = np.random.default_rng((seed, 20))
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


def adjusted_level(level: float, n_sets: int) -> float:
    """Level of each of n_sets intervals that together hold with probability 1 - level (Bonferroni)."""
    if n_sets < 1:
        raise AttributionError(f"at least one set is needed; got {n_sets}.")
    return level / n_sets


def bases_for_power(predicted: float, sd: float, level: float = 0.05, power: float = 0.8) -> int:
    """Base masks that show I(S) = predicted with the given power: ((z_{1-level/2} + z_power) sd / |I|)^2.

    sd: standard deviation of Delta over base masks. At level .05 and power .8 this is METHOD.md's (5.6 sigma/|I|)^2
    with sigma = sd / 2, the noise of a single cell of a pair. Raises AttributionError without a prediction.
    """
    from scipy.special import ndtri

    if not (math.isfinite(predicted) and predicted != 0 and math.isfinite(sd) and sd >= 0):
        raise AttributionError(
            f"power needs a prediction other than 0 and a standard deviation; got {predicted} and {sd}. "
            "Set certify.n_bases for a set without a prediction."
        )
    reach = float(ndtri(1 - level / 2) + ndtri(power))
    return max(2, math.ceil((reach * sd / abs(predicted)) ** 2))


def expected_sd(output_sd: float, r2_linear: float, order: int) -> float:
    """A first guess of the sd of Delta before any cell is trained: 2^k cells, each with what a linear fit leaves over.

    output_sd: of the target over the fit masks; r2_linear: the datamodel's held-out R^2 (NaN counts as 0).
    """
    left = 1.0 - min(max(r2_linear, 0.0), 0.95) if math.isfinite(r2_linear) else 1.0
    return output_sd * math.sqrt(left * n_cells(order))


@dataclass(frozen=True)
class BasesPlan:
    """Base masks of every set, and the models they cost. capped: sets that got fewer than power asked for."""

    n_bases: tuple[int, ...]
    n_models: int
    capped: tuple[bool, ...]


def plan_bases(
    candidates: Sequence[Candidate],
    wanted: Sequence[int],
    *,
    smallest: int,
    largest: int,
    max_models: int,
) -> BasesPlan:
    """Base masks of every set: what power asks for, within [smallest, largest], within a budget of models in all.

    When the budget does not suffice, the largest allowances are cut first, to one common ceiling: the sets that need
    most are the weakest. Raises AttributionError when the budget does not give every set `smallest` bases.
    """
    cells = np.array([n_cells(candidate.order) for candidate in candidates], dtype=np.int64)
    asked = np.clip(np.asarray(wanted, dtype=np.int64), smallest, largest)
    if int((cells * smallest).sum()) > max_models:
        raise AttributionError(
            f"{len(candidates)} sets with {smallest} base masks each need {int((cells * smallest).sum())} models; "
            f"certify.max_models is {max_models}. Raise it, or lower certify.top or certify.min_bases."
        )
    ceiling = largest
    while int((cells * np.minimum(asked, ceiling)).sum()) > max_models:
        ceiling -= 1
    given = np.minimum(asked, ceiling)
    capped = tuple(bool(g < w) for g, w in zip(given, wanted, strict=True))
    return BasesPlan(tuple(int(g) for g in given), int((cells * given).sum()), capped)


def more_bases(
    candidate: Candidate, measured: Interval, level: float, power: float, *, largest: int
) -> int:
    """Base masks to add once the sd of Delta is known: only widths are looked at, never where the interval lies.

    Stein's two-stage rule: what power asks for with the measured sd, less what exists, never more than `largest`.
    """
    if measured.n < 2 or not math.isfinite(candidate.predicted) or candidate.predicted == 0:
        return 0
    return max(0, min(bases_for_power(candidate.predicted, measured.sd, level, power), largest) - measured.n)


def verdict_of(adjusted: Interval, predicted: float) -> Verdict:
    """METHOD.md's verdict on a set.

    certified: the interval (at the level adjusted over the sets tried) excludes 0 with the predicted sign; refuted:
    it excludes half the shrunken prediction and is not certified; else undecided. Without a prediction (NaN) an
    interval that excludes 0 on either side is certified and nothing is ever refuted.
    """
    if not (math.isfinite(adjusted.low) and math.isfinite(adjusted.high)):
        return "undecided"
    excludes_zero = adjusted.low > 0 or adjusted.high < 0
    if not math.isfinite(predicted):
        return "certified" if excludes_zero else "undecided"
    if excludes_zero and math.copysign(1.0, adjusted.mean) == math.copysign(1.0, predicted):
        return "certified"
    return "refuted" if not adjusted.low <= predicted / 2 <= adjusted.high else "undecided"


@dataclass(frozen=True)
class Share:
    """How many of n sets have a verdict, with a 95% Clopper-Pearson interval."""

    count: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.count / self.n if self.n else math.nan


def certified_share(verdicts: Sequence[str]) -> Share:
    """Share of certified sets: the headline for the top 20, the false-certification rate for random sets."""
    from scipy.stats import beta

    n, count = len(verdicts), sum(verdict == "certified" for verdict in verdicts)
    if n == 0:
        return Share(0, 0, math.nan, math.nan)
    low = float(beta.ppf(0.025, count, n - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, n - count)) if count < n else 1.0
    return Share(count, n, low, high)


def with_prediction(candidate: Candidate, row: Mapping[str, Any] | None) -> Candidate:
    """A named set with what the campaign says of it, where it says something (row of the interactions table)."""
    if row is None:
        return candidate
    return replace(
        candidate,
        predicted=float(row["shrunken"]),
        banzhaf=float(row["banzhaf"]),
        joint_surplus=float(row["joint_surplus"]),
        q_value=float(row["q_value"]),
        kind=str(row["kind"]),
        class_split=str(row["class_split"]),
    )
