"""What a campaign of a given size could see, before any model is trained."""

from __future__ import annotations

import math
from math import comb

# Largest |I| that a campaign can hope for, in standard deviations of the target's output. On 200 digits the strongest
# fifty pairs lay between 0.5 and 1.2; with 1,024 masks for 400 players of two CIFAR-10 classes (0.7) none was seen.
HOPELESS = 0.65


def smallest_detectable(
    n_masks: int, alpha: float, n_players: int, n_targets: int = 1, *, level: float = 0.05, order: int = 2
) -> float:
    """Smallest detectable |I(S)| in units of the output's standard deviation: z / (sigma^order * sqrt(n_masks)).

    The coefficient F(S) of an orthonormal basis function is estimated with standard error sd / sqrt(n_masks), and
    I(S) = F(S) / sigma^|S| with sigma = sqrt(alpha (1 - alpha)) (p-biased Fourier basis; O'Donnell, Analysis of
    Boolean Functions, ch. 8). z is the two-sided normal quantile at `level` divided by the number of sets of `order`
    players times `n_targets`: every one of them is looked at.

    Raises ValueError for counts below one, alpha outside (0, 1) or more members than players.
    """
    from scipy.special import ndtri

    if n_masks < 1 or n_players < 1 or n_targets < 1:
        raise ValueError(f"counts must be at least 1; got {n_masks} masks, {n_players} players, {n_targets} targets")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie in (0, 1); got {alpha}. Set sampler.alpha")
    if not 1 <= order <= n_players:
        raise ValueError(f"order must lie in [1, {n_players}]; got {order}")
    z = -float(ndtri(level / (2 * comb(n_players, order) * n_targets)))
    return z / (math.sqrt(alpha * (1 - alpha)) ** order * math.sqrt(n_masks))
