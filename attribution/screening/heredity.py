"""Heredity: pairs whose members have main effects, and triples that contain two significant pairs.

Copies of one example and an AND of three have pairs as large as their triple, and nearly all real pairs have members
with main effects. One of a million triples needs |z| = 6 to be significant; one of the few that share two significant
pairs needs |z| = 4. Sets may be singled out on the masks they are then tested on: phi_i, phi_ij and phi_ijk are
orthogonal under the masks' distribution, so the estimates of smaller sets are independent of the noise in a larger
set's estimate. (The argument of Genovese, Roeder and Wasserman 2006 for weights from side information; measured under
the null in benchmarks/attribution.md.) Sets by heredity are a stratum of their own among those of their order
(statistics/false_discovery.py). Pairs of each size class also have an empirical-Bayes prior of their own; where
heredity does not hold, the priors of the classes agree.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from attribution.types import Array

# Smallest |z| of a main effect in size classes 1, 2, 3. A choice: other bounds (3, 6, or six classes) changed held-out
# R2 by at most .0007 on digits (docs/NEGATIVE_RESULTS.md).
_CLASS_Z = (2.0, 4.0, 8.0)
N_SIZE_CLASSES = len(_CLASS_Z) + 1
HEREDITY_CLASS = 2  # pairs of this size class and above are pairs by heredity
HEREDITY_Z = _CLASS_Z[HEREDITY_CLASS - 1]


def size_classes(main_z: Array) -> NDArray[np.int8]:
    """Classify players by the size of their main effect; a pair has the class of its weaker member.

    Parameters
    ----------
    main_z : (t, n) float64
        z-scores of main effects, NaN where unknown.

    Returns
    -------
    (t, n) int8
        Size class, 0 (|z| < 2, or unknown) to N_SIZE_CLASSES - 1.
    """
    return np.digitize(np.abs(np.nan_to_num(main_z)), _CLASS_Z).astype(np.int8)


def n_pairs_of_class(classes: NDArray[np.int8], size_class: int) -> int:
    """Count the pairs of one size class over all targets.

    Parameters
    ----------
    classes : (t, n) int8
        Size class of each player on each target.
    size_class : int
        Class of the pairs, that of their weaker member.

    Returns
    -------
    int
        Number of pairs.
    """

    def pairs(smallest: int) -> int:
        players = (classes >= smallest).sum(axis=1).astype(np.int64)
        return int((players * (players - 1) // 2).sum())

    return pairs(size_class) - pairs(size_class + 1)


def triples_by_heredity(pairs: NDArray[np.int64], z: Array, limit: int) -> NDArray[np.int64]:
    """List the triples that contain at least two of the given pairs.

    Parameters
    ----------
    pairs : (p, 2) int64
        Significant pairs of one target.
    z : (p,) float64
        Their z-scores.
    limit : int
        Largest number of triples. If there are more, the weaker half of the pairs is dropped until there are not.

    Returns
    -------
    (c, 3) int64
        Triples in lexicographic order, members ascending.
    """
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
    """Test which triples are in a list.

    Parameters
    ----------
    members : (c, 3) int64
        Triples, members ascending.
    others : (d, 3) int64
        The list, members ascending.
    n_players : int
        Number of players.

    Returns
    -------
    (c,) bool
        Whether each triple is one of `others`.
    """
    base = np.array([n_players**2, n_players, 1], dtype=np.int64)
    return np.isin(members @ base, others @ base)
