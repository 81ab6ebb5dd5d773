"""A bounded, streaming map over a cluster: every task has exactly one outcome.

At most `window` tasks are in flight, and the window follows the cluster as it grows and shrinks. A task whose process
or node died is submitted again, here and not by Ray, so that every retry is logged. A task whose process died more
often than `max_retries` allows is quarantined and tried once more at the end, alone: other tasks on its node may have
used up the memory.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

LOG = logging.getLogger("coterie")
REFRESH_SECONDS = 2.0  # between two queries of the cluster's nodes
WARN_AFTER_SECONDS = 30.0  # without any node that could take a task
MAX_NODE_FAILURES = 20  # retries after the loss of a node, which is no evidence against the task
HANDOVER_SECONDS = 0.3  # after it was submitted a task runs, or waits for a worker


@dataclass(frozen=True)
class Resources:
    """What one task asks of Ray.

    Parameters
    ----------
    cpus, gpus
        Cores and GPUs; a part of one GPU lets tasks share it.
    memory_bytes
        Memory that Ray reserves on a node, or None.
    max_retries
        Retries after the task's worker process died.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int | None = None
    max_retries: int = 3

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of ray.remote; Ray itself retries nothing.

        Returns
        -------
        dict
            num_cpus, num_gpus, max_retries (0), and memory in bytes where it is limited.
        """
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_retries": 0}
        return options if self.memory_bytes is None else {**options, "memory": self.memory_bytes}

    def slots_of(self, offered: dict[str, float]) -> int:
        """Compute the tasks that fit on a node at a time.

        Parameters
        ----------
        offered : dict of str to float
            The node's resources by Ray's names; memory in bytes.

        Returns
        -------
        int
        """
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
    """How a task ended.

    Parameters
    ----------
    index
        The task's place in the order of tasks.
    value, error
        What the task returned, or in one line why it failed (None when it succeeded).
    log
        The traceback, or what Ray reported of every try.
    attempts
        How often the task was submitted.
    seconds, host
        Wall time and machine of the try that counted.
    """

    index: int
    value: Any
    error: str | None
    log: str = ""
    attempts: int = 1
    seconds: float = float("nan")
    host: str = ""


@dataclass
class _Task:
    index: int
    content: Any
    attempts: int = 0
    worker_failures: int = 0
    node_failures: int = 0
    last_chance: bool = False
    log: list[str] = field(default_factory=list)


def run_task(
    function: Callable[[Any, Any], Any], shared: Any, content: Any
) -> tuple[Any, str | None, str, float, str]:
    """Run one task on a node. An exception becomes an error, with its traceback in the log.

    Parameters
    ----------
    function : callable
        Called as function(shared, content).
    shared : object
        What all tasks share.
    content : object
        The task.

    Returns
    -------
    value : object or None
        What the function returned.
    error : str or None
        One line; None for a task that succeeded.
    log : str
        Host, node and traceback of an error, else empty.
    seconds : float
    host : str
    """
    import socket

    import ray

    began, value, error, log = time.monotonic(), None, None, ""
    host = socket.gethostname()
    try:
        value = function(shared, content)
    except Exception as fault:  # whatever it is: the task's rows record it, and the other tasks go on
        error = f"{type(fault).__name__}: {fault}".strip().splitlines()[0]
        log = f"host {host}, node {ray.get_runtime_context().get_node_id()}\n{traceback.format_exc()}"
    return value, error, log, time.monotonic() - began, host


@contextmanager
def _signals_unwrapped() -> Iterator[None]:
    """Unwrap the SystemError that Ray puts around what a signal's handler raises, so that cancellation propagates."""
    try:
        yield
    except SystemError as error:
        cause = error.__cause__
        if cause is not None and not isinstance(cause, Exception):
            raise cause from None
        raise


class StreamingMap:
    """One map over one cluster; iterate over it once.

    Parameters
    ----------
    function
        Called on the nodes as function(shared, task).
    shared_ref
        Ray's reference to what all tasks share.
    tasks
        Read one by one, as the window allows.
    resources
        What each task asks of Ray.
    window
        Most tasks in flight; by default twice the slots.
    on_retry
        Called as on_retry(index, reason) when a task is submitted again.
    """

    def __init__(
        self,
        function: Callable[[Any, Any], Any],
        shared_ref: Any,
        tasks: Iterable[Any],
        resources: Resources,
        *,
        window: int | None = None,
        on_retry: Callable[[int, str], None] | None = None,
    ) -> None:
        import ray

        self._ray = ray
        self._function, self._shared_ref, self._resources = function, shared_ref, resources
        self._remote = ray.remote(**resources.options())(run_task)
        self._waiting = iter(enumerate(tasks))
        self._exhausted = False
        self._fixed_window = window
        self._on_retry = on_retry or (lambda index, why: None)
        self._in_flight: dict[Any, _Task] = {}
        self._last_submitted = -1e9
        self._any_succeeded = False
        self._quarantined: deque[_Task] = deque()
        self._slots, self._refreshed = 1, -1e9
        self._nothing_since: float | None = None

    # --- the cluster's size ----------------------------------------------------------------------------------

    @property
    def slots(self) -> int:
        """Tasks the cluster can run at a time, as of the last refresh."""
        return self._slots

    def refresh_nodes(self) -> int:
        """Query the nodes for their resources.

        Returns
        -------
        int
            Tasks that can run at a time now; 0 while no node could take one.
        """
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        self._slots = sum(self._resources.slots_of(node["Resources"]) for node in nodes)
        self._refreshed = time.monotonic()
        if self._slots:
            self._nothing_since = None
        elif self._nothing_since is None:
            self._nothing_since = self._refreshed
        elif self._refreshed - self._nothing_since > WARN_AFTER_SECONDS:
            self._nothing_since = self._refreshed
            LOG.warning("no node can take a task (it asks for %s); waiting for one to join", self._resources)
        return self._slots

    @property
    def _window(self) -> int:
        # Twice the slots, so that no worker idles while the driver writes; two where there is no node yet, because
        # an autoscaler reacts to queued tasks.
        return self._fixed_window or 2 * max(1, self._slots)

    # --- submitting ------------------------------------------------------------------------------------------

    def _submit(self, task: _Task) -> None:
        # Ray's dashboard and its logs list tasks by name.
        named = self._remote.options(name=f"{self._function.__name__} {task.index}")
        self._in_flight[named.remote(self._function, self._shared_ref, task.content)] = task
        self._last_submitted = time.monotonic()

    def _fill(self) -> None:
        while not self._exhausted and len(self._in_flight) < self._window:
            item = next(self._waiting, None)
            if item is None:
                self._exhausted = True
                return
            self._submit(_Task(item[0], item[1], attempts=1))

    # --- collecting ------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Outcome]:
        try:
            self.refresh_nodes()
            while True:
                if time.monotonic() - self._refreshed > REFRESH_SECONDS:
                    self.refresh_nodes()
                self._fill()
                if not self._in_flight and self._quarantined:
                    self._submit(self._quarantined.popleft())
                if not self._in_flight:
                    return
                with _signals_unwrapped():
                    ready, _ = self._ray.wait(list(self._in_flight), num_returns=1, timeout=min(1.0, REFRESH_SECONDS))
                for ref in ready:
                    outcome = self._collect(ref)
                    if outcome is not None:
                        yield outcome
        finally:
            if self._in_flight:
                self._cancel()

    def _collect(self, ref: Any) -> Outcome | None:
        """The outcome of a task whose try has ended; None when it is tried again."""
        task = self._in_flight.pop(ref)
        try:
            value, error, log, seconds, host = self._ray.get(ref)
        except self._ray.exceptions.RayError as fault:
            return self._retry_or_fail(task, fault)
        self._any_succeeded |= error is None
        return Outcome(task.index, value, error, "\n".join([*task.log, log]), task.attempts, seconds, host)

    def _retry_or_fail(self, task: _Task, fault: Exception) -> Outcome | None:
        """Submit a task again whose process, node or object was lost, unless that has happened too often."""
        errors = self._ray.exceptions
        why = f"{type(fault).__name__}: {(str(fault).strip().splitlines() or [''])[0]}"
        task.log.append(f"try {task.attempts}: {type(fault).__name__}: {fault}")
        if isinstance(fault, (errors.NodeDiedError, errors.ObjectLostError, errors.LocalRayletDiedError)):
            task.node_failures += 1
        else:
            task.worker_failures += 1
        hopeless = isinstance(fault, (errors.RuntimeEnvSetupError, errors.TaskUnschedulableError))
        spent = task.worker_failures > self._resources.max_retries or task.node_failures > MAX_NODE_FAILURES
        if hopeless or spent:
            # Where no task has succeeded yet the fault is not specific to this one: fail immediately.
            if not hopeless and task.worker_failures and self._any_succeeded and not task.last_chance:
                task.last_chance = True
                task.attempts += 1
                self._on_retry(task.index, f"{why}; once more at the end, alone")
                self._quarantined.append(task)
                return None
            return Outcome(task.index, None, why, "\n".join(task.log), task.attempts)
        self._on_retry(task.index, why)
        task.attempts += 1
        self._submit(task)
        return None

    def _cancel(self) -> None:
        """Cancel what is in flight when the map is left early, the youngest first.

        To end a running task hands its worker to one that waits. Ray 2.60 aborts this process ("Tried to complete task
        that was not pending") when a task is cancelled during that handover, so the last one submitted is given time.
        """
        time.sleep(max(0.0, self._last_submitted + HANDOVER_SECONDS - time.monotonic()))
        for ref in reversed(self._in_flight):
            # force: a task inside a long C call does not react to a gentle cancellation.
            self._ray.cancel(ref, force=True)
