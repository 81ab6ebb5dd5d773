"""Stage retrain: train the models that are planned and do not exist yet, on Ray, and keep what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from prefect import flow

from conf.schema import CampaignConfig
from flows.artifacts import publish_progress
from flows.cluster import Outcome, session
from flows.compute import resources, settle
from flows.dataset import full_identity, load
from flows.errors import IncompleteCampaign
from flows.logs import stage_logger
from flows.progress import Progress
from flows.roles import RowRange, count_rows
from flows.shards import shard_units
from flows.store import Campaign
from flows.survey import missing_models, wanted
from flows.versions import code_version
from flows.work import TrainingJob, train_shard
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
        job = settle(config, campaign, cluster, _job(config, dataset), log)
        with Progress(models, "models", done=models - count_rows(shards)) as progress:
            outcomes = cluster.map(
                train_shard,
                job,
                shard_units(config.campaign.seed, campaign, shards),
                resources(config.compute),
                on_start=progress.show,
                on_retry=lambda index, why: log.warning("shard %s is tried again: %s", shards[index].name, why),
            )
            summary = _keep(campaign, shards, outcomes, progress, log)
        publish_progress(campaign)
    log.info("%d models trained, %d diverged, %d failed", summary.trained, summary.diverged, summary.failed)
    if summary.failed:
        raise IncompleteCampaign(
            f"{summary.failed} models failed; `coterie status` lists the reasons. The others are kept: "
            "run the same command again to retry the failed ones"
        )
    return summary


def _job(config: CampaignConfig, dataset: Dataset) -> TrainingJob:
    recipe = {**config.recipe.model_dump(), "nominal_alpha": config.sampler.alpha}
    return TrainingJob(dataset, recipe, config.compute.members, config.compute.device)


def _keep(
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


def outputs_table(campaign: Campaign, rows: RowRange, columns: dict[str, Any]) -> pa.Table:
    """One shard's rows. A model that diverged keeps its status and has no number."""
    n_models = len(rows)
    diverged = np.array([status != "ok" for status in columns["status"]])
    values = pa.array(np.ascontiguousarray(columns["outputs"], dtype=np.float32).reshape(-1))
    return pa.table(
        {
            **_keys(campaign, rows),
            "status": columns["status"],
            "reason": ["loss was not finite" if bad else "" for bad in diverged],
            "outputs": pa.FixedSizeListArray.from_arrays(values, campaign.n_targets, mask=pa.array(diverged)),
            **{
                name: pa.array(np.asarray(columns[name], np.float32), mask=diverged)
                for name in ("train_accuracy", "target_accuracy", "audit_accuracy")
            },
            "train_seconds": np.asarray(columns["train_seconds"], np.float32),
            "members": np.broadcast_to(np.asarray(columns["members"], np.int32), n_models),
            **{name: [columns[name]] * n_models for name in ("way", "host", "device")},
            "code_version": [code_version()] * n_models,
        }
    ).select(campaign.schema("outputs").names)


def failure_table(campaign: Campaign, rows: RowRange, reason: str) -> pa.Table:
    """Rows of a shard that failed: a status and a reason, no numbers."""
    schema = campaign.schema("outputs")
    known = {**_keys(campaign, rows), "status": ["failed"] * len(rows), "reason": [reason] * len(rows)}
    known["code_version"] = [code_version()] * len(rows)
    return pa.table(
        {name: known[name] if name in known else pa.nulls(len(rows), schema.field(name).type) for name in schema.names},
        schema=schema,
    )


def _keys(campaign: Campaign, rows: RowRange) -> dict[str, Any]:
    return {
        "mask_id": np.arange(rows.mask_ids.start, rows.mask_ids.stop, dtype=np.int64),
        "replicate": np.full(len(rows), rows.replicate, np.int32),
        "shard": np.full(len(rows), rows.first // campaign.shard_size, np.int64),
    }
