"""How many copies of one example a campaign can see: pair by pair, by the search for clusters, and as a named group."""

from __future__ import annotations

from dataclasses import dataclass

from attribution.duplicates.any_present_test import detectable_cluster
from attribution.statistics.detectability import smallest_detectable

EFFECT = 2.0  # of all copies together on an output, in its residual's standard deviations
SEARCH_Z = 7.5  # z on half of the masks at which a cluster is found more often than not (benchmarks/attribution.md)
LARGEST = 20


@dataclass(frozen=True)
class ClusterSizes:
    """Largest number of copies that shows in the interactions of its pairs, that attribution.find_clusters finds, and
    that shows when the group is named and tested as one; 1 where not even two do."""

    pairs: int
    searched: int
    named: int

    def __str__(self) -> str:
        return (
            f"copies that together change an output by {EFFECT:g} residual standard deviations show pair by pair up to "
            f"{self.pairs} of them, to a search for clusters up to {self.searched}, as a named group up to {self.named}"
        )


def cluster_sizes(n_masks: int, alpha: float, n_players: int, effect: float = EFFECT) -> ClusterSizes:
    """What n_masks masks of one alpha show of copies worth `effect` residual standard deviations.

    A pair of k copies has the interaction -effect (1 - alpha)^(k - 2). A search proposes on half of the masks, where
    it needs more than a test. Raises ValueError for counts below one and alpha outside (0, 1).
    """
    smallest = smallest_detectable(n_masks, alpha, max(n_players, 2))
    shown = [k for k in range(2, LARGEST + 1) if abs(effect) * (1 - alpha) ** (k - 2) >= smallest]
    return ClusterSizes(
        pairs=max(shown, default=1),
        searched=detectable_cluster(n_masks // 2, alpha, effect, 1.0, SEARCH_Z),
        named=detectable_cluster(n_masks, alpha, effect, 1.0),
    )
