"""The part of an audit that looks at experiments and decisions: their plans, results and tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flows.audit.findings import AuditReport, Finding
from flows.errors import StoreError
from flows.storage.files import read_json, read_table
from flows.store.campaign import Campaign
from flows.store.derived import FIXED_TABLES, read_derived
from flows.store.fragments import rows_of
from flows.store.roles import RowRange
from flows.store.schemas import label_check_width, results_schema, verification_schema


def check_experiments(campaign: Campaign, report: AuditReport) -> list[tuple[RowRange, Path]]:
    """Check that every plan, every fragment of results and every table of experiments and decisions can be read.

    Parameters
    ----------
    campaign : Campaign
    report : AuditReport
        Gets a finding for each file that cannot be read.

    Returns
    -------
    list of (RowRange, Path)
        The sound fragments of results with their rows; empty where `examples` cannot be read.
    """
    folder = campaign.folder
    try:
        split = campaign.read("examples", ["split"])["split"].to_pylist()
    except StoreError:
        return []  # a finding already; without it the widths of the tables are not known
    n_audit = split.count("audit")
    schemas = {**FIXED_TABLES, "verification": verification_schema(n_audit, len(campaign.meta.class_names))}
    for name, schema in schemas.items():
        path = folder / f"{name}.parquet"
        try:
            if path.is_file():
                read_derived(campaign, name, schema)
        except StoreError as error:
            report.findings.append(Finding("broken", path.name, str(error), path))
    for path in sorted([*(folder / f"{name}.json" for name in schemas), *(folder / "plans").glob("*.json")]):
        try:
            if path.is_file():
                read_json(path)
        except StoreError as error:
            report.findings.append(Finding("broken", _where(campaign, path), str(error), path))
    sound = []
    for path in campaign.fragment_paths("results"):
        label_check = label_check_width(split.count("train"), campaign.n_targets)
        fault = _fault(campaign, path, (n_audit, campaign.n_targets, label_check))
        if fault:
            report.findings.append(Finding("broken", _where(campaign, path), fault, path))
        else:
            sound.append((rows_of(path), path))
    return sound


def _where(campaign: Campaign, path: Path) -> str:
    return str(path.relative_to(campaign.folder))


def _fault(campaign: Campaign, path: Path, widths: tuple[int, ...]) -> str:
    """What is wrong with a fragment of results; widths: examples that models may have been evaluated on."""
    fault = ""
    for n_examples in widths:
        try:
            rows = rows_of(path)
            table = read_table(path, results_schema(n_examples), identity=campaign.meta.identity_hash)
        except (StoreError, ValueError) as error:
            fault = fault or str(error)
            continue
        wanted = np.arange(rows.mask_ids.start, rows.mask_ids.stop)
        return "" if np.array_equal(table["mask_id"].to_numpy(), wanted) else "it does not hold the rows of its name"
    return fault
