"""Timing ways of training against one another: a few steps and an evaluation of each, those close to the best again.

On a CPU others may be at work. What counts is processor time, spent by a budget of processor time, and of repeated
measurements taken in turns the lowest (benchmarks/retraining.md, "Calibration beside other programs").
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from training.data.dataset import Dataset
from training.errors import TrainingInputError
from training.recipe import Recipe

if TYPE_CHECKING:
    from training.engine.engine import Engine

LOG = logging.getLogger("coterie")
EVALUATED = 128  # targets of a trial
ALPHA_OF_TRIALS = 0.5
FEW_STEPS = 2
HURTS = 1.1  # a way that more members make slower by this much is tried with no more
FAR = 3.0  # nor is one that is slower than the best by this much
CLOSE = 1.25  # what is within this of the best is timed again
TURNS = 2  # so often, the lowest time counting
KEPT_FOR_TURNS = 0.3  # share of the seconds
CLOCK_PER_SECOND = 5.0  # by the clock, for one of processor time, before a busy CPU ends the trials
SECONDS_FOR_COMPILING = 60.0  # torch.compile is tried where a calibration may take this long
FIRST_MEMBERS = {"cpu": 8, "cuda": 32}
LADDER = {"cpu": 4, "cuda": 2}  # so many times as many members next


@dataclass(frozen=True)
class Trial:
    """What was timed. start_seconds: one model's initial weights and order; step_seconds: one optimiser step of one
    model; evaluation_seconds: one example by one model.

    Seconds are processor time for one thread of a CPU, where others may be at work, and wall time elsewhere.
    """

    mode: str
    ensemble_size: int
    threads: int
    start_seconds: float
    step_seconds: float
    evaluation_seconds: float

    def seconds_per_model(self, dataset: Dataset, recipe: Recipe) -> float:
        """Time of one model of this data set: all its steps and the evaluation of all three parts."""
        n_evaluated = (len(dataset.train) + len(dataset.targets) + len(dataset.audit)) * (1 + recipe.flip_at_test)
        steps = recipe.steps(len(dataset.train)) * self.step_seconds
        return self.start_seconds + steps + n_evaluated * self.evaluation_seconds

    def told(self, dataset: Dataset, recipe: Recipe) -> str:
        """A line for people."""
        return (
            f"{self.mode}, {self.ensemble_size} models, {self.threads} thread{'s' * (self.threads > 1)}: "
            f"{self.seconds_per_model(dataset, recipe):.3g} s a model"
        )


@dataclass(frozen=True)
class Asked:
    """What `training.calibration.calibrate.calibrate` was asked."""

    dataset: Dataset
    recipe: Recipe
    device: str
    dtype: str
    arithmetic: str
    modes: tuple[str, ...] | None
    ensemble_size: int | None
    max_ensemble_size: int | None
    threads: int

    def candidates(self) -> tuple[str, ...]:
        """Ways to try, most promising first."""
        if self.modes is not None:
            return self.modes
        suffix = f"+{self.arithmetic}" if self.arithmetic else ""
        if self.device == "cpu":
            on_cpu = ("grouped", "grouped+channels_last", "batched")
            return (*(() if suffix else ("native",)), *(mode + suffix for mode in on_cpu))
        on_gpu = ("grouped+channels_last", "grouped", "batched", "vmap+channels_last")
        return tuple(mode + suffix for mode in on_gpu)

    def ladder(self) -> list[int]:
        """Numbers of members to try, growing."""
        if self.ensemble_size is not None:
            return [self.ensemble_size]
        kind = "cpu" if self.device == "cpu" else "cuda"
        most = self.max_ensemble_size or (32 if kind == "cpu" else 1024)
        steps = [FIRST_MEMBERS[kind] * LADDER[kind] ** power for power in range(12)]
        return [min(steps[0], most)] + [step for step in steps[1:] if step <= most]


class Budget:
    """Seconds to spend: processor time on a CPU, where others may be at work, unless that takes more than
    `CLOCK_PER_SECOND` times as long by the clock; time by the clock elsewhere."""

    def __init__(self, seconds: float, on_cpu: bool) -> None:
        self.seconds, self.on_cpu = seconds, on_cpu
        self.clock, self.processor = time.perf_counter(), time.process_time()

    def left(self) -> float:
        by_clock = time.perf_counter() - self.clock
        if not self.on_cpu:
            return self.seconds - by_clock
        used = max(time.process_time() - self.processor, by_clock / CLOCK_PER_SECOND)
        return self.seconds - used


def trials_of(asked: Asked, seconds: float) -> Iterator[Trial]:
    """Each way with more and more members while that does not hurt; those close to the best again, in turns; the best
    with more threads, and compiled where there is time for it."""
    import torch

    found: list[Candidate] = []
    budget = Budget(seconds, asked.device == "cpu")

    def cost(candidate: Candidate) -> float:
        return candidate.trial().seconds_per_model(asked.dataset, asked.recipe)

    def add(mode: str, ensemble_size: int, threads: int) -> Candidate | None:
        made = _candidate(asked, mode, ensemble_size, threads)
        if made is None or not made.measure(budget):
            return None
        found.append(made)
        LOG.info("calibration: %s", made.trial().told(asked.dataset, asked.recipe))
        return made

    threads_before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        for mode in asked.candidates():
            own_best = float("inf")
            for ensemble_size in asked.ladder() if not mode.startswith("native") else asked.ladder()[-1:]:
                if found and budget.left() < KEPT_FOR_TURNS * seconds:
                    break
                made = add(mode, ensemble_size, 1)
                if made is None or cost(made) > min(HURTS * own_best, FAR * min(map(cost, found))):
                    break
                own_best = min(own_best, cost(made))
        if not found:
            raise TrainingInputError(
                f"none of the ways {', '.join(asked.candidates())} can be had here on {asked.device!r}; the log says "
                "why. Give others, or compute.mode=auto."
            )
        _in_turns(found, cost, budget)
        best = min(found, key=cost)
        if asked.modes is None and asked.device != "cpu" and budget.left() > SECONDS_FOR_COMPILING:
            name, _, arithmetic = (
                best.mode.partition(f"+{asked.arithmetic}") if asked.arithmetic else (best.mode, "", "")
            )
            compiled = f"{name}+compiled" + (f"+{asked.arithmetic}" if asked.arithmetic else "")
            add(compiled, best.ensemble_size, 1)
        if asked.threads > 1 and asked.device == "cpu" and budget.left() > 0:
            torch.set_num_threads(asked.threads)
            add(best.mode, best.ensemble_size, asked.threads)
    finally:
        torch.set_num_threads(threads_before)
    yield from (candidate.trial() for candidate in found)


def _in_turns(found: list[Candidate], cost: Callable[[Candidate], float], budget: Budget) -> None:
    """Time those close to the best again, one after the other: what disturbed one of them is not its cost."""
    for _ in range(TURNS):
        close = [candidate for candidate in found if cost(candidate) <= CLOSE * min(map(cost, found))]
        for candidate in close:
            if budget.left() <= 0:
                return
            candidate.measure(budget)


class Candidate:
    """One way with K members, ready to be timed again; of every part the lowest time counts."""

    def __init__(self, engine: Engine, mode: str, ensemble_size: int, threads: int) -> None:
        self.engine, self.mode, self.ensemble_size, self.threads = engine, mode, ensemble_size, threads
        self.clock = time.process_time if engine.device.type == "cpu" and threads == 1 else time.perf_counter
        self.n_train = len(engine.evaluated[0][0])
        self.present = np.random.default_rng(0).random((ensemble_size, self.n_train)) < ALPHA_OF_TRIALS
        self.present[:, 0] = True
        self.lowest: dict[int, float] = {}  # seconds by the number of steps; 0: of evaluating alone
        self.n_steps = 0

    def measure(self, budget: Budget) -> bool:
        """Time evaluating, a few steps and many; False where K members do not fit the memory."""
        from training.retrain import is_out_of_memory

        try:
            if not self.lowest:
                self._run(1)  # loads kernels
            self._time(0)
            self._time(FEW_STEPS)
            if not self.n_steps:
                step = self.lowest[FEW_STEPS] / FEW_STEPS
                self.n_steps = FEW_STEPS + int(min(20, max(2, budget.left() / 8 / max(step, 1e-9))))
            self._time(self.n_steps)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            LOG.info("calibration: %s with %d models does not fit the memory", self.mode, self.ensemble_size)
            return False
        return True

    def trial(self) -> Trial:
        """The difference of two runs, so that what comes before the first step is not taken for steps; a disturbance of
        the shorter must not make steps free."""
        few, many = self.lowest[FEW_STEPS], self.lowest[self.n_steps]
        step = max((many - few) / (self.n_steps - FEW_STEPS), 0.1 * many / self.n_steps)
        start = max(few - self.lowest[0] - FEW_STEPS * step, 0.0)
        evaluation = self.lowest[0] / (self.n_train + EVALUATED)
        k = self.ensemble_size
        return Trial(self.mode, k, self.threads, start / k, step / k, evaluation / k)

    def _time(self, n_steps: int) -> None:
        self.lowest[n_steps] = min(self._run(n_steps), self.lowest.get(n_steps, float("inf")))

    def _run(self, n_steps: int) -> float:
        """Seconds of so many steps, and of evaluating as well."""
        self.engine.n_steps = n_steps
        shown = self.present if n_steps else np.zeros_like(self.present)
        began = self.clock()
        self.engine.train(shown, list(range(self.ensemble_size)))
        return self.clock() - began


def _candidate(asked: Asked, mode: str, ensemble_size: int, threads: int) -> Candidate | None:
    """None where the way cannot be had."""
    from training.engine.factory import make_engine

    engine = make_engine(
        _few_examples(asked.dataset, asked.recipe), asked.recipe, device=asked.device, dtype=asked.dtype, mode=mode
    )
    return Candidate(engine, mode, ensemble_size, threads) if str(engine.mode) == mode else None


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
