"""A real campaign small enough for a test: 20 digits as players, trained in this process, without Ray or a server."""

from __future__ import annotations

from pathlib import Path

from conf.compose import compose
from conf.schema import CampaignConfig
from flows.compute.shards import shard_units
from flows.compute.work import TrainingJob, train_shard
from flows.plan import plan
from flows.store.campaign import Campaign
from flows.store.examples import load
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
    "attribution.n_targets=4",
)


def small_config(folder: Path | str, *overrides: str) -> CampaignConfig:
    return compose("quickstart", [*SMALL, f"campaign.folder={folder}", *overrides])


def train_missing(config: CampaignConfig) -> Campaign:
    """What the plan and retrain stages do, shard after shard in this process."""
    import torch

    torch.set_num_threads(1)
    plan.fn(config)
    campaign, dataset = Campaign(config.campaign.folder), load(config)
    recipe = {**config.recipe.model_dump(), "nominal_alpha": config.sampler.alpha}
    job = TrainingJob(dataset, recipe, config.compute.ensemble_size, "cpu")
    for unit in shard_units(config.campaign.seed, campaign, missing_models(config, campaign)):
        campaign.write_outputs(unit.rows, outputs_table(campaign, unit.rows, train_shard(job, unit)))
    return campaign
