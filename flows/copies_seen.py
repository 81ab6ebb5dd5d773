"""How large a cluster of copies the masks of a campaign can show."""

from __future__ import annotations

from attribution.duplicates.detectable_sizes import ClusterSizes, cluster_sizes
from flows.store import Campaign


def copies_seen(campaign: Campaign, n_masks: int) -> ClusterSizes:
    """Of n_masks fit masks those of the campaign's own alpha; where it has several, masks take them in turn."""
    own = max(1, n_masks // len(campaign.meta.get("alphas") or [None]))
    return cluster_sizes(own, float(campaign.meta["alpha"]), campaign.n_players)
