"""Verdicts of certification experiments, to be shown beside interactions. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

from flows.decision_schemas import CERTIFICATION
from flows.files import read_json, read_table
from flows.store import Campaign

EXPERIMENT_TABLES = ("certification", "decisions", "comparisons", "brittleness")


def verdicts(campaign: Campaign) -> dict[tuple[int, tuple[int, ...]], dict[str, Any]]:
    """(target, members) -> row of the certification table, of reported and named sets; the last experiment counts."""
    path = campaign.folder / "certification.parquet"
    if not path.is_file():
        return {}
    rows = read_table(path, CERTIFICATION, identity=campaign.meta["identity_hash"]).to_pylist()
    return {(row["target"], tuple(row["members"])): row for row in rows if row["origin"] != "random"}


def experiment_keys(campaign: Campaign) -> dict[str, Any]:
    """What the tables of experiments and decisions were made from: changes when one of them does."""
    found = {name: campaign.folder / f"{name}.json" for name in EXPERIMENT_TABLES}
    return {name: read_json(path) for name, path in found.items() if path.is_file()}
