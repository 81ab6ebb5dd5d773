"""A bounded, streaming map over a cluster that loses nothing and counts nothing twice.

At most `window` units are in flight, and the window follows the cluster as it grows and shrinks. A unit whose process
or node died is submitted again, by us and not by Ray, so that every new try is seen and logged. One whose process died
more often than `max_retries` allows is set aside and tried once more at the end, alone: the cause may have been the
others beside it (memory), or chance. When all units are submitted and slots idle, units that take much longer than
the others get one copy each, on the fastest node; the first result counts, the other copy is cancelled and its result
never looked at.
"""

from __future__ import annotations

import logging
import statistics
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

LOG = logging.getLogger("coterie")
LOOK_EVERY_SECONDS = 2.0  # how often the size of the cluster is asked for
WARN_AFTER_SECONDS = 30.0  # without any node that could take a unit
NODE_LOSSES = 20  # tries after the loss of a node, which says nothing about the unit
STRAGGLER_FACTOR = 2.0  # a unit in flight for so many typical durations gets a copy
STRAGGLER_SECONDS = 1.0  # and at least for this long
HANDED_OVER_SECONDS = 0.3  # after it was submitted a task runs, or waits for a worker


@dataclass(frozen=True)
class Resources:
    """What one unit of work asks of Ray."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int | None = None
    max_retries: int = 3

    def options(self) -> dict[str, Any]:
        """The same as keyword arguments of ray.remote; retries are ours, not Ray's."""
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_retries": 0}
        return options if self.memory_bytes is None else {**options, "memory": self.memory_bytes}

    def slots_of(self, offered: dict[str, float]) -> int:
        """Units that fit on a node at a time, given its resources."""
        fits = [offered.get("CPU", 0.0) / self.cpus] if self.cpus else []
        if self.gpus >= 1:
            fits.append(offered.get("GPU", 0.0) // self.gpus)
        elif self.gpus:
            fits.append(offered.get("GPU", 0.0) * int(1 / self.gpus + 1e-9))  # parts of one GPU, never across two
        if self.memory_bytes:
            fits.append(offered.get("memory", 0.0) / self.memory_bytes)
        return int(min(fits) + 1e-9) if fits else 1

    def __str__(self) -> str:
        parts = [f"{self.cpus:g} CPU"] + ([f"{self.gpus:g} GPU"] if self.gpus else [])
        return ", ".join(parts + ([f"{self.memory_bytes / 2**30:.1f} GiB"] if self.memory_bytes else []))


@dataclass(frozen=True)
class Outcome:
    """A unit that has ended: its place in the order of units, and its value or the reason it failed.

    log: the traceback, or what Ray said of every try; attempts: how often it was submitted, copies not counted;
    seconds and host: of the try that counted.
    """

    index: int
    value: Any
    error: str | None
    log: str = ""
    attempts: int = 1
    seconds: float = float("nan")
    host: str = ""


@dataclass
class _Unit:
    index: int
    content: Any
    refs: list[Any] = field(default_factory=list)
    since: float = 0.0
    attempts: int = 0
    deaths: int = 0
    losses: int = 0
    last_chance: bool = False
    log: list[str] = field(default_factory=list)


def run_unit(
    function: Callable[[Any, Any], Any], shared: Any, content: Any
) -> tuple[Any, str | None, str, float, str, str]:
    """On a node: (value, error, log, seconds, host, node id). An exception becomes an error, with its traceback."""
    import socket

    import ray

    began, value, error, log = time.monotonic(), None, None, ""
    host, node = socket.gethostname(), ray.get_runtime_context().get_node_id()
    try:
        value = function(shared, content)
    except Exception as fault:  # whatever it is: the unit's row says so, and the other units go on
        error = f"{type(fault).__name__}: {fault}".strip().splitlines()[0]
        log = f"host {host}, node {node}\n{traceback.format_exc()}"
    return value, error, log, time.monotonic() - began, host, node


@contextmanager
def _signals_as_they_are() -> Iterator[None]:
    """Ray's compiled code turns what a signal's handler raises into SystemError: raise that again, so that whoever
    asked for the end (Prefect's SIGTERM, Ctrl-C) sees it as one."""
    try:
        yield
    except SystemError as error:
        cause = error.__cause__
        if cause is not None and not isinstance(cause, Exception):
            raise cause from None
        raise


class StreamingMap:
    """One map over one cluster. Iterate over it once."""

    def __init__(
        self,
        function: Callable[[Any, Any], Any],
        shared_ref: Any,
        units: Iterable[Any],
        resources: Resources,
        *,
        window: int | None = None,
        on_retry: Callable[[int, str], None] | None = None,
    ) -> None:
        import ray

        self._ray = ray
        self._function, self._shared, self._resources = function, shared_ref, resources
        self._remote = ray.remote(**resources.options())(run_unit)
        self._waiting = iter(enumerate(units))
        self._exhausted = False
        self._fixed_window = window
        self._on_retry = on_retry or (lambda index, why: None)
        self._by_ref: dict[Any, _Unit] = {}
        self._submitted: dict[Any, float] = {}
        self._in_flight: dict[int, _Unit] = {}
        self._seconds: deque[float] = deque(maxlen=200)
        self._by_node: dict[str, deque[float]] = {}
        self._set_aside: deque[_Unit] = deque()
        self._slots, self._looked = 1, -1e9
        self._nothing_since: float | None = None
        self._alive: set[str] = set()
        self.copies = 0

    # --- the cluster's size ----------------------------------------------------------------------------------

    @property
    def slots(self) -> int:
        """Units the cluster can run at a time, as of the last look."""
        return self._slots

    def look(self) -> int:
        """Ask for the nodes; units that can run at a time now (0 while no node could take one)."""
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        self._alive = {node["NodeID"] for node in nodes}
        self._slots = sum(self._resources.slots_of(node["Resources"]) for node in nodes)
        self._looked = time.monotonic()
        if self._slots:
            self._nothing_since = None
        elif self._nothing_since is None:
            self._nothing_since = self._looked
        elif self._looked - self._nothing_since > WARN_AFTER_SECONDS:
            self._nothing_since = self._looked
            LOG.warning("no node can take a unit of work (it asks for %s); waiting for one to join", self._resources)
        return self._slots

    @property
    def _window(self) -> int:
        # Twice the slots, so that no worker idles while the driver writes; two where there is no node yet, because
        # what is queued is what an autoscaler sees.
        return self._fixed_window or 2 * max(1, self._slots)

    # --- submitting ------------------------------------------------------------------------------------------

    def _submit(self, unit: _Unit, node: str | None = None) -> None:
        remote = self._remote
        if node is not None:
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            there = NodeAffinitySchedulingStrategy(node, soft=True, _spill_on_unavailable=True)
            remote = remote.options(scheduling_strategy=there)
        ref = remote.remote(self._function, self._shared, unit.content)
        unit.refs.append(ref)
        unit.since = time.monotonic()
        self._by_ref[ref] = unit
        self._submitted[ref] = unit.since
        self._in_flight[unit.index] = unit

    def _fill(self) -> None:
        while not self._exhausted and len(self._by_ref) < self._window:
            item = next(self._waiting, None)
            if item is None:
                self._exhausted = True
                return
            unit = _Unit(item[0], item[1], attempts=1)
            self._submit(unit)

    def _copy_stragglers(self) -> None:
        idle = self._slots - len(self._by_ref)
        if not self._exhausted or idle <= 0 or not self._seconds:
            return
        patience = max(STRAGGLER_SECONDS, STRAGGLER_FACTOR * statistics.median(self._seconds))
        now = time.monotonic()
        late = [unit for unit in self._in_flight.values() if len(unit.refs) == 1 and now - unit.since > patience]
        for unit in sorted(late, key=lambda unit: unit.since)[:idle]:
            began = unit.since
            self._submit(unit, self._fastest_node())
            unit.since = began
            self.copies += 1

    def _fastest_node(self) -> str | None:
        known = {node: statistics.median(seconds) for node, seconds in self._by_node.items() if node in self._alive}
        return min(known, key=lambda node: known[node]) if known else None

    # --- collecting ------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Outcome]:
        try:
            self.look()
            while True:
                if time.monotonic() - self._looked > LOOK_EVERY_SECONDS:
                    self.look()
                self._fill()
                if not self._by_ref and self._set_aside:
                    self._submit(self._set_aside.popleft())
                if not self._by_ref:
                    return
                self._copy_stragglers()
                with _signals_as_they_are():
                    ready, _ = self._ray.wait(list(self._by_ref), num_returns=1, timeout=min(1.0, LOOK_EVERY_SECONDS))
                for ref in ready:
                    outcome = self._collect(ref)
                    if outcome is not None:
                        yield outcome
        finally:
            self._cancel(self._by_ref)

    def _collect(self, ref: Any) -> Outcome | None:
        """The outcome of a unit whose try has ended; None when it is tried again or another copy still runs."""
        unit = self._by_ref.pop(ref)
        del self._submitted[ref]
        unit.refs.remove(ref)
        errors = self._ray.exceptions
        try:
            value, error, log, seconds, host, node = self._ray.get(ref)
        except errors.RayError as fault:
            return self._lost(unit, fault)
        if error is None:
            self._seconds.append(seconds)
            self._by_node.setdefault(node, deque(maxlen=50)).append(seconds)
        self._drop(unit)
        return Outcome(unit.index, value, error, "\n".join([*unit.log, log]), unit.attempts, seconds, host)

    def _lost(self, unit: _Unit, fault: Exception) -> Outcome | None:
        """A process, a node or an object is gone: try again unless that has happened too often."""
        errors = self._ray.exceptions
        why = f"{type(fault).__name__}: {(str(fault).strip().splitlines() or [''])[0]}"
        unit.log.append(f"try {unit.attempts}: {type(fault).__name__}: {fault}")
        if unit.refs:  # its copy still runs
            return None
        if isinstance(fault, (errors.NodeDiedError, errors.ObjectLostError, errors.LocalRayletDiedError)):
            unit.losses += 1
        else:
            unit.deaths += 1
        hopeless = isinstance(fault, (errors.RuntimeEnvSetupError, errors.TaskUnschedulableError))
        if hopeless or unit.deaths > self._resources.max_retries or unit.losses > NODE_LOSSES:
            self._drop(unit)
            # Where nothing has ever succeeded the fault is general: that is said at once.
            if not hopeless and unit.deaths and self._seconds and not unit.last_chance:
                unit.last_chance = True
                unit.attempts += 1
                self._on_retry(unit.index, f"{why}; once more at the end, alone")
                self._set_aside.append(unit)
                return None
            return Outcome(unit.index, None, why, "\n".join(unit.log), unit.attempts)
        self._on_retry(unit.index, why)
        unit.attempts += 1
        self._submit(unit)
        return None

    def _drop(self, unit: _Unit) -> None:
        """The unit has ended: other copies of it are cancelled, and nothing of it is kept."""
        self._in_flight.pop(unit.index, None)
        for ref in unit.refs:
            self._by_ref.pop(ref, None)
        self._cancel(unit.refs)
        unit.refs.clear()

    def _cancel(self, refs: Iterable[Any]) -> None:
        """Cancel tasks, the youngest first: to end a running one hands its worker to one that waits.

        Ray 2.60 aborts this process ("Tried to complete task that was not pending") when a task is cancelled while it
        is handed to a worker, so that one submitted a moment ago is left that moment.
        """
        tasks = list(refs)
        youngest = max((self._submitted.pop(ref, 0.0) for ref in tasks), default=0.0)
        time.sleep(max(0.0, youngest + HANDED_OVER_SECONDS - time.monotonic()))
        for ref in reversed(tasks):
            # force: a task inside a long C call does not see a gentle cancellation.
            self._ray.cancel(ref, force=True)
