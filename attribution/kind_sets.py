"""Sets of a kind (or an order) that somebody asks to see tried, beside the top sets that make the headline.

Synergies are the weaker half of what campaigns report: by a rule that puts the strongest first none is ever tried.
Asked for explicitly they may be tried also where the campaign's own evidence does not carry them; such a set is
exploratory, named so in every table, and no part of the share of the top sets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from attribution.certification import Candidate, candidates_of
from attribution.errors import AttributionError
from attribution.kinds import KINDS

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
        value, stderr = float(interactions["banzhaf"][row]), float(interactions["stderr"][row])
        wanted = (not kinds or kind in kinds) and (not orders or len(members) in orders)
        if target >= 0 and wanted and stderr > 0 and math.isfinite(value):
            rows.setdefault(members, []).append(row)
    supported = {
        (int(target), tuple(int(player) for player in members))
        for target, members, gate, q in zip(
            *(interactions[name] for name in ("target", "members", "gate_open", "q_value")), strict=True
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
