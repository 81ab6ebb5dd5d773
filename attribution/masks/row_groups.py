"""Rows summed up by what no split may divide, as far as products of players allow it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attribution.fourier.basis import Alpha, basis, rows_of


@dataclass(frozen=True)
class Clusters:
    """Replicates of a mask (and at alpha = 1/2 its complement) as one row, so that variances cluster for free.

    phi: (u, n) float32, the basis at one mask per cluster. group: (u,) the group of each. row_cluster: (m,) cluster
    of every row; row_sign: (m,) -1 where the row is the complement of the cluster's mask; row_weight: (m,).
    first: (u,) the row whose mask stands for the cluster. exact: whether clusters are the groups; if not, groups
    hold different masks, whose sums are no product.
    """

    phi: NDArray[np.float32]
    group: NDArray[np.int64]
    row_cluster: NDArray[np.int64]
    row_sign: NDArray[np.float64]
    row_weight: NDArray[np.float64]
    first: NDArray[np.int64]
    exact: bool

    @property
    def size(self) -> int:
        return len(self.phi)

    def of_players(self, players: NDArray[np.int64]) -> Clusters:
        """The same clusters with the basis of some players only."""
        return replace(self, phi=np.ascontiguousarray(self.phi[:, players]))

    def sums(self, values: NDArray[np.float64], order: int) -> NDArray[np.float64]:
        """(m, t) -> (u, t): weighted sums per cluster, signed so that phi_S of a set of this order is `phi`'s.

        At alpha = 1/2 phi_S of a mask's complement is (-1)^|S| phi_S."""
        scale = self.row_weight if order % 2 == 0 else self.row_weight * self.row_sign
        weighted = values * scale[:, None]
        if self.size == len(values):
            return weighted[np.argsort(self.row_cluster, kind="stable")]
        result = np.zeros((self.size, values.shape[1]))
        np.add.at(result, self.row_cluster, weighted)
        return result


def make_clusters(
    masks: NDArray[np.bool_],
    groups: NDArray[np.int64],
    weight: NDArray[np.float64] | None,
    alpha: Alpha,
    identity: NDArray[np.bool_] | None = None,
) -> Clusters:
    """Clusters of (m, n) masks: equal masks of one group, and at alpha = 1/2 a mask with its complement.

    identity: (m, all players), by which masks are equal, where `masks` holds only some of the players."""
    n_masks = len(masks)
    identity = masks if identity is None else identity
    # A single-player mask flipped to hold player 0 absent stands for itself and for its complement.
    halves = not isinstance(alpha, np.ndarray) and alpha == 0.5
    flip = identity[:, 0].copy() if halves else np.zeros(n_masks, dtype=bool)
    if len(np.unique(groups)) == n_masks:
        flip[:] = False  # every row is alone: nothing to fold
    packed = np.packbits(identity ^ flip[:, None], axis=1) if flip.any() else np.packbits(identity, axis=1)
    labels = [np.ascontiguousarray(groups).view(np.uint8).reshape(n_masks, 8), packed]
    if isinstance(alpha, np.ndarray):
        labels.append(np.ascontiguousarray(alpha).view(np.uint8).reshape(n_masks, 8))
    keys = np.column_stack(labels)
    keys = np.ascontiguousarray(keys)
    _, first, row_cluster = np.unique(
        keys.view(np.dtype((np.void, keys.shape[1]))).ravel(), return_index=True, return_inverse=True
    )
    row_cluster = np.asarray(row_cluster, dtype=np.int64).ravel()
    sign = np.where(flip == flip[first][row_cluster], 1.0, -1.0)
    return Clusters(
        phi=basis(masks[first], rows_of(alpha, first)),
        group=groups[first],
        row_cluster=row_cluster,
        row_sign=sign,
        row_weight=np.ones(n_masks) if weight is None else weight,
        first=first,
        exact=len(first) == int(groups.max()) + 1,
    )
