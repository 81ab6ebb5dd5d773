"""Trains the models of frozen plans that have no outcome yet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from conf.schema import CampaignConfig
from flows.compute.ray_cluster import Cluster
from flows.compute.training_loop import Batch, failed_calls_sentence, missing_of, train_batches
from flows.errors import IncompleteCampaign
from flows.runtime.logs import Log
from flows.runtime.wording import plural
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
        log.info("all %s of the experiment exist", plural(total, "model"))
        return 0
    log.info("%d of %s to train%s", left, plural(total, "model"), expected_time(campaign, left))
    found = train_batches(config, campaign, cluster, batches, log)
    failed = found.failed
    if found.failed_calls:
        log.warning("%s", failed_calls_sentence(found.failed_calls, batches[0].game.name))
    if failed:
        raise IncompleteCampaign(
            f"{plural(failed, 'model')} of the experiment failed; `coterie status` lists the reasons. The others are "
            "kept: run the same command again to retry the failed ones"
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
        Model-minutes (model-seconds below one minute) and the median seconds a model, in parentheses; empty when no
        model has been trained.
    """
    seconds = campaign.read("outputs", ["train_seconds"])["train_seconds"].to_numpy(zero_copy_only=False)
    seconds = seconds[np.isfinite(seconds)].astype(np.float64)
    if not len(seconds):
        return ""
    each = float(np.median(seconds))
    total = n_models * each
    cost = f"{total / 60:.1f} model-minutes" if total >= 60 else f"{total:.0f} model-seconds" if total >= 1 else (
        "less than a model-second"
    )  # fmt: skip
    return f" ({cost} at this campaign's {each:.2g} s a model)"
