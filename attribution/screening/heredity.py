"""Sets that smaller ones lead to: pairs of players with main effects, and triples of which two pairs stand out.

Copies of one example and an AND of three have pairs as large as their triple, and nearly all real pairs have members
with main effects. Among a million triples such a one needs |z| of 6; among the few that pairs lead to, 4. The choice
may be made on the same masks: phi_i, phi_ij and phi_ijk are orthogonal under the masks' distribution, so that what
smaller sets show says nothing about the noise of a larger one's estimate. (The argument of Genovese, Roeder and
Wasserman 2006 for weights from side information; measured under the null in benchmarks/attribution.md.) Led sets are a
stratum of their own among those of their order (false_discovery.py). Pairs of one level have an empirical-Bayes prior
of their own as well; where hierarchy means nothing the levels' priors come out alike.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from attribution.types import Array

_MAIN_Z = (2.0, 4.0, 8.0)  # |z| of a main effect at which the levels of players begin
N_LEVELS = len(_MAIN_Z) + 1
LEADING_LEVEL = 2  # pairs of this level and above are led
LEADING_Z = _MAIN_Z[LEADING_LEVEL - 1]


def player_levels(main_z: Array) -> NDArray[np.int8]:
    """How large each main effect is: (t, n) z -> (t, n) level. A pair's level is the lesser of its members'."""
    return np.digitize(np.abs(np.nan_to_num(main_z)), _MAIN_Z).astype(np.int8)


def pairs_of_level(levels: NDArray[np.int8], level: int) -> int:
    """How many pairs of one level there are, over all targets: levels (t, n)."""

    def pairs(least: int) -> int:
        players = (levels >= least).sum(axis=1).astype(np.int64)
        return int((players * (players - 1) // 2).sum())

    return pairs(level) - pairs(level + 1)


def led_triples(pairs: NDArray[np.int64], z: Array, limit: int) -> NDArray[np.int64]:
    """Triples (c, 3) of which at least two of the given pairs are a part; at most `limit` of them.

    pairs: (p, 2), of one target, those that stand out. z: (p,). Where there would be too many, the pairs of smallest
    |z| lead nowhere."""
    strongest = pairs[np.argsort(-np.abs(z), kind="stable")]
    while len(strongest) > 1:
        degree = np.unique(strongest, return_counts=True)[1]
        if int((degree * (degree - 1) // 2).sum()) <= limit:
            break
        strongest = strongest[: len(strongest) // 2]
    partners: dict[int, list[int]] = {}
    for first, second in strongest.tolist():
        partners.setdefault(first, []).append(second)
        partners.setdefault(second, []).append(first)
    found = {
        tuple(sorted((player, *two)))
        for player, others in partners.items()
        for two in combinations(others, 2)
    }
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 3)


def are_among(members: NDArray[np.int64], others: NDArray[np.int64], n_players: int) -> NDArray[np.bool_]:
    """(c,) whether each set of `members` (c, 3), sorted within, is one of `others` (d, 3)."""
    base = np.array([n_players**2, n_players, 1], dtype=np.int64)
    return np.isin(members @ base, others @ base)
