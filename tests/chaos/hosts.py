"""Hosts on one machine: network namespaces joined by a bridge, each with its own mounts, processes, name and /tmp.

Needs root and iproute2. `python -m tests.chaos.hosts --fault link` runs a campaign on three hosts, cuts a host's link
in the middle and mends it; `--fault none` submits a whole campaign with `ray job submit`; `--fault head` kills the
head and starts the cluster again.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from tests.chaos.campaigns import ROOT, Small
from tests.chaos.processes import kill_family

BIN = Path(sys.executable).parent
DETECTION = {
    "RAY_grpc_client_keepalive_time_ms": "2000",
    "RAY_grpc_client_keepalive_timeout_ms": "3000",
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "OMP_NUM_THREADS": "1",
}


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)


class Hosts:
    """`count` hosts, the first one the head; use it in a `with`."""

    bridge, network, prefix, cable = "coterie-br", "10.213.7", "coterie", "cot"

    def __init__(self, folder: Path, count: int, cpus: int = 1) -> None:
        self.folder, self.count, self.cpus = folder, count, cpus
        self.daemons: dict[int, subprocess.Popen[bytes]] = {}
        self.environment = {**os.environ, **DETECTION, "RAY_AUTH_TOKEN": secrets.token_hex(32)}

    def name(self, host: int) -> str:
        return f"{self.prefix}{host}"

    def address(self, host: int) -> str:
        return f"{self.network}.{host + 1}"

    def __enter__(self) -> Hosts:
        _ip("link", "add", self.bridge, "type", "bridge")
        _ip("addr", "add", f"{self.network}.254/24", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")
        for host in range(self.count):
            name = self.name(host)
            _ip("netns", "add", name)
            _ip("link", "add", f"{self.cable}{host}", "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", f"{self.cable}{host}", "master", self.bridge, "up")
            _ip("-n", name, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for daemon in self.daemons.values():
            kill_family(daemon.pid)
        for host in range(self.count):
            _ip("link", "del", f"{self.cable}{host}", check=False)
            _ip("netns", "del", self.name(host), check=False)
        _ip("link", "del", self.bridge, check=False)

    def run(self, host: int, command: str, log: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start a shell command on a host; its /tmp and /dev/shm are its own."""
        disk = self.folder / f"disk{host}"
        disk.mkdir(exist_ok=True)
        inside = (
            f"hostname {self.name(host)}; mount --bind {disk} /tmp/ray; mount -t tmpfs tmpfs /dev/shm; "
            f"exec {command}"
        )
        Path("/tmp/ray").mkdir(exist_ok=True)
        with log.open("ab") as file:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name(host), "unshare", "--mount", "--uts", "bash", "-c", inside],
                stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True, cwd=ROOT,
                env={**self.environment, **environment},
            )

    def start(self, host: int) -> None:
        """Start Ray on a host, and start it again whenever it ends (what the systemd unit does)."""
        ray, mine, head = BIN / "ray", self.address(host), f"{self.address(0)}:6379"
        joins = f"--head --port=6379 --dashboard-host={mine}" if host == 0 else f"--address={head}"
        cpus = 0 if host == 0 else self.cpus
        again = "" if host == 0 else "while true; do "
        end = "" if host == 0 else "; sleep 2; done"
        start = f"{ray} start --block {joins} --node-ip-address={mine} --num-cpus={cpus} --disable-usage-stats"
        self.daemons[host] = self.run(host, f"bash -c '{again}{start}{end}'", self.folder / f"ray{host}.log")

    def link(self, host: int, up: bool) -> None:
        _ip("link", "set", f"{self.cable}{host}", "up" if up else "down")


def _finish(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        kill_family(process.pid)
        return None


def _longest_gap(campaign: Small, since_ns: int) -> float:
    """Seconds between two fragments, at most, after a moment."""
    when = sorted([since_ns, *(written for written in campaign.fragments().values() if written >= since_ns)])
    return max((after - before for before, after in zip(when, when[1:], strict=False)), default=0) / 1e9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fault", choices=["none", "link", "head"], default="link")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=600, help="a campaign may take at most")
    parser.add_argument("--out", type=Path, default=Path("hosts.jsonl"))
    chosen = parser.parse_args()
    wrong = 0
    for number in range(chosen.times):
        folder = Path(tempfile.mkdtemp(prefix="coterie-hosts-"))
        campaign = Small(folder / "campaign", n_fit=192, epochs=2000)
        with Hosts(folder, chosen.hosts) as hosts:
            found = _one(hosts, campaign, folder, chosen)
        found["faults"] = campaign.faults()
        wrong += bool(found["faults"] or found["exit_code"] != 0)
        with chosen.out.open("a") as out:
            out.write(json.dumps({"fault": chosen.fault, "number": number, **found}) + "\n")
        print(json.dumps(found), f"logs: {folder}", flush=True)
        if not wrong:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if wrong else 0


def _one(hosts: Hosts, campaign: Small, folder: Path, chosen: argparse.Namespace) -> dict[str, object]:
    for host in range(chosen.hosts):
        hosts.start(host)
        time.sleep(8 if host == 0 else 0)
    overrides = " ".join(campaign.overrides)
    run = f"{BIN}/python -c \"from flows.cli.commands import main; main()\" run quickstart {overrides}"
    settings = {"RAY_ADDRESS": f"{hosts.address(0)}:6379", "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(folder / "p")}
    log = folder / "driver.log"
    if chosen.fault == "none":
        job = f"{BIN}/ray job submit --address http://{hosts.address(0)}:8265 --working-dir {ROOT / 'conf'} -- {run}"
        submitted = hosts.run(0, job, log, **settings)
        return {"exit_code": _finish(submitted, chosen.seconds), "fragments": len(campaign.fragments())}
    driver, began = hosts.run(0, run, log, **settings), time.monotonic()
    while len(campaign.fragments()) < 6 and driver.poll() is None and time.monotonic() - began < chosen.seconds:
        time.sleep(0.2)
    cut = time.time_ns()
    if chosen.fault == "link":
        hosts.link(chosen.hosts - 1, up=False)
        time.sleep(25)
        hosts.link(chosen.hosts - 1, up=True)
        code = _finish(driver, chosen.seconds)
    else:
        kill_family(hosts.daemons[0].pid)
        first = _finish(driver, 180)
        for host in range(chosen.hosts):
            kill_family(hosts.daemons[host].pid)
        for host in range(chosen.hosts):
            hosts.start(host)
            time.sleep(8 if host == 0 else 0)
        kept = len(campaign.fragments())
        code = _finish(hosts.run(0, run, log, **settings), chosen.seconds)
        return {"exit_code": code, "first_exit_code": first, "kept": kept, "fragments": len(campaign.fragments())}
    return {"exit_code": code, "fragments": len(campaign.fragments()),
            "longest_silence_seconds": round(_longest_gap(campaign, cut), 1), "tried_again": _retries(log),
            "seconds_after_the_cut": round((time.time_ns() - cut) / 1e9)}


def _retries(log: Path) -> int:
    """Shards that were lost with a process or node and submitted again."""
    return log.read_text(errors="replace").count("is tried again")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
