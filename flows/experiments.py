"""Frozen plans of experiments beyond the campaign's own rows, and the training of their models.

    plans/<kind>-<first>-<last>.json   what is trained and why; written before anything is trained, never changed
    masks/                             their masks, as rows of role certify or verify: no fit ever reads them
    outputs/                           certify: trained like every row of the campaign
    results/                           verify, brittleness: other examples are evaluated, or another network trained
    certification.parquet, decisions.parquet, verification.parquet, comparisons.parquet, brittleness.parquet
                                       what came of it, each with a .json of what it was made from

A plan's name says which rows it holds, so what is missing is known from names: killed half-way and started again, an
experiment trains the rest and writes the same tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from conf.schema import CampaignConfig
from flows import decision_schemas as tables
from flows.cluster import Cluster
from flows.compute import resources, settle
from flows.errors import IncompleteCampaign, StoreError
from flows.files import read_json, read_table, write_json, write_table
from flows.progress import Progress
from flows.retrain import failure_table, outputs_table
from flows.roles import RowRange, count_rows, first_id, missing_shards
from flows.shards import shard_units
from flows.store import Campaign, pack_masks
from flows.versions import code_version
from flows.work import TrainingJob, train_shard

ROLE = {"certify": "certify", "verify": "verify", "brittleness": "verify"}
FIXED_TABLES = {
    "certification": tables.CERTIFICATION,
    "decisions": tables.DECISIONS,
    "comparisons": tables.COMPARISONS,
    "brittleness": tables.BRITTLENESS,
}
MasksOf = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Plan:
    """A frozen plan: rows [first, last) of its role, and its content (plain JSON)."""

    kind: str
    key: str
    first: int
    last: int
    content: dict[str, Any]

    @property
    def rows(self) -> RowRange:
        return RowRange(ROLE[self.kind], 0, self.first, self.last)


def plans(campaign: Campaign, kind: str) -> list[Plan]:
    """Every plan of a kind, oldest first. Raises StoreError for a file that is none."""
    found = []
    for path in sorted((campaign.folder / "plans").glob(f"{kind}-*.json")):
        content = read_json(path)
        try:
            _, first, last = path.stem.rsplit("-", 2)
            found.append(Plan(kind, str(content["key"]), int(first), int(last), content))
        except (KeyError, ValueError, TypeError) as error:
            raise StoreError(f"{path} is no plan of this campaign ({error}). Move it elsewhere") from error
    return found


def freeze(campaign: Campaign, kind: str, key: str, n_rows: int, content: dict[str, Any]) -> Plan:
    """Write a plan of n_rows models to rows of its role that no plan holds yet. Call with the campaign locked."""
    role = ROLE[kind]
    taken = [plan.last for other, of in ROLE.items() if of == role for plan in plans(campaign, other)]
    # A plan that was lost leaves masks and models behind: they are another experiment's, and stay so.
    existing = (*campaign.planned(), *campaign.trained(), *finished(campaign))
    taken += [rows.last for rows in existing if rows.role == role]
    size = campaign.shard_size
    first = -(-max(taken, default=0) // size) * size  # plans begin at shard boundaries: no shard belongs to two
    plan = Plan(kind, key, first, first + n_rows, {"key": key, "created": _now(), **content})
    write_json(campaign.folder / "plans" / f"{kind}-{plan.first:09d}-{plan.last:09d}.json", plan.content)
    return plan


def draw_masks(campaign: Campaign, plan: Plan, masks_of: MasksOf) -> None:
    """Write the plan's masks where they are missing: masks_of(mask_ids) -> (masks, seed_groups), a pure function."""
    for rows in missing_shards([plan.rows], campaign.planned(), max(1, len(plan.rows))):
        ids = np.arange(rows.mask_ids.start, rows.mask_ids.stop, dtype=np.int64)
        masks, groups = masks_of(np.arange(plan.rows.mask_ids.start, plan.rows.mask_ids.stop, dtype=np.int64))
        inside = ids - plan.rows.mask_ids.start
        campaign.write_masks(
            rows,
            pa.table(
                {
                    "mask_id": ids,
                    "replicate": np.zeros(len(ids), np.int32),
                    "role": [rows.role] * len(ids),
                    "seed_group": groups[inside].astype(np.int64),
                    "mask": pack_masks(masks[inside]),
                }
            ),
        )


@dataclass(frozen=True)
class Batch:
    """Rows that are trained alike. job: data set, recipe and way; to_outputs: whether they are rows of `outputs`."""

    rows: RowRange
    job: TrainingJob
    to_outputs: bool


def train_missing(
    config: CampaignConfig, campaign: Campaign, cluster: Cluster, batches: Sequence[Batch], log: Any
) -> int:
    """Train the rows of all batches that have no outcome yet; how many were trained.

    Raises IncompleteCampaign at the end when models failed; the others are kept.
    """
    done = {True: campaign.trained(), False: finished(campaign)}
    todo = [(batch, missing_shards([batch.rows], done[batch.to_outputs], campaign.shard_size)) for batch in batches]
    total, left = count_rows(batch.rows for batch in batches), sum(count_rows(shards) for _, shards in todo)
    if not left:
        log.info("all %d models of the experiment exist", total)
        return 0
    log.info("%d of %d models to train%s", left, total, expected_time(campaign, left))
    failed = 0
    with Progress(total, "models", done=total - left) as progress:
        progress.show()
        for batch, shards in todo:
            if not shards:
                continue
            units = shard_units(config.campaign.seed, campaign, shards)
            job = settle(config, campaign, cluster, batch.job, log)
            for outcome in cluster.map(train_shard, job, units, resources(config.compute)):
                rows = shards[outcome.index]
                if outcome.error is not None:
                    log.error("shard %s failed: %s", rows.name, outcome.error)
                    failed += len(rows)
                    if batch.to_outputs:
                        campaign.write_outputs(rows, failure_table(campaign, rows, outcome.error), failed=True)
                elif batch.to_outputs:
                    campaign.write_outputs(rows, outputs_table(campaign, rows, outcome.value))
                else:
                    _write_results(campaign, rows, outcome.value)
                progress.advance(len(rows))
    if failed:
        raise IncompleteCampaign(
            f"{failed} models of the experiment failed (the log says why). The others are kept: run the same command "
            "again to retry the failed ones"
        )
    return left


def expected_time(campaign: Campaign, n_models: float) -> str:
    """Rough time for as much training as n_models of the campaign's own, from what those took; "" when unknown."""
    seconds = campaign.read("outputs", ["train_seconds"])["train_seconds"].to_numpy(zero_copy_only=False)
    seconds = seconds[np.isfinite(seconds)].astype(np.float64)
    if not len(seconds):
        return ""
    minutes = n_models * float(np.median(seconds)) / 60
    return f" ({minutes:.1f} model-minutes at this campaign's {np.median(seconds):.2f} s a model)"


# --- results of other evaluations ----------------------------------------------------------------------------


def finished(campaign: Campaign) -> list[RowRange]:
    """Rows of role verify that have an outcome."""
    found = (campaign.folder / "results").glob("[!.]*.parquet")
    return sorted(RowRange.parse(path.stem) for path in found)


def _write_results(campaign: Campaign, rows: RowRange, columns: dict[str, Any]) -> None:
    n_models, n_examples = columns["outputs"].shape
    diverged = np.array([status != "ok" for status in columns["status"]])
    values = pa.array(np.ascontiguousarray(columns["outputs"], np.float32).reshape(-1))
    table = pa.table(
        {
            "mask_id": np.arange(rows.mask_ids.start, rows.mask_ids.stop, dtype=np.int64),
            "status": columns["status"],
            "reason": ["loss was not finite" if bad else "" for bad in diverged],
            "outputs": pa.FixedSizeListArray.from_arrays(values, n_examples, mask=pa.array(diverged)),
            "train_seconds": np.asarray(columns["train_seconds"], np.float32),
            "members": np.broadcast_to(np.asarray(columns["members"], np.int32), n_models),
            **{name: [columns[name]] * n_models for name in ("way", "host", "device")},
            "code_version": [code_version()] * n_models,
        }
    )
    path = campaign.folder / "results" / f"{rows.name}.parquet"
    write_table(path, table.cast(tables.results_schema(n_examples)), identity=campaign.meta["identity_hash"])


def read_results(campaign: Campaign, plan: Plan, n_examples: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Outputs (rows, n_examples) float32 with NaN where diverged, train_seconds (rows,), status of a plan's rows.

    Raises IncompleteCampaign when some are missing.
    """
    rows = plan.rows
    outputs = np.full((len(rows), n_examples), np.nan, np.float32)
    seconds, status = np.full(len(rows), np.nan, np.float32), [""] * len(rows)
    for found in finished(campaign):
        if found.role != rows.role or found.last <= rows.first or found.first >= rows.last:
            continue
        path = campaign.folder / "results" / f"{found.name}.parquet"
        table = read_table(path, tables.results_schema(n_examples), identity=campaign.meta["identity_hash"])
        at = table["mask_id"].to_numpy() - rows.mask_ids.start
        good = np.array([value == "ok" for value in table["status"].to_pylist()])
        numbers = table["outputs"].combine_chunks().filter(pa.array(good)).flatten()
        outputs[at[good]] = numbers.to_numpy(zero_copy_only=False).reshape(-1, n_examples)
        seconds[at] = table["train_seconds"].to_numpy()
        for place, value in zip(at.tolist(), table["status"].to_pylist(), strict=True):
            status[place] = value
    missing = status.count("")
    if missing:
        raise IncompleteCampaign(f"{missing} models of {rows.name} are not trained. Run the same command again")
    return outputs, seconds, status


def read_cells(campaign: Campaign, rows: RowRange, targets: Sequence[int], target_classes: np.ndarray) -> np.ndarray:
    """Outputs of certify rows on a few targets, (rows, len(targets)), NaN without one; pooled targets are means."""
    values = np.full((len(rows), len(targets)), np.nan)
    for ids, outputs, _ in campaign.output_blocks(rows.role, rows.replicate):
        at = ids - rows.mask_ids.start
        inside = (at >= 0) & (at < len(rows))
        for column, target in enumerate(targets):
            if target >= 0:
                values[at[inside], column] = outputs[inside, target]
            else:
                chosen = np.ones(len(target_classes), bool) if target == -1 else target_classes == -2 - target
                values[at[inside], column] = outputs[inside][:, chosen].mean(axis=1)
    return values


# --- derived tables ------------------------------------------------------------------------------------------


def publish(campaign: Campaign, name: str, table: pa.Table, about: dict[str, Any]) -> None:
    """Write a derived table and then what it was made from."""
    schema = FIXED_TABLES.get(name, table.schema)
    # Interrupted between the two writes, the table must not pass for what the old description says of it.
    (campaign.folder / f"{name}.json").unlink(missing_ok=True)
    write_table(campaign.folder / f"{name}.parquet", table.cast(schema), identity=campaign.meta["identity_hash"])
    write_json(campaign.folder / f"{name}.json", {"created": _now(), **about})


def read_derived(campaign: Campaign, name: str, schema: pa.Schema | None = None) -> pa.Table:
    """A derived table. Raises IncompleteCampaign when its stage has not run."""
    path = campaign.folder / f"{name}.parquet"
    if not path.is_file():
        stage = {"certification": "certify", "decisions": "curate", "brittleness": "brittleness"}.get(name, "verify")
        raise IncompleteCampaign(f"{campaign.folder} has no {name} yet. Run `coterie {stage}`")
    return read_table(path, schema or FIXED_TABLES[name], identity=campaign.meta["identity_hash"])


def columns(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table of `schema`; an empty one for none."""
    return pa.Table.from_pylist(list(rows), schema=schema)


def role_start(kind: str) -> int:
    """Lowest mask_id of the rows of a kind of plan."""
    return first_id(ROLE[kind])


def plain(value: Any) -> Any:
    """`value` as plain JSON types, NaN as null."""
    return json.loads(json.dumps(value, default=_plain_numpy), parse_constant=lambda _: None)


def _plain_numpy(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not go into a plan")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
