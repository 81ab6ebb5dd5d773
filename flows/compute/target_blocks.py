"""The input of the attribute stage: the targets to explain, and their outputs block by block."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from attribution.analysis.block_tables import pooled_targets
from attribution.analysis.link_prior import campaign_link_prior
from attribution.analysis.target_ids import classes_of_means
from attribution.linear.link import LinkPrior
from attribution.masks.design import dependence, untested_design
from attribution.masks.running_variance import RunningVariance, most_variable
from conf.schema import CampaignConfig
from flows.compute.work import AnalysisJob, TargetBlock
from flows.errors import IncompleteCampaign
from flows.store.campaign import Campaign
from flows.store.compaction import read_targets
from flows.store.examples import player_classes, target_classes
from flows.store.roles import RowRange, first_id
from flows.store.wanted import spex_design
from training.packed_masks import PackedMasks

BYTES_AT_ONCE = 2**29  # outputs the driver holds at a time
# Targets, spread over all, whose curvatures say what those of every block are shrunken to: a choice. A block alone does
# not do: the sixteen of largest variance may all hang on two players each, which leaves their common curve unknown.
LINK_TARGETS = 48


@dataclass
class _Survey:
    """Result of one pass over the outputs of a role: its rows with a number, and their pooled outputs."""

    mask_ids: np.ndarray
    pooled: np.ndarray
    variance: np.ndarray
    n_left_out: int


class TargetBlocks:
    """The outputs to explain, read in as many passes as memory requires.

    The first pass reads every fragment whole, and so checks it. Further passes read some targets each: from the
    compacted copies where they are current.

    Parameters
    ----------
    campaign : Campaign
    config : CampaignConfig

    Raises
    ------
    IncompleteCampaign
        If no model of role "fit" is trained.
    """

    def __init__(self, campaign: Campaign, config: CampaignConfig) -> None:
        self.campaign, self.settings = campaign, config.attribution
        self.classes = target_classes(campaign)
        self.pooled_ids = np.zeros(0, np.int64)
        if self.settings.pooled_targets:
            self.pooled_ids = pooled_targets(np.zeros((1, campaign.n_targets)), self.classes)[1]
        self._seen = {("fit", 0): self._survey("fit", 0), ("holdout", 0): self._survey("holdout", 0)}
        fit, holdout = self._seen["fit", 0], self._seen["holdout", 0]
        if not len(fit.mask_ids):
            raise IncompleteCampaign(f"no trained models of role 'fit' in {campaign.folder}. Run `coterie retrain`")
        self.fit_ids, self.n_left_out = fit.mask_ids, fit.n_left_out
        self.holdout_ids = holdout.mask_ids  # without any, the faithfulness table has no values
        self.fit_masks, self.holdout_masks = self._masks("fit", self.fit_ids), self._masks("holdout", self.holdout_ids)
        # No split may divide a mask from its complement.
        self.groups = self.fit_ids // 2 if config.sampler.kind == "antithetic" else None
        self.has_replicates = any(rows.role == "holdout" and rows.replicate > 0 for rows in campaign.trained())
        if self.has_replicates:
            self._seen["holdout", 1] = self._survey("holdout", 1)
        self.chosen = most_variable(fit.variance, self.settings.n_targets)
        self.left_out_by = ""  # how the masks without a number make those that are left depend on each other
        if self.n_left_out and spex_design(config, campaign.n_players) is None:
            self.left_out_by = dependence(self.fit_masks, campaign.alphas_of(self.fit_ids), self.groups)

    def _survey(self, role: str, replicate: int) -> _Survey:
        moments, left_out = RunningVariance(self.campaign.n_targets), 0
        ids, pooled = [np.zeros(0, np.int64)], [np.zeros((0, len(self.pooled_ids)))]
        for found, outputs, without_number in self.campaign.output_blocks(role, replicate):
            moments.add(outputs)
            ids.append(found)
            without = np.zeros((len(outputs), 0))
            pooled.append(pooled_targets(outputs, self.classes)[0] if len(self.pooled_ids) else without)
            left_out += without_number
        mask_ids = np.concatenate(ids)
        order = np.argsort(mask_ids)
        return _Survey(mask_ids[order], np.concatenate(pooled)[order], moments.variance, left_out)

    def _masks(self, role: str, mask_ids: np.ndarray) -> np.ndarray:
        if not len(mask_ids):
            return np.zeros((0, self.campaign.n_players), bool)
        start, first, last = first_id(role), int(mask_ids[0]), int(mask_ids[-1])
        masks, _ = self.campaign.masks(RowRange(role, 0, first - start, last - start + 1))
        return masks[mask_ids - first]

    @property
    def n_targets(self) -> int:
        """Targets to explain, pooled ones included.

        Returns
        -------
        int
        """
        return len(self.chosen) + len(self.pooled_ids)

    def job(self, config: CampaignConfig) -> AnalysisJob:
        """Return what all blocks share.

        Parameters
        ----------
        config : CampaignConfig

        Returns
        -------
        AnalysisJob
            The masks, their groups, and the settings of the analysis.
        """
        design = spex_design(config, self.campaign.n_players)
        shared = {"link_prior": self._link_prior(config)} if design is None else {"spex": design}
        return AnalysisJob(
            fit_masks=PackedMasks.pack(self.fit_masks),
            holdout_masks=PackedMasks.pack(self.holdout_masks) if len(self.holdout_ids) else None,
            groups=self.groups,
            settings={
                "alpha": self.campaign.alphas_of(self.fit_ids),
                "holdout_alpha": self.campaign.alphas_of(self.holdout_ids),
                "reference_alpha": config.sampler.alpha,
                "max_order": self.settings.max_order,
                "seed": self.settings.seed,
                "player_classes": player_classes(self.campaign),
                "backend": self.settings.backend,
                "max_proxy_order": self.settings.max_proxy_order,
                "published_targets": self._spread(self.settings.published_targets),
                "device": self.settings.device,
                "sampler": config.sampler.kind,
                "settings": shared,
            },
            accepted=bool(self.left_out_by),
        )

    def _link_prior(self, config: CampaignConfig) -> LinkPrior | None:
        """What all blocks shrink curvatures to. Masks and players that are worth a warning get it from the blocks."""
        outputs = self._columns("fit", 0, self.fit_ids, self._spread(LINK_TARGETS))
        accepted = untested_design("accepted" if self.left_out_by else None)
        with warnings.catch_warnings(), accepted:
            warnings.simplefilter("ignore")
            return campaign_link_prior(
                self.fit_masks, outputs, alpha=self.campaign.alphas_of(self.fit_ids),
                reference_alpha=config.sampler.alpha, groups=self.groups, seed=self.settings.seed,
            )  # fmt: skip

    def _spread(self, count: int) -> np.ndarray:
        """Some of the targets, evenly spread from the largest variance to the smallest."""
        places = np.linspace(0, len(self.chosen) - 1, min(count, len(self.chosen))).round().astype(np.int64)
        return self.chosen[np.unique(places)]

    def __iter__(self) -> Iterator[TargetBlock]:
        """Blocks of targets, then the pooled ones."""
        at_once = max(self.settings.block_size, BYTES_AT_ONCE // (4 * max(1, len(self.fit_ids))))
        for start in range(0, len(self.chosen), at_once):
            yield from self._cut_targets(self.chosen[start : start + at_once])
        if len(self.pooled_ids):
            yield from self._cut(self.pooled_ids, classes_of_means(self.pooled_ids), self._pooled)

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
        for found, outputs in read_targets(self.campaign, targets, role, replicate):
            _place(aligned, rows, found, outputs)
        return aligned

    def _pooled(self, role: str, replicate: int, rows: np.ndarray) -> np.ndarray:
        aligned = np.full((len(rows), len(self.pooled_ids)), np.nan)
        seen = self._seen[role, replicate]
        _place(aligned, rows, seen.mask_ids, seen.pooled)
        return aligned


def _place(into: np.ndarray, ids: np.ndarray, found: np.ndarray, values: np.ndarray) -> None:
    """Write rows `found` where `ids` (ascending) has them; rows that are not wanted are dropped."""
    at = np.searchsorted(ids, found)
    known = (at < len(ids)) & (ids[np.minimum(at, len(ids) - 1)] == found)
    into[at[known]] = values[known]

