"""A real campaign small enough for a test: 20 digits as players, trained in this process, without Ray or a server."""

from __future__ import annotations

from pathlib import Path

from conf.compose import compose
from conf.schema import CampaignConfig
from flows.compute.shards import read_shards
from flows.compute.work import evaluate_shard
from flows.games.table import make_game
from flows.plan import plan
from flows.store.campaign import Campaign
from flows.store.outputs_table import outputs_table
from flows.store.wanted import missing_models

SMALL = (
    "dataset.n_train=20",
    "dataset.n_targets=6",
    "dataset.n_audit=6",
    "recipe.epochs=1",
    "recipe.width=4",
    "campaign.n_fit=20",
    "campaign.n_holdout=8",
    "campaign.shard_size=8",
    "compute.ensemble_size=8",
    "attribution.n_targets=4", "attribution.published_targets=0",
)


def small_config(folder: Path | str, *overrides: str) -> CampaignConfig:
    return compose("quickstart", [*SMALL, f"campaign.folder={folder}", *overrides])


def train_missing(config: CampaignConfig) -> Campaign:
    """What the plan and retrain stages do, shard after shard in this process."""
    import torch

    torch.set_num_threads(1)
    plan.fn(config)
    campaign, game = Campaign(config.campaign.folder), make_game(config)
    for shard in read_shards(config.campaign.seed, campaign, missing_models(config, campaign)):
        campaign.write_outputs(shard.rows, outputs_table(campaign, shard.rows, evaluate_shard(game, shard)))
    return campaign
