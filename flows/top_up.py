"""Top-ups: a few more models every firing, until a stated precision or a budget of models.

The flow is what deployments run on a schedule. A firing that finds the one before it still at work leaves, saying so;
a firing after one that was cut short finishes what that one began. Each ends with a new attribution and report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect import flow
from prefect.states import Completed
from pydantic import Field

from attribution.statistics.detectability import smallest_detectable
from conf.compose import compose
from conf.schema import CampaignConfig, Section
from flows.campaign import campaign as run_campaign
from flows.errors import CampaignBusy
from flows.runtime.logs import stage_logger
from flows.storage.files import exclusive
from flows.store.campaign import Campaign
from flows.store.roles import RowRange, count_rows


class TopUpRequest(Section):
    """What a firing is asked to do."""

    configuration: str = Field(
        default="quickstart", description="A configuration in conf/, or the path of a YAML file."
    )
    overrides: tuple[str, ...] = Field(default=(), description="Overrides, e.g. campaign.folder=…, written key=value.")
    models: int = Field(default=256, ge=1, lt=1_000_000, description="Fit masks to add at each firing.")
    precision: float | None = Field(
        default=None, gt=0,
        description="Stop adding when the smallest detectable pair interaction, in standard deviations of a "
        "target's output, is no larger than this.",
    )
    budget: int | None = Field(default=None, ge=1, description="Fit masks the campaign may have at most.")


@dataclass(frozen=True)
class Goal:
    """Fit masks a firing should leave behind, and why.

    Attributes
    ----------
    n_fit : int or None
        None: no work is left.
    why : str
        The reason, for the log.
    """

    n_fit: int | None
    why: str


def next_goal(config: CampaignConfig, request: TopUpRequest) -> Goal:
    """Choose how far a firing goes. Reads names of files only.

    Parameters
    ----------
    config : CampaignConfig
    request : TopUpRequest

    Returns
    -------
    Goal
    """
    campaign = Campaign(config.campaign.folder)
    if not campaign.exists:
        n_fit = min(config.campaign.n_fit, request.budget or config.campaign.n_fit)
        return Goal(n_fit, f"the campaign begins with {n_fit} fit masks")
    planned, trained = _n_fit(campaign.planned()), _n_fit(campaign.trained())
    if trained < planned:
        return Goal(planned, f"finishing what an earlier run began: {planned - trained} of {planned} models to go")
    if request.budget is not None and planned >= request.budget:
        return Goal(None, f"the budget of {request.budget} fit masks is used up")
    if request.precision is not None:
        n_targets = config.attribution.n_targets or campaign.n_targets
        seen = smallest_detectable(planned, config.sampler.alphas, campaign.n_players, n_targets)
        if seen <= request.precision:
            return Goal(None, f"the precision is reached: {seen:.3f} standard deviations ({request.precision} asked)")
    goal = planned + request.models if request.budget is None else min(planned + request.models, request.budget)
    return Goal(goal, f"{goal - planned} fit masks more than the {planned} there are")


def _n_fit(ranges: list[RowRange]) -> int:
    return count_rows(rows for rows in ranges if rows.role == "fit" and rows.replicate == 0)


@flow(name="top-up", flow_run_name="{request.configuration} top-up", persist_result=False)
def top_up(request: TopUpRequest) -> Any:
    """Run one firing.

    Parameters
    ----------
    request : TopUpRequest

    Returns
    -------
    State
        Completed; named Skipped when there is nothing to do or another firing is at work.
    """
    log = stage_logger()
    config = compose(request.configuration, request.overrides)
    campaign = Campaign(config.campaign.folder)
    try:
        # A lock of its own: between two stages of the other firing the campaign's lock is free for a moment.
        with exclusive(campaign.folder / ".top-up.lock", f"a top-up of the campaign in {campaign.folder}"):
            goal = next_goal(config, request)
            log.info("top-up: %s", goal.why)
            if goal.n_fit is None:
                return Completed(name="Skipped", message=goal.why)
            run_campaign(with_n_fit(config, goal.n_fit))
    except CampaignBusy as error:
        log.warning("skipped: %s", error)
        return Completed(name="Skipped", message=str(error))
    return Completed(message=f"{goal.n_fit} fit masks: {goal.why}")


def with_n_fit(config: CampaignConfig, n_fit: int) -> CampaignConfig:
    """Copy the configuration with another number of fit masks.

    Parameters
    ----------
    config : CampaignConfig
    n_fit : int
        Fit masks of the copy.

    Returns
    -------
    CampaignConfig
    """
    return config.model_copy(update={"campaign": config.campaign.model_copy(update={"n_fit": n_fit})})
