"""What a configuration asks for against what a folder holds: which stages have work, and why.

Reads names and small JSON files only, so `status` and `--dry-run` answer at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.schema import CampaignConfig, identity_settings
from flows.games.table import work_of
from flows.reporting.key import report_key
from flows.runtime.wording import TRAINING, plural
from flows.storage.files import read_json
from flows.store.campaign import Campaign, digest
from flows.store.roles import count_rows, missing_shards
from flows.store.wanted import analysis_key, missing_models, wanted


@dataclass(frozen=True)
class StageState:
    """One stage: whether it has work to do, and why or why not.

    Attributes
    ----------
    stage : str
        Name of the stage.
    todo : bool
        Whether there is work.
    why : str
        The reason, for the terminal.
    """

    stage: str
    todo: bool
    why: str


def survey(config: CampaignConfig) -> list[StageState]:
    """Report the state of every stage.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    list of StageState
        plan, retrain, attribute and report, in this order.

    Raises
    ------
    CampaignMismatch
        When the folder is another campaign's.
    """
    campaign = Campaign(config.campaign.folder)
    work, models = work_of(config), count_rows(wanted(config))
    if not campaign.exists:
        return [
            StageState("plan", True, f"no campaign in {campaign.folder} yet: {plural(models, 'mask')} to draw"),
            StageState("retrain", True, f"{plural(models, work.noun)} to {work.do}"),
            StageState("attribute", True, "no outputs yet"),
            StageState("report", True, "no analysis yet"),
        ]
    campaign.check_identity(identity_settings(config))
    unplanned = count_rows(missing_shards(wanted(config), campaign.planned(), campaign.shard_size))
    untrained = count_rows(missing_models(config, campaign))
    roles = {rows.role for rows in wanted(config)}
    failed = count_rows(rows for rows in campaign.failed() if rows.role in roles)
    masks = f"{plural(unplanned, 'mask')} to draw" if unplanned else "all masks are planned"
    plan = StageState("plan", unplanned > 0, masks)
    if not (campaign.folder / "examples.parquet").is_file():
        plan = StageState("plan", True, "the table of examples is missing")
    because = f" ({failed:,} of them failed before)" if failed else ""
    retrain = StageState(
        "retrain",
        untrained > 0,
        f"{untrained:,} of {plural(models, work.noun)} to {work.do}{because}" if untrained
        else f"all {models:,} {'models' if work is TRAINING else 'outputs'} exist",
    )
    attribute = _attribute_state(config, campaign, bool(untrained))
    return [plan, retrain, attribute, _report_state(config, campaign, attribute.todo)]


def _attribute_state(config: CampaignConfig, campaign: Campaign, more_models: bool) -> StageState:
    current = campaign.analysis
    if current is None:
        return StageState("attribute", True, "no analysis yet")
    if more_models:
        return StageState("attribute", True, "its outputs will change")
    if current["key"] != analysis_key(config, campaign):
        changed = "outputs" if current.get("snapshot_hash") != digest(campaign.snapshot()) else "settings or code"
        return StageState("attribute", True, f"made from other {changed}")
    return StageState("attribute", False, "up to date")


def _report_state(config: CampaignConfig, campaign: Campaign, analysis_changes: bool) -> StageState:
    page = campaign.folder / "report.html"
    if not page.is_file():
        return StageState("report", True, "not made yet")
    if analysis_changes:
        return StageState("report", True, "its analysis will change")
    recorded = campaign.folder / "report.json"
    if not recorded.is_file() or read_json(recorded).get("key") != report_key(config, campaign):
        return StageState("report", True, "made from another analysis, other settings or other code")
    return StageState("report", False, "up to date")
