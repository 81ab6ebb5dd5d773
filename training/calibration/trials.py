"""Time execution modes against one another: a few steps and an evaluation of each, the fastest ones repeatedly.

On a CPU other programs may be running. So processor time is measured, within a budget of processor time, and of
repeated timings the lowest counts (benchmarks/retraining.md, "Calibration beside other programs").
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
MAX_SLOWDOWN = 1.1  # a mode is tried with no more models once more of them cost this much more a model
ABANDON_RATIO = 3.0  # nor once it costs this much more than the fastest mode
RETIME_RATIO = 1.25  # modes within this much of the fastest are timed again
RETIME_ROUNDS = 2  # this often
RETIME_BUDGET_SHARE = 0.3  # share of the seconds kept for that
CLOCK_PER_SECOND = 5.0  # wall time for one second of processor time before a busy CPU ends the trials
SECONDS_FOR_COMPILING = 60.0  # torch.compile is tried where a calibration has this much time left
FIRST_ENSEMBLE_SIZE = {"cpu": 8, "cuda": 32}
ENSEMBLE_GROWTH = {"cpu": 4, "cuda": 2}  # factor from one ensemble size to the next


@dataclass(frozen=True)
class Trial:
    """The timing of one execution mode with one ensemble size.

    Parameters
    ----------
    mode : str
        Execution mode, see `training.engine.modes`.
    ensemble_size : int
        Networks trained together (K).
    threads : int
        Threads of the worker.
    start_seconds : float
        One model's initial weights and order.
    step_seconds : float
        One optimiser step of one model.
    evaluation_seconds : float
        One example evaluated by one model.

    Notes
    -----
    Seconds are processor time for one thread of a CPU, where other programs may be running, and wall time elsewhere.

    Examples
    --------
    >>> from training import Recipe, load_dataset
    >>> trial = Trial("grouped", 8, 1, start_seconds=0.01, step_seconds=0.002, evaluation_seconds=1e-5)
    >>> trial.summary(load_dataset("digits"), Recipe())
    'grouped, 8 models, 1 thread: 0.14 s a model'
    """

    mode: str
    ensemble_size: int
    threads: int
    start_seconds: float
    step_seconds: float
    evaluation_seconds: float

    def seconds_per_model(self, dataset: Dataset, recipe: Recipe) -> float:
        """Return the seconds of one model of this data set: all steps and the evaluation of all three parts."""
        n_evaluated = (len(dataset.train) + len(dataset.targets) + len(dataset.audit)) * (1 + recipe.flip_at_test)
        steps = recipe.steps(len(dataset.train)) * self.step_seconds
        return self.start_seconds + steps + n_evaluated * self.evaluation_seconds

    def summary(self, dataset: Dataset, recipe: Recipe) -> str:
        """Return one line for the log."""
        return (
            f"{self.mode}, {self.ensemble_size} models, {self.threads} thread{'s' * (self.threads > 1)}: "
            f"{self.seconds_per_model(dataset, recipe):.3g} s a model"
        )


@dataclass(frozen=True)
class CalibrationRequest:
    """The arguments of `training.calibration.calibrate.calibrate` that decide what is timed."""

    dataset: Dataset
    recipe: Recipe
    device: str
    dtype: str
    arithmetic: str
    modes: tuple[str, ...] | None
    ensemble_size: int | None
    max_ensemble_size: int | None
    threads: int

    def modes_to_try(self) -> tuple[str, ...]:
        """Return execution modes, the most promising first."""
        if self.modes is not None:
            return self.modes
        suffix = f"+{self.arithmetic}" if self.arithmetic else ""
        if self.device == "cpu":
            on_cpu = ("grouped", "grouped+channels_last", "batched")
            return (*(() if suffix else ("native",)), *(mode + suffix for mode in on_cpu))
        on_gpu = ("grouped+channels_last", "grouped", "batched", "vmap+channels_last")
        return tuple(mode + suffix for mode in on_gpu)

    def ensemble_sizes(self) -> list[int]:
        """Return the ensemble sizes to try, in growing order."""
        if self.ensemble_size is not None:
            return [self.ensemble_size]
        kind = "cpu" if self.device == "cpu" else "cuda"
        most = self.max_ensemble_size or (32 if kind == "cpu" else 1024)
        steps = [FIRST_ENSEMBLE_SIZE[kind] * ENSEMBLE_GROWTH[kind] ** power for power in range(12)]
        return [min(steps[0], most)] + [step for step in steps[1:] if step <= most]


class Budget:
    """Seconds to spend: processor time on a CPU, wall time elsewhere.

    Parameters
    ----------
    seconds : float
        The budget.
    on_cpu : bool
        Whether processor time counts. A second of it may take `CLOCK_PER_SECOND` seconds of wall time at most.
    """

    def __init__(self, seconds: float, on_cpu: bool) -> None:
        self.seconds, self.on_cpu = seconds, on_cpu
        self.clock, self.processor = time.perf_counter(), time.process_time()

    def left(self) -> float:
        """Return the seconds that are left; negative where the budget is exceeded."""
        by_clock = time.perf_counter() - self.clock
        if not self.on_cpu:
            return self.seconds - by_clock
        used = max(time.process_time() - self.processor, by_clock / CLOCK_PER_SECOND)
        return self.seconds - used


def trials_of(request: CalibrationRequest, seconds: float) -> Iterator[Trial]:
    """Time execution modes on this machine.

    Every mode is tried with growing ensemble sizes while these make it faster. Modes close to the fastest are timed
    again, in turns. The fastest is then tried with more threads and, where there is time, compiled.

    Parameters
    ----------
    request : CalibrationRequest
        What to time.
    seconds : float
        No trial is begun after so long; the first is always made.

    Yields
    ------
    Trial
        One for each mode and ensemble size.

    Raises
    ------
    TrainingInputError
        When no mode of the request can be used here.
    """
    import torch

    timed: list[TimedMode] = []
    budget = Budget(seconds, request.device == "cpu")

    def cost(one: TimedMode) -> float:
        return one.trial().seconds_per_model(request.dataset, request.recipe)

    def add(mode: str, ensemble_size: int, threads: int) -> TimedMode | None:
        made = _timed_mode(request, mode, ensemble_size, threads)
        if made is None or not made.measure(budget):
            return None
        timed.append(made)
        LOG.info("calibration: %s", made.trial().summary(request.dataset, request.recipe))
        return made

    threads_before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        for mode in request.modes_to_try():
            own_best = float("inf")
            sizes = request.ensemble_sizes()
            # A model of the mode native has no neighbours: its time does not depend on K.
            for ensemble_size in sizes[-1:] if mode.startswith("native") else sizes:
                if timed and budget.left() < RETIME_BUDGET_SHARE * seconds:
                    break
                made = add(mode, ensemble_size, 1)
                if made is None or cost(made) > min(MAX_SLOWDOWN * own_best, ABANDON_RATIO * min(map(cost, timed))):
                    break
                own_best = min(own_best, cost(made))
        if not timed:
            raise TrainingInputError(
                f"none of the execution modes {', '.join(request.modes_to_try())} can be used here on "
                f"{request.device!r}; the log has the reasons. Give other modes, or compute.mode=auto."
            )
        _retime(timed, cost, budget)
        best = min(timed, key=cost)
        if request.modes is None and request.device != "cpu" and budget.left() > SECONDS_FOR_COMPILING:
            name, _, arithmetic = (
                best.mode.partition(f"+{request.arithmetic}") if request.arithmetic else (best.mode, "", "")
            )
            compiled = f"{name}+compiled" + (f"+{request.arithmetic}" if request.arithmetic else "")
            add(compiled, best.ensemble_size, 1)
        if request.threads > 1 and request.device == "cpu" and budget.left() > 0:
            torch.set_num_threads(request.threads)
            add(best.mode, best.ensemble_size, request.threads)
    finally:
        torch.set_num_threads(threads_before)
    yield from (one.trial() for one in timed)


def _retime(timed: list[TimedMode], cost: Callable[[TimedMode], float], budget: Budget) -> None:
    """Time the modes close to the fastest again, in turns, so that a disturbance of one timing does not decide."""
    for _ in range(RETIME_ROUNDS):
        for close in [one for one in timed if cost(one) <= RETIME_RATIO * min(map(cost, timed))]:
            if budget.left() <= 0:
                return
            close.measure(budget)


class TimedMode:
    """One execution mode with one ensemble size, timed as often as needed; of every part the lowest time counts.

    Parameters
    ----------
    engine : Engine
        Trains a small data set in that mode.
    mode : str
        The mode's name.
    ensemble_size : int
        Networks trained together (K).
    threads : int
        Threads of the worker.
    """

    def __init__(self, engine: Engine, mode: str, ensemble_size: int, threads: int) -> None:
        self.engine, self.mode, self.ensemble_size, self.threads = engine, mode, ensemble_size, threads
        self.clock = time.process_time if engine.device.type == "cpu" and threads == 1 else time.perf_counter
        self.n_train = len(engine.evaluated[0][0])
        self.present = np.random.default_rng(0).random((ensemble_size, self.n_train)) < ALPHA_OF_TRIALS
        self.present[:, 0] = True
        self.lowest: dict[int, float] = {}  # seconds by the number of steps; 0: of evaluating alone
        self.n_steps = 0

    def measure(self, budget: Budget) -> bool:
        """Time an evaluation, a few steps and many steps; return False where K models do not fit the memory."""
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
        """Return the timing; raises KeyError before `measure`.

        A step costs the slope between a short and a long run, because that cancels the cost of starting. It is at least
        a tenth of the long run's mean step, so that a disturbance of the short run cannot make steps free.
        """
        few, many = self.lowest[FEW_STEPS], self.lowest[self.n_steps]
        step = max((many - few) / (self.n_steps - FEW_STEPS), 0.1 * many / self.n_steps)
        start = max(few - self.lowest[0] - FEW_STEPS * step, 0.0)
        evaluation = self.lowest[0] / (self.n_train + EVALUATED)
        k = self.ensemble_size
        return Trial(self.mode, k, self.threads, start / k, step / k, evaluation / k)

    def _time(self, n_steps: int) -> None:
        self.lowest[n_steps] = min(self._run(n_steps), self.lowest.get(n_steps, float("inf")))

    def _run(self, n_steps: int) -> float:
        """Seconds of so many steps and one evaluation."""
        self.engine.n_steps = n_steps
        shown = self.present if n_steps else np.zeros_like(self.present)
        began = self.clock()
        self.engine.train(shown, list(range(self.ensemble_size)))
        return self.clock() - began


def _timed_mode(request: CalibrationRequest, mode: str, ensemble_size: int, threads: int) -> TimedMode | None:
    """Build the mode's engine; None where the mode cannot be used here."""
    from training.engine.factory import make_engine

    dataset = _few_examples(request.dataset, request.recipe)
    engine = make_engine(dataset, request.recipe, device=request.device, dtype=request.dtype, mode=mode)
    return TimedMode(engine, mode, ensemble_size, threads) if str(engine.mode) == mode else None


def _few_examples(dataset: Dataset, recipe: Recipe) -> Dataset:
    """Two batches to train on and `EVALUATED` examples as targets; a step costs the same as on the whole set."""
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
