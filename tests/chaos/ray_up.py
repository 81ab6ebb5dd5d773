"""`ray up deploy/cluster.yaml` on three hosts of this machine: `python -m tests.chaos.ray_up`.

Hosts are network namespaces as in hosts.py, here with processes, home, /opt/coterie and /etc/coterie of their own, and
an ssh server each: `ray stop`, which the file runs, ends every Ray it can see. Needs root, iproute2, sshd and rsync.
The file is used as it is but for addresses, user and key. Then a campaign by `ray exec`, then `ray down`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from tests.chaos.campaigns import ROOT, Small
from tests.chaos.hosts import BIN, Hosts

PRIVATE = ("/root", "/opt/coterie", "/etc/coterie", "/tmp/ray", "/dev/shm", "/run/sshd")


class SshHosts(Hosts):
    """Hosts with an ssh server each, and nothing of Ray running yet."""

    bridge, network, prefix, cable = "coterie-up", "10.213.8", "coterie-up", "cotup"

    def start(self, host: int) -> None:
        for private in PRIVATE:
            Path(private).mkdir(parents=True, exist_ok=True)
        python, aside = sys.base_prefix, self.folder / f"python{host}"  # it may lie in the home folder
        aside.mkdir()
        mounts = "; ".join([
            f"mount --bind {python} {aside}", *(f"mount -t tmpfs tmpfs {private}" for private in PRIVATE),
            f"mkdir -p {python}", f"mount --bind {aside} {python}",
        ])
        options = [
            f"HostKey={self.folder}/host_key", f"AuthorizedKeysFile={self.folder}/key.pub", "StrictModes=no",
            f"ListenAddress={self.address(host)}", "PidFile=none", "UsePAM=no",
        ]
        serve = "/usr/sbin/sshd -D -e " + " ".join(f"-o {option}" for option in options)
        inside = (
            f"hostname {self.name(host)}; {mounts}; chmod 755 /run/sshd; touch /root/.bashrc; "
            f"ln -s {BIN.parent} /opt/coterie/.venv; exec {serve}"
        )
        with (self.folder / f"sshd{host}.log").open("ab") as log:
            self.daemons[host] = subprocess.Popen(
                ["ip", "netns", "exec", self.name(host), "unshare", "--mount", "--uts", "--pid", "--fork",
                 "--mount-proc", "--kill-child", "bash", "-c", inside],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )


def configuration(hosts: SshHosts) -> dict[str, Any]:
    """deploy/cluster.yaml with this machine's addresses, user and key."""
    whole: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "cluster.yaml").read_text())
    addresses = [hosts.address(host) for host in range(hosts.count)]
    whole["provider"].update(head_ip=addresses[0], worker_ips=addresses[1:])
    whole["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.folder / "key")}
    whole["file_mounts"]["/etc/coterie/ray_token"] = str(hosts.folder / "ray_token")
    return whole


def _ray(verb: str, file: Path, *more: str, seconds: float = 300) -> tuple[int, str]:
    found = subprocess.run(
        [str(BIN / "ray"), verb, str(file), *more], cwd=ROOT, capture_output=True, text=True, timeout=seconds,
        check=False, stdin=subprocess.DEVNULL, env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )
    return found.returncode, found.stdout + found.stderr


def main() -> int:
    """Exit code 1 when the cluster did not come up whole, the campaign failed, or an audit finds something."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("ray_up.jsonl"))
    parser.add_argument("--seconds", type=float, default=600, help="for the campaign")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="coterie-ray-up-"))
    print(f"logs: {folder}", flush=True)
    for key in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    subprocess.run([str(ROOT / "deploy" / "make-token"), str(folder / "ray_token")], check=True)
    campaign, found = Small(folder / "campaign", n_fit=192), dict[str, Any]()
    with SshHosts(folder, 3) as hosts:
        for host in range(3):
            hosts.start(host)
        time.sleep(2)
        file = folder / "cluster.yaml"
        file.write_text(yaml.safe_dump(configuration(hosts)))
        began = time.monotonic()
        found["up_exit_code"], text = _ray("up", file, "-y", "--no-config-cache")
        (folder / "up.log").write_text(text)
        found["up_seconds"] = round(time.monotonic() - began)
        environment = "set -a; . /opt/coterie/deploy/ray.env;"
        until = time.monotonic() + 300
        while time.monotonic() < until:
            _, status = _ray("exec", file, f"{environment} /opt/coterie/.venv/bin/ray status")
            found["nodes"] = sum(int(n) for n in re.findall(r"^\s*(\d+) local\.cluster\.node", status, re.MULTILINE))
            if found["nodes"] >= 3:
                break
        found["whole_after_seconds"] = round(time.monotonic() - began)
        (folder / "status.log").write_text(status)
        run = (
            f"{environment} cd {ROOT}; PYTHONPATH={ROOT} RAY_ADDRESS={hosts.address(0)}:6379 {BIN}/python -c "
            f"'from flows.cli.commands import main; main()' run quickstart {' '.join(campaign.overrides)}"
        )
        found["run_exit_code"], text = _ray("exec", file, run, seconds=chosen.seconds)
        (folder / "run.log").write_text(text)
        found["hosts"] = sorted(set(campaign.campaign.read("outputs", ["host"])["host"].to_pylist()))
        found["down_exit_code"], text = _ray("down", file, "-y")
        (folder / "down.log").write_text(text)
    found["faults"] = campaign.faults()
    found["date"] = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    with chosen.out.open("a") as out:
        out.write(json.dumps(found) + "\n")
    print(json.dumps(found), flush=True)
    return 1 if found["faults"] or found["up_exit_code"] or found["run_exit_code"] or found["nodes"] < 3 else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
