"""The chaos battery: `python -m tests.chaos.run --times 5`. A piece's result is appended to a file once known.

Faults: driver, worker, raylet, two, cancel, disk. Needs Linux; the disk faults that mount a file system need root. All
runs share one Prefect server. A battery that was stopped goes on with the same command: pieces that `--out` has are
not done again, whatever they found; a line there is never changed.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path

from tests.chaos import disks, faults
from tests.chaos.campaigns import Small
from tests.chaos.processes import kill_family


@contextmanager
def prefect_server(folder: Path, port: int) -> Iterator[None]:
    """One Prefect server for all runs, so that none waits for its own; kept out of the user's own database."""
    os.environ["PREFECT_HOME"] = str(folder / "prefect")
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"]
    with (folder / "prefect.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    try:
        _wait_for_server(port)
        yield
    finally:
        kill_family(server.pid)


def _wait_for_server(port: int) -> None:
    import urllib.error
    import urllib.request

    until = time.monotonic() + 180
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    sys.exit("the Prefect server did not answer within 180 s")


Piece = tuple[str, Callable[[], faults.Result]]


def _battery(folder: Path, times: int, reference: Small) -> dict[str, list[Piece]]:
    """The pieces of every fault, each with a name of its own."""
    disk: list[Piece] = [
        ("disk-truncated", lambda: disks.damaged(folder, reference, "truncated")),
        ("disk-bit", lambda: disks.damaged(folder, reference, "bit-flipped")),
        ("disk-clock", lambda: disks.clock_set_back(folder, reference)),
        ("disk-campaign", lambda: disks.other_configuration(folder, reference, "campaign.seed=1")),
        ("disk-dataset", lambda: disks.other_configuration(folder, reference, "dataset.seed=1")),
    ]
    if os.geteuid() == 0:
        disk += [
            ("disk-full", lambda: disks.disk_full(folder, reference)),
            ("disk-readonly", lambda: disks.read_only(folder, reference)),
        ]

    def pieces(name: str, fault: Callable[..., faults.Result], wanted: int, size: int) -> list[Piece]:
        return [
            (f"{name}-{first}", lambda first=first: fault(folder, min(size, wanted - first), reference, seed=first))
            for first in range(0, wanted, size)
        ]

    return {
        "disk": disk,
        "worker": pieces("worker", faults.workers_killed, times, 10),
        "two": pieces("two", faults.two_drivers, min(times, 5), 1),
        "raylet": pieces("raylet", faults.raylets_killed, min(times, 10), 3),
        "driver": pieces("driver", faults.driver_killed, times, 5),
        "cancel": pieces("cancel", faults.interrupted, min(times, 10), 1),
    }


def _in_turn(batteries: list[list[Piece]]) -> list[Piece]:
    """The first piece of every fault, then the second of each, …"""
    return [piece for turn in zip_longest(*batteries) for piece in turn if piece is not None]


def done(out: Path) -> set[str]:
    """Names of the pieces a file of results has."""
    return {json.loads(line)["piece"] for line in out.read_text().splitlines()} if out.is_file() else set()


def main() -> int:
    """Run the battery; exit code 1 when anything was lost, counted twice, or otherwise wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="how often each process is killed")
    parser.add_argument("--only", nargs="*", help="some of: driver worker raylet two cancel disk")
    parser.add_argument("--out", type=Path, default=Path("chaos.jsonl"), help="results, one JSON line for each piece")
    parser.add_argument("--keep", action="store_true", help="keep the campaigns and logs")
    parser.add_argument("--port", type=int, default=4299, help="of the battery's own Prefect server")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="coterie-chaos-"))
    wrong, known_pieces = 0, done(chosen.out)
    print(f"campaigns and logs: {folder}", flush=True)
    try:
        with prefect_server(folder, chosen.port):
            reference = Small(folder / "uninterrupted")
            if reference.finish(folder / "uninterrupted.log") != 0:
                sys.exit(f"the uninterrupted campaign failed: see {folder}/uninterrupted.log")
            known = _battery(folder, chosen.times, reference)
            for name, fault in _in_turn([known[name] for name in chosen.only or known]):
                if name in known_pieces:
                    continue
                began = time.monotonic()
                result = fault()
                wrong += bool(result.lost or result.twice or result.wrong)
                line = {"piece": name, **asdict(result), "seconds": round(time.monotonic() - began),
                        "load": round(os.getloadavg()[0], 1), "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime())}
                with chosen.out.open("a") as out:
                    out.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)
    finally:
        if not chosen.keep and not wrong:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server and the campaign at work end too
    sys.exit(main())
