"""From planned rows to the units of work that the nodes train."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from flows.compute.work import Shard
from flows.store.campaign import Campaign
from flows.store.roles import RowRange
from training import training_seed


def shard_units(campaign_seed: int, campaign: Campaign, ranges: Iterable[RowRange]) -> Iterator[Shard]:
    """Shards one by one, as the cluster asks for them: nothing grows with their number."""
    for rows in ranges:
        masks, seed_groups = campaign.masks(rows)
        seeds = [training_seed(campaign_seed, int(group), rows.replicate) for group in seed_groups]
        yield Shard(rows, np.packbits(masks, axis=1, bitorder="little"), np.array(seeds, dtype=np.int64))
