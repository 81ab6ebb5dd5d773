"""Trains the models of frozen plans that have no outcome yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conf.schema import CampaignConfig
from flows.compute.execution_mode import resources, settle
from flows.compute.ray_cluster import Cluster
from flows.compute.shards import shard_units
from flows.compute.work import TrainingJob, train_shard
from flows.errors import IncompleteCampaign
from flows.experiments.results import write_results
from flows.runtime.progress import Progress
from flows.store.campaign import Campaign
from flows.store.derived import finished
from flows.store.outputs_table import failure_table, outputs_table
from flows.store.roles import RowRange, count_rows, missing_shards


@dataclass(frozen=True)
class Batch:
    """Rows that are trained alike. job: data set, recipe and way; to_outputs: whether they are rows of `outputs`."""

    rows: RowRange
    job: TrainingJob
    to_outputs: bool


def train_missing(
    config: CampaignConfig, campaign: Campaign, cluster: Cluster, batches: Sequence[Batch], log: Any
) -> int:
    """Train the rows of all batches that have no outcome yet; how many were trained.

    Raises IncompleteCampaign at the end when models failed; the others are kept.
    """
    done = {True: campaign.trained(), False: finished(campaign)}
    todo = [(batch, missing_shards([batch.rows], done[batch.to_outputs], campaign.shard_size)) for batch in batches]
    total, left = count_rows(batch.rows for batch in batches), sum(count_rows(shards) for _, shards in todo)
    if not left:
        log.info("all %d models of the experiment exist", total)
        return 0
    log.info("%d of %d models to train%s", left, total, expected_time(campaign, left))
    failed = 0
    with Progress(total, "models", done=total - left) as progress:
        progress.show()
        for batch, shards in todo:
            if not shards:
                continue
            units = shard_units(config.campaign.seed, campaign, shards)
            job = settle(config, campaign, cluster, batch.job, log)
            for outcome in cluster.map(train_shard, job, units, resources(config.compute)):
                rows = shards[outcome.index]
                if outcome.error is not None:
                    log.error("shard %s failed: %s", rows.name, outcome.error)
                    failed += len(rows)
                    if batch.to_outputs:
                        campaign.write_outputs(rows, failure_table(campaign, rows, outcome.error), failed=True)
                elif batch.to_outputs:
                    campaign.write_outputs(rows, outputs_table(campaign, rows, outcome.value))
                else:
                    write_results(campaign, rows, outcome.value)
                progress.advance(len(rows))
    if failed:
        raise IncompleteCampaign(
            f"{failed} models of the experiment failed (the log says why). The others are kept: run the same command "
            "again to retry the failed ones"
        )
    return left


def expected_time(campaign: Campaign, n_models: float) -> str:
    """Rough time for as much training as n_models of the campaign's own, from what those took; "" when unknown."""
    seconds = campaign.read("outputs", ["train_seconds"])["train_seconds"].to_numpy(zero_copy_only=False)
    seconds = seconds[np.isfinite(seconds)].astype(np.float64)
    if not len(seconds):
        return ""
    minutes = n_models * float(np.median(seconds)) / 60
    return f" ({minutes:.1f} model-minutes at this campaign's {np.median(seconds):.2f} s a model)"
