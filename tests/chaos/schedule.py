"""Sees a deployment of prefect.yaml fire twice by itself: `python -m tests.chaos.schedule`.

A real Prefect server, a process work pool, a worker, `prefect deploy` of `nightly` with a schedule of every few minutes
instead of every night; then it waits. Also shows what a firing does that finds another at work (its state is Skipped
or it is cancelled by the deployment's concurrency limit), and cancels a run in the middle.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.chaos.campaigns import Small
from tests.chaos.deployed import at_work, runs_of_deployments, shipped


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
    request = {"configuration": "quickstart", "overrides": campaign.overrides, "models": chosen.models}
    nightly = shipped(
        "nightly", parameters={"request": request}, schedules=[{"interval": chosen.every, "active": True}]
    )
    with at_work(folder, chosen.port, [nightly]):
        seen = _watch(campaign, chosen.minutes * 60, 24 + 2 * chosen.models)
    chosen.out.write_text(json.dumps(seen, indent=1))
    print(json.dumps(seen), flush=True)
    return 0 if seen["fit_models"] >= 24 + 2 * chosen.models else 1


def _watch(campaign: Small, seconds: float, enough: int) -> dict[str, Any]:
    """Fit models over time, until there are enough or time is up; then what the server says of the runs."""
    began, until = time.time(), time.monotonic() + seconds
    steps: list[tuple[int, int]] = []
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
    states = [
        {"flow": run.name, "state": run.state_name, "automatic": run.auto_scheduled, "started": str(run.start_time)}
        for run in runs_of_deployments() if run.start_time is not None
    ]
    return {"seconds": round(time.time() - began), "fit_models": steps[-1][1], "steps": steps, "runs": states}


if __name__ == "__main__":
    sys.exit(main())
