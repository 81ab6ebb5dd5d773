"""Compute similarities of players by their features, and drop the most similar players first.

Near-duplicates by pixels are found in `training.data.near_duplicates`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.types import Array


def similarities(features: Array, rows: NDArray[np.int64]) -> Array:
    """Cosine similarity of centred features, mean over networks: (k, n, d) and c rows -> (c, c)."""
    total = np.zeros((len(rows), len(rows)))
    known = [network for network in features if np.isfinite(network).all()]
    for network in known:
        centred = network - network.mean(axis=0)
        chosen = centred[rows]
        norm = np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-12)
        chosen = chosen / norm
        total += chosen @ chosen.T
    return total / max(1, len(known))


def without_near_duplicates(
    features: Array, player_classes: NDArray[np.int64], n_keep: int, least: Mapping[int, int] | None = None
) -> NDArray[np.bool_]:
    """Drop near-duplicates by features until n_keep are left: (n,) bool.

    features: (k, n, d) of k networks. Again and again the most similar pair of one class that is still whole loses the
    member that is more similar to what else is left of its class (after SemDeDup, Abbas et al. 2023, without its
    clustering). least: players of each class that stay. Raises AttributionError when quotas hold everything back.
    """
    n = features.shape[1]
    keep = np.ones(n, dtype=bool)
    held: dict[int, tuple[NDArray[np.int64], Array]] = {}
    for label in np.unique(player_classes):
        rows = np.flatnonzero(player_classes == label)
        matrix = similarities(features, rows)
        np.fill_diagonal(matrix, -np.inf)
        held[int(label)] = (rows, matrix)
    while keep.sum() > n_keep:
        best, chosen = -np.inf, None
        for label, (rows, matrix) in held.items():
            if keep[rows].sum() > max(1, (least or {}).get(label, 0)) and matrix.max() > best:
                best, chosen = float(matrix.max()), label
        if chosen is None:  # no class has a pair to spare: single players go, in the order of the classes
            left_of = {label: rows[keep[rows]] for label, (rows, _) in held.items()}
            spare = [rows for label, rows in left_of.items() if len(rows) > (least or {}).get(label, 0)]
            if not spare:
                raise AttributionError(f"quotas do not allow to keep only {n_keep} of {n} players. Lower the quotas.")
            keep[spare[0][0]] = False
            continue
        rows, matrix = held[chosen]
        a, b = np.unravel_index(int(matrix.argmax()), matrix.shape)
        left = keep[rows]
        other = [np.sort(matrix[at][left])[::-1][1:2].sum() for at in (a, b)]  # beside the pair itself
        gone = int(a if other[0] >= other[1] else b)
        keep[rows[gone]] = False
        matrix[gone, :] = -np.inf
        matrix[:, gone] = -np.inf
    return keep
