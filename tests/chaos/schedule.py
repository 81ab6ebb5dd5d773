"""Sees a deployment of prefect.yaml fire twice by itself: `python -m tests.chaos.schedule`.

A real Prefect server, a process work pool, a worker, `prefect deploy` of `nightly` with a schedule of every few minutes
instead of every night; then it waits. Also shows what a firing does that finds another at work (its state is Skipped
or it is cancelled by the deployment's concurrency limit), and cancels a run in the middle.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from tests.chaos.campaigns import ROOT, Small
from tests.chaos.processes import kill_family
from tests.chaos.run import prefect_server


def _prefect(*arguments: str, cwd: Path) -> None:
    subprocess.run([sys.executable, "-m", "prefect", *arguments], check=True, cwd=cwd, stdin=subprocess.DEVNULL)


def _deployment(campaign: Small, every_seconds: int, models: int) -> dict[str, Any]:
    """prefect.yaml's own `nightly`, on another campaign and a denser schedule."""
    whole: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    nightly = next(found for found in whole["deployments"] if found["name"] == "nightly")
    nightly["parameters"] = {
        "request": {"configuration": "quickstart", "overrides": campaign.overrides, "models": models}
    }
    nightly["schedules"] = [{"interval": every_seconds, "active": True}]
    whole["deployments"] = [nightly]
    return whole


def main() -> int:
    """Exit code 0 when two firings by themselves have each added their models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=120, help="seconds between firings")
    parser.add_argument("--models", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=15, help="how long to wait at most")
    parser.add_argument("--port", type=int, default=4298)
    parser.add_argument("--out", type=Path, default=Path("schedule.json"))
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="coterie-schedule-"))
    campaign = Small(folder / "campaign", n_fit=24, n_holdout=8)
    print(f"logs: {folder}", flush=True)
    os.environ["COTERIE_HOME"] = str(ROOT)
    os.environ["PYTHONPATH"] = str(ROOT)
    with prefect_server(folder, chosen.port):
        file = folder / "prefect.yaml"
        file.write_text(yaml.safe_dump(_deployment(campaign, chosen.every, chosen.models)))
        _prefect("work-pool", "create", "coterie", "--type", "process", cwd=ROOT)
        _prefect("--no-prompt", "deploy", "--all", "--prefect-file", str(file), cwd=ROOT)
        with (folder / "worker.log").open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "prefect", "worker", "start", "--pool", "coterie"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT, start_new_session=True,
            )
        try:
            seen = _watch(campaign, chosen.minutes * 60, 24 + 2 * chosen.models)
        finally:
            kill_family(worker.pid)
    chosen.out.write_text(json.dumps(seen, indent=1))
    print(json.dumps(seen), flush=True)
    return 0 if seen["fit_models"] >= 24 + 2 * chosen.models else 1


def _watch(campaign: Small, seconds: float, enough: int) -> dict[str, Any]:
    """Fit models over time, until there are enough or time is up; then what the server says of the runs."""
    began, steps, until = time.time(), [], time.monotonic() + seconds
    while time.monotonic() < until:
        rows = sum(
            int(name.split("-")[3].split(".")[0]) - int(name.split("-")[2])
            for name in campaign.fragments() if name.startswith("fit")
        )
        if not steps or steps[-1][1] != rows:
            steps.append((round(time.time() - began), rows))
        if rows >= enough and campaign.campaign.analysis is not None:
            break
        time.sleep(2)
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs()
    states = [
        {"flow": run.name, "state": run.state_name, "automatic": run.auto_scheduled, "started": str(run.start_time)}
        for run in runs if run.deployment_id is not None and run.start_time is not None
    ]
    return {"seconds": round(time.time() - began), "fit_models": steps[-1][1], "steps": steps, "runs": states}


if __name__ == "__main__":
    sys.exit(main())
