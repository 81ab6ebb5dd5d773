"""Choice of the players that enter the joint fits when there are too many for all of them.

A Gram matrix of 50,000 players takes 10 GB in float32. Beyond max_dense_players only players whose own effect is among
the largest on some target of the block enter the datamodel and the refits. Every fold makes that choice without its own
masks, so cross-fitted predictions stay out of sample. The other players keep an effect, a standard error and a p-value:
their one-step estimate needs residuals, not a place in the fit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from attribution.checks import check_integer
from attribution.fourier.basis import Alpha, basis, rows_of

BLOCK = 2048  # players whose basis is in memory at a time; a choice


def player_blocks(n_players: int) -> Iterator[slice]:
    """Divide the players into blocks.

    Parameters
    ----------
    n_players : int
        Number of players.

    Yields
    ------
    slice
        At most BLOCK players.
    """
    for start in range(0, n_players, BLOCK):
        yield slice(start, min(start + BLOCK, n_players))


def dense_players(
    masks: NDArray[np.bool_],
    outputs: NDArray[np.float64],
    folds: NDArray[np.int64],
    weight: NDArray[np.float64] | None,
    alpha: Alpha,
    limit: int,
) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    """Choose the players of the joint fits.

    Parameters
    ----------
    masks : (m, n) bool
        Masks of all players.
    outputs : (m, t) float64
        Outputs of all targets.
    folds : (m,) int64
        Fold of each row, 0..k-1.
    weight : (m,) float64 or None
        Weights of the rows; None for ones.
    alpha : float or (m,) float64
        Inclusion probability of all masks, or of each.
    limit : int
        Number of players up to which all enter; beyond it each fit chooses limit // 2.

    Returns
    -------
    players : (u,) int64
        Players chosen by any fit; all of them up to `limit`.
    allowed : (k + 1, u) bool or None
        Players that the fit without each fold, and (last) the fit on all masks may use; None if all may. Beyond
        `limit` players each fit has limit // 2, those of largest absolute correlation with any target's output.

    Raises
    ------
    AttributionError
        If `limit` is no integer of at least 2.
    """
    n_players, n_folds = masks.shape[1], int(folds.max()) + 1
    check_integer("max_dense_players", limit, 2)
    if n_players <= limit:
        return np.arange(n_players), None
    centred = outputs - np.average(outputs, axis=0, weights=weight)
    centred /= np.maximum(centred.std(axis=0), 1e-300)
    if weight is not None:
        centred *= weight[:, None]
    y = centred.astype(np.float32)
    rows = [np.flatnonzero(folds == fold) for fold in range(n_folds)]
    strength = np.empty((n_folds + 1, n_players), dtype=np.float32)
    for block in player_blocks(n_players):
        sums = np.stack([basis(masks[r, block], rows_of(alpha, r)).T @ y[r] for r in rows])
        total = sums.sum(axis=0)
        strength[n_folds, block] = np.abs(total).max(axis=1)
        for fold in range(n_folds):
            strength[fold, block] = np.abs(total - sums[fold]).max(axis=1)
    chosen = np.argpartition(-strength, limit // 2, axis=1)[:, : limit // 2]
    players = np.unique(chosen)
    allowed = np.zeros((n_folds + 1, n_players), dtype=bool)
    np.put_along_axis(allowed, chosen, True, axis=1)
    return players, allowed[:, players]
