"""Audit of a campaign: every row once, every value as it was written, every mask as the seed gives it, and a sample of
models trained again.

An audit only reads. `repair` moves what is broken into quarantine/<time>/ inside the campaign's folder, with a list of
the reasons; nothing is deleted, and the next run trains what is then missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from conf.schema import CampaignConfig
from flows.audit.experiments import check_experiments
from flows.audit.findings import AuditReport, Finding
from flows.audit.retrained_sample import check_sample
from flows.errors import CoterieError, StoreError
from flows.storage.files import move, read_json, write_json
from flows.storage.mask_column import packed_column
from flows.store.campaign import ANALYSIS_TABLES, Campaign
from flows.store.fragments import is_failure, rows_of
from flows.store.roles import RowRange, count_rows, missing_shards
from flows.store.wanted import wanted

FROM_SEED = ("fit", "holdout")  # the masks of the other roles are frozen plans, not draws
STATUSES = {"ok", "diverged"}


class AuditFailed(CoterieError):
    """Something in the campaign is not as it should be; the findings were listed."""

    exit_code = 9


def audit(campaign: Campaign, config: CampaignConfig | None = None, *, sample: int = 0, seed: int = 0) -> AuditReport:
    """Check a campaign.

    Parameters
    ----------
    campaign : Campaign
    config : CampaignConfig, optional
        Without one the planned rows are what should exist.
    sample : int
        Shards that are trained again and compared; needs `config`, for the data.
    seed : int
        Chooses the sample.

    Returns
    -------
    AuditReport

    Raises
    ------
    IncompleteCampaign
        Where there is no campaign.
    StoreError
        For a sample without a configuration.
    """
    report = AuditReport()
    campaign.meta  # noqa: B018  raises where there is no campaign
    good_masks = list(_check_fragments(campaign, "masks", report))
    good_outputs = list(_check_fragments(campaign, "outputs", report))
    _check_masks(campaign, good_masks, report)
    _check_overlaps(good_masks, report)
    _check_overlaps([(rows, path) for rows, path in good_outputs if not is_failure(path)], report)
    _check_tables(campaign, report)
    good_results = check_experiments(campaign, report)
    _check_presence(campaign, config, good_masks, [*good_outputs, *good_results], report)
    _note_leftovers(campaign, report)
    if sample:
        if config is None:
            raise StoreError("retraining a sample needs the configuration, not only the folder. Name the configuration")
        check_sample(campaign, config, _without_findings(good_outputs, report), sample, seed, report)
    return report


def _without_findings(fragments: list[tuple[RowRange, Path]], report: AuditReport) -> list[tuple[RowRange, Path]]:
    bad = {finding.path for finding in report.findings}
    return [(rows, path) for rows, path in fragments if path not in bad and not is_failure(path)]


def _check_fragments(campaign: Campaign, table: str, report: AuditReport) -> Iterator[tuple[RowRange, Path]]:
    """Read every fragment whole; yield those that are sound."""
    for path in campaign.fragment_paths(table):
        where = f"{table}/{path.name}"
        report.n_fragments += 1
        try:
            rows = rows_of(path)
        except ValueError:
            report.findings.append(Finding("stranger", where, "not a fragment of this campaign", path))
            continue
        try:
            content = campaign.read_fragment(table, path)
        except StoreError as error:
            report.findings.append(Finding("broken", where, str(error), path))
            continue
        fault = _row_fault(rows, content, failed=is_failure(path)) if table == "outputs" else _key_fault(rows, content)
        if fault:
            report.findings.append(Finding("rows", where, fault, path))
            continue
        report.n_rows += content.num_rows if table == "outputs" else 0
        yield rows, path


def _key_fault(rows: RowRange, content: pa.Table) -> str:
    """What is wrong with a fragment's keys, given the rows its name promises; empty when nothing is."""
    ids = content["mask_id"].to_numpy()
    if not np.array_equal(ids, np.arange(rows.mask_ids.start, rows.mask_ids.stop)):
        return f"its name promises {len(rows)} rows from mask {rows.mask_ids.start}; it holds {_describe(ids)}"
    if (content["replicate"].to_numpy() != rows.replicate).any():
        return f"replicate is not {rows.replicate} in every row"
    if "role" in content.column_names and set(content["role"].to_pylist()) != {rows.role}:
        return f"role is not {rows.role} in every row"
    return ""


def _describe(ids: np.ndarray) -> str:
    return f"{len(ids)} rows from mask {ids[0]}" if len(ids) else "no rows"


def _row_fault(rows: RowRange, content: pa.Table, *, failed: bool) -> str:
    """What is wrong with a fragment of outputs: its keys, its statuses, or numbers where there should be none."""
    fault = _key_fault(rows, content)
    if fault:
        return fault
    status = np.asarray(content["status"].to_pylist())
    allowed = {"failed"} if failed else STATUSES
    strange = sorted(set(status) - allowed)
    if strange:
        return f"status {', '.join(map(repr, strange))}; expected {' or '.join(sorted(allowed))}"
    has_numbers = np.asarray(content["outputs"].combine_chunks().is_valid())
    if (has_numbers != (status == "ok")).any():
        return "a row has numbers without being ok, or is ok without numbers"
    numbers = content["outputs"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return "" if np.isfinite(numbers).all() else "an output of a row that is ok is not finite"


def _check_masks(campaign: Campaign, fragments: list[tuple[RowRange, Path]], report: AuditReport) -> None:
    """Every mask of the roles that are drawn equals what the campaign's seed gives, and so does its seed group."""
    from training import sample_masks
    from training.packed_masks import PackedMasks

    identity = campaign.meta.identity
    if identity.get("game.kind") == "recorded":
        report.notes.append("recorded masks were drawn by somebody else: they are compared with no seed")
        return
    for rows, path in fragments:
        if rows.role not in FROM_SEED:
            continue
        content = campaign.read_fragment("masks", path)
        ids = content["mask_id"].to_numpy()
        expected = sample_masks(
            campaign.n_players, alpha=campaign.meta.alphas or identity["sampler.alpha"],
            seed=identity["campaign.seed"], sampler=identity["sampler.kind"], ids=ids,
        )
        found = packed_column(content["mask"], campaign.n_players).bits
        differ = (PackedMasks.pack(expected).bits != found).any(axis=1)
        wrong = np.flatnonzero(differ | (content["seed_group"].to_numpy() != ids))
        if len(wrong):
            what = f"{len(wrong)} masks are not what the seed gives, the first is mask {ids[wrong[0]]}"
            report.findings.append(Finding("masks", f"masks/{path.name}", what, path))


def _check_overlaps(fragments: list[tuple[RowRange, Path]], report: AuditReport) -> None:
    """No row twice; of two fragments that share rows the one written later is the one to set aside."""
    kept: tuple[RowRange, Path] | None = None
    for rows, path in sorted(fragments):
        same = kept is not None and (kept[0].role, kept[0].replicate) == (rows.role, rows.replicate)
        if kept is None or not same or rows.first >= kept[0].last:
            kept = (rows, path)
            continue
        first, second = sorted([kept, (rows, path)], key=lambda found: (found[1].stat().st_mtime, found[0]))
        what = f"rows that {first[1].name} holds as well"
        report.findings.append(Finding("twice", f"{path.parent.name}/{second[1].name}", what, second[1]))
        kept = first


def _check_presence(
    campaign: Campaign,
    config: CampaignConfig | None,
    masks: list[tuple[RowRange, Path]],
    outcomes: list[tuple[RowRange, Path]],
    report: AuditReport,
) -> None:
    """Every expected row is planned and has an outcome, in `outputs` or in `results`."""
    planned = [rows for rows, _ in masks]
    trained = [rows for rows, path in outcomes if not is_failure(path)]
    expected = wanted(config) if config is not None else planned
    for stage, present in (("masks", planned), ("outputs", trained)):
        for rows in missing_shards(expected, present, campaign.shard_size):
            report.findings.append(Finding("missing", f"{stage}/{rows.name}", f"{len(rows)} rows do not exist"))
    for rows in missing_shards(trained, planned, campaign.shard_size):
        report.findings.append(Finding("unplanned", f"outputs/{rows.name}", f"{len(rows)} models without a mask"))
    failed = [rows for rows, path in outcomes if is_failure(path)]
    if failed:
        report.notes.append(f"{count_rows(failed)} rows record a failed try (`coterie status` lists the reasons)")


def _check_tables(campaign: Campaign, report: AuditReport) -> None:
    """The examples and the current analysis can be read and carry their checksums."""
    folder = campaign.folder
    try:
        examples = campaign.read("examples", ["split", "player"])
        campaign.read("examples")
        split = np.asarray(examples["split"].to_pylist())
        if int((split == "target").sum()) != campaign.n_targets:
            what = f"{int((split == 'target').sum())} targets; campaign.json has {campaign.n_targets}"
            report.findings.append(Finding("rows", "examples.parquet", what, folder / "examples.parquet"))
    except StoreError as error:
        report.findings.append(Finding("broken", "examples.parquet", str(error), folder / "examples.parquet"))
    try:
        analysis = campaign.analysis
        if analysis is not None:
            for table in ANALYSIS_TABLES:
                campaign.read(table)
    except (StoreError, KeyError, TypeError) as error:
        # Without analysis.json the analysis does not count, and the next run makes it again.
        report.findings.append(Finding("broken", "analysis", str(error), folder / "analysis.json"))
    for path in sorted((folder / "history").glob("*.json")):
        try:
            read_json(path)
        except StoreError as error:
            report.findings.append(Finding("broken", f"history/{path.name}", str(error), path))


def _note_leftovers(campaign: Campaign, report: AuditReport) -> None:
    """Half-written temporary files of a process that died: harmless, every scan skips them."""
    leftovers = [path for folder in ("masks", "outputs", ".") for path in (campaign.folder / folder).glob(".*.*-*")]
    if leftovers:
        report.notes.append(f"{len(leftovers)} temporary files of a writer that died or writes now; nothing reads them")


def repair(campaign: Campaign, report: AuditReport) -> Path | None:
    """Move what the findings name into quarantine.

    Parameters
    ----------
    campaign : Campaign
    report : AuditReport

    Returns
    -------
    Path or None
        The folder it went to; None when there is nothing to move.

    Raises
    ------
    CampaignBusy
        While a driver writes to the campaign.
    """
    moving = {finding.path: finding for finding in report.findings if finding.path is not None}
    if not moving:
        return None
    quarantine = campaign.folder / "quarantine" / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S-%f")
    with campaign.lock():
        reasons = [
            {"file": str(path.relative_to(campaign.folder)), "kind": finding.kind, "why": finding.what}
            for path, finding in moving.items()
            if path.is_file()
        ]
        write_json(quarantine / "reasons.json", reasons)  # first the list: what a crash leaves behind is explained
        for path in moving:
            if path.is_file():
                move(path, quarantine / path.relative_to(campaign.folder))
    return quarantine
