"""The units of work that run on the cluster's nodes. Imports neither Prefect nor Ray.

Each function takes what all units share and one unit, both plain data, and returns plain data.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

import numpy as np

from flows.store.roles import RowRange


@dataclass(frozen=True)
class TrainingJob:
    """What all shards of a campaign share: the data set (arrays), the recipe's values and the way to train."""

    dataset: Any
    recipe: dict[str, Any]
    ensemble_size: int
    device: str
    mode: str = "grouped"
    threads: int = 1


@dataclass(frozen=True)
class Shard:
    """Models to train: packed masks (m, ceil(n_players / 8)) uint8 and one training seed for each."""

    rows: RowRange
    packed_masks: np.ndarray
    seeds: np.ndarray


def train_shard(job: TrainingJob, shard: Shard) -> dict[str, Any]:
    """Retrain one shard; columns of the outputs table, as arrays."""
    import torch

    from training import Recipe, retrain

    torch.set_num_threads(job.threads)
    n_players = job.dataset.n_players
    masks = np.unpackbits(shard.packed_masks, axis=1, bitorder="little", count=n_players).astype(bool)
    result = retrain(
        job.dataset,
        masks,
        seeds=[int(seed) for seed in shard.seeds],
        recipe=Recipe(**job.recipe),
        ensemble_size=job.ensemble_size,
        device=resolve_device(job.device),
        mode=job.mode,
    )
    return {
        "status": [str(status) for status in result.status],
        "outputs": result.outputs,
        "train_accuracy": result.train_accuracy,
        "target_accuracy": result.target_accuracy,
        "audit_accuracy": result.audit_accuracy,
        "train_seconds": result.train_seconds,
        "ensemble_size": result.ensemble_sizes,
        "mode": result.mode,
        "device": result.device,
        "host": socket.gethostname(),
    }


def calibrate_here(job: TrainingJob, wanted: dict[str, Any]) -> dict[str, Any]:
    """Which way is fastest on the machine this runs on; wanted: keyword arguments of `training.calibrate`."""
    from training import Recipe, calibrate

    recipe = Recipe(**job.recipe)
    found = calibrate(job.dataset, recipe, resolve_device(job.device), **wanted)
    trials = [trial.told(job.dataset, recipe) for trial in found.trials]
    numbers = {
        name: getattr(found, name)
        for name in ("mode", "ensemble_size", "threads", "seconds_per_model", "device_name", "cached", "seconds")
    }
    return {**numbers, "trials": trials, "text": str(found)}


def resolve_device(device: str) -> str:
    """`auto` means a GPU where torch sees one. Raises ValueError for a GPU that is not there."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("compute.device is cuda but torch sees no GPU here. Set compute.device=auto or cpu")
    return device


@dataclass(frozen=True)
class AnalysisJob:
    """What all blocks of targets share: packed fit and held-out masks, and the settings."""

    n_players: int
    packed_fit: np.ndarray
    packed_holdout: np.ndarray | None
    groups: np.ndarray | None
    settings: dict[str, Any]


@dataclass(frozen=True)
class TargetBlock:
    """Outputs of a few targets: fit (m, t), held-out (h, t), replicates of the held-out masks (h, t) or None."""

    target_ids: np.ndarray
    target_classes: np.ndarray
    fit_outputs: np.ndarray
    holdout_outputs: np.ndarray | None
    replicate_outputs: np.ndarray | None


def analyse_block(job: AnalysisJob, block: TargetBlock) -> Any:
    """Fit, test and score one block of targets; an `attribution.analysis.block_tables.BlockAnalysis`."""
    from attribution.analysis.block_tables import analyse_targets

    return analyse_targets(
        _unpack(job.packed_fit, job.n_players),
        block.fit_outputs,
        holdout_masks=None if job.packed_holdout is None else _unpack(job.packed_holdout, job.n_players),
        holdout_outputs=block.holdout_outputs,
        holdout_replicates=block.replicate_outputs,
        groups=job.groups,
        target_ids=block.target_ids,
        target_classes=block.target_classes,
        with_q_values=False,  # the driver assigns them over all blocks
        **job.settings,
    )


def _unpack(packed: np.ndarray, n_players: int) -> np.ndarray:
    return np.unpackbits(packed, axis=1, bitorder="little", count=n_players).astype(bool)
