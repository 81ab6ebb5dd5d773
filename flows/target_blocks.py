"""What the attribute stage reads: the targets to explain, and their outputs block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from attribution.analysis import pooled_targets
from attribution.moments import RunningVariance, most_variable
from conf.schema import CampaignConfig
from flows.errors import IncompleteCampaign
from flows.store import Campaign
from flows.work import AnalysisJob, TargetBlock

BYTES_AT_ONCE = 2**29  # outputs the driver holds at a time


class TargetBlocks:
    """The outputs to explain, read in as many passes as memory asks for."""

    def __init__(self, campaign: Campaign, config: CampaignConfig) -> None:
        self.campaign, self.settings = campaign, config.attribution
        self.classes = target_classes(campaign)
        pairs = campaign.training_pairs("fit", targets=[])
        self.fit_masks, self.fit_ids, self.n_left_out = pairs.masks, pairs.mask_ids, pairs.n_left_out
        self.holdout_masks, self.holdout_ids = self._holdout()
        # No split may divide a mask from its complement.
        self.groups = self.fit_ids // 2 if config.sampler.kind == "antithetic" else None
        self.has_replicates = any(rows.role == "holdout" and rows.replicate > 0 for rows in campaign.trained())
        moments = RunningVariance(campaign.n_targets)
        for _, outputs, _ in campaign.output_blocks("fit"):
            moments.add(outputs)
        self.chosen = most_variable(moments.variance, self.settings.n_targets)
        self.pooled_ids = np.zeros(0, np.int64)
        if self.settings.pooled_targets:
            self.pooled_ids = pooled_targets(np.zeros((1, campaign.n_targets)), self.classes)[1]

    @property
    def n_targets(self) -> int:
        """Targets to explain, pooled ones included."""
        return len(self.chosen) + len(self.pooled_ids)

    def _holdout(self) -> tuple[np.ndarray, np.ndarray]:
        try:
            pairs = self.campaign.training_pairs("holdout", targets=[])
        except IncompleteCampaign:  # a campaign without held-out masks has no faithfulness, and says so
            return np.zeros((0, self.campaign.n_players), bool), np.zeros(0, np.int64)
        return pairs.masks, pairs.mask_ids

    def job(self, config: CampaignConfig) -> AnalysisJob:
        """What all blocks share."""
        return AnalysisJob(
            n_players=self.campaign.n_players,
            packed_fit=_pack(self.fit_masks),
            packed_holdout=_pack(self.holdout_masks) if len(self.holdout_ids) else None,
            groups=self.groups,
            settings={
                "alpha": self.campaign.alphas_of(self.fit_ids),
                "holdout_alpha": self.campaign.alphas_of(self.holdout_ids),
                "reference_alpha": config.sampler.alpha,
                "max_order": self.settings.max_order,
                "seed": self.settings.seed,
                "player_classes": player_classes(self.campaign),
                "backend": self.settings.backend,
                "sampler": config.sampler.kind,
            },
        )

    def __iter__(self) -> Iterator[TargetBlock]:
        """Blocks of targets, then the pooled ones."""
        at_once = max(self.settings.block_size, BYTES_AT_ONCE // (4 * max(1, len(self.fit_ids))))
        for start in range(0, len(self.chosen), at_once):
            yield from self._cut_targets(self.chosen[start : start + at_once])
        classes = np.where(self.pooled_ids <= -2, -2 - self.pooled_ids, -1)
        if len(self.pooled_ids):
            yield from self._cut(self.pooled_ids, classes, self._pooled)

    def _cut_targets(self, wide: np.ndarray) -> Iterator[TargetBlock]:
        def read(role: str, replicate: int, rows: np.ndarray) -> np.ndarray:
            return self._columns(role, replicate, rows, wide)

        yield from self._cut(wide, self.classes[wide], read)

    def _cut(
        self, ids: np.ndarray, classes: np.ndarray, read: Callable[[str, int, np.ndarray], np.ndarray]
    ) -> Iterator[TargetBlock]:
        fit = read("fit", 0, self.fit_ids)
        holdout = read("holdout", 0, self.holdout_ids) if len(self.holdout_ids) else None
        again = read("holdout", 1, self.holdout_ids) if self.has_replicates and holdout is not None else None
        for first in range(0, len(ids), self.settings.block_size):
            part = slice(first, first + self.settings.block_size)
            yield TargetBlock(
                ids[part],
                classes[part],
                np.ascontiguousarray(fit[:, part]),
                None if holdout is None else np.ascontiguousarray(holdout[:, part]),
                None if again is None else np.ascontiguousarray(again[:, part]),
            )

    def _columns(self, role: str, replicate: int, rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
        aligned = np.full((len(rows), len(targets)), np.nan, np.float32)
        for found, outputs, _ in self.campaign.output_blocks(role, replicate):
            _place(aligned, rows, found, outputs[:, targets])
        return aligned

    def _pooled(self, role: str, replicate: int, rows: np.ndarray) -> np.ndarray:
        aligned = np.full((len(rows), len(self.pooled_ids)), np.nan)
        for found, outputs, _ in self.campaign.output_blocks(role, replicate):
            _place(aligned, rows, found, pooled_targets(outputs, self.classes)[0])
        return aligned


def _place(into: np.ndarray, ids: np.ndarray, found: np.ndarray, values: np.ndarray) -> None:
    """Write rows `found` where `ids` (ascending) has them; rows that are not wanted are dropped."""
    at = np.searchsorted(ids, found)
    known = (at < len(ids)) & (ids[np.minimum(at, len(ids) - 1)] == found)
    into[at[known]] = values[known]


def _pack(masks: np.ndarray) -> np.ndarray:
    return np.packbits(masks, axis=1, bitorder="little")


def target_classes(campaign: Campaign) -> np.ndarray:
    table = campaign.read("examples", ["split", "label"])
    wanted = np.asarray(table["split"].to_numpy(zero_copy_only=False) == "target")
    return table["label"].to_numpy()[wanted].astype(np.int64)


def player_classes(campaign: Campaign) -> np.ndarray:
    """(n_players,) class of each player; -1 for a group of several classes."""
    table = campaign.read("examples", ["player", "label"])
    players, labels = table["player"].to_numpy(), table["label"].to_numpy()
    classes = np.full(campaign.n_players, -2, np.int64)
    for player, label in zip(players, labels, strict=True):
        if player >= 0:
            classes[player] = label if classes[player] in (-2, label) else -1
    return classes
