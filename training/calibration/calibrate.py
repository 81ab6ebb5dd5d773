"""Measure the fastest execution mode on this machine, once for each device, recipe and image size.

    calibration = calibrate(dataset, recipe, "cpu")
    retrain(dataset, masks, seeds, recipe, mode=calibration.mode, ensemble_size=calibration.ensemble_size)

Timings are kept in the user's cache (`training.cache.cache_folder`), one small JSON file for each device, recipe, image
size, number of classes and version of torch. Float32 results depend on the mode and, for most modes, on K in their last
bits. So a campaign calibrates once and keeps the choice (flows/compute/execution_mode.py).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from training.cache import cache_folder, write_atomically
from training.calibration.trials import CalibrationRequest, Trial, trials_of
from training.data.dataset import Dataset
from training.recipe import Recipe

LOG = logging.getLogger("coterie")
FORMAT = 3  # of the cache's files


@dataclass(frozen=True)
class Calibration:
    """The fastest execution mode and the trials it was chosen from.

    Parameters
    ----------
    mode : str
        The fastest execution mode, see `training.engine.modes`.
    ensemble_size : int
        Networks trained together (K) in it.
    threads : int
        Threads of one worker.
    seconds_per_model : float
        Time of one model by one worker with so many threads.
    device : str
        The torch device.
    device_name : str
        The processor's or the GPU's name.
    trials : tuple of Trial
        Everything that was timed.
    cached : bool
        Whether the trials were read from the cache.
    seconds : float
        Wall time that this calibration took.

    Examples
    --------
    >>> print(Calibration("native", 32, 1, 0.0136, "cpu", "EPYC", trials=(), cached=True, seconds=0.0))
    native, 32 models at a time, 1 thread: 0.0136 s a model on EPYC
    """

    mode: str
    ensemble_size: int
    threads: int
    seconds_per_model: float
    device: str
    device_name: str
    trials: tuple[Trial, ...]
    cached: bool
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.mode}, {self.ensemble_size} models at a time, {self.threads} thread{'s' * (self.threads > 1)}: "
            f"{self.seconds_per_model:.3g} s a model on {self.device_name}"
        )


def calibrate(
    dataset: Dataset,
    recipe: Recipe,
    device: str = "cpu",
    *,
    dtype: str = "float32",
    arithmetic: str = "",
    modes: tuple[str, ...] | None = None,
    ensemble_size: int | None = None,
    max_ensemble_size: int | None = None,
    threads: int = 1,
    seconds: float = 3.0,
    cache: Path | None = None,
) -> Calibration:
    """Time the execution modes for this recipe on a device, or read from the cache what was measured before.

    Parameters
    ----------
    dataset : Dataset
        Gives the image size and the number of classes.
    recipe : Recipe
        How one model is trained.
    device : str
        A torch device: `cpu`, `cuda`, `cuda:1`.
    dtype : str
        Type of the weights, `float32` or `float64`.
    arithmetic : str
        `bfloat16` or `float16` for products in that type; empty for that of the weights.
    modes : tuple of str, optional
        Try only these execution modes.
    ensemble_size : int, optional
        Try only this number of networks trained together.
    max_ensemble_size : int, optional
        Try at most this number of them.
    threads : int
        Threads that one worker may use; one thread is tried, and all of them.
    seconds : float
        No trial is begun after so long (processor time on a CPU, and at most five times that by the clock). The first
        trial is always made.
    cache : Path, optional
        Folder of the cache's files, the user's by default.

    Returns
    -------
    Calibration
        The fastest mode, with what was measured.

    Raises
    ------
    TrainingInputError
        For a device, type or mode that does not exist, when none of `modes` can be used here, and for a data set that
        the recipe cannot train on.

    Examples
    --------
    >>> from training import Recipe, load_dataset
    >>> digits = load_dataset("digits", n_train=40, n_targets=10, n_audit=10)
    >>> found = calibrate(digits, Recipe(epochs=1), modes=("grouped",), ensemble_size=4, seconds=0.0)
    >>> found.mode, found.ensemble_size
    ('grouped', 4)
    """
    from training.engine.engine import check_device  # imports torch

    began = time.perf_counter()
    check_device(device)
    name = device_name(device)
    given = (dtype, arithmetic, modes, ensemble_size, max_ensemble_size, threads)
    path = (cache or cache_folder()) / f"calibration-{_key(name, dataset, recipe, given)}.json"
    trials = _read(path)
    cached = trials is not None
    if trials is None:
        request = CalibrationRequest(
            dataset, recipe, device, dtype, arithmetic, modes, ensemble_size, max_ensemble_size, threads
        )
        trials = tuple(trials_of(request, seconds))
        _write(path, trials, about={"device": name, "recipe": asdict(recipe)})
    best = min(trials, key=lambda trial: trial.seconds_per_model(dataset, recipe))
    return Calibration(
        mode=best.mode,
        ensemble_size=best.ensemble_size,
        threads=best.threads,
        seconds_per_model=best.seconds_per_model(dataset, recipe),
        device=device,
        device_name=name,
        trials=trials,
        cached=cached,
        seconds=time.perf_counter() - began,
    )


def device_name(device: str) -> str:
    """Return the name of the processor or of the GPU that a torch device is."""
    import torch

    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor() or platform.machine()}"


# --- the cache -----------------------------------------------------------------------------------------------


def _key(name: str, dataset: Dataset, recipe: Recipe, given: tuple[Any, ...]) -> str:
    """Hash of everything the timing of a step depends on."""
    import torch

    # Steps are timed one by one: how many of them a model takes does not matter.
    steps_only = replace(recipe, epochs=1.0, learning_rate=0.1, momentum=0.9, weight_decay=0.0, warmup_fraction=0.2)
    parts = (
        FORMAT, name, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        asdict(steps_only), dataset.train.images.shape[1:], len(dataset.class_names), torch.__version__, given,
    )
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _read(path: Path) -> tuple[Trial, ...] | None:
    try:
        content = json.loads(path.read_bytes())
        return tuple(Trial(**trial) for trial in content["trials"]) or None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        LOG.warning("the calibration in %s cannot be read (%s) and is measured again", path, error)
        return None


def _write(path: Path, trials: tuple[Trial, ...], about: dict[str, Any]) -> None:
    content = {**about, "trials": [asdict(trial) for trial in trials]}
    try:
        write_atomically(path, json.dumps(content, indent=1).encode())
    except OSError as error:
        LOG.info("the calibration cannot be kept: %s", error)
