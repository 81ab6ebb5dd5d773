"""Stage plan: draw the masks that a configuration asks for and that are not planned yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from prefect import flow

from attribution.statistics.detectability import HOPELESS, smallest_detectable
from conf.schema import CampaignConfig
from flows.errors import StoreError
from flows.runtime.logs import stage_logger
from flows.store.campaign import Campaign, pack_masks
from flows.store.configuration import keep_configuration
from flows.store.examples import examples_table, full_identity, load
from flows.store.roles import RowRange, count_rows, missing_shards
from flows.store.schemas import packed_width
from flows.store.wanted import wanted
from training import Dataset, sample_masks
from training.masks import mask_alphas

FRAGMENT_BYTES = 2**24  # packed masks in one fragment: bounds the memory of planning and of reading


@dataclass(frozen=True)
class PlanSummary:
    """What the plan stage did."""

    new_masks: int
    n_players: int
    n_targets: int
    smallest_detectable: float


@flow(name="plan", persist_result=False)
def plan(config: CampaignConfig) -> PlanSummary:
    """Create the campaign where there is none, and draw its missing masks."""
    log = stage_logger()
    campaign = Campaign(config.campaign.folder)
    dataset = load(config)
    log.info(
        "data: %s, %d players, %d targets, %d audit examples",
        dataset.name, dataset.n_players, len(dataset.targets), len(dataset.audit),
    )
    with campaign.lock():
        create(campaign, config, dataset)
        keep_configuration(campaign, config)
        rows_at_once = max(1, FRAGMENT_BYTES // packed_width(dataset.n_players))
        missing = missing_shards(wanted(config), campaign.planned(), rows_at_once)
        for rows in missing:
            campaign.write_masks(rows, masks_table(config, rows, dataset.n_players))
    drawn, planned = count_rows(missing), count_rows(campaign.planned())
    log.info("%d masks drawn, %d planned before", drawn, planned - drawn)
    return PlanSummary(drawn, dataset.n_players, len(dataset.targets), announce_power(config, dataset, log))


def create(campaign: Campaign, config: CampaignConfig, dataset: Dataset) -> None:
    """Make the folder this configuration's campaign, or check that it is. The images are written first, so that a
    folder with a campaign.json is complete."""
    identity = full_identity(config, dataset)
    if campaign.exists:
        campaign.check_identity(identity)
        if not _has_names(campaign):
            campaign.write_examples(examples_table(dataset))
        return
    campaign.write_examples(examples_table(dataset))
    campaign.create(
        identity,
        {
            "name": config.name,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "n_players": dataset.n_players,
            "n_train": len(dataset.train),
            "n_targets": len(dataset.targets),
            "n_audit": len(dataset.audit),
            "class_names": list(dataset.class_names),
            "player_names": list(dataset.player_names),
            "alpha": config.sampler.alpha,
            **({"alphas": list(config.sampler.alphas)} if config.sampler.other_alphas else {}),
            "sampler": config.sampler.kind,
            "output": config.recipe.output,
            "shard_size": config.campaign.shard_size,
        },
    )


def _has_names(campaign: Campaign) -> bool:
    """Whether the images are there, with their names: a repair sets them aside, earlier versions named none."""
    try:
        return len(campaign.read("examples", ["name"])) > 0
    except StoreError:
        return False


def masks_table(config: CampaignConfig, rows: RowRange, n_players: int) -> pa.Table:
    """Rows of the masks table, from the campaign's seed and the mask ids alone."""
    ids = np.arange(rows.mask_ids.start, rows.mask_ids.stop, dtype=np.int64)
    several = bool(config.sampler.other_alphas)
    alpha = config.sampler.alphas if several else config.sampler.alpha
    masks = sample_masks(n_players, alpha=alpha, seed=config.campaign.seed, sampler=config.sampler.kind, ids=ids)
    return pa.table(
        {
            "mask_id": ids,
            "replicate": np.full(len(ids), rows.replicate, np.int32),
            "role": pa.array([rows.role] * len(ids)),
            "seed_group": ids,  # every mask is its own seed group
            "mask": pack_masks(masks),
            **({"alpha": mask_alphas(ids, config.sampler.alphas)} if several else {}),
        }
    )


def announce_power(config: CampaignConfig, dataset: Dataset, log: Any) -> float:
    """Log what a campaign of this size could see, and warn when that is hopeless."""
    n_targets = config.attribution.n_targets or len(dataset.targets)
    n_players: int = dataset.n_players
    smallest = smallest_detectable(config.campaign.n_fit, config.sampler.alphas, n_players, n_targets)
    text = (
        f"{config.campaign.n_fit:,} fit masks for {n_players:,} players "
        f"({config.campaign.n_fit / n_players:.1f} each): "
        f"the smallest detectable pair interaction is {smallest:.2f} standard deviations of a target's output"
    )
    if smallest > HOPELESS:
        enough = int(np.ceil(config.campaign.n_fit * (smallest / HOPELESS) ** 2))
        log.warning(
            "%s. Few interactions of real campaigns were that large: expect to see few or none. "
            "About %d fit masks would do (campaign.n_fit), or fewer players (dataset.n_train), "
            "or groups (dataset.group_by)",
            text, enough,
        )
    else:
        log.info(text)
    return smallest
