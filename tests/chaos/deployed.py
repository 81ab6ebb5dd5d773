"""Deployments of prefect.yaml at work: a real Prefect server, a process work pool, a worker, `prefect deploy`.

The server keeps its data in SQLite, or in PostgreSQL where PREFECT_API_DATABASE_CONNECTION_URL says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.chaos.campaigns import ROOT
from tests.chaos.processes import kill_family
from tests.chaos.run import prefect_server


class Worker:
    """A Prefect worker that can be killed and started again."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "prefect", "worker", "start", "--pool", "coterie"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT, start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def restart(self) -> None:
        """End what is left of it, and start another."""
        kill_family(self.pid)
        self.process.wait()
        self.process = self._start()


def shipped(name: str, **changes: Any) -> dict[str, Any]:
    """prefect.yaml's own deployment of that name, with some keys changed."""
    whole: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    return {**next(found for found in whole["deployments"] if found["name"] == name), **changes}


@contextmanager
def at_work(folder: Path, port: int, deployments: list[dict[str, Any]]) -> Iterator[Worker]:
    """Server, pool and worker with these deployments, for the length of a `with` block."""
    os.environ["COTERIE_HOME"] = str(ROOT)
    os.environ["PYTHONPATH"] = str(ROOT)
    file = folder / "prefect.yaml"
    whole = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    file.write_text(yaml.safe_dump({**whole, "deployments": deployments}))
    with prefect_server(folder, port):
        _prefect("work-pool", "create", "coterie", "--type", "process", "--overwrite")
        _prefect("--no-prompt", "deploy", "--all", "--prefect-file", str(file))
        worker = Worker(folder / "worker.log")
        try:
            yield worker
        finally:
            kill_family(worker.pid)


def _prefect(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "prefect", *arguments], check=True, cwd=ROOT, stdin=subprocess.DEVNULL)


# --- what the server knows -------------------------------------------------------------------------------------


def start_run(deployment: str, parameters: dict[str, Any] | None = None) -> Any:
    """Ask the server for a run of `flow/deployment`; its id."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(deployment)
        return client.create_flow_run_from_deployment(found.id, parameters=parameters).id


def state_of(run: Any) -> str:
    """Name of a run's state."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return str(client.read_flow_run(run).state_name)


def cancel(run: Any) -> None:
    """What the button in the UI and `prefect flow-run cancel` do."""
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Cancelling())


def runs_of_deployments() -> list[Any]:
    """Every run that a deployment began (subflows are none), oldest first."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_flow_runs() if run.deployment_id is not None]
    return sorted(runs, key=lambda run: run.created)


def wait_for(condition: Any, seconds: float, every: float = 0.2) -> float | None:
    """Seconds until the condition held; None when it did not within `seconds`."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if condition():
            return time.monotonic() - began
        time.sleep(every)
    return None
