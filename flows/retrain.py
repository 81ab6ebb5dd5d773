"""Stage retrain: evaluate the planned masks that have no outcome yet, on Ray, and write their outputs."""

from __future__ import annotations

from prefect import flow

from conf.schema import CampaignConfig
from flows.compute.session import session_of
from flows.compute.training_loop import Batch, TrainingSummary, failed_calls_sentence, train_batches
from flows.errors import IncompleteCampaign
from flows.games.table import full_identity, make_game, work_of
from flows.reporting.prefect_artifacts import publish_progress
from flows.runtime.logs import stage_logger
from flows.runtime.wording import TRAINING, plural
from flows.store.campaign import Campaign
from flows.store.roles import count_rows
from flows.store.wanted import missing_models, wanted


@flow(name="retrain", flow_run_name="{config.name} retrain", persist_result=False)
def retrain(config: CampaignConfig) -> TrainingSummary:
    """Evaluate the planned masks that have no outcome yet; models that succeed are kept when others fail.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    TrainingSummary
        Models trained, diverged and failed.

    Raises
    ------
    IncompleteCampaign
        At the end, when models failed.
    CampaignMismatch
        If the folder belongs to another campaign.
    """
    log = stage_logger()
    campaign = Campaign(config.campaign.folder)
    shards = missing_models(config, campaign)
    work, models = work_of(config), count_rows(wanted(config))
    if not shards:
        log.info("all %s exist: nothing to %s", plural(models, "model" if work is TRAINING else "output"), work.do)
        return TrainingSummary()
    game = make_game(config)
    campaign.check_identity(full_identity(config, game))
    with campaign.lock(), session_of(config) as cluster:
        shards = missing_models(config, campaign)  # again, now that nobody else writes
        log.info(
            "%d of %s to %s, in %s; waiting for Ray", count_rows(shards), plural(models, work.noun), work.do,
            plural(len(shards), "shard"),
        )  # fmt: skip
        waited = cluster.start()
        log.info("Ray is ready after another %.1f s; the first shard starts when its worker has loaded torch", waited)
        batch = Batch(tuple(wanted(config)), game)
        summary = train_batches(config, campaign, cluster, [batch], log)
        publish_progress(campaign)
    log.info(
        "%s %s, %d diverged, %d failed", plural(summary.trained, work.noun), work.done, summary.diverged, summary.failed
    )
    if summary.failed_calls:
        log.warning("%s", failed_calls_sentence(summary.failed_calls, game.name))
    if summary.failed:
        raise IncompleteCampaign(
            f"{plural(summary.failed, work.noun)} failed; `coterie status` lists the reasons. The others are kept: "
            "run the same command again to retry the failed ones"
        )
    return summary
