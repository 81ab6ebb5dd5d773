"""What commands report with `--json`: plain values, one document a command."""

from __future__ import annotations

import math
from typing import Any

from conf.schema import CampaignConfig
from flows.cli.stage_states import survey
from flows.reporting.prefect_artifacts import strongest
from flows.store.campaign import EXPERIMENT_TABLES, Campaign
from flows.store.derived import about, current_comparison, read_derived
from flows.store.queries import failure_reasons, outcome_counts, throughput

FACTS = ("name", "created", "identity_hash", "n_players", "n_targets", "n_audit", "alpha")


def status_of(campaign: Campaign, config: CampaignConfig | None) -> dict[str, Any]:
    """Return models by role and status, hosts, failures, stages with work left, and what tables exist.

    Parameters
    ----------
    campaign
        Any folder; one without a campaign gives `{"folder": …, "exists": false}`.
    config
        Its configuration where it is known; without one there is no list of stages.
    """
    if not campaign.exists:
        return {"folder": str(campaign.folder), "exists": False}
    meta = campaign.meta
    found: dict[str, Any] = {
        "folder": str(campaign.folder),
        "exists": True,
        **{key: meta[key] for key in FACTS},
        "models": outcome_counts(campaign),
        "failures": [
            {"status": status, "reason": reason, "models": count}
            for (status, reason), count in failure_reasons(campaign).most_common()
        ],
        "hosts": [host.row() for host in throughput(campaign)],
        "analysis": campaign.analysis,
        "derived": {
            name: about(campaign, name) is not None
            for name in EXPERIMENT_TABLES
        },
        "report": str(campaign.folder / "report.html") if (campaign.folder / "report.html").is_file() else None,
    }
    if config is not None:
        found["stages"] = [{"stage": state.stage, "todo": state.todo, "why": state.why} for state in survey(config)]
    return plain(found)


def interactions_of(campaign: Campaign, target: int | None, top: int) -> dict[str, Any]:
    """Return the strongest `top` interactions of a target (or of all targets) as rows of the table.

    Parameters
    ----------
    campaign : Campaign
    target : int or None
        Id of the target; None for all targets.
    top : int
        Rows to return at most.

    Returns
    -------
    dict
        The folder and its interactions.
    """
    return plain({"folder": str(campaign.folder), "interactions": strongest(campaign, target)[:top]})


def outcome_of(stage: str, config: CampaignConfig) -> dict[str, Any]:
    """Return what a stage left in the folder.

    Parameters
    ----------
    stage : str
        Name of the stage.
    config : CampaignConfig

    Returns
    -------
    dict
        Rows of the table of curate, verify, certify, brittleness, prune or flip; the campaign's status for another
        stage.
    """
    campaign = Campaign(config.campaign.folder)
    found: dict[str, Any] = {"folder": str(campaign.folder), "stage": stage}
    if stage == "curate":
        found["decisions"] = read_derived(campaign, "decisions").to_pylist()
    elif stage == "verify":
        found["comparisons"] = read_derived(campaign, "comparisons").to_pylist()
        found["about"] = current_comparison(campaign)
    elif stage == "certify":
        found["certification"] = read_derived(campaign, "certification").to_pylist()
    elif stage == "brittleness":
        found["brittleness"] = read_derived(campaign, "brittleness").to_pylist()
    elif stage in ("prune", "flip"):
        table = {"prune": "pruning", "flip": "flips"}[stage]
        found |= {table: read_derived(campaign, table).to_pylist(), "about": about(campaign, table)}
    else:
        found |= status_of(campaign, config)
    return plain(found)


def plain(value: Any) -> Any:
    """Return the value with numbers that JSON cannot hold (NaN, infinities) as null.

    Parameters
    ----------
    value : object
        Dictionaries, lists and tuples are converted inside as well.

    Returns
    -------
    object
        Keys of dictionaries are str; tuples are lists.
    """
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

