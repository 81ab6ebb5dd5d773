"""The whole job as one Prefect flow: plan, retrain, attribute, report. Each stage is a flow that also runs alone."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from conf.schema import CampaignConfig
from flows.attribute import attribute
from flows.games.table import games_kept
from flows.plan import plan
from flows.report import report
from flows.retrain import retrain
from flows.store.history import RunRecord


@flow(name="campaign", flow_run_name="{config.name} campaign", persist_result=False)
def campaign(config: CampaignConfig) -> Path:
    """Make what the configuration asks for and does not exist yet; the path of the report.

    Running it again is a no-op; asking for more models trains only the missing ones.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    Path
        The file report.html.
    """
    record = RunRecord(config)
    with games_kept():
        with record.stage("plan"):
            plan(config)
        with record.stage("retrain"):
            record.content["trained_models"] = retrain(config).trained
        with record.stage("attribute"):
            attribute(config)
        with record.stage("report"):
            page = report(config)
    record.finish()
    return page
