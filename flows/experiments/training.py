"""Trains the models of frozen plans that have no outcome yet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from conf.schema import CampaignConfig
from flows.compute.ray_cluster import Cluster
from flows.compute.training_loop import Batch, failed_calls_sentence, missing_of, train_batches
from flows.errors import IncompleteCampaign
from flows.runtime.logs import Log
from flows.store.campaign import Campaign
from flows.store.roles import count_rows

__all__ = ["Batch", "expected_time", "train_missing"]


def train_missing(
    config: CampaignConfig, campaign: Campaign, cluster: Cluster, batches: Sequence[Batch], log: Log
) -> int:
    """Train the rows of all batches that have no outcome yet.

    Parameters
    ----------
    config, campaign, cluster, batches, log
        As in `flows.compute.training_loop.train_batches`.

    Returns
    -------
    int
        Models trained, diverged ones included.

    Raises
    ------
    IncompleteCampaign
        At the end, when models failed. The outcomes of the others are kept.
    """
    total = sum(count_rows(batch.rows) for batch in batches)
    left = sum(count_rows(missing_of(campaign, batch)) for batch in batches)
    if not left:
        log.info("all %d models of the experiment exist", total)
        return 0
    log.info("%d of %d models to train%s", left, total, expected_time(campaign, left))
    found = train_batches(config, campaign, cluster, batches, log)
    failed = found.failed
    if found.failed_calls:
        log.warning("%s", failed_calls_sentence(found.failed_calls, batches[0].game.name))
    if failed:
        raise IncompleteCampaign(
            f"{failed} models of the experiment failed; `coterie status` lists the reasons. The others are kept: "
            "run the same command again to retry the failed ones"
        )
    return left


def expected_time(campaign: Campaign, n_models: float) -> str:
    """Estimate the time of n_models like the campaign's own, as a clause of a log line.

    Parameters
    ----------
    campaign
        The campaign whose recorded training times are used.
    n_models
        Models of the campaign's own size; a fraction where other sizes cost more or less.

    Returns
    -------
    str
        Model-minutes and the median seconds a model, in parentheses; empty when no model has been trained.
    """
    seconds = campaign.read("outputs", ["train_seconds"])["train_seconds"].to_numpy(zero_copy_only=False)
    seconds = seconds[np.isfinite(seconds)].astype(np.float64)
    if not len(seconds):
        return ""
    minutes = n_models * float(np.median(seconds)) / 60
    return f" ({minutes:.1f} model-minutes at this campaign's {np.median(seconds):.2f} s a model)"
