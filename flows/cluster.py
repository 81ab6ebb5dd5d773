"""The only Ray code: a bounded, streaming, fault-tolerant map over a cluster.

Ray starts in this process, on 127.0.0.1 without dashboard, unless an address is given or RAY_ADDRESS is set; then
the three packages travel to the nodes with the job. What all units share (the data set) is put into the object store
once. At most `window` units are in flight, results come back as they finish, and Ray repeats a unit whose process
died. Nothing is shared through a disk.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.environment import WORKER_ENVIRONMENT, prepare
from flows.errors import CoterieError


class ClusterError(CoterieError):
    """The cluster cannot be reached, or every unit of work fails."""

    exit_code = 7


@dataclass(frozen=True)
class Resources:
    """What one unit of work asks of Ray."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int | None = None
    max_retries: int = 3

    def options(self) -> dict[str, Any]:
        """The same as keyword arguments of ray.remote."""
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_retries": self.max_retries}
        return options if self.memory_bytes is None else {**options, "memory": self.memory_bytes}


@dataclass(frozen=True)
class Outcome:
    """A unit that has ended: its place in the order of units, and its value or the reason it failed."""

    index: int
    value: Any
    error: str | None


class Cluster:
    """A connection to Ray. `start` may run in a thread while something else is waited for.

    address: a cluster's address; None means RAY_ADDRESS, or Ray inside this process.
    cpus: worker processes at a time when Ray runs here; None means every core this process may use.
    """

    def __init__(self, address: str | None = None, cpus: int | None = None) -> None:
        self.address = address or os.environ.get("RAY_ADDRESS") or "local"
        self.cpus = cpus or len(os.sched_getaffinity(0))
        self._lock = threading.Lock()
        self._started = False
        self._failure: BaseException | None = None
        self._in_background = False
        self._tried = threading.Event()
        self._stopped = threading.Event()
        self._owned = False
        self._warming: list[Any] = []

    @property
    def is_local(self) -> bool:
        return self.address == "local"

    # --- life ------------------------------------------------------------------------------------------------

    def start_in_background(self) -> None:
        """Begin to start Ray, and to import torch in its workers, without waiting."""
        threading.Thread(target=self._start_and_stay, name="ray-start", daemon=True).start()
        self._in_background = True

    def _start_and_stay(self) -> None:
        try:
            self._start_once()
        except Exception as error:  # handed to the caller of start(), which raises it
            self._failure = error
        finally:
            self._tried.set()
        # Ray's daemons ask the kernel to be killed when the thread that started them ends: stay until stop().
        self._stopped.wait()

    def start(self) -> float:
        """Return when Ray is ready; seconds spent waiting. Raises ClusterError when it cannot be reached."""
        began = time.monotonic()
        if self._in_background:
            self._tried.wait()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise ClusterError(f"Ray could not be started at {self.address!r}: {failure}") from failure
        try:
            self._start_once()
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise ClusterError(
                f"Ray could not be started at {self.address!r}: {error}. Check compute.ray_address (or RAY_ADDRESS) "
                "and that `ray status` answers there"
            ) from error
        return time.monotonic() - began

    def _start_once(self) -> None:
        with self._lock:
            if self._started:
                return
            prepare()
            if self.is_local:
                # Despite its name this is the switch, on every system, that binds Ray's daemons to 127.0.0.1.
                os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
            import ray

            # Its notices (a thread other than the main one, token authentication) ask nothing of the user.
            logging.getLogger("ray").setLevel(logging.ERROR)
            if ray.is_initialized():
                # A flow running inside a Ray job, or a test's own cluster: use it and leave it running.
                self._owned = False
            elif self.is_local:
                ray.init(
                    address="local",
                    num_cpus=self.cpus,
                    include_dashboard=False,
                    configure_logging=False,
                    log_to_driver=False,
                )
                self._owned = True
            else:
                ray.init(
                    address=self.address,
                    configure_logging=False,
                    log_to_driver=False,
                    runtime_env={"env_vars": WORKER_ENVIRONMENT, "py_modules": [str(p) for p in _packages()]},
                )
                self._owned = True
            self._started = True
            warm = ray.remote(num_cpus=1)(_import_torch)
            self._warming = [warm.remote() for _ in range(self.cpus)] if self.is_local else []

    def stop(self) -> None:
        """End Ray if it was started here."""
        if self._in_background:
            self._tried.wait()
        if self._started and self._owned:
            import ray

            ray.shutdown()
        self._started = False
        self._stopped.set()

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- work ------------------------------------------------------------------------------------------------

    def n_slots(self, resources: Resources) -> int:
        """Units that can run at a time now."""
        import ray

        total = ray.cluster_resources()
        slots = total.get("CPU", 1.0) / max(resources.cpus, 1e-9)
        if resources.gpus:
            slots = min(slots, total.get("GPU", 0.0) / resources.gpus)
        return max(1, int(slots))

    def map(
        self,
        function: Callable[[Any, Any], Any],
        shared: Any,
        units: Iterable[Any],
        resources: Resources = Resources(),
        window: int | None = None,
        on_start: Callable[[], None] | None = None,
    ) -> Iterator[Outcome]:
        """Run `function(shared, unit)` for every unit and yield outcomes in the order in which they finish.

        `function` is importable on the nodes and imports neither Prefect nor Ray. At most `window` units are in
        flight (twice the slots by default, so that no worker idles while the driver writes). `on_start` is called
        once, when the first unit is about to run. Leaving the iterator early cancels what is in flight.

        An exception inside a unit becomes an Outcome with an error; a process that died is repeated by Ray first.
        Raises ClusterError when the first units all fail, naming the reason, instead of failing one by one.
        """
        import ray

        self.start()
        remote = ray.remote(**resources.options())(function)
        shared_ref = ray.put(shared)
        if self._warming:
            ray.wait(self._warming, num_returns=1)
        if on_start is not None:
            on_start()
        slots = self.n_slots(resources)
        window = window or 2 * slots
        pending: dict[Any, int] = {}
        waiting = iter(enumerate(units))
        succeeded, failures = 0, []
        try:
            while True:
                while len(pending) < window and (item := next(waiting, None)) is not None:
                    pending[remote.remote(shared_ref, item[1])] = item[0]
                if not pending:
                    return
                ready, _ = ray.wait(list(pending), num_returns=1, timeout=1.0)
                for ref in ready:
                    index = pending.pop(ref)
                    outcome = _collect(ref, index)
                    succeeded += outcome.error is None
                    if outcome.error is not None:
                        failures.append(outcome.error)
                    yield outcome
                if not succeeded and len(failures) >= max(4, 2 * slots):
                    raise ClusterError(
                        f"the first {len(failures)} units of work all failed, so the rest was not tried. "
                        f"The first said: {failures[0]}"
                    )
        finally:
            for ref in pending:
                # force: a task inside a long C call does not see a gentle cancellation.
                ray.cancel(ref, force=True)


def _collect(ref: Any, index: int) -> Outcome:
    import ray

    try:
        return Outcome(index, ray.get(ref), None)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        return Outcome(index, None, f"{type(cause).__name__}: {cause}".splitlines()[0])
    except ray.exceptions.RayError as error:  # the worker or its node died more often than max_retries
        return Outcome(index, None, f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")


def _import_torch() -> None:
    """Pay for the import while something else is waited for."""
    import torch

    torch.set_num_threads(1)


def _packages() -> list[Path]:
    """Folders of the code the nodes need."""
    import attribution
    import conf
    import flows
    import training

    return [Path(package.__path__[0]) for package in (flows, training, attribution, conf)]


_session: Cluster | None = None


def start_session_in_background(address: str | None, cpus: int | None) -> Cluster:
    """Begin to start the process-wide cluster that every stage in this process then shares."""
    global _session
    if _session is None:
        _session = Cluster(address, cpus)
        _session.start_in_background()
    return _session


def stop_session() -> None:
    """End the process-wide cluster, if there is one."""
    global _session
    if _session is not None:
        _session.stop()
        _session = None


@contextmanager
def session(address: str | None, cpus: int | None) -> Iterator[Cluster]:
    """The process-wide cluster where there is one, else one of its own that ends with the block."""
    if _session is not None:
        yield _session
        return
    with Cluster(address, cpus) as cluster:
        yield cluster
