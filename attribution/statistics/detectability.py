"""What a campaign of a given size could see, before any model is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import comb

# A campaign that cannot see |I| below this, in standard deviations of the target's output, is warned about. Of the 49
# pairs found at a false discovery rate of 0.1 among 200 digits (1,792 masks, limit 0.52), the strongest was 1.65 and
# twenty lay above 0.65; with 1,024 masks for 400 players of two CIFAR-10 classes (limit 0.73) none was seen. The limit
# is on the careful side: what main effects explain of the output is noise to it.
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
    """Smallest detectable |I(S)| in units of the output's standard deviation: z / (sigma^order * sqrt(n_masks)).

    The coefficient F(S) of an orthonormal basis function is estimated with standard error sd / sqrt(n_masks), and
    I(S) = F(S) / sigma^|S| with sigma = sqrt(alpha (1 - alpha)) (p-biased Fourier basis; O'Donnell, Analysis of
    Boolean Functions, ch. 8). z is the two-sided normal quantile at `level` divided by the number of sets of `order`
    players times `n_targets`: every one of them is looked at.

    Several alphas, each with its share of the masks: sigma^order is their mean (masks/mixed_alphas.py).

    Raises ValueError for counts below one, alpha outside (0, 1) or more members than players.
    """
    from scipy.special import ndtri

    if n_masks < 1 or n_players < 1 or n_targets < 1:
        raise ValueError(f"counts must be at least 1; got {n_masks} masks, {n_players} players, {n_targets} targets")
    alphas = [float(alpha)] if isinstance(alpha, (int, float)) else [float(value) for value in alpha]
    if not alphas or not all(0 < value < 1 for value in alphas):
        raise ValueError(f"alpha must lie in (0, 1); got {alpha}. Set sampler.alpha")
    if not 1 <= order <= n_players:
        raise ValueError(f"order must lie in [1, {n_players}]; got {order}")
    z = -float(ndtri(level / (2 * comb(n_players, order) * n_targets)))
    spread = sum(math.sqrt(value * (1 - value)) ** order for value in alphas) / len(alphas)
    return z / (spread * math.sqrt(n_masks))
