"""The connection to Ray; with compute/streaming_map.py, the map over it, the only Ray code.

Ray starts in this process, on 127.0.0.1, with a token and without dashboard, unless an address is given or RAY_ADDRESS
is set; then the packages travel to the nodes with the job. What all tasks share (the data set) is put into the object
store once. Nothing is shared through a disk.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.compute.streaming_map import Outcome, Resources, StreamingMap
from flows.errors import CoterieError
from flows.runtime.environment import WORKER_ENVIRONMENT, prepare, prepare_local_ray
from flows.runtime.preflight import short_temporary_folder

LOCAL_STARTS = 3
DASHBOARD = "COTERIE_RAY_DASHBOARD"  # set to anything: Ray's dashboard is started too, on this machine alone
REACH_SECONDS = 10.0  # to open a connection to a cluster's head


class ClusterError(CoterieError):
    """The cluster cannot be reached, or every task fails."""

    exit_code = 7


class Cluster:
    """A connection to Ray. `start` may run in a thread while something else is waited for.

    Parameters
    ----------
    address : str, optional
        A cluster's address; None means RAY_ADDRESS, or Ray inside this process.
    cpus : int, optional
        Worker processes at a time when Ray runs here; None means every core this process may use.
    modules : sequence of Path
        Further packages and modules that travel to the nodes: code of the user's own.
    """

    def __init__(
        self, address: str | None = None, cpus: int | None = None, modules: Sequence[Path] = ()
    ) -> None:
        self.modules = tuple(modules)
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
        """Whether Ray runs inside this process.

        Returns
        -------
        bool
        """
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
        """Return when Ray is ready.

        Returns
        -------
        float
            Seconds spent waiting.

        Raises
        ------
        ClusterError
            When Ray cannot be started or reached.
        """
        began = time.monotonic()
        if self._in_background:
            self._tried.wait()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise self._unreachable(failure) from failure
        try:
            self._start_once()
        except ClusterError:
            raise
        except Exception as error:  # Ray raises a bare Exception where its daemon misses the time limit
            raise self._unreachable(error) from error
        return time.monotonic() - began

    def _unreachable(self, error: BaseException) -> ClusterError:
        said = str(error).rstrip(". ")
        if self.is_local:
            return ClusterError(
                f"Ray could not be started on this machine: {said}. Run the command again when the machine is less "
                "busy; what exists is kept"
            )
        remedy = "Check compute.ray_address (or RAY_ADDRESS) and that `ray status` answers there"
        return ClusterError(f"Ray could not be started at {self.address!r}: {said}. {remedy}")

    def _start_once(self) -> None:
        with self._lock:
            if self._started:
                return
            prepare()
            if self.is_local:
                prepare_local_ray()
            import ray

            # Its notices (a thread other than the main one, token authentication) ask nothing of the user.
            logging.getLogger("ray").setLevel(logging.ERROR)
            if ray.is_initialized():
                # A flow running inside a Ray job, or a test's own cluster: use it and leave it running.
                self._owned = False
            elif self.is_local:
                self._init_local(ray)
                self._owned = True
            else:
                _check_listening(self.address)
                ray.init(
                    address=self.address,
                    configure_logging=False,
                    log_to_driver=False,
                    runtime_env={"env_vars": WORKER_ENVIRONMENT, "py_modules": self._travelling()},
                )
                self._owned = True
            self._started = True
            warm = ray.remote(num_cpus=1)(_load_training)
            self._warming = [warm.remote() for _ in range(self.cpus)] if self.is_local else []

    def _travelling(self) -> list[str]:
        """Our packages, and the user's own modules."""
        return [str(path) for path in (*_packages(), *self.modules)]

    def _init_local(self, ray: Any) -> None:
        """Start Ray in this process. On a busy machine its daemon misses Ray's own limit of 30 s: then once more."""
        for attempt in range(1, LOCAL_STARTS + 1):
            try:
                ray.init(
                    address="local",
                    num_cpus=self.cpus,
                    include_dashboard=bool(os.environ.get(DASHBOARD)),
                    dashboard_host="127.0.0.1",
                    configure_logging=False,
                    log_to_driver=False,
                    _temp_dir=short_temporary_folder(),
                )
                return
            except Exception as error:  # Ray raises a bare Exception here; the last one is passed on
                ray.shutdown()
                if attempt == LOCAL_STARTS:
                    raise
                first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
                logging.getLogger("coterie").warning("Ray did not start (%s); trying again", first_line)

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

    def map(
        self,
        function: Callable[[Any, Any], Any],
        shared: Any,
        tasks: Iterable[Any],
        resources: Resources = Resources(),
        window: int | None = None,
        on_start: Callable[[], None] | None = None,
        on_retry: Callable[[int, str], None] | None = None,
    ) -> Iterator[Outcome]:
        """Run `function(shared, task)` for every task and yield outcomes in the order in which they finish.

        Parameters
        ----------
        function
            Importable on the nodes; imports neither Prefect nor Ray.
        shared
            What all tasks share, sent to each node once.
        tasks
            Read one by one. Leaving the iterator early cancels what is in flight.
        resources
            What each task asks of Ray.
        window
            Most tasks in flight; twice the slots by default.
        on_start
            Called once, when the first task is about to run.
        on_retry
            Called as on_retry(index, reason) when a task whose process or node died is submitted again.

        Yields
        ------
        Outcome
            One per task. An exception inside a task becomes an outcome with an error.

        Raises
        ------
        ClusterError
            When the first tasks all fail, naming the reason; when this machine cannot run a task at all; when
            `shared` does not fit Ray's object store.
        """
        import ray

        self.start()
        try:
            shared_ref = ray.put(shared)
        except ray.exceptions.ObjectStoreFullError as error:
            raise ClusterError(
                "the data set does not fit Ray's object store. Start Ray with a larger one "
                f"(--object-store-memory), or use fewer or smaller images. Ray's error: {error}"
            ) from error
        if self._warming:
            ray.wait(self._warming, num_returns=1)
        work = StreamingMap(function, shared_ref, tasks, resources, window=window, on_retry=on_retry)
        if not work.refresh_nodes() and self.is_local:
            raise ClusterError(
                f"this machine cannot run one task: it asks for {resources}, Ray here offers "
                f"{_offer(ray.cluster_resources())}. Lower compute.gpus_per_shard or compute.memory_gb_per_shard "
                "(for the attribute stage: attribution.device=cpu), or set compute.ray_address to a cluster that has it"
            )
        if on_start is not None:
            on_start()
        succeeded, failures = 0, []
        for outcome in work:
            if outcome.error is None:
                succeeded += 1
            elif not succeeded:
                failures.append(outcome.error)
            yield outcome
            if not succeeded and len(failures) >= max(4, 2 * work.slots):
                raise ClusterError(
                    f"the first {len(failures)} tasks all failed, so the others were not tried. "
                    f"The first error: {failures[0]}"
                )


def _check_listening(address: str) -> None:
    """Raise OSError at once where nothing listens: Ray itself waits for minutes, without a word to the user."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        return  # "auto" and the like: Ray's own business
    with socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS):
        pass


def _offer(total: dict[str, float]) -> str:
    gibibytes = total.get("memory", 0.0) / 2**30
    return f"{total.get('CPU', 0):g} CPU, {total.get('GPU', 0):g} GPU, {gibibytes:.1f} GiB"


def _load_training() -> None:
    """Import in a worker what a task needs, while the driver waits for something else."""
    import torch

    import flows.compute.work  # noqa: F401
    import training.engine.engine  # noqa: F401

    torch.set_num_threads(1)


def _packages() -> list[Path]:
    """Folders of the code the nodes need."""
    import ablation
    import attribution
    import conf
    import flows
    import training

    return [Path(package.__path__[0]) for package in (flows, training, attribution, ablation, conf)]


__all__ = ["Cluster", "ClusterError", "Outcome", "Resources", "session", "start_session_in_background", "stop_session"]

_session: Cluster | None = None


def start_session_in_background(address: str | None, cpus: int | None, modules: Sequence[Path] = ()) -> Cluster:
    """Begin to start the process-wide cluster that every stage in this process then shares.

    Parameters
    ----------
    address, cpus, modules
        As in `Cluster`.

    Returns
    -------
    Cluster
        The one that exists already, where there is one.
    """
    global _session
    if _session is None:
        _session = Cluster(address, cpus, modules)
        _session.start_in_background()
    return _session


def stop_session() -> None:
    """End the process-wide cluster, if there is one."""
    global _session
    if _session is not None:
        _session.stop()
        _session = None


@contextmanager
def session(address: str | None, cpus: int | None, modules: Sequence[Path] = ()) -> Iterator[Cluster]:
    """Yield the process-wide cluster where there is one, else one of its own that ends with the block.

    Parameters
    ----------
    address : str or None
        As in `Cluster`; of no effect on a process-wide cluster.
    cpus : int or None
        As `address`.
    modules : sequence of Path
        As `address`.
    """
    if _session is not None:
        yield _session
        return
    with Cluster(address, cpus, modules) as cluster:
        yield cluster
