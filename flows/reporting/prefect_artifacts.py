"""What Prefect's pages show of a campaign: faithfulness as a table, the strongest interactions as markdown."""

from __future__ import annotations

import math
import re
from typing import Any

from flows.store.campaign import Campaign
from flows.store.faithfulness import read_faithfulness, scored_estimators
from flows.store.queries import failure_reasons, throughput

ROWS_SHOWN = 50


def publish_faithfulness(campaign: Campaign) -> None:
    """Store both artifacts with the current flow run; nothing to do outside one."""
    from prefect.artifacts import create_markdown_artifact, create_table_artifact
    from prefect.context import FlowRunContext

    if FlowRunContext.get() is None:
        return
    name = artifact_name(campaign)
    create_table_artifact(key=f"faithfulness-{name}", table=faithfulness_rows(campaign))
    create_markdown_artifact(key=f"interactions-{name}", markdown=interactions_markdown(campaign))


def publish_progress(campaign: Campaign) -> None:
    """Store models and throughput by host, and failures with their reasons, with the current flow run."""
    from prefect.artifacts import create_table_artifact
    from prefect.context import FlowRunContext

    if FlowRunContext.get() is None:
        return
    name = artifact_name(campaign)
    create_table_artifact(key=f"throughput-{name}", table=[host.row() for host in throughput(campaign)])
    reasons = failure_reasons(campaign).most_common(50)
    failures = [{"models": count, "status": status, "reason": reason} for (status, reason), count in reasons]
    create_table_artifact(key=f"failures-{name}", table=failures)


def artifact_name(campaign: Campaign) -> str:
    """Name a campaign's artifacts: its name in the letters Prefect allows, and the start of its identity.

    Campaigns of one configuration on other data share a name; artifacts of one key would replace each other.
    """
    name = re.sub(r"[^a-z0-9]+", "-", campaign.meta.name.lower()).strip("-")
    return f"{name}-{campaign.meta.identity_hash[:8]}"


def faithfulness_rows(campaign: Campaign) -> list[dict[str, Any]]:
    """One row per target, those with the best evidence first."""
    rows = list(read_faithfulness(campaign).values())
    estimators = scored_estimators(rows)
    rows.sort(key=lambda row: (not row.gate_open, _last_if_nan(row.gate_q)))
    return [
        {
            "target": row.target,
            "noise ceiling": _short(row.noise_ceiling.value),
            **{f"R² {name}": _short(row.r2(name).value) for name in estimators},
            **{f"LDS {name}": _short(row.lds(name)) for name in estimators},
            "gate q": _short(row.gate_q),
            "verdict": row.verdict,
        }
        for row in rows[:ROWS_SHOWN]
    ]


def interactions_markdown(campaign: Campaign) -> str:
    """The strongest interactions behind an open gate, as a markdown table."""
    lines = [
        "| target | members | kind | I(S) | of it saturation | standard error | q of the rest |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in strongest(campaign)[:ROWS_SHOWN]:
        members = ", ".join(str(member) for member in row["members"])
        lines.append(
            f"| {row['target']} | {members} | {row['kind']} | {row['value']:+.2f} "
            f"| {row['saturation']:+.2f} | {row['stderr']:.2f} | {row['specific_q_value']:.1e} |"
        )
    return "\n".join(lines) if len(lines) > 2 else "No target shows interactions."


def strongest(campaign: Campaign, target: int | None = None) -> list[dict[str, Any]]:
    """Rows of the interactions table, open gates first, then by the q-value of the specific part and size."""
    rows = campaign.read("interactions").to_pylist()
    chosen = [row for row in rows if target is None or row["target"] == target]
    return sorted(chosen, key=lambda r: (not r["gate_open"], _last_if_nan(r["specific_q_value"]), -abs(r["value"])))


def _last_if_nan(value: float | None) -> float:
    return math.inf if value is None or math.isnan(value) else value


def _short(value: Any) -> Any:
    # JSON has no NaN, and Prefect refuses an artifact that holds one.
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.4g}")
    return value
