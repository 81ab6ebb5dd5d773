"""How a budget is met: near duplicates first, then what covers most.

What a surrogate measures on one network's outputs does not carry over to another network as a whole; that a training
set is diverse does. Part of what goes is therefore taken from the most similar pairs by features, whatever the outputs
say, and the rest by optimising the surrogate over what is left (benchmarks/decisions.md, "Curation").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.baselines import similarities, without_near_duplicates
from attribution.budget import Solution, choose
from attribution.coverage import Coverage
from attribution.surrogate import Surrogate

Array = NDArray[np.float64]


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
