"""Stage attribute: from masks and outputs to effects, interactions and faithfulness, block of targets by block."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from prefect import flow

from attribution.analysis import BlockAnalysis, assign_q_values, pooled_targets
from attribution.moments import RunningVariance, most_variable
from conf.schema import CampaignConfig
from flows.artifacts import publish_faithfulness
from flows.cluster import ClusterError, session
from flows.errors import IncompleteCampaign
from flows.logs import stage_logger
from flows.progress import Progress
from flows.store import ANALYSIS_TABLES, Campaign, digest
from flows.survey import analysis_key
from flows.work import AnalysisJob, TargetBlock, analyse_block

BYTES_AT_ONCE = 2**29  # outputs the driver holds at a time


@dataclass(frozen=True)
class AttributeSummary:
    """What the attribute stage found."""

    n_targets: int
    n_open: int
    n_interactions: int


@flow(name="attribute", persist_result=False)
def attribute(config: CampaignConfig) -> AttributeSummary:
    """Explain the targets of highest variance; a no-op when nothing it depends on has changed."""
    log = stage_logger()
    campaign = Campaign(config.campaign.folder)
    key = analysis_key(config, campaign)
    current = campaign.analysis
    if current is not None and current["key"] == key:
        log.info("the analysis is up to date")
        return AttributeSummary(current["n_explained"], current["n_open"], current["n_interactions"])
    began = time.monotonic()
    with campaign.lock():
        data = CampaignOutputs(campaign, config)
        log.info(
            "explaining %d targets (%d of them pooled) from %d fit masks; %d rows without a number left out",
            data.n_targets, len(data.pooled_ids), len(data.fit_ids), data.n_left_out,
        )
        blocks = _analyse(config, data)
        tables = _tables(blocks, config)
        verdicts = tables["faithfulness"]["verdict"].to_pylist()
        about = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - began, 1),
            "settings": config.attribution.model_dump(mode="json"),
            "snapshot_hash": digest(campaign.snapshot()),
            "n_fit": len(data.fit_ids),
            "n_holdout": len(data.holdout_ids),
            "n_left_out": data.n_left_out,
            "n_explained": len(verdicts),
            "n_open": sum(verdict == "interactions" for verdict in verdicts),
            "n_interactions": tables["interactions"].num_rows,
        }
        campaign.publish_analysis(key, tables, about)
    log.info(
        "%d of %d targets show interactions; %d member sets reported; %.0f s",
        about["n_open"], about["n_explained"], about["n_interactions"], about["seconds"],
    )
    publish_faithfulness(campaign)
    return AttributeSummary(about["n_explained"], about["n_open"], about["n_interactions"])


class CampaignOutputs:
    """The outputs to explain, read in as many passes as memory asks for."""

    def __init__(self, campaign: Campaign, config: CampaignConfig) -> None:
        self.campaign, self.settings = campaign, config.attribution
        self.classes = _target_classes(campaign)
        pairs = campaign.training_pairs("fit", targets=[])
        self.fit_masks, self.fit_ids, self.n_left_out = pairs.masks, pairs.mask_ids, pairs.n_left_out
        self.holdout_masks, self.holdout_ids = self._holdout()
        moments = RunningVariance(campaign.n_targets)
        for _, outputs, _ in campaign.output_blocks("fit"):
            moments.add(outputs)
        self.chosen = most_variable(moments.variance, self.settings.n_targets)
        self.pooled_ids = np.zeros(0, np.int64)
        self.has_replicates = any(rows.role == "holdout" and rows.replicate > 0 for rows in campaign.trained())
        if self.settings.pooled_targets:
            self.pooled_ids = pooled_targets(np.zeros((1, campaign.n_targets)), self.classes)[1]

    @property
    def n_targets(self) -> int:
        return len(self.chosen) + len(self.pooled_ids)

    def _holdout(self) -> tuple[np.ndarray, np.ndarray]:
        try:
            pairs = self.campaign.training_pairs("holdout", targets=[])
        except IncompleteCampaign:  # a campaign without held-out masks has no faithfulness, and says so
            return np.zeros((0, self.campaign.n_players), bool), np.zeros(0, np.int64)
        return pairs.masks, pairs.mask_ids

    def job(self, config: CampaignConfig) -> AnalysisJob:
        """What all blocks share."""
        antithetic = config.sampler.kind == "antithetic"
        return AnalysisJob(
            n_players=self.campaign.n_players,
            packed_fit=_pack(self.fit_masks),
            packed_holdout=_pack(self.holdout_masks) if len(self.holdout_ids) else None,
            groups=self.fit_ids // 2 if antithetic else None,  # no split may divide a mask from its complement
            settings={
                "alpha": config.sampler.alpha,
                "max_order": self.settings.max_order,
                "seed": self.settings.seed,
                "player_classes": _player_classes(self.campaign),
                "backend": self.settings.backend,
                "sampler": config.sampler.kind,
            },
        )

    def blocks(self) -> Iterator[TargetBlock]:
        """Blocks of targets, then the pooled ones."""
        rows = max(1, len(self.fit_ids))
        at_once = max(self.settings.block_size, BYTES_AT_ONCE // (4 * rows))
        for start in range(0, len(self.chosen), at_once):
            wide = self.chosen[start : start + at_once]
            fit, holdout, again = (self._columns(*which, wide) for which in self._sources())
            for first in range(0, len(wide), self.settings.block_size):
                part = slice(first, first + self.settings.block_size)
                outputs = (_take(values, part) for values in (fit, holdout, again))
                yield TargetBlock(wide[part], self.classes[wide[part]], *outputs)
        if len(self.pooled_ids):
            fit, holdout, again = (self._pooled(*source) for source in self._sources())
            classes = np.where(self.pooled_ids <= -2, -2 - self.pooled_ids, -1)
            yield TargetBlock(self.pooled_ids, classes, fit, holdout, again)

    def _sources(self) -> list[tuple[str, int, np.ndarray | None]]:
        """(role, replicate, row ids) of the fit, held-out and repeated outputs; None ids where there are none."""
        held = self.holdout_ids if len(self.holdout_ids) else None
        return [("fit", 0, self.fit_ids), ("holdout", 0, held), ("holdout", 1, held if self.has_replicates else None)]

    def _columns(self, role: str, replicate: int, ids: np.ndarray | None, targets: np.ndarray) -> np.ndarray | None:
        if ids is None:
            return None
        aligned = np.full((len(ids), len(targets)), np.nan, np.float32)
        for found, outputs, _ in self.campaign.output_blocks(role, replicate):
            _place(aligned, ids, found, outputs[:, targets])
        return aligned

    def _pooled(self, role: str, replicate: int, ids: np.ndarray | None) -> np.ndarray | None:
        if ids is None:
            return None
        aligned = np.full((len(ids), len(self.pooled_ids)), np.nan)
        for found, outputs, _ in self.campaign.output_blocks(role, replicate):
            _place(aligned, ids, found, pooled_targets(outputs, self.classes)[0])
        return aligned


def _place(into: np.ndarray, ids: np.ndarray, found: np.ndarray, values: np.ndarray) -> None:
    """Write rows `found` where `ids` (ascending) has them; rows that are not wanted are dropped."""
    at = np.searchsorted(ids, found)
    known = (at < len(ids)) & (ids[np.minimum(at, len(ids) - 1)] == found)
    into[at[known]] = values[known]


def _pack(masks: np.ndarray) -> np.ndarray:
    return np.packbits(masks, axis=1, bitorder="little")


def _take(values: np.ndarray | None, part: slice) -> np.ndarray | None:
    return None if values is None else np.ascontiguousarray(values[:, part])


def _target_classes(campaign: Campaign) -> np.ndarray:
    table = campaign.read("examples", ["split", "label"])
    wanted = np.asarray(table["split"].to_numpy(zero_copy_only=False) == "target")
    return table["label"].to_numpy()[wanted].astype(np.int64)


def _player_classes(campaign: Campaign) -> np.ndarray:
    """(n_players,) class of each player; -1 for a group of several classes."""
    table = campaign.read("examples", ["player", "label"])
    players, labels = table["player"].to_numpy(), table["label"].to_numpy()
    classes = np.full(campaign.n_players, -2, np.int64)
    for player, label in zip(players, labels, strict=True):
        if player >= 0:
            classes[player] = label if classes[player] in (-2, label) else -1
    return classes


def _analyse(config: CampaignConfig, data: CampaignOutputs) -> list[BlockAnalysis]:
    done: dict[int, BlockAnalysis] = {}
    with session(config.compute.ray_address, config.compute.workers) as cluster:
        cluster.start()
        with Progress(data.n_targets, "targets") as progress:
            blocks = data.blocks()
            for outcome in cluster.map(analyse_block, data.job(config), blocks, on_start=progress.show):
                if outcome.error is not None:
                    raise ClusterError(f"a block of targets could not be analysed: {outcome.error}")
                done[outcome.index] = outcome.value
                progress.advance(len(outcome.value.faithfulness["target"]))
    return [done[index] for index in sorted(done)]


def _tables(blocks: list[BlockAnalysis], config: CampaignConfig) -> dict[str, pa.Table]:
    """The derived tables, with q-values over the whole campaign as one family."""
    complete = assign_q_values(blocks)
    return {
        name: pa.concat_tables(pa.table(getattr(block, name), schema=schema) for block in complete)
        for name, schema in ANALYSIS_TABLES.items()
    }
