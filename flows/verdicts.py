"""Verdicts of certification experiments, to be shown beside interactions. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

from flows.decision_schemas import CERTIFICATION
from flows.files import read_json, read_table
from flows.store import Campaign, digest

EXPERIMENT_TABLES = ("certification", "decisions", "comparisons", "brittleness")


def verdicts(campaign: Campaign) -> dict[tuple[int, tuple[int, ...]], dict[str, Any]]:
    """(target, members) -> row of the certification table, of reported and named sets; the last experiment counts."""
    path = campaign.folder / "certification.parquet"
    if not path.is_file():
        return {}
    rows = read_table(path, CERTIFICATION, identity=campaign.meta["identity_hash"]).to_pylist()
    return {(row["target"], tuple(row["members"])): row for row in rows if row["origin"] != "random"}


def about(campaign: Campaign, name: str) -> dict[str, Any] | None:
    """What a derived table was made from, or None where there is none."""
    path = campaign.folder / f"{name}.json"
    return read_json(path) if path.is_file() and (campaign.folder / f"{name}.parquet").is_file() else None


def comparison_key(decisions_key: str, settings: dict[str, Any]) -> str:
    """Names a comparison by the decisions it compares and by how (settings of section verify)."""
    return digest({"decisions": decisions_key, "verify": settings})[:16]


def current_comparison(campaign: Campaign) -> dict[str, Any]:
    """What verify found of the decisions that stand now; empty when they have not been compared (earlier ones may)."""
    compared, decided = about(campaign, "comparisons"), about(campaign, "decisions")
    if compared is None or decided is None:
        return {}
    for path in (campaign.folder / "plans").glob("verify-*.json"):
        plan = read_json(path)
        if plan.get("key") == compared.get("key") == comparison_key(decided["key"], plan["settings"]):
            return compared
    return {}


def experiment_keys(campaign: Campaign) -> dict[str, Any]:
    """What the tables of experiments and decisions were made from: changes when one of them does."""
    found = {name: campaign.folder / f"{name}.json" for name in EXPERIMENT_TABLES}
    return {name: read_json(path) for name, path in found.items() if path.is_file()}
