"""How many groups a number of masks can tell apart: standard error and typical size of a group's main effect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Two-sided 5% and a power of 80%: 1.96 + 0.84 standard errors.
SEEN = 2.8


@dataclass(frozen=True)
class GroupPower:
    """What a campaign of some number of groups shows of each, in standard deviations of a target's output.

    Parameters
    ----------
    n_groups : int
    masks_per_group : float
    typical : float
        Root mean square main effect of a group when the groups together explain the assumed share of the variance.
    seen : float
        Main effect that a test of one group at 5% detects with a power of 80%.

    Examples
    --------
    >>> GroupPower(n_groups=50, masks_per_group=9.0, typical=0.1, seen=0.13).enough
    False
    """

    n_groups: int
    masks_per_group: float
    typical: float
    seen: float

    @property
    def enough(self) -> bool:
        """Whether the typical effect is detected."""
        return self.typical >= self.seen


def group_power(
    n_groups: int, n_masks: int, alpha: float, explained: float, predicted: float | None = None
) -> GroupPower:
    """Compute what masks show of the main effect of each of a number of groups.

    Parameters
    ----------
    n_groups : int
    n_masks : int
        Fit masks.
    alpha : float
        Inclusion probability.
    explained : float
        Share of an output's variance that main effects of groups explain, in (0, 1).
    predicted : float, optional
        Share that a fit of these masks predicts: R² on held-out masks, in [0, 1). All that is explained by default.

    Returns
    -------
    GroupPower

    Notes
    -----
    With outputs of variance 1 and sigma = sqrt(alpha (1 - alpha)), n_groups equal main effects b explain
    n_groups sigma^2 b^2, so the typical |b| is sqrt(explained / n_groups) / sigma. The standard error of one is
    sqrt((1 - predicted) / n_masks) / sigma: what the fit of the others leaves is noise to it. Their ratio depends on
    masks per group alone: 80% power needs 7.84 (1 - predicted) / explained masks a group.

    Examples
    --------
    >>> found = group_power(n_groups=250, n_masks=2000, alpha=0.5, explained=0.5)
    >>> round(found.typical, 3), round(found.seen, 3), found.enough
    (0.089, 0.089, True)
    """
    known = predicted is None or 0 <= predicted < 1
    if n_groups < 1 or n_masks < 1 or not 0 < alpha < 1 or not 0 < explained < 1 or not known:
        raise ValueError(
            f"counts must be at least 1, alpha and explained in (0, 1), predicted in [0, 1); got {n_groups} groups, "
            f"{n_masks} masks, alpha {alpha}, explained {explained}, predicted {predicted}."
        )
    sigma = math.sqrt(alpha * (1 - alpha))
    return GroupPower(
        n_groups=n_groups,
        masks_per_group=n_masks / n_groups,
        typical=math.sqrt(explained / n_groups) / sigma,
        seen=SEEN * math.sqrt((1 - (explained if predicted is None else predicted)) / n_masks) / sigma,
    )


def most_groups(n_masks: int, explained: float, predicted: float | None = None) -> int:
    """Return the largest number of groups whose typical effect is detected, at least 1.

    Examples
    --------
    >>> most_groups(2000, explained=0.5), most_groups(2000, explained=0.7)
    (255, 595)
    """
    left = 1 - (explained if predicted is None else predicted)
    return max(1, math.floor(n_masks * explained / (left * SEEN**2)))


def recommended_count(
    n_masks: int,
    explained: float,
    n_images: int,
    n_classes: int,
    *,
    predicted: float | None = None,
    least_size: int = 2,
) -> int:
    """Return the number of groups to ask for: as many as can be seen, between one a class and pairs of images.

    Examples
    --------
    >>> recommended_count(2000, 0.5, n_images=4900, n_classes=10)
    250
    >>> recommended_count(60, 0.5, n_images=4900, n_classes=10)
    10
    """
    most = min(most_groups(n_masks, explained, predicted), n_images // least_size)
    rounded = most // n_classes * n_classes  # the same number for every class of equal size
    return max(n_classes, rounded)


def counts_to_show(recommended: int, n_images: int, n_classes: int) -> Sequence[int]:
    """Return numbers of groups around the recommended one, ascending: a quarter to four times it."""
    around = [recommended // 4, recommended // 2, recommended, recommended * 2, recommended * 4]
    return sorted({count for count in around if n_classes <= count <= n_images // 2} | {recommended})
