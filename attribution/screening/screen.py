"""Exhaustive screens: a statistic for every pair (or triple) of players on every target, by matrix products.

For out-of-fold residuals r of the datamodel the one-step estimate of F({i,j}) is mean(phi_i phi_j r). All pairs of one
target are Phi' diag(r) Phi: m n^2 multiplications, without a fit and without assuming heredity. Sums are kept per
fold, so that one pass gives the statistics on all masks, without any fold, and on either half.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from attribution.masks.row_groups import RowGroups
from attribution.screening.screened_sets import KnownPart, ScreenedSets
from attribution.statistics.z_histogram import add_to_histogram
from attribution.types import Floating

_SETS_AT_ONCE = 512  # a choice: the columns of so many sets fit a core's cache


def screen_pairs(
    row_groups: RowGroups,
    folds: NDArray[np.int64],
    residual_sums: NDArray[np.float64],
    retain_threshold: float | NDArray[np.float64],
    counts: NDArray[np.int64],
    unit_variance: bool,
    classes: NDArray[np.int8] | None = None,
    *,
    known: KnownPart | None = None,
    device: str = "cpu",
) -> Iterator[ScreenedSets]:
    """Screen all pairs, target after target, by m n^2 multiplications each.

    Parameters
    ----------
    row_groups : RowGroups
        Basis of n players at u merged rows.
    folds : (u,) int64
        Fold of each merged row.
    residual_sums : (u, t) float64
        RowGroups.sums(residual, 2) of out-of-fold residuals.
    retain_threshold : float or (N_SIZE_CLASSES,) float64
        Pairs are returned if |z| reaches it on all masks or on all but one fold; one per size class with `classes`.
    counts : (N_Z_BINS,) or (N_SIZE_CLASSES, N_Z_BINS) int64
        Histogram of |z| on all masks, of all pairs; added to in place.
    unit_variance : bool
        Whether phi_i^2 = 1, i.e. alpha = 1/2 for all masks.
    classes : (t, n) int8 or None
        Size class of each player (heredity.py); a pair has the smaller one of its members.
    known : KnownPart or None
        A part of every pair's coefficient that the residuals lack: a second |z|, with that part added, is counted too,
        and pairs that reach the threshold by it are returned as well.
    device : str
        "cpu" for NumPy, else the torch device of screen_torch.py.

    Yields
    ------
    ScreenedSets
        The pairs of one target that reach the threshold.

    Raises
    ------
    AttributionError
        If the device does not exist.
    """
    if device != "cpu":
        from attribution.screening.screen_torch import screen_on_device

        yield from screen_on_device(
            2, device, row_groups, folds, residual_sums, retain_threshold, counts, unit_variance, classes, known=known
        )
        return
    n_folds, n_players = int(folds.max()) + 1, row_groups.phi.shape[1]
    parts = [np.flatnonzero(folds == fold) for fold in range(n_folds)]
    phi = [np.ascontiguousarray(row_groups.phi[rows].T) for rows in parts]  # players first: slices stay contiguous
    squared = None if unit_variance else [p * p for p in phi]
    # Blocks of rows of the (n, n) matrix: only the part right of the diagonal is computed, and fits the cache.
    width = max(32, -(-n_players // 8))
    starts = range(0, n_players, width)
    triangles = [np.arange(start, n_players)[None, :] > np.arange(start, min(start + width, n_players))[:, None]
                 for start in starts]  # fmt: skip
    for target in range(residual_sums.shape[1]):
        r = [residual_sums[rows, target].astype(np.float32) for rows in parts]
        weighted = [p * x for p, x in zip(phi, r, strict=True)]
        weighted_squares = None if squared is None else [w * w for w in weighted]
        spread = np.array([float(x.astype(np.float64) @ x) for x in r])[:, None, None]
        found: list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = []
        for start, triangle in zip(starts, triangles, strict=True):
            stop = min(start + width, n_players)
            sums = np.stack([w[start:stop] @ p[start:].T for w, p in zip(weighted, phi, strict=True)])
            if squared is None or weighted_squares is None:
                squares = spread.astype(np.float32)
            else:
                squares = np.stack(
                    [w[start:stop] @ q[start:].T for w, q in zip(weighted_squares, squared, strict=True)]
                )
            total_z, largest = _largest_z(sums, squares)
            whole_z = None
            if known is not None:
                added = known.left[target, start:stop] @ known.right[target, start:].T
                whole_z = np.abs(sums.sum(axis=0) + added) * _inverse_root(squares.sum(axis=0))
                np.maximum(largest, whole_z, out=largest)
            threshold: float | NDArray[np.float32]
            if classes is None:
                threshold = float(retain_threshold)
                add_to_histogram(counts, total_z[triangle])
                if known is not None and whole_z is not None:
                    add_to_histogram(known.counts, whole_z[triangle])
            else:
                own = np.minimum(classes[target, start:stop, None], classes[target, None, start:])
                threshold = np.asarray(retain_threshold, dtype=np.float32)[own]
                add_to_histogram(counts, total_z[triangle], own[triangle])
                if known is not None and whole_z is not None:
                    add_to_histogram(known.counts, whole_z[triangle], own[triangle])
            first, second = np.nonzero((largest >= threshold) & triangle)
            kept_squares = np.broadcast_to(squares, sums.shape)[:, first, second]
            found.append((
                np.column_stack([first + start, second + start]),
                sums[:, first, second].astype(np.float64),
                kept_squares.astype(np.float64),
            ))  # fmt: skip
        yield ScreenedSets(
            np.concatenate([members for members, _, _ in found]),
            np.concatenate([kept for _, kept, _ in found], axis=1),
            np.concatenate([kept for _, _, kept in found], axis=1),
        )


def screen_triples(
    row_groups: RowGroups,
    folds: NDArray[np.int64],
    residual_sums: NDArray[np.float64],
    retain_threshold: float,
    counts: NDArray[np.int64],
    unit_variance: bool,
    *,
    device: str = "cpu",
) -> Iterator[ScreenedSets]:
    """Screen all triples, target after target, by m n^3 / 3 multiplications each.

    Every player in turn is the first of a triple, and the pairs of later players are screened as in `screen_pairs`.

    Parameters
    ----------
    row_groups, folds, unit_variance, device :
        As in `screen_pairs`.
    residual_sums : (u, t) float64
        RowGroups.sums(residual, 3) of out-of-fold residuals.
    retain_threshold : float
        Triples are returned if |z| reaches it on all masks or on all but one fold.
    counts : (N_Z_BINS,) int64
        Histogram of |z| on all masks, of all triples; added to in place.

    Yields
    ------
    ScreenedSets
        The triples of one target that reach the threshold.

    Raises
    ------
    AttributionError
        If the device does not exist.
    """
    if device != "cpu":
        from attribution.screening.screen_torch import screen_on_device

        yield from screen_on_device(
            3, device, row_groups, folds, residual_sums, retain_threshold, counts, unit_variance
        )
        return
    n_players = row_groups.phi.shape[1]
    parts = [np.flatnonzero(folds == fold) for fold in range(int(folds.max()) + 1)]
    phi = [np.ascontiguousarray(row_groups.phi[rows].T) for rows in parts]
    upper = np.triu(np.ones((n_players, n_players), dtype=bool), 1)
    for target in range(residual_sums.shape[1]):
        r = [residual_sums[rows, target].astype(np.float32) for rows in parts]
        spread = np.array([float(x.astype(np.float64) @ x) for x in r], dtype=np.float32)[:, None, None]
        members: list[NDArray[np.int64]] = []
        kept: list[NDArray[np.float64]] = []
        kept_squares: list[NDArray[np.float64]] = []
        for player in range(n_players - 2):
            later = slice(player + 1, n_players)
            triangle = upper[later, later]
            weighted = [p[later] * (p[player] * x) for p, x in zip(phi, r, strict=True)]
            sums = np.stack([w @ p[later].T for w, p in zip(weighted, phi, strict=True)])
            if unit_variance:
                squares = spread
            else:
                squares = np.stack(
                    [(w * w) @ (p[later] * p[later]).T for w, p in zip(weighted, phi, strict=True)]
                )
            total_z, largest = _largest_z(sums, squares)
            add_to_histogram(counts, total_z[triangle])
            first, second = np.nonzero((largest >= retain_threshold) & triangle)
            if len(first) == 0:
                continue
            members.append(
                np.column_stack([np.full(len(first), player), first + later.start, second + later.start])
            )
            kept.append(sums[:, first, second].astype(np.float64))
            kept_squares.append(np.broadcast_to(squares, sums.shape)[:, first, second].astype(np.float64))
        if members:
            yield ScreenedSets(
                np.concatenate(members), np.concatenate(kept, axis=1), np.concatenate(kept_squares, axis=1)
            )
        else:
            nothing = np.zeros((len(parts), 0))
            yield ScreenedSets(np.zeros((0, 3), np.int64), nothing, nothing)


def _largest_z(sums: Floating, squares: Floating) -> tuple[Floating, Floating]:
    """Compute |z| on all masks, and an upper bound of |z| on all masks or all but one fold.

    The bound takes the smallest variance and the most helpful fold. It only decides which sets are returned."""
    total, variance = sums.sum(axis=0), squares.sum(axis=0)
    total_z = np.abs(total) * _inverse_root(variance)
    largest = total_z.copy()
    scale = _inverse_root(variance - squares.max(axis=0))
    for extreme in (sums.min(axis=0), sums.max(axis=0)):
        np.maximum(largest, np.abs(total - extreme) * scale, out=largest)
    return total_z, largest


def _inverse_root(variance: Floating) -> Floating:
    return np.float32(1.0) / np.sqrt(np.maximum(variance, np.float32(1e-30)))


def set_statistics(
    row_groups: RowGroups,
    folds: NDArray[np.int64],
    n_folds: int,
    members: NDArray[np.int64],
    residual_sums: NDArray[np.float64],
) -> ScreenedSets:
    """Compute the screens' statistics for given sets of one order.

    Parameters
    ----------
    row_groups, folds :
        As in `screen_pairs`.
    n_folds : int
        Number of folds, k.
    members : (c, order) int64
        Players of each set.
    residual_sums : (u,) float64
        RowGroups.sums(residual, order) of one target.

    Returns
    -------
    ScreenedSets
        The same sets, with float64 sums and squares (k, c).
    """
    used, place = np.unique(members, return_inverse=True)
    players = np.ascontiguousarray(row_groups.phi[:, used].T)  # players first: a set's columns are contiguous
    place = place.reshape(members.shape)
    of_fold = (folds[:, None] == np.arange(n_folds)).astype(np.float64)
    weights = np.concatenate([of_fold * residual_sums[:, None], of_fold * residual_sums[:, None] ** 2], axis=1)
    weights = weights.astype(np.float32)
    sums, squares = np.empty((n_folds, len(members))), np.empty((n_folds, len(members)))
    for start in range(0, len(members), _SETS_AT_ONCE):
        now = slice(start, start + _SETS_AT_ONCE)
        columns = players[place[now, 0]]
        for position in range(1, members.shape[1]):
            columns *= players[place[now, position]]
        sums[:, now] = (columns @ weights[:, :n_folds]).T
        columns *= columns
        squares[:, now] = (columns @ weights[:, n_folds:]).T
    return ScreenedSets(members, sums, squares)


def set_columns(phi: Floating, members: NDArray[np.int64]) -> Floating:
    """Evaluate phi_S of given sets at every row.

    Parameters
    ----------
    phi : (m, n) float
        The basis of n players.
    members : (c, order) int64
        Players of each set, padded with -1.

    Returns
    -------
    (m, c) float
        Products of the members' columns.
    """
    columns = np.ones((len(phi), len(members)), dtype=phi.dtype)
    for position in range(members.shape[1]):
        player = members[:, position]
        factor = np.take(phi, np.maximum(player, 0), axis=1)
        if (player < 0).any():
            factor[:, player < 0] = 1
        columns *= factor
    return columns
