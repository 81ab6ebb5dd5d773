"""All triples of up to a thousand players by a sieve: most are rejected on the most informative masks alone.

The statistic of a triple is sum phi_S r over masks. Masks of large |r| carry it: of normal residuals, the eighth of the
masks with the largest |r| holds half of sum r^2, so a triple whose z is 7 on all masks has 5 on these (its mean there
is z times the root of their share). On these masks every triple is computed, in 8-bit integers. Triples that reach the
threshold are recomputed exactly on all masks. The false discovery rate counts every triple; rejected triples count as
|z| = 0, which makes q-values larger, never smaller.
"""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

from attribution.masks.row_groups import RowGroups
from attribution.screening.screen import set_statistics
from attribution.screening.screened_sets import ScreenedSets

_BLOCKS = 8  # blocks of rows of each product, so that little is computed left of the diagonal; a choice


def sieve_triples(
    row_groups: RowGroups,
    folds: NDArray[np.int64],
    second_half: NDArray[np.bool_],
    residual_sums: NDArray[np.float64],
    n_sieve_masks: int,
    n_survivors: int,
) -> list[tuple[ScreenedSets, NDArray[np.bool_]]]:
    """Find every target's triples that survive the sieve on either half of the masks.

    Parameters
    ----------
    row_groups : RowGroups
        Basis of n players at u merged rows, at alpha = 1/2 (phi is +1 or -1).
    folds : (u,) int64
        Fold of each merged row.
    second_half : (u,) bool
        Half of the masks that each merged row belongs to.
    residual_sums : (u, t) float64
        RowGroups.sums(residual, 3) of out-of-fold residuals.
    n_sieve_masks : int
        Number of masks of each half that the sieve uses, those of largest |r|.
    n_survivors : int
        Expected number of null triples of a target that survive.

    Returns
    -------
    list of (ScreenedSets, (2, c) bool)
        For each target, the surviving triples with their statistics on all masks, and the halves they survived in. A
        set selected on one half may only be used to predict the other; otherwise selection leaks into the cross-fit.

    Notes
    -----
    n^3 n_sieve_masks / 2 multiplications of bytes per target.
    """
    from scipy.special import ndtri

    n_players = row_groups.phi.shape[1]
    signs = np.ascontiguousarray(row_groups.phi.T).astype(np.int8)
    sieve_threshold = -float(ndtri(min(0.25, n_survivors / (4 * comb(n_players, 3)))))
    n_folds = int(folds.max()) + 1
    code = np.array([n_players**2, n_players, 1])
    result = []
    for target in range(residual_sums.shape[1]):
        r = residual_sums[:, target]
        of_half = []
        for half in (~second_half, second_half):
            inside = np.flatnonzero(half)
            rows = np.sort(inside[np.argsort(-np.abs(r[inside]), kind="stable")[:n_sieve_masks]])
            of_half.append(_sieve_half(signs, rows, r[rows], sieve_threshold))
        codes, first = np.unique(np.concatenate(of_half) @ code, return_index=True)
        members = np.concatenate(of_half)[first]
        proposed = np.array([np.isin(codes, found @ code) for found in of_half])
        result.append((set_statistics(row_groups, folds, n_folds, members, r), proposed))
    return result


def _sieve_half(
    signs: NDArray[np.int8], rows: NDArray[np.int64], residual: NDArray[np.float64], sieve_threshold: float
) -> NDArray[np.int64]:
    """List the triples (c, 3) with |z| >= sieve_threshold on some masks: signs (n, u), rows (s,), residual (s,)."""
    largest = float(np.abs(residual).max(initial=0.0))
    if largest == 0.0:
        return np.zeros((0, 3), np.int64)
    rounded = np.rint(residual * (127 / largest)).astype(np.int8)
    spread = float(np.sqrt((rounded.astype(np.float64) ** 2).sum()))
    return _survivors(np.ascontiguousarray(signs[:, rows]), rounded, sieve_threshold * spread)


def _survivors(signs: NDArray[np.int8], weights: NDArray[np.int8], threshold: float) -> NDArray[np.int64]:
    """List the triples (c, 3) with |sum signs_i signs_j signs_k weights| >= threshold; signs (n, m), weights (m,)."""
    import torch

    n_players = len(signs)
    # Columns begin at multiples of eight, so that eight comparisons are tested as one 64-bit number.
    players = torch.from_numpy(np.pad(signs, ((0, -n_players % 8), (0, 0))))
    limit = int(np.ceil(threshold))
    found: list[NDArray[np.int64]] = []
    for first in range(n_players - 2):
        later = n_players - first - 1
        weighted = torch.from_numpy(signs[first + 1 :] * (signs[first] * weights))
        width = max(32, -(-later // _BLOCKS))
        for start in range(0, later, width):
            stop = min(start + width, later)
            # Columns right of the block's first row; the corner left of the diagonal is dropped below.
            base = (first + 1 + start) // 8 * 8
            sums = torch._int_mm(weighted[start:stop], players[base:].T).numpy()
            passing = np.abs(sums, out=sums) >= limit
            eights = np.flatnonzero(passing.view(np.int64))
            if len(eights) == 0:
                continue
            at = eights[:, None] * 8 + np.arange(8)
            row, column = np.divmod(at[passing.ravel()[at]], passing.shape[1])
            row, column = row + first + 1 + start, column + base
            right = column > row
            found.append(np.column_stack([np.full(int(right.sum()), first), row[right], column[right]]))
    return np.concatenate(found) if found else np.zeros((0, 3), np.int64)
