"""Which players enter the joint fits when there are too many for all of them at once.

A Gram matrix of 50,000 players takes 10 GB. Beyond max_dense_players only players whose own effect is among the
largest on some target of the block enter the datamodel and the refits; every fold makes that choice without its own
masks, so cross-fitted predictions stay unseen. The others keep an effect, a standard error and a p-value: their
one-step estimate needs residuals, not a place in the fit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from attribution.fourier.basis import Alpha, basis, rows_of

BLOCK = 2048  # players whose basis is in memory at a time


def player_blocks(n_players: int) -> Iterator[slice]:
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
    """Players (u,) that enter the joint fits, and (k + 1, u) which of them may: without each fold, and on all masks.

    All players and None up to `limit`; beyond it at most limit // 2 for each of the fits, by the largest absolute
    correlation of a player with any target's output.
    """
    n_players, n_folds = masks.shape[1], int(folds.max()) + 1
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
