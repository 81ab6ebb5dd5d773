"""Smallest effects that a campaign of a given size can detect, computed before any model is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import comb

# Campaigns are warned about if they cannot detect |I| below this, in standard deviations of the target's output. Of the
# 49 pairs found at a false discovery rate of 0.1 among 200 digits (1,792 masks, limit 0.52), the strongest had 1.65 and
# twenty more than 0.65; with 1,024 masks for 400 players of two CIFAR-10 classes (limit 0.73) none was found. The limit
# is conservative: it counts the part of the output that main effects explain as noise.
HOPELESS = 0.65


def smallest_detectable(
    n_masks: int,
    alpha: float | Sequence[float],
    n_players: int,
    n_targets: int = 1,
    *,
    level: float = 0.05,
    order: int = 2,
) -> float:
    """Compute the smallest detectable |I(S)| in standard deviations of the output.

    Parameters
    ----------
    n_masks : int
        Number of masks.
    alpha : float or sequence of float
        Inclusion probability; several, each with an equal share of the masks, for a mixture (masks/mixed_alphas.py).
    n_players : int
        Number of players.
    n_targets : int
        Number of targets.
    level : float
        Two-sided significance level over all sets and targets together.
    order : int
        Number of members, 1 to n_players.

    Returns
    -------
    float
        z / (sigma^order * sqrt(n_masks)), sigma^order the mean over alphas.

    Raises
    ------
    ValueError
        If a count is below one, an alpha lies outside (0, 1), or there are more members than players.

    Notes
    -----
    The coefficient F(S) of an orthonormal basis function is estimated with standard error sd / sqrt(n_masks), and
    I(S) = F(S) / sigma^|S| with sigma = sqrt(alpha (1 - alpha)) (O'Donnell, Analysis of Boolean Functions, ch. 8). z is
    the two-sided normal quantile at `level` divided by the number of sets of `order` players times n_targets, because
    all of them are tested.

    Examples
    --------
    >>> round(smallest_detectable(1792, 0.5, 200, n_targets=100), 2)
    0.53
    """
    from scipy.special import ndtri

    if n_masks < 1 or n_players < 1 or n_targets < 1:
        raise ValueError(f"counts must be at least 1; got {n_masks} masks, {n_players} players, {n_targets} targets.")
    alphas = [float(alpha)] if isinstance(alpha, (int, float)) else [float(value) for value in alpha]
    if not alphas or not all(0 < value < 1 for value in alphas):
        raise ValueError(f"alpha must lie in (0, 1); got {alpha}. Set sampler.alpha.")
    if not 1 <= order <= n_players:
        raise ValueError(f"order must lie in [1, {n_players}]; got {order}.")
    z = -float(ndtri(level / (2 * comb(n_players, order) * n_targets)))
    spread = sum(math.sqrt(value * (1 - value)) ** order for value in alphas) / len(alphas)
    return z / (spread * math.sqrt(n_masks))
