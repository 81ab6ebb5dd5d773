"""Triples that pairs lead to: where two pairs with a player in common stand out, the three players are looked at.

Copies of one example, and an AND of three, have pairs as large as their triple. Among a million triples such a one
needs |z| of 6; among the few that pairs lead to, 4. The choice may be made on the same masks: phi_ij and phi_ijk are
orthogonal under the masks' distribution, so that what pairs show says nothing about the noise of a triple's
estimate. (The argument of Genovese, Roeder and Wasserman 2006 for weights from side information; measured under the
null in benchmarks/attribution.md.) Led triples are a family of their own among the triples (significance.py).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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
