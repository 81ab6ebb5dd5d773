"""What a weekly deployment runs: decide from what is known by then, and prove the decision by retraining."""

from __future__ import annotations

import importlib
from typing import Any

from prefect import flow
from prefect.states import Completed
from pydantic import Field

from conf.compose import compose
from conf.schema import Section
from flows.errors import CampaignBusy
from flows.runtime.logs import stage_logger


class WeeklyRequest(Section):
    """Which campaign."""

    configuration: str = Field(
        default="quickstart", description="A configuration in conf/, or the path of a YAML file."
    )
    overrides: tuple[str, ...] = Field(default=(), description="Overrides, written key=value.")


@flow(name="weekly", flow_run_name="{request.configuration} weekly", persist_result=False)
def weekly(request: WeeklyRequest) -> Any:
    """Curate, then verify.

    Parameters
    ----------
    request : WeeklyRequest

    Returns
    -------
    State
        Completed; named Skipped when another driver writes to the campaign.
    """
    config = compose(request.configuration, request.overrides)
    try:
        for stage in ("curate", "verify"):
            getattr(importlib.import_module(f"flows.{stage}"), stage)(config)
    except CampaignBusy as error:
        stage_logger().warning("skipped: %s", error)
        return Completed(name="Skipped", message=str(error))
    return Completed(message="decided and verified")
