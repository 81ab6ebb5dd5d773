"""Which way of training is fastest here: a few steps of each candidate, timed once per device, recipe and image size.

    calibration = calibrate(dataset, recipe, "cpu")
    retrain(dataset, masks, seeds, recipe, way=calibration.way, members=calibration.members)

What was measured is kept in the user's cache (`training.cache.cache_folder`), one small JSON file for each device,
recipe, image size, number of classes and version of torch. Float32 results depend on the way and, within a way, on
K in their last bits, so that a campaign calibrates once and keeps the choice (flows/compute.py).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.cache import cache_folder, write_atomically
from training.data import Dataset
from training.recipe import Recipe

LOG = logging.getLogger("coterie")
FORMAT = 2  # of the cache's files
EVALUATED = 128  # targets of a trial
ALPHA_OF_TRIALS = 0.5
FEW_STEPS = 2
WORTH_IT = 0.97  # more members have to be this much faster to go on
SECONDS_FOR_COMPILING = 60.0  # torch.compile is tried where a calibration may take this long
FIRST_MEMBERS = {"cpu": 4, "cuda": 32}


@dataclass(frozen=True)
class Trial:
    """What was timed. start_seconds: one model's initial weights and order; step_seconds: one optimiser step of one
    model; evaluation_seconds: one example by one model.

    Seconds are processor time for one thread of a CPU, where others may be at work, and wall time elsewhere.
    """

    way: str
    members: int
    threads: int
    start_seconds: float
    step_seconds: float
    evaluation_seconds: float

    def seconds_per_model(self, dataset: Dataset, recipe: Recipe) -> float:
        """Time of one model of this data set: all its steps and the evaluation of all three parts."""
        n_evaluated = (len(dataset.train) + len(dataset.targets) + len(dataset.audit)) * (1 + recipe.flip_at_test)
        steps = recipe.steps(len(dataset.train)) * self.step_seconds
        return self.start_seconds + steps + n_evaluated * self.evaluation_seconds


@dataclass(frozen=True)
class Calibration:
    """The fastest trial and all others. seconds_per_model: of one worker with `threads` threads; seconds: spent now."""

    way: str
    members: int
    threads: int
    seconds_per_model: float
    device: str
    device_name: str
    trials: tuple[Trial, ...]
    cached: bool
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.way}, {self.members} models at a time, {self.threads} thread{'s' * (self.threads > 1)}: "
            f"{self.seconds_per_model:.3g} s a model on {self.device_name}"
        )


def calibrate(
    dataset: Dataset,
    recipe: Recipe,
    device: str = "cpu",
    *,
    dtype: str = "float32",
    arithmetic: str = "",
    ways: tuple[str, ...] | None = None,
    members: int | None = None,
    max_members: int | None = None,
    threads: int = 1,
    seconds: float = 3.0,
    cache: Path | None = None,
) -> Calibration:
    """Time the ways of training this recipe on `device`, or read from the cache what was found before.

    arithmetic: `bfloat16` or `float16` for products in that type. ways, members: try only these. max_members: the
    largest K of use (a shard's size). threads: that one worker may use; one is tried, and all of them. seconds: stop
    beginning trials after so long; the first is always made. cache: folder of the files, the user's by default.

    Raises TrainingInputError for a device, type or way that does not exist and a data set the recipe cannot train on.
    """
    from training.engine import check_device  # imports torch

    began = time.perf_counter()
    check_device(device)
    name = device_name(device)
    given = (dtype, arithmetic, ways, members, max_members, threads)
    path = (cache or cache_folder()) / f"calibration-{_key(name, dataset, recipe, given)}.json"
    trials = _read(path)
    cached = trials is not None
    if trials is None:
        asked = _Asked(dataset, recipe, device, dtype, arithmetic, ways, members, max_members, threads)
        trials = tuple(_trials(asked, time.perf_counter() + seconds))
        _write(path, trials, about={"device": name, "recipe": asdict(recipe)})
    best = min(trials, key=lambda trial: trial.seconds_per_model(dataset, recipe))
    return Calibration(
        way=best.way,
        members=best.members,
        threads=best.threads,
        seconds_per_model=best.seconds_per_model(dataset, recipe),
        device=device,
        device_name=name,
        trials=trials,
        cached=cached,
        seconds=time.perf_counter() - began,
    )


def device_name(device: str) -> str:
    """The processor's or the GPU's own name."""
    import torch

    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor() or platform.machine()}"


# --- trials --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    dataset: Dataset
    recipe: Recipe
    device: str
    dtype: str
    arithmetic: str
    ways: tuple[str, ...] | None
    members: int | None
    max_members: int | None
    threads: int

    def candidates(self) -> tuple[str, ...]:
        """Ways to try, most promising first."""
        if self.ways is not None:
            return self.ways
        suffix = f"+{self.arithmetic}" if self.arithmetic else ""
        if self.device == "cpu":
            on_cpu = ("grouped", "grouped+channels_last", "batched")
            return (*(() if suffix else ("native",)), *(way + suffix for way in on_cpu))
        on_gpu = ("grouped+channels_last", "grouped", "batched", "vmap+channels_last")
        return tuple(way + suffix for way in on_gpu)

    def ladder(self) -> list[int]:
        """Numbers of members to try, doubling."""
        if self.members is not None:
            return [self.members]
        most = self.max_members or (32 if self.device == "cpu" else 1024)
        steps = [FIRST_MEMBERS["cpu" if self.device == "cpu" else "cuda"] * 2**power for power in range(12)]
        return [min(steps[0], most)] + [step for step in steps[1:] if step <= most]


def _trials(asked: _Asked, deadline: float) -> Iterator[Trial]:
    """Trials until the deadline: each way with more and more members while that helps, the best way with more threads,
    and compiled where there is time for it."""
    import torch

    found: list[Trial] = []

    def cost(trial: Trial) -> float:
        return trial.seconds_per_model(asked.dataset, asked.recipe)

    def left() -> bool:
        return not found or time.perf_counter() < deadline

    threads_before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        for way in asked.candidates():
            previous = float("inf")
            for members in asked.ladder() if not way.startswith("native") else asked.ladder()[-1:]:
                trial = _try(asked, way, members, 1, deadline) if left() else None
                if trial is None or trial in found:
                    break
                found.append(trial)
                if cost(trial) > WORTH_IT * previous:
                    break
                previous = cost(trial)
        best = min(found, key=cost)
        if asked.ways is None and asked.device != "cpu" and deadline - time.perf_counter() > SECONDS_FOR_COMPILING:
            name, _, arithmetic = best.way.partition(f"+{asked.arithmetic}") if asked.arithmetic else (best.way, "", "")
            compiled = f"{name}+compiled" + (f"+{asked.arithmetic}" if asked.arithmetic else "")
            found += filter(None, [_try(asked, compiled, best.members, 1, deadline)])
        if asked.threads > 1 and asked.device == "cpu" and left():
            torch.set_num_threads(asked.threads)
            found += filter(None, [_try(asked, best.way, best.members, asked.threads, deadline)])
    finally:
        torch.set_num_threads(threads_before)
    yield from found


def _try(asked: _Asked, way: str, members: int, threads: int, deadline: float) -> Trial | None:
    """One trial; None where the way cannot be had or K members do not fit the memory."""
    from training.engine import make_engine
    from training.retrain import is_out_of_memory

    engine = make_engine(
        _few_examples(asked.dataset, asked.recipe), asked.recipe, device=asked.device, dtype=asked.dtype, way=way
    )
    if str(engine.way) != way:
        return None
    clock = time.process_time if asked.device == "cpu" and threads == 1 else time.perf_counter
    n_train = len(engine.evaluated[0][0])
    present = np.random.default_rng(0).random((members, n_train)) < ALPHA_OF_TRIALS
    present[:, 0] = True

    def run(n_steps: int) -> float:
        """Seconds of so many steps, and of evaluating as well."""
        engine.n_steps = n_steps
        shown = present if n_steps else np.zeros_like(present)
        began = clock()
        engine.train(shown, list(range(members)))
        return clock() - began

    try:
        run(1)  # loads kernels
        evaluation = run(0)
        wall = time.perf_counter()
        few = run(FEW_STEPS)
        wall = (time.perf_counter() - wall) / FEW_STEPS
        n_steps = FEW_STEPS + int(min(20, max(2, (deadline - time.perf_counter()) / 8 / wall)))
        many = run(n_steps)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        LOG.info("calibration: %s with %d models does not fit the memory", way, members)
        return None
    # The difference of two runs, so that what comes before the first step is not taken for steps; a disturbance of the
    # first must not make steps free.
    step = max((many - few) / (n_steps - FEW_STEPS), 0.1 * many / n_steps)
    start = max(few - evaluation - FEW_STEPS * step, 0.0)
    evaluation /= n_train + EVALUATED
    trial = Trial(way, members, threads, start / members, step / members, evaluation / members)
    LOG.info(
        "calibration: %s, %d models, %d thread%s: %.3g s a model",
        way, members, threads, "s" * (threads > 1), trial.seconds_per_model(asked.dataset, asked.recipe),
    )
    return trial


def _few_examples(dataset: Dataset, recipe: Recipe) -> Dataset:
    """Two batches to train on and `EVALUATED` examples as targets: a step costs what it costs on the whole set."""
    rows = np.arange(min(len(dataset.train), 2 * recipe.batch_size))
    again = np.arange(EVALUATED) % len(dataset.train)
    return replace(
        dataset,
        train=dataset.train.take(rows),
        targets=dataset.train.take(again),
        audit=dataset.train.take(rows[:0]),
        players=np.arange(len(rows)),
        player_names=tuple(map(str, rows)),
    )


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
        LOG.warning("the calibration in %s cannot be read (%s): measuring again", path, error)
        return None


def _write(path: Path, trials: tuple[Trial, ...], about: dict[str, Any]) -> None:
    content = {**about, "trials": [asdict(trial) for trial in trials]}
    try:
        write_atomically(path, json.dumps(content, indent=1).encode())
    except OSError as error:
        LOG.info("the calibration is not kept: %s", error)
