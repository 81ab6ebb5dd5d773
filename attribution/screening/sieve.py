"""All triples of up to a thousand players by a sieve: most are rejected on the most informative masks alone.

The statistic of a triple is sum phi_S r over masks. Masks of large |r| carry it: of normal residuals, the eighth of the
masks with the largest |r| holds half of sum r^2, so a triple whose z is 7 on all masks has 5 on these (its mean there
is z times the root of their share). On these masks every triple is computed, in 8-bit integers. Triples that reach the
threshold are recomputed exactly on all masks. The false discovery rate counts every triple; rejected triples count as
|z| = 0, which makes q-values larger, never smaller.

Of very many players the residuals count by their sign alone, on a third more masks: of the quarter of largest |r|
that holds .68 of what decides, as three sixteenths hold .63 with their sizes. Then bits do (sieve.cpp), in a fifth of
the time.

One look at the best masks of all folds together costs a quarter of a look at either half, and loses no more. A survivor
then depends on every fold. What may enter a fit without a fold has to reach a threshold on the other folds that one
null triple of twenty targets reaches (triples.py, NULL_IN_FIT). Most triples beyond it survive whatever the fold holds,
so that a null triple still predicts the fold worse than none does.
"""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

from attribution.masks.row_groups import RowGroups
from attribution.screening.screen import set_statistics
from attribution.screening.screened_sets import ScreenedSets
from attribution.screening.sieve_compiled import triples_by_sign

# First and second players of the triples of one product: enough rows for it to be fast, few enough that its sums fit
# the cache and that little is computed left of the diagonal. Choices.
_FIRSTS, _SECONDS = 8, 32


def sieve_triples(
    row_groups: RowGroups,
    folds: NDArray[np.int64],
    residual_sums: NDArray[np.float64],
    n_sieve_masks: int,
    n_survivors: int,
    *,
    by_sign: bool = False,
) -> list[ScreenedSets]:
    """Find every target's triples that survive the sieve.

    Parameters
    ----------
    row_groups : RowGroups
        Basis of n players at u merged rows, at alpha = 1/2 (phi is +1 or -1).
    folds : (u,) int64
        Fold of each merged row.
    residual_sums : (u, t) float64
        RowGroups.sums(residual, 3) of out-of-fold residuals.
    n_sieve_masks : int
        Number of masks that the sieve uses, those of largest |r|.
    n_survivors : int
        Expected number of null triples of a target that survive.
    by_sign : bool
        True to take the sign of the residuals alone.

    Returns
    -------
    list of ScreenedSets
        For each target, the surviving triples with their statistics on all masks.

    Notes
    -----
    n^3 n_sieve_masks / 6 multiplications of bytes per target; by sign as many operations on bits, where they can be
    compiled.
    """
    from scipy.special import ndtri

    n_players = row_groups.phi.shape[1]
    signs = np.ascontiguousarray(row_groups.phi.T).astype(np.int8)
    sieve_threshold = -float(ndtri(min(0.25, n_survivors / (2 * comb(n_players, 3)))))
    n_folds = int(folds.max()) + 1
    result = []
    for target in range(residual_sums.shape[1]):
        r = residual_sums[:, target]
        rows = np.sort(np.argsort(-np.abs(r), kind="stable")[:n_sieve_masks])
        members = (_sieve_signs if by_sign else _sieve)(signs, rows, r[rows], sieve_threshold)
        result.append(set_statistics(row_groups, folds, n_folds, members, r))
    return result


def _sieve(
    signs: NDArray[np.int8], rows: NDArray[np.int64], residual: NDArray[np.float64], sieve_threshold: float
) -> NDArray[np.int64]:
    """List the triples (c, 3) with |z| >= sieve_threshold on some masks: signs (n, u), rows (s,), residual (s,)."""
    largest = float(np.abs(residual).max(initial=0.0))
    if largest == 0.0:
        return np.zeros((0, 3), np.int64)
    rounded = np.rint(residual * (127 / largest)).astype(np.int8)
    spread = float(np.sqrt((rounded.astype(np.float64) ** 2).sum()))
    return _survivors(np.ascontiguousarray(signs[:, rows]), rounded, sieve_threshold * spread)


def _sieve_signs(
    signs: NDArray[np.int8], rows: NDArray[np.int64], residual: NDArray[np.float64], sieve_threshold: float
) -> NDArray[np.int64]:
    """List the triples (c, 3) with |z| >= sieve_threshold on some masks, every residual taken for 1 or -1."""
    if not residual.any():
        return np.zeros((0, 3), np.int64)
    weights, own = np.where(residual < 0, -1, 1).astype(np.int8), np.ascontiguousarray(signs[:, rows])
    threshold = sieve_threshold * len(rows) ** 0.5
    found = triples_by_sign(own, weights, int(np.ceil(threshold)))
    if found is None:
        found = _survivors(own, weights, threshold)
        found = found[np.lexsort(found.T[::-1])]
    return found


def _survivors(signs: NDArray[np.int8], weights: NDArray[np.int8], threshold: float) -> NDArray[np.int64]:
    """List the triples (c, 3) with |sum signs_i signs_j signs_k weights| >= threshold; signs (n, m), weights (m,)."""
    import torch

    n_players = len(signs)
    # Columns begin at multiples of eight, so that eight comparisons are tested as one 64-bit number.
    padded = np.pad(signs, ((0, -n_players % 8), (0, 0)))
    players = torch.from_numpy(padded)
    limit = int(np.ceil(threshold))
    found: list[NDArray[np.int64]] = []
    for group in range(0, n_players - 2, _FIRSTS):
        firsts = np.arange(group, min(group + _FIRSTS, n_players - 2))
        of_first = (signs[firsts] * weights)[:, None, :]
        for start in range(group + 1, n_players - 1, _SECONDS):
            seconds = padded[start : start + _SECONDS]
            weighted = (of_first * seconds).reshape(-1, signs.shape[1])
            base = start // 8 * 8  # columns left of the block's first row are left out
            sums = torch._int_mm(torch.from_numpy(weighted), players[base:].T).numpy()
            passing = np.abs(sums, out=sums) >= limit
            eights = np.flatnonzero(passing.view(np.int64))
            if len(eights) == 0:
                continue
            at = eights[:, None] * 8 + np.arange(8)
            row, column = np.divmod(at[passing.ravel()[at]], passing.shape[1])
            first, second = np.divmod(row, len(seconds))
            members = np.column_stack([first + group, second + start, column + base])
            ascending = (members[:, 0] < members[:, 1]) & (members[:, 1] < members[:, 2])
            found.append(members[ascending & (members[:, 2] < n_players)])
    return np.concatenate(found) if found else np.zeros((0, 3), np.int64)
