"""From planned rows to the shards that the nodes evaluate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from flows.compute.work import Shard
from flows.store.campaign import Campaign
from flows.store.roles import RowRange
from training import training_seed


def read_shards(campaign_seed: int, campaign: Campaign, ranges: Iterable[RowRange]) -> Iterator[Shard]:
    """Yield shards one by one, as the cluster asks for them, so that memory does not grow with their number.

    Parameters
    ----------
    campaign_seed
        `campaign.seed` of the configuration; with a row's seed group and replicate it gives the training seed.
    campaign
        Holds the masks.
    ranges
        The rows of each shard.
    """
    for rows in ranges:
        masks, seed_groups = campaign.packed_masks(rows)
        seeds = [training_seed(campaign_seed, int(group), rows.replicate) for group in seed_groups]
        yield Shard(rows, masks, np.array(seeds, dtype=np.int64))
