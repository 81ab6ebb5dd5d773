"""Derived tables (certification, decisions, comparisons, brittleness): written with what they were made from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from conf.section import Section
from flows.errors import IncompleteCampaign
from flows.storage.files import read_json, read_table, write_json, write_table
from flows.store.campaign import EXPERIMENT_STAGES, EXPERIMENT_TABLES, Campaign, digest
from flows.store.roles import RowRange
from flows.store.schemas import CERTIFICATION


def verdicts(campaign: Campaign) -> dict[tuple[int, tuple[int, ...]], dict[str, Any]]:
    """Return the certification of every reported or named set; of several experiments on a set the last one counts.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    dict
        (target, members) to the set's row of the certification table.
    """
    path = campaign.folder / "certification.parquet"
    if not path.is_file():
        return {}
    rows = read_table(path, CERTIFICATION, identity=campaign.meta.identity_hash).to_pylist()
    return {(row["target"], tuple(row["members"])): row for row in rows if row["origin"] != "random"}


def about(campaign: Campaign, name: str) -> dict[str, Any] | None:
    """Read what a derived table was made from.

    Parameters
    ----------
    campaign : Campaign
    name : str
        Table, e.g. "decisions".

    Returns
    -------
    dict or None
        None without such a table.
    """
    path = campaign.folder / f"{name}.json"
    return read_json(path) if path.is_file() and (campaign.folder / f"{name}.parquet").is_file() else None


def comparison_key(decisions_key: str, settings: dict[str, Any]) -> str:
    """Name a comparison by the decisions it compares and by its settings.

    Parameters
    ----------
    decisions_key : str
    settings : dict
        Section verify of the configuration.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    return digest({"decisions": decisions_key, "verify": settings})[:16]


def search_key(campaign: Campaign, settings: Section) -> str:
    """Name a search (removals that flip, parts that can go) by the analysis it rests on and its settings.

    Parameters
    ----------
    campaign : Campaign
    settings : Section
        The search's section of the configuration.

    Returns
    -------
    str
        The first 16 characters of the digest.
    """
    analysis = (campaign.analysis or {}).get("key")
    return digest({"analysis": analysis, "settings": settings.model_dump(mode="json")})[:16]


def current_comparison(campaign: Campaign) -> dict[str, Any]:
    """Read what verify found of the current decisions.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    dict
        Empty if only earlier decisions, or none, were compared.
    """
    compared, decided = about(campaign, "comparisons"), about(campaign, "decisions")
    if compared is None or decided is None:
        return {}
    for path in (campaign.folder / "plans").glob("verify-*.json"):
        plan = read_json(path)
        if plan.get("key") == compared.get("key") == comparison_key(decided["key"], plan["settings"]):
            return compared
    return {}


def experiment_keys(campaign: Campaign) -> dict[str, Any]:
    """Read what the tables of experiments and decisions were made from; it changes when one of them does.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    dict
        Table to the content of its JSON file.
    """
    found = {name: campaign.folder / f"{name}.json" for name in EXPERIMENT_TABLES}
    return {name: read_json(path) for name, path in found.items() if path.is_file()}


FIXED_TABLES = EXPERIMENT_TABLES


def finished(campaign: Campaign) -> list[RowRange]:
    """Return the rows of `results` that have an outcome.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    list of RowRange
    """
    return campaign.trained("results")


def publish(campaign: Campaign, name: str, table: pa.Table, about: dict[str, Any]) -> None:
    """Write a derived table and then what it was made from.

    Parameters
    ----------
    campaign : Campaign
    name : str
        Table, e.g. "decisions".
    table : pyarrow.Table
    about : dict
        What the table was made from, as plain JSON.
    """
    schema = FIXED_TABLES.get(name, table.schema)
    # Interrupted between the two writes, the new table must not be read with the old description.
    (campaign.folder / f"{name}.json").unlink(missing_ok=True)
    write_table(campaign.folder / f"{name}.parquet", table.cast(schema), identity=campaign.meta.identity_hash)
    write_json(campaign.folder / f"{name}.json", {"created": timestamp(), **about})


def keep_history(campaign: Campaign, name: str, found: dict[str, Any]) -> None:
    """Write what a stage found to past/<name>-<key>.json, beside its earlier findings.

    Parameters
    ----------
    campaign : Campaign
    name : str
        Table, e.g. "decisions".
    found : dict
        The finding, with its `key`.
    """
    write_json(campaign.folder / "past" / f"{name}-{found['key']}.json", {"created": timestamp(), **found})


def history(campaign: Campaign, name: str) -> list[dict[str, Any]]:
    """Read everything that a stage has found so far.

    Parameters
    ----------
    campaign : Campaign
    name : str
        "decisions" or "comparisons".

    Returns
    -------
    list of dict
        Oldest first; empty if the stage never ran.
    """
    folder = campaign.folder / "past"
    found = [read_json(path) for path in folder.glob(f"{name}-*.json")] if folder.is_dir() else []
    return sorted(found, key=lambda entry: (entry["created"], entry["key"]))


def read_derived(campaign: Campaign, name: str, schema: pa.Schema | None = None) -> pa.Table:
    """Read a derived table.

    Parameters
    ----------
    campaign : Campaign
    name : str
        Table, e.g. "decisions".
    schema : pyarrow.Schema or None
        None for the schema of that name.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    IncompleteCampaign
        If the table's stage has not run.
    """
    path = campaign.folder / f"{name}.parquet"
    if not path.is_file():
        stage = EXPERIMENT_STAGES[name]
        raise IncompleteCampaign(f"{campaign.folder} has no {name} yet. Run `coterie {stage} {campaign.folder}`")
    return read_table(path, schema or FIXED_TABLES[name], identity=campaign.meta.identity_hash)


def columns(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Make a table of rows.

    Parameters
    ----------
    rows : sequence of dict
    schema : pyarrow.Schema

    Returns
    -------
    pyarrow.Table
        Empty for no rows.
    """
    return pa.Table.from_pylist(list(rows), schema=schema)


def plain(value: Any) -> Any:
    """Convert a value to plain JSON types, NaN to null.

    Parameters
    ----------
    value : object

    Returns
    -------
    object

    Raises
    ------
    TypeError
        For a type without a JSON form.
    """
    return json.loads(json.dumps(value, default=_plain_numpy), parse_constant=lambda _: None)


def _plain_numpy(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not go into a plan")


def timestamp() -> str:
    """Return the time now.

    Returns
    -------
    str
        In UTC, ISO 8601, to the second.
    """
    return datetime.now(UTC).isoformat(timespec="seconds")
