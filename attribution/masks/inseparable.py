"""Players that no mask separates, as one player; players that few masks separate, with larger errors.

Players that are in the same masks, or of which always exactly one is in a mask, have one effect that no data can
divide. Two columns of correlation rho that differ on few masks have effects whose errors are larger by
1 / sqrt(1 - rho^2), the root of the variance inflation factor of regression (Belsley, Kuh and Welsch 1980), than those
of independent columns.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionWarning
from attribution.masks.player_subset import player_blocks
from attribution.types import Array, Masks

NEAR = 0.5  # |correlation| of two columns from which errors are enlarged, by 15% or more; a choice
MAX_PLAYERS = 4000  # beyond these, correlations of columns are not computed: they are n^2 numbers
NAMED = 6  # players, and groups of them, named in a message


@dataclass(frozen=True)
class InseparablePlayers:
    """Players that are one player for every mask.

    Attributes
    ----------
    kept : int
        The player that holds the effect of all.
    same : tuple of int
        Players in the same masks as `kept`.
    opposite : tuple of int
        Players in exactly the masks that `kept` is not in.

    Examples
    --------
    >>> print(InseparablePlayers(1, (3, 7), ()))
    players 1, 3, 7 are in the same masks
    """

    kept: int
    same: tuple[int, ...]
    opposite: tuple[int, ...]

    def __str__(self) -> str:
        parts = []
        if self.same:
            parts.append(f"{_named((self.kept, *self.same))} are in the same masks")
        if self.opposite:
            verb = "is" if len(self.opposite) == 1 else "are"
            parts.append(f"{_named(self.opposite)} {verb} in the masks that player {self.kept} is not in")
        return " and ".join(parts)


def merge_inseparable(masks: Masks, alpha: float) -> tuple[Masks, list[InseparablePlayers]]:
    """Leave one player of those that no mask separates, and warn once.

    Parameters
    ----------
    masks : (m, n) bool
    alpha : float
        Inclusion probability. Of a player and its opposite, the one whose rate is nearer to it is kept.

    Returns
    -------
    masks : (m, n) bool
        The same array if all players are separated, else a copy in which the others are in no mask.
    merged : list of InseparablePlayers

    Warns
    -----
    AttributionWarning
        If players were merged; the message names them.
    """
    labels = np.empty((masks.shape[1], -(-len(masks) // 8)), dtype=np.uint8)
    varies = np.empty(masks.shape[1], dtype=bool)
    for block in player_blocks(masks.shape[1]):
        folded = masks[:, block] ^ masks[:1, block]  # equal for a column and its complement
        labels[block] = np.packbits(folded, axis=0).T
        varies[block] = folded.any(axis=0)
    players = np.flatnonzero(varies)
    keys = np.ascontiguousarray(labels[players]).view(np.dtype((np.void, labels.shape[1]))).ravel()
    _, code, count = np.unique(keys, return_inverse=True, return_counts=True)
    merged = []
    for one in np.flatnonzero(count > 1):
        together = players[np.ravel(code) == one]
        kept = int(together[np.abs(masks[:, together].mean(axis=0) - alpha).argmin()])
        alike = masks[0, together] == masks[0, kept]
        same, opposite = together[alike & (together != kept)], together[~alike]
        merged.append(InseparablePlayers(kept, tuple(same.tolist()), tuple(opposite.tolist())))
    if not merged:
        return masks, merged
    merged.sort(key=lambda group: group.kept)
    masks = masks.copy()
    for group in merged:
        masks[:, [*group.same, *group.opposite]] = False
    shown = "; ".join(str(group) for group in merged[:NAMED])
    more = f"; and {len(merged) - NAMED} more groups" if len(merged) > NAMED else ""
    warnings.warn(
        f"no mask separates some players: {shown}{more}. Each group is one player here: the first one named holds the "
        "effect of all, that of the others is NaN, and sets name the first one.",
        AttributionWarning,
        stacklevel=4,
    )
    return masks, merged


def error_inflation(gram: Array, mean: Array) -> tuple[Array, NDArray[np.int64]]:
    """Compute by how much the error of each player's effects grows because of its most similar player.

    Parameters
    ----------
    gram : (n, n) float
        Mean over masks of phi_i phi_j.
    mean : (n,) float
        Mean over masks of phi_i.

    Returns
    -------
    factor : (n,) float64
        1 / sqrt(1 - rho^2) with the largest |rho| of the player's column with another one, 1 where that is below NEAR.
    partner : (n,) int64
        The most similar player.

    Examples
    --------
    >>> phi = np.array([[1.0, 1.0], [1.0, 1.0], [-1.0, -1.0], [-1.0, 1.0]])
    >>> error_inflation(phi.T @ phi / 4, phi.mean(axis=0))[0].round(2).tolist()
    [1.22, 1.22]
    """
    covariance = gram - np.outer(mean, mean)
    spread = np.sqrt(np.maximum(covariance.diagonal(), 1e-12))
    rho = np.abs(covariance / np.outer(spread, spread))
    np.fill_diagonal(rho, 0.0)
    partner = rho.argmax(axis=1)
    largest = np.minimum(rho[np.arange(len(rho)), partner], 1 - 1e-6)
    varies = covariance.diagonal() > 1e-9
    factor = np.where((largest >= NEAR) & varies, 1.0 / np.sqrt(1.0 - largest**2), 1.0)
    return factor.astype(np.float64), partner.astype(np.int64)


def _named(players: tuple[int, ...]) -> str:
    shown = ", ".join(str(player) for player in players[:NAMED])
    return f"player{'s' if len(players) > 1 else ''} {shown}{f', … ({len(players)})' if len(players) > NAMED else ''}"
