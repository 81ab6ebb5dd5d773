"""Runs of deployments that are cancelled or lost: `python -m tests.chaos.deployments --fault cancel --times 5`.

cancel: a run is cancelled as the UI does it; Ray's work must end, what is finished stays, the next run goes on.
process: a run's process gets SIGKILL; the worker reports the crash, and `coterie: resume …` starts another run.
host: the run's process and the worker get SIGKILL together, as when a host is lost; `coterie: lost runs` marks the run
crashed once its heartbeats are missed, a worker that comes back runs what `coterie: resume …` has scheduled.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.chaos.campaigns import ROOT, Small
from tests.chaos.deployed import Worker, at_work, cancel, runs_of_deployments, shipped, start_run, state_of, wait_for
from tests.chaos.processes import Process, busy_workers, descendants
from tests.chaos.run import done

Found = dict[str, Any]
ENDED = ("Completed", "Skipped", "Failed", "Crashed", "Cancelled")


def _ray(worker: Worker) -> list[Process]:
    """Processes of Ray below the Prefect worker that could still compute."""
    return [p for p in descendants(worker.pid) if p.name == "raylet" or p.command.startswith("ray::")]


def _account(campaign: Small, moments: list[dict[str, int]]) -> Found:
    """Fragments that went missing or were written again between the moments, and what an audit says of the end."""
    lost = twice = 0
    for before, after in zip(moments, moments[1:], strict=False):
        lost += len(set(before) - set(after))
        twice += sum(after.get(name, when) != when for name, when in before.items())
    return {"lost": lost, "twice": twice, "wrong": campaign.faults(), "kept": len(moments[0]),
            "fragments": len(moments[-1])}


def _begin(deployment: str, campaign: Small, worker: Worker, parameters: Found | None) -> Any:
    run = start_run(deployment, parameters)
    started = wait_for(lambda: len(campaign.fragments()) >= 2 and busy_workers(worker.pid), 400)
    if started is None:
        raise SystemExit(f"no fragment within 400 s; the run is {state_of(run)}")
    return run


def cancelled(campaign: Small, worker: Worker) -> Found:
    """Cancel through the API, then run again."""
    parameters = {"config": campaign.config.model_dump(mode="json")}
    run = _begin("campaign/by-hand", campaign, worker, parameters)
    at_cut = campaign.fragments()
    began = time.monotonic()
    cancel(run)
    idle = wait_for(lambda: not busy_workers(worker.pid), 120, 0.05)
    gone = wait_for(lambda: not _ray(worker), 120, 0.05)
    is_cancelled = wait_for(lambda: state_of(run) == "Cancelled", 120) is not None
    cancelled_after = time.monotonic() - began if is_cancelled else None
    middle = campaign.fragments()
    again = start_run("campaign/by-hand", parameters)
    wait_for(lambda: state_of(again) in ENDED, 600, 1)
    found = {"idle_seconds": idle, "ray_gone_seconds": gone and (idle or 0) + gone,
             "cancelled_seconds": cancelled_after, "next_run": state_of(again),
             **_account(campaign, [at_cut, middle, campaign.fragments()])}
    if idle is None or idle > 15 or found["next_run"] != "Completed":
        found["wrong"].append("not idle within 15 s, or the next run did not complete")
    return found


def lost(campaign: Small, worker: Worker, with_worker: bool) -> Found:
    """SIGKILL a run's process, with the worker or without, and wait for what the automations do."""
    run = _begin("top-up/nightly", campaign, worker, None)
    at_cut, before, began = campaign.fragments(), {r.id for r in runs_of_deployments()}, time.monotonic()
    below = [worker.pid] if with_worker else []
    below += [p.pid for p in descendants(worker.pid)]
    for pid in below:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    marked = wait_for(lambda: state_of(run) == "Crashed", 300, 0.5)
    if with_worker:
        worker.restart()
    new: list[Any] = []

    def resumed() -> bool:
        # A crash may be reported twice; the deployment's limit of one run then cancels the second of two new ones.
        new[:] = [r for r in runs_of_deployments() if r.id not in before]
        return bool(new) and all(r.state_name in ENDED for r in new)

    wait_for(resumed, 600, 1)
    found = {"crashed_seconds": marked, "resumed_seconds": round(time.monotonic() - began, 1),
             "new_runs": [[r.state_name, str(r.created_by and r.created_by.display_value)] for r in new],
             **_account(campaign, [at_cut, campaign.fragments()])}
    if marked is None or not any(r.state_name == "Completed" for r in new):
        found["wrong"].append("not marked crashed, or not resumed to the end")
    return found


def main() -> int:
    """Exit code 1 when something was lost, counted twice, or did not act."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fault", nargs="+", choices=["cancel", "process", "host"], default=["cancel"])
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--port", type=int, default=4297)
    parser.add_argument("--out", type=Path, default=Path("deployments.jsonl"))
    chosen = parser.parse_args()
    folder, wrong, known = Path(tempfile.mkdtemp(prefix="coterie-deployments-")), 0, done(chosen.out)
    print(f"campaigns and logs: {folder}", flush=True)
    todo = [(fault, n) for n in range(chosen.times) for fault in chosen.fault if f"{fault}-{n}" not in known]
    for fault, number in todo:
        name = f"{fault}-{number}"
        here = folder / name
        here.mkdir()
        campaign = Small(here / "campaign", epochs=2000)
        request = {"configuration": "quickstart", "overrides": campaign.overrides, "models": 8}
        nightly = shipped("nightly", parameters={"request": request}, schedules=[])
        with at_work(here, chosen.port, [nightly, shipped("weekly", schedules=[]), shipped("by-hand")]) as worker:
            subprocess.run([sys.executable, "deploy/automations.py"], cwd=ROOT, check=True)
            found = cancelled(campaign, worker) if fault == "cancel" else lost(campaign, worker, fault == "host")
        wrong += bool(found["lost"] or found["twice"] or found["wrong"])
        line = {"piece": name, **found, "load": round(os.getloadavg()[0], 1),
                "database": os.environ.get("PREFECT_API_DATABASE_CONNECTION_URL", "sqlite").split(":")[0],
                "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime())}
        with chosen.out.open("a") as out:
            out.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
    if not wrong:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
