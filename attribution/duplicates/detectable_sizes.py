"""Number of copies of one example that a campaign can detect: from pairs, by search, and as a named group."""

from __future__ import annotations

from dataclasses import dataclass

from attribution.duplicates.any_present_test import largest_detectable_group
from attribution.statistics.detectability import smallest_detectable

EFFECT = 2.0  # effect of all copies together on an output, in standard deviations of its residuals
SEARCH_Z = 7.5  # z on half of the masks at which the search succeeds in half of all cases (benchmarks/attribution.md)
LARGEST = 20  # copies; larger groups are not considered


@dataclass(frozen=True)
class DetectableSizes:
    """Largest number of copies of one example that a campaign can detect; 1 if not even two.

    Attributes
    ----------
    pairs : int
        From the interactions of their pairs.
    searched : int
        By `attribution.find_copies`.
    named : int
        As a group that somebody names and `group_tests` tests.

    Examples
    --------
    >>> from attribution.duplicates.detectable_sizes import detectable_sizes
    >>> detectable_sizes(n_masks=1500, alpha=0.5, n_players=60)
    DetectableSizes(pairs=4, searched=5, named=8)
    """

    pairs: int
    searched: int
    named: int

    def __str__(self) -> str:
        return (
            f"groups of copies that together change an output by {EFFECT:g} residual standard deviations are "
            f"detectable pair by pair up to {self.pairs} copies, by a search up to {self.searched}, as a named "
            f"group up to {self.named}"
        )


def detectable_sizes(n_masks: int, alpha: float, n_players: int, effect: float = EFFECT) -> DetectableSizes:
    """Compute how many copies `n_masks` masks of one alpha can detect.

    Parameters
    ----------
    n_masks : int
    alpha : float
        Inclusion probability, in (0, 1).
    n_players : int
    effect : float
        Effect of all copies together, in standard deviations of the output's residuals.

    Returns
    -------
    DetectableSizes

    Raises
    ------
    ValueError
        For counts below 1 or alpha outside (0, 1).

    Notes
    -----
    A pair of k copies has the interaction -effect (1 - alpha)^(k - 2). A search proposes on half of the masks, where it
    needs a larger z than a test.
    """
    smallest = smallest_detectable(n_masks, alpha, max(n_players, 2))
    detectable = [k for k in range(2, LARGEST + 1) if abs(effect) * (1 - alpha) ** (k - 2) >= smallest]
    return DetectableSizes(
        pairs=max(detectable, default=1),
        searched=largest_detectable_group(n_masks // 2, alpha, effect, 1.0, SEARCH_Z),
        named=largest_detectable_group(n_masks, alpha, effect, 1.0),
    )
