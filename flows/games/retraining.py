"""Retraining as a game: players are training examples or groups of them; an evaluation trains one model per mask."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa

from conf.schema import CampaignConfig
from flows.games.base import Evaluation
from flows.players.load import load
from flows.store.examples import examples_table
from training import Dataset
from training.data.inspection import Finding, inspect_dataset


@dataclass(frozen=True)
class Retraining:
    """Train one model per mask and record its outputs on the targets.

    Parameters
    ----------
    dataset
        Training examples, targets and audit examples, as arrays.
    recipe
        Fields of `training.Recipe`, `nominal_alpha` included.
    ensemble_size
        Models trained together as one network.
    device
        `cpu`, `cuda`, or `auto` for a GPU where torch finds one.
    mode
        Execution mode, see `training.engine.modes`.
    threads
        Threads of one worker.
    """

    dataset: Dataset
    recipe: dict[str, Any]
    ensemble_size: int
    device: str
    mode: str = "grouped"
    threads: int = 1

    deterministic = False

    @property
    def name(self) -> str:
        return self.dataset.name

    @property
    def player_names(self) -> tuple[str, ...]:
        return self.dataset.player_names

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.dataset.class_names

    @property
    def n_players(self) -> int:
        return self.dataset.n_players

    @property
    def n_targets(self) -> int:
        return len(self.dataset.targets)

    @property
    def n_audit(self) -> int:
        return len(self.dataset.audit)

    @cached_property
    def _fingerprint(self) -> str:
        return self.dataset.fingerprint()

    def identity(self) -> dict[str, Any]:
        """Return the fingerprint of the data set: the configuration holds the rest."""
        return {"dataset.fingerprint": self._fingerprint}

    def examples(self) -> pa.Table:
        """Return every image once, with its label and its player."""
        return examples_table(self.dataset)

    def findings(self) -> tuple[Finding, ...]:
        """Return leaks, near-duplicates, contradicting labels and what else is wrong with the images."""
        return inspect_dataset(self.dataset)

    def evaluate(self, masks: np.ndarray, seeds: Sequence[int]) -> Evaluation:
        """Train one model per mask; see `training.retrain`."""
        import torch

        from training import Recipe, retrain

        torch.set_num_threads(self.threads)
        result = retrain(
            self.dataset,
            masks,
            seeds=seeds,
            recipe=Recipe(**self.recipe),
            ensemble_size=self.ensemble_size,
            device=resolve_device(self.device),
            mode=self.mode,
        )
        return Evaluation(
            outputs=result.outputs,
            status=[str(status) for status in result.status],
            train_seconds=result.train_seconds,
            mode=result.mode,
            device=result.device,
            ensemble_size=result.ensemble_sizes,
            train_accuracy=result.train_accuracy,
            target_accuracy=result.target_accuracy,
            audit_accuracy=result.audit_accuracy,
        )

    # --- execution modes -------------------------------------------------------------------------------------

    def network(self) -> str:
        """Name what a step's cost depends on: recipe, image size, number of classes and device.

        The expected size of a training set and the kind of output change the number of steps at most.
        """
        recipe = {name: value for name, value in self.recipe.items() if name not in ("nominal_alpha", "output")}
        parts = (recipe, self.dataset.train.images.shape[1:], len(self.dataset.class_names), self.device)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def calibrate(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Measure the modes on this machine; wanted: keyword arguments of `training.calibrate`."""
        from training import Recipe, calibrate

        recipe = Recipe(**self.recipe)
        found = calibrate(self.dataset, recipe, resolve_device(self.device), **wanted)
        trials = [trial.summary(self.dataset, recipe) for trial in found.trials]
        numbers = {
            name: getattr(found, name)
            for name in ("mode", "ensemble_size", "threads", "seconds_per_model", "device_name", "cached", "seconds")
        }
        return {**numbers, "trials": trials, "text": str(found)}

    def with_mode(self, mode: str, ensemble_size: int, threads: int) -> Self:
        """Return the same game with its execution mode set."""
        return replace(self, mode=mode, ensemble_size=ensemble_size, threads=threads)


def from_config(config: CampaignConfig) -> Retraining:
    """Load the images of a configuration. Raises what loading raises (`training.errors.TrainingInputError`)."""
    return from_dataset(config, load(config))


def from_dataset(config: CampaignConfig, dataset: Dataset) -> Retraining:
    """Return the game of a configuration whose images are loaded."""
    return Retraining(dataset, recipe_of(config), config.compute.ensemble_size, config.compute.device)


def recipe_of(config: CampaignConfig) -> dict[str, Any]:
    """Return the fields of the campaign's `training.Recipe`."""
    return {**config.recipe.model_dump(), "nominal_alpha": config.sampler.alpha}


def resolve_device(device: str) -> str:
    """Return the device that `auto` means here: a GPU where torch finds one. Raises ValueError for a missing GPU."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("compute.device is cuda but torch finds no GPU here. Set compute.device=auto or cpu")
    return device
