"""What a configuration asks for against what a folder holds: which stages have work, and why.

Reads names and small JSON files only, so `status` and `--dry-run` answer at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf.schema import CampaignConfig, identity_settings
from flows.files import read_json
from flows.roles import RowRange, count_rows, missing_shards, wanted_ranges
from flows.store import Campaign, digest
from flows.verdicts import experiment_keys
from flows.versions import attribution_version, source_digest


@dataclass(frozen=True)
class StageState:
    """One stage: whether it has work to do, and why or why not."""

    stage: str
    todo: bool
    why: str


def wanted(config: CampaignConfig) -> list[RowRange]:
    """The models a configuration says should exist."""
    settings = config.campaign
    return wanted_ranges(settings.n_fit, settings.n_holdout, settings.n_replicates)


def missing_models(config: CampaignConfig, campaign: Campaign) -> list[RowRange]:
    """Shards to train."""
    return missing_shards(wanted(config), campaign.trained(), campaign.shard_size)


def analysis_key(config: CampaignConfig, campaign: Campaign) -> str:
    """Names an analysis by everything it depends on: its settings, the rows it came from, and the code."""
    return digest(
        {
            "attribution": config.attribution.model_dump(mode="json"),
            "identity": campaign.meta["identity_hash"],
            "rows": campaign.snapshot(),
            "code": attribution_version(),
        }
    )[:16]


def report_key(config: CampaignConfig, campaign: Campaign) -> str:
    """Names a report by the analysis and the experiments it shows, its settings, and the code that draws it."""
    return digest(
        {
            "analysis": (campaign.analysis or {}).get("key"),
            "report": config.report.model_dump(mode="json"),
            "experiments": experiment_keys(campaign),
            "code": source_digest(Path(__file__).parent),
        }
    )[:16]


def survey(config: CampaignConfig) -> list[StageState]:
    """State of every stage. Raises CampaignMismatch when the folder is another campaign's."""
    campaign = Campaign(config.campaign.folder)
    models = count_rows(wanted(config))
    if not campaign.exists:
        return [
            StageState("plan", True, f"no campaign in {campaign.folder} yet: {models:,} masks to draw"),
            StageState("retrain", True, f"{models:,} models to train"),
            StageState("attribute", True, "no outputs yet"),
            StageState("report", True, "no analysis yet"),
        ]
    campaign.check_identity(identity_settings(config))
    unplanned = count_rows(missing_shards(wanted(config), campaign.planned(), campaign.shard_size))
    untrained = count_rows(missing_models(config, campaign))
    failed = count_rows(campaign.failed())
    plan = StageState("plan", unplanned > 0, f"{unplanned:,} masks to draw" if unplanned else "all masks are planned")
    if not (campaign.folder / "examples.parquet").is_file():
        plan = StageState("plan", True, "the table of examples is missing")
    because = f" ({failed:,} of them failed before)" if failed else ""
    retrain = StageState(
        "retrain",
        untrained > 0,
        f"{untrained:,} of {models:,} models to train{because}" if untrained else f"all {models:,} models exist",
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


def outcome_counts(campaign: Campaign) -> dict[str, dict[str, int]]:
    """Rows by role and status; reads the status column of every fragment."""
    counts: dict[str, dict[str, int]] = {}
    table: Any = campaign.read("outputs", ["mask_id", "replicate", "status"])
    from flows.roles import role_of

    for mask_id, replicate, status in zip(
        table["mask_id"].to_pylist(), table["replicate"].to_pylist(), table["status"].to_pylist(), strict=True
    ):
        key = role_of(mask_id) if replicate == 0 else f"{role_of(mask_id)} again"
        by_status = counts.setdefault(key, {})
        by_status[status] = by_status.get(status, 0) + 1
    return counts
