"""Stage retrain: train the models that are planned and do not exist yet, on Ray, and keep what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prefect import flow

from conf.schema import CampaignConfig
from flows.compute.execution_mode import resources, settle
from flows.compute.ray_cluster import Outcome, session
from flows.compute.shards import shard_units
from flows.compute.work import TrainingJob, train_shard
from flows.errors import IncompleteCampaign
from flows.reporting.prefect_artifacts import publish_progress
from flows.runtime.logs import stage_logger
from flows.runtime.progress import Progress
from flows.store.campaign import Campaign
from flows.store.examples import full_identity, load
from flows.store.outputs_table import failure_table, outputs_table
from flows.store.roles import RowRange, count_rows
from flows.store.wanted import missing_models, wanted
from training import Dataset


@dataclass(frozen=True)
class RetrainSummary:
    """What the retrain stage did: models by status."""

    trained: int = 0
    diverged: int = 0
    failed: int = 0


@flow(name="retrain", persist_result=False)
def retrain(config: CampaignConfig) -> RetrainSummary:
    """Train what is missing. Raises IncompleteCampaign at the end when models failed; the others are kept."""
    log = stage_logger()
    campaign = Campaign(config.campaign.folder)
    shards = missing_models(config, campaign)
    models = count_rows(wanted(config))
    if not shards:
        log.info("all %d models exist: nothing to train", models)
        return RetrainSummary()
    dataset = load(config)
    campaign.check_identity(full_identity(config, dataset))
    with campaign.lock(), session(config.compute.ray_address, config.compute.workers) as cluster:
        shards = missing_models(config, campaign)  # again, now that nobody else writes
        log.info("%d of %d models to train, in %d shards; waiting for Ray", count_rows(shards), models, len(shards))
        waited = cluster.start()
        log.info("Ray is ready after another %.1f s; the first shard starts when its worker has loaded torch", waited)
        job = settle(config, campaign, cluster, training_job(config, dataset), log)
        with Progress(models, "models", done=models - count_rows(shards)) as progress:
            outcomes = cluster.map(
                train_shard,
                job,
                shard_units(config.campaign.seed, campaign, shards),
                resources(config.compute),
                on_start=progress.show,
                on_retry=lambda index, why: log.warning("shard %s is tried again: %s", shards[index].name, why),
            )
            summary = keep_outcomes(campaign, shards, outcomes, progress, log)
        publish_progress(campaign)
    log.info("%d models trained, %d diverged, %d failed", summary.trained, summary.diverged, summary.failed)
    if summary.failed:
        raise IncompleteCampaign(
            f"{summary.failed} models failed; `coterie status` lists the reasons. The others are kept: "
            "run the same command again to retry the failed ones"
        )
    return summary


def training_job(config: CampaignConfig, dataset: Dataset) -> TrainingJob:
    recipe = {**config.recipe.model_dump(), "nominal_alpha": config.sampler.alpha}
    return TrainingJob(dataset, recipe, config.compute.ensemble_size, config.compute.device)


def keep_outcomes(
    campaign: Campaign, shards: list[RowRange], outcomes: Iterator[Outcome], progress: Progress, log: Any
) -> RetrainSummary:
    trained = diverged = failed = 0
    for outcome in outcomes:
        rows = shards[outcome.index]
        if outcome.error is not None:
            kept = campaign.write_log(rows, outcome.log or outcome.error)
            reason = f"{outcome.error} (tried {outcome.attempts} times; log: {kept})"
            log.error("shard %s failed: %s", rows.name, reason)
            campaign.write_outputs(rows, failure_table(campaign, rows, reason), failed=True)
            failed += len(rows)
        else:
            campaign.write_outputs(rows, outputs_table(campaign, rows, outcome.value))
            bad = sum(status != "ok" for status in outcome.value["status"])
            diverged += bad
            trained += len(rows) - bad
        progress.advance(len(rows))
    return RetrainSummary(trained, diverged, failed)
