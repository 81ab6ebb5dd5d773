"""The campaign's folder, and the reading and writing of its main tables.

    campaign.json            identity, shapes, shard size; written once
    config.json              the resolved configuration of the last plan (configuration.py)
    examples.parquet         players, targets and audit examples with their images
    bank.json                where recorded outputs came from (flows/banks/importing.py)
    inspection.json          what plan found in the data: leaks, duplicates, contradicting labels (examples.py)
    masks/ outputs/ results/ fragments; a row exists when its fragment does (fragments.py)
    plans/                   frozen plans of certify, verify and brittleness (flows/experiments/plans.py)
    analysis.json            which analysis is current, its settings and the rows it came from
    analyses/<key>/          effects, interactions, faithfulness, sets
    certification, decisions, comparisons, brittleness, pruning, flips
                             one .parquet each, with a .json of what it was computed from; past/ keeps earlier ones
                             (derived.py)
    compact/                 outputs target by target, for fast reading of one target (compaction.py)
    history/                 the resolved configuration and the versions of every run (history.py)
    compute.json             the execution mode chosen for every network (flows/compute/execution_mode.py)
    report.html report.json  the report, and what it was drawn from
    logs/                    tracebacks of failed shards
    quarantine/              files that `coterie audit CAMPAIGN --repair` set aside (flows/audit/fragments.py)
    .lock                    held while a process writes

A fragment's name holds its rows, so a listing of names answers what is missing.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flows.errors import CampaignMismatch, IncompleteCampaign, StoreError
from flows.storage.files import exclusive, read_json, read_table, write_json, write_table, write_text
from flows.storage.mask_column import packed_column
from flows.storage.object_store import place
from flows.store import schemas
from flows.store.fragments import (
    OUTCOME_TABLES,
    current_fragments,
    fragment_path,
    fragment_paths,
    is_failure,
    list_fragments,
)
from flows.store.meta import FORMAT, CampaignMeta, TrainingPairs
from flows.store.roles import RowRange, first_id
from training.packed_masks import PackedMasks, packed_width

ANALYSIS_TABLES = {
    "effects": schemas.EFFECTS,
    "interactions": schemas.INTERACTIONS,
    "faithfulness": schemas.FAITHFULNESS,
    "sets": schemas.SETS,
}
EXPERIMENT_TABLES = {
    "certification": schemas.CERTIFICATION,
    "decisions": schemas.DECISIONS,
    "comparisons": schemas.COMPARISONS,
    "brittleness": schemas.BRITTLENESS,
    "pruning": schemas.PRUNING,
    "flips": schemas.FLIPS,
}
EXPERIMENT_STAGES = {  # the command that writes each table
    "certification": "certify", "decisions": "curate", "comparisons": "verify", "verification": "verify",
    "brittleness": "brittleness", "pruning": "prune", "flips": "flip",
}  # fmt: skip


class Campaign:
    """A campaign's folder, to read from and (by the driver alone) to write to."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = place(folder)
        self._check_lock: Callable[[], None] = lambda: None
        self._last_masks: tuple[Path, pa.Table] | None = None

    @classmethod
    def from_bank(cls, folder: str | Path, **bank: Any) -> Campaign:
        """Make a campaign of recorded masks and outputs; arguments: those of `flows.banks.importing.import_bank`."""
        # By name: the import writes campaigns, so it lies above this module.
        return importlib.import_module("flows.banks.importing").import_bank(folder, **bank).campaign

    # --- what the campaign is -------------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        return (self.folder / "campaign.json").is_file()

    @cached_property
    def meta(self) -> CampaignMeta:
        """The facts in campaign.json. Raises IncompleteCampaign when there is no campaign here."""
        if not self.exists:
            raise IncompleteCampaign(
                f"no campaign in {self.folder}. Run `coterie plan` (or `coterie run`) first, or name another folder"
            )
        path = self.folder / "campaign.json"
        return CampaignMeta.from_content(read_json(path), str(path))

    @property
    def n_players(self) -> int:
        return self.meta.n_players

    @property
    def n_targets(self) -> int:
        return self.meta.n_targets

    @property
    def shard_size(self) -> int:
        return self.meta.shard_size

    def alphas_of(self, mask_ids: np.ndarray) -> float | np.ndarray:
        """The probability that masks include a player: one number, or (m,) where the campaign has several."""
        several = self.meta.alphas
        if several is None:
            return self.meta.alpha
        from training.masks import mask_alphas

        return mask_alphas(mask_ids, several)

    def create(self, identity: dict[str, Any], facts: dict[str, Any]) -> None:
        """Make this folder the campaign of `identity`. Raises CampaignMismatch when it holds another one."""
        if self.exists:
            self.check_identity(identity)
            return
        strangers = [path.name for path in self.folder.glob("*") if not path.name.startswith(".")]
        if strangers and not set(strangers) <= {"examples.parquet", "masks", "history"}:
            raise CampaignMismatch(
                f"{self.folder} holds other files ({', '.join(sorted(strangers)[:3])}, …) and no campaign. "
                "Set campaign.folder to an empty or a new folder"
            )
        meta = {"format": FORMAT, "identity_hash": digest(identity), "identity": identity, **facts}
        write_json(self.folder / "campaign.json", meta)
        self.__dict__.pop("meta", None)

    def check_identity(self, identity: dict[str, Any]) -> None:
        """Raise CampaignMismatch, naming what differs, unless this folder is the campaign of `identity`.

        `identity` may leave keys out (the data set's fingerprint, before it has been loaded).
        """
        recorded = self.meta.identity
        differing = [
            f"{key}: the folder has {recorded.get(key)!r}, the configuration {identity[key]!r}"
            for key in sorted(identity)
            if recorded.get(key) != identity[key]
        ]
        if differing:
            raise CampaignMismatch(
                f"{self.folder} belongs to another campaign and is left as it is. " + "; ".join(differing)
                + ". Set campaign.folder to a new folder, or change the configuration back"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold while writing: one driver a campaign. Raises CampaignBusy."""
        with exclusive(self.folder / ".lock", f"the campaign in {self.folder}") as still_held:
            self._check_lock = still_held
            try:
                yield
            finally:
                self._check_lock = lambda: None

    # --- planned masks and outputs ---------------------------------------------------------------------------

    def schema(self, table: str) -> pa.Schema:
        """Arrow schema of a table of this campaign."""
        if table == "masks":
            return schemas.masks_schema(self.n_players, several_alphas=self.meta.alphas is not None)
        if table == "outputs":
            return schemas.outputs_schema(self.n_targets)
        if table == "examples":
            return schemas.EXAMPLES
        if table == "verification":
            return schemas.verification_schema(int(self.meta["n_audit"]), len(self.meta["class_names"]))
        derived = {**ANALYSIS_TABLES, **EXPERIMENT_TABLES}
        if table in derived:
            return derived[table]
        known = ["masks", "outputs", "examples", *derived, "verification"]
        raise StoreError(f"no table named {table!r}. Tables: {', '.join(known)}")

    def planned(self) -> list[RowRange]:
        """Return the rows whose masks are planned."""
        return sorted(rows for rows, _ in list_fragments(self.folder / "masks"))

    def trained(self, table: str = "outputs") -> list[RowRange]:
        """Return the rows of `outputs` (or `results`) that have an outcome, ok or diverged."""
        return sorted(rows for rows, path in list_fragments(self.folder / table) if not is_failure(path))

    def failed(self, table: str = "outputs") -> list[RowRange]:
        """Return the rows of `outputs` (or `results`) whose last training failed; running again trains them again."""
        return sorted(rows for rows, path in current_fragments(self.folder / table) if is_failure(path))

    def with_outcome(self) -> list[RowRange]:
        """Return every planned row that has an outcome, whichever table it is in."""
        return sorted(rows for table in OUTCOME_TABLES for rows in self.trained(table))

    def write_masks(self, rows: RowRange, table: pa.Table) -> None:
        """Write one fragment of planned rows."""
        self._write(fragment_path(self.folder / "masks", rows), table.cast(self.schema("masks")))

    def write_outputs(self, rows: RowRange, table: pa.Table, *, failed: bool = False) -> None:
        """Write one shard's rows of `outputs`; rows of a failed shard are kept until a retry succeeds."""
        self._write_outcome("outputs", rows, table.cast(self.schema("outputs")), failed)

    def write_results(self, rows: RowRange, table: pa.Table, *, failed: bool = False) -> None:
        """Write one shard's rows of `results`; rows of a failed shard are kept until a retry succeeds."""
        self._write_outcome("results", rows, table, failed)

    def _write_outcome(self, name: str, rows: RowRange, table: pa.Table, failed: bool) -> None:
        folder = self.folder / name
        self._write(fragment_path(folder, rows, failed=failed), table)
        if not failed:
            fragment_path(folder, rows, failed=True).unlink(missing_ok=True)

    def write_log(self, rows: RowRange, text: str) -> str:
        """Write a shard's failure log; return its path relative to the campaign folder."""
        name = f"logs/{rows.name}.log"
        write_text(self.folder / name, text.rstrip() + "\n")
        return name

    def _write(self, path: Path, table: pa.Table) -> None:
        self._check_lock()
        write_table(path, table, identity=self.meta.identity_hash)

    def _read(self, path: Path, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
        return read_table(path, schema, columns, identity=self.meta.identity_hash)

    def write_examples(self, table: pa.Table) -> None:
        write_table(self.folder / "examples.parquet", table.cast(schemas.EXAMPLES))

    def fragment_paths(self, table: str) -> list[Path]:
        """Return every Parquet file of a table of fragments, whatever its name."""
        return fragment_paths(self.folder / table)

    def read_fragment(self, table: str, path: Path) -> pa.Table:
        """Read one fragment whole and check it. Raises StoreError."""
        return self._read(path, self.schema(table))

    def _current(self, table: str) -> list[tuple[RowRange, Path]]:
        find = current_fragments if table in OUTCOME_TABLES else list_fragments
        return find(self.folder / table)

    def outcomes(self, columns: list[str]) -> Iterator[tuple[RowRange, pa.Table]]:
        """Yield (rows, table) of every fragment with outcomes or failures, of `outputs` and of `results`.

        columns: those that both tables have, such as mask_id, status and reason. Raises StoreError for a fragment that
        cannot be read.
        """
        schema = schemas.results_schema(self.n_targets)
        for table in OUTCOME_TABLES:
            for rows, path in self._current(table):
                yield rows, self._read(path, schema, columns)

    # --- reading ---------------------------------------------------------------------------------------------

    def read(self, table: str, columns: list[str] | None = None) -> pa.Table:
        """A whole table. Raises IncompleteCampaign when its stage has not run, StoreError for a broken file."""
        schema = self.schema(table)
        if table in ANALYSIS_TABLES:
            paths = [self._analysis_folder() / f"{table}.parquet"]
        elif table == "examples":
            paths = [self.folder / "examples.parquet"]
        elif table in EXPERIMENT_STAGES:
            paths = [self.folder / f"{table}.parquet"]
            if not paths[0].is_file():
                stage = EXPERIMENT_STAGES[table]
                raise IncompleteCampaign(f"{self.folder} has no {table} yet. Run `coterie {stage} {self.folder}`")
        else:
            paths = [path for _, path in self._current(table)]
        wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
        return pa.concat_tables([wanted.empty_table(), *(self._read(path, schema, columns) for path in paths)])

    def masks(self, rows: RowRange) -> tuple[np.ndarray, np.ndarray]:
        """Return (masks (m, n_players) bool, seed_groups (m,) int64) of planned rows, in mask_id order."""
        packed, groups = self.packed_masks(rows)
        return packed.unpack(), groups

    def packed_masks(self, rows: RowRange) -> tuple[PackedMasks, np.ndarray]:
        """Return (m packed masks, seed_groups (m,) int64) of planned rows, in mask_id order."""
        first = rows.mask_ids.start
        packed = np.zeros((len(rows), packed_width(self.n_players)), np.uint8)
        groups, seen = np.zeros(len(rows), np.int64), np.zeros(len(rows), bool)
        for found, path in list_fragments(self.folder / "masks"):
            if (found.role, found.replicate) != (rows.role, rows.replicate):
                continue
            if found.last <= rows.first or found.first >= rows.last:
                continue
            table = self._masks_fragment(path)
            at = table["mask_id"].to_numpy() - first
            inside = (at >= 0) & (at < len(rows))
            packed[at[inside]] = packed_column(table["mask"], self.n_players).bits[inside]
            groups[at[inside]] = table["seed_group"].to_numpy()[inside]
            seen[at[inside]] = True
        if not seen.all():
            raise IncompleteCampaign(f"{int((~seen).sum())} masks of {rows.name} are not planned. Run `coterie plan`")
        return PackedMasks(packed, self.n_players), groups

    def _masks_fragment(self, path: Path) -> pa.Table:
        """One fragment; the last one is remembered, because shards ask for the same fragment in a row."""
        if self._last_masks is None or self._last_masks[0] != path:
            self._last_masks = (path, self._read(path, self.schema("masks")))
        return self._last_masks[1]

    def output_blocks(self, role: str = "fit", replicate: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        """Fragment by fragment: (mask_ids (m,), outputs (m, n_targets) float32, rows without a number)."""
        for rows, path in self._current("outputs"):
            if (rows.role, rows.replicate) != (role, replicate):
                continue
            yield self.read_outputs(path)

    def read_outputs(self, path: Path) -> tuple[np.ndarray, np.ndarray, int]:
        """One fragment: (mask_ids (m,), outputs (m, n_targets) float32, rows without a number)."""
        table = self._read(path, self.schema("outputs"), ["mask_id", "status", "outputs"])
        good = np.asarray(table["status"].to_numpy(zero_copy_only=False) == "ok")
        numbers = table["outputs"].combine_chunks().filter(pa.array(good)).flatten()
        outputs = numbers.to_numpy(zero_copy_only=False).reshape(-1, self.n_targets)
        return table["mask_id"].to_numpy()[good], outputs, int((~good).sum())

    def training_pairs(
        self, role: str = "fit", replicate: int = 0, targets: Sequence[int] | None = None, *, one_alpha: bool = False
    ) -> TrainingPairs:
        """Masks and outputs of a role, aligned; rows without a number are left out and counted.

        `targets` keeps memory to the columns that are wanted; `one_alpha`: only masks drawn at the campaign's own
        alpha, where it has several. Raises IncompleteCampaign when nothing is trained.
        """
        columns = slice(None) if targets is None else np.asarray(targets, dtype=np.int64)
        ids, values, left_out = [], [], 0
        for fragment_ids, outputs, without_number in self.output_blocks(role, replicate):
            ids.append(fragment_ids)
            values.append(outputs[:, columns])
            left_out += without_number
        mask_ids = np.concatenate(ids) if ids else np.zeros(0, np.int64)
        if not len(mask_ids):
            raise IncompleteCampaign(f"no trained models of role {role!r} in {self.folder}. Run `coterie retrain`")
        order = np.argsort(mask_ids)
        mask_ids, outputs = mask_ids[order], np.concatenate(values)[order]
        if one_alpha:
            own = np.broadcast_to(self.alphas_of(mask_ids) == self.meta.alpha, mask_ids.shape)
            mask_ids, outputs = mask_ids[own], outputs[own]
        start = first_id(role)
        masks, _ = self.masks(RowRange(role, replicate, int(mask_ids[0]) - start, int(mask_ids[-1]) - start + 1))
        return TrainingPairs(masks[mask_ids - mask_ids[0]], outputs, mask_ids, left_out)

    # --- derived tables --------------------------------------------------------------------------------------

    @property
    def analysis(self) -> dict[str, Any] | None:
        """Which analysis is current (key, settings, snapshot, …); None when there is none, or its tables are gone."""
        path = self.folder / "analysis.json"
        current: dict[str, Any] | None = read_json(path) if path.is_file() else None
        if current is not None:
            folder = self.folder / "analyses" / current["key"]
            if not all((folder / f"{name}.parquet").is_file() for name in ANALYSIS_TABLES):
                return None
        return current

    def _analysis_folder(self) -> Path:
        current = self.analysis
        if current is None:
            raise IncompleteCampaign(f"{self.folder} has no analysis yet. Run `coterie attribute`")
        return self.folder / "analyses" / current["key"]

    def snapshot(self) -> list[str]:
        """The rows that exist, as names of ranges: what an analysis came from. Experiments' rows are left out."""
        return [rows.name for rows in self.trained() if rows.role in ("fit", "holdout")]

    def publish_analysis(self, key: str, tables: dict[str, pa.Table], about: dict[str, Any]) -> None:
        """Write the derived tables and then, in one rename, make them the current ones."""
        folder = self.folder / "analyses" / key
        for name, table in tables.items():
            self._write(folder / f"{name}.parquet", table.cast(self.schema(name)))
        write_json(self.folder / "analysis.json", {"key": key, **about})

    def record_run(self, stamp: str, content: dict[str, Any]) -> None:
        """Keep the resolved configuration and the versions of a run."""
        write_json(self.folder / "history" / f"{stamp}.json", content)


def digest(content: Any) -> str:
    """sha256 of `content` written as canonical JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
