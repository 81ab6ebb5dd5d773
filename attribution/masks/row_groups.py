"""Groups rows that must share a fold (replicates, antithetic partners), so that variances can be clustered."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attribution.fourier.basis import Alpha, basis, rows_of


@dataclass(frozen=True, kw_only=True)
class RowGroups:
    """Row groups with the rows of one mask merged into one, so that sums over merged rows cluster variances.

    Attributes
    ----------
    phi : (u, n) float32
        Basis at one mask of each merged row.
    group : (u,) int64
        Code of the row group that each merged row belongs to.
    merged_into : (m,) int64
        Index of the merged row that each row is part of.
    row_sign : (m,) float64
        -1 where the row holds the complement of the merged row's mask, else +1.
    row_weight : (m,) float64
        Weight of each row.
    first : (u,) int64
        Index of the row whose mask `phi` is evaluated at.
    exact : bool
        Whether every row group became a single merged row. If not, some groups hold several masks; products of
        players differ between them, so sums over merged rows cluster by mask and not by group.

    Examples
    --------
    >>> masks = np.array([[True, False], [True, False], [False, True]])
    >>> groups = make_row_groups(masks, np.array([0, 0, 0]), None, 0.5)  # a replicate and the complement
    >>> groups.size, groups.row_sign.tolist()
    (1, [1.0, 1.0, -1.0])
    >>> groups.sums(np.array([[3.0], [2.0], [1.0]]), order=1).tolist()
    [[4.0]]
    """

    phi: NDArray[np.float32]
    group: NDArray[np.int64]
    merged_into: NDArray[np.int64]
    row_sign: NDArray[np.float64]
    row_weight: NDArray[np.float64]
    first: NDArray[np.int64]
    exact: bool

    @property
    def size(self) -> int:
        """Number of merged rows, u."""
        return len(self.phi)

    def of_players(self, players: NDArray[np.int64]) -> RowGroups:
        """Return the same row groups with the basis of some players only: players (v,), phi (u, v)."""
        return replace(self, phi=np.ascontiguousarray(self.phi[:, players]))

    def sums(self, values: NDArray[np.float64], order: int) -> NDArray[np.float64]:
        """Sum values over each merged row, weighted and signed for sets of one order.

        Parameters
        ----------
        values : (m, t) float64
            One value per row and target.
        order : int
            Number of members of the sets S that the sums are multiplied with.

        Returns
        -------
        (u, t) float64
            Sums whose product with phi_S at the merged rows is the sum of phi_S times values over all rows.

        Notes
        -----
        At alpha = 1/2, phi_S of a mask's complement is (-1)^|S| phi_S of the mask.
        """
        scale = self.row_weight if order % 2 == 0 else self.row_weight * self.row_sign
        weighted = values * scale[:, None]
        if self.size == len(values):
            return weighted[np.argsort(self.merged_into, kind="stable")]
        result = np.zeros((self.size, values.shape[1]))
        np.add.at(result, self.merged_into, weighted)
        return result


def make_row_groups(
    masks: NDArray[np.bool_],
    groups: NDArray[np.int64],
    weight: NDArray[np.float64] | None,
    alpha: Alpha,
    identity: NDArray[np.bool_] | None = None,
) -> RowGroups:
    """Merge equal masks of one row group, and at alpha = 1/2 a mask with its complement.

    Parameters
    ----------
    masks : (m, n) bool
        Masks, of all players or of some.
    groups : (m,) int64
        Row groups as codes 0..g-1 (`check_groups`).
    weight : (m,) float64 or None
        Weights of the rows; None for ones.
    alpha : float or (m,) float64
        Inclusion probability of all masks, or of each.
    identity : (m, all players) bool or None
        Masks that decide which rows are equal, where `masks` holds only some of the players.

    Returns
    -------
    RowGroups
        Merged rows, ordered by group.
    """
    n_masks = len(masks)
    identity = masks if identity is None else identity
    # Of a mask and its complement, the one without player 0 is the key of both.
    halves = not isinstance(alpha, np.ndarray) and alpha == 0.5
    flip = identity[:, 0].copy() if halves else np.zeros(n_masks, dtype=bool)
    if len(np.unique(groups)) == n_masks:
        flip[:] = False  # every row is its own group: nothing to merge
    packed = np.packbits(identity ^ flip[:, None], axis=1) if flip.any() else np.packbits(identity, axis=1)
    labels = [np.ascontiguousarray(groups).view(np.uint8).reshape(n_masks, 8), packed]
    if isinstance(alpha, np.ndarray):
        labels.append(np.ascontiguousarray(alpha).view(np.uint8).reshape(n_masks, 8))
    keys = np.column_stack(labels)
    keys = np.ascontiguousarray(keys)
    _, first, merged_into = np.unique(
        keys.view(np.dtype((np.void, keys.shape[1]))).ravel(), return_index=True, return_inverse=True
    )
    merged_into = np.asarray(merged_into, dtype=np.int64).ravel()
    sign = np.where(flip == flip[first][merged_into], 1.0, -1.0)
    return RowGroups(
        phi=basis(masks[first], rows_of(alpha, first)),
        group=groups[first],
        merged_into=merged_into,
        row_sign=sign,
        row_weight=np.ones(n_masks) if weight is None else weight,
        first=first,
        exact=len(first) == int(groups.max()) + 1,
    )
