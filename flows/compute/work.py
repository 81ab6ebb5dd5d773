"""The tasks that run on the cluster's nodes. Imports neither Prefect nor Ray.

Each function takes what all tasks share and one task, both plain data, and returns plain data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from flows.games.base import Game, HasModes
from flows.store.roles import RowRange
from training.packed_masks import PackedMasks


@dataclass(frozen=True)
class Shard:
    """Masks to evaluate together.

    Parameters
    ----------
    rows
        The planned rows of the masks.
    masks
        (n_masks,) packed masks, in the order of the rows.
    seeds
        (n_masks,) int64, one training seed per mask.
    """

    rows: RowRange
    masks: PackedMasks
    seeds: np.ndarray


def evaluate_shard(game: Game, shard: Shard) -> dict[str, Any]:
    """Evaluate one shard.

    Parameters
    ----------
    game : Game
    shard : Shard
        Masks and seeds of its rows.

    Returns
    -------
    dict
        Columns of `flows.store.outputs_table`, as arrays.
    """
    return game.evaluate(shard.masks.unpack(), [int(seed) for seed in shard.seeds]).columns()


def calibrate_here(game: HasModes, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Measure the execution modes of a game on the machine this runs on.

    Parameters
    ----------
    game : HasModes
    wanted : mapping
        Settings of the calibration.

    Returns
    -------
    dict
    """
    return game.calibrate(wanted)


@dataclass(frozen=True)
class AnalysisJob:
    """What all blocks of targets share.

    Parameters
    ----------
    fit_masks, holdout_masks
        The masks of the rows with a number; no held-out masks: None.
    groups
        (n_fit,) label of rows that must share a fold, or None.
    settings
        Further keyword arguments of `attribution.analysis.block_tables.analyse_targets`.
    accepted
        Whether masks that depend on each other are analysed all the same, because some of them have no number.
    """

    fit_masks: PackedMasks
    holdout_masks: PackedMasks | None
    groups: np.ndarray | None
    settings: dict[str, Any]
    accepted: bool = False


@dataclass(frozen=True)
class TargetBlock:
    """Outputs of a few targets.

    Parameters
    ----------
    target_ids, target_classes
        (n_targets,) int64.
    fit_outputs
        (n_fit, n_targets).
    holdout_outputs, replicate_outputs
        (n_holdout, n_targets) of the held-out masks and of their replicates, or None.
    """

    target_ids: np.ndarray
    target_classes: np.ndarray
    fit_outputs: np.ndarray
    holdout_outputs: np.ndarray | None
    replicate_outputs: np.ndarray | None


def analyse_block(job: AnalysisJob, block: TargetBlock) -> Any:
    """Fit, test and score one block of targets.

    Parameters
    ----------
    job : AnalysisJob
        What all blocks share.
    block : TargetBlock
        Outputs of the block's targets.

    Returns
    -------
    attribution.analysis.block_tables.BlockAnalysis
        Without q-values: the driver assigns them over all blocks.
    """
    from attribution.analysis.block_tables import analyse_targets
    from attribution.masks.design import untested_design

    # Inclusions of a SPEX design depend on each other; the scores' estimators would refuse them.
    is_design = job.settings.get("settings", {}).get("spex") is not None
    with untested_design("spex" if is_design else "accepted" if job.accepted else None):
        return analyse_targets(
            job.fit_masks.unpack(),
            block.fit_outputs,
            holdout_masks=None if job.holdout_masks is None else job.holdout_masks.unpack(),
            holdout_outputs=block.holdout_outputs,
            holdout_replicates=block.replicate_outputs,
            groups=job.groups,
            target_ids=block.target_ids,
            target_classes=block.target_classes,
            with_q_values=False,  # the driver assigns them over all blocks
            **job.settings,
        )
