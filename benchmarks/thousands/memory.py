"""Peak memory of a command and of the Ray workers below it, and its processor time.

    python benchmarks/thousands/memory.py coterie run cifar10 dataset=cifar10_parquet ...

Reads /proc twice a second: the driver is the command itself, workers are the processes Ray names `ray::…`. Own memory
(anonymous pages) and memory shared with the node's object store stand apart. Not collected by pytest.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

GB = 2**20  # kB in /proc


def family(root: int) -> dict[int, str]:
    """Living processes below and including `root`: their names on the command line."""
    parents, names = {}, {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        folder = Path("/proc") / entry
        try:
            status = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            names[int(entry)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        parents[int(entry)] = int(status[1])
    below, grew = {root}, True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in below and pid not in below}
        below, grew = below | more, bool(more)
    return {pid: names[pid] for pid in below if pid in names}


def memory(pid: int) -> dict[str, float]:
    """RssAnon and RssShmem of a process in GB."""
    try:
        lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) / GB for line in lines if line.startswith(("RssAnon", "RssShmem"))}


def main(command: list[str]) -> int:
    began = time.monotonic()
    running = subprocess.Popen(command)
    peak: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    while running.poll() is None:
        for pid, name in family(running.pid).items():
            kind = "driver" if pid == running.pid else "a Ray worker" if name.startswith("ray::") else "others"
            for what, amount in memory(pid).items():
                peak[kind][what] = max(peak[kind][what], amount)
        time.sleep(0.5)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall, processor = time.monotonic() - began, used.ru_utime + used.ru_stime
    print(f"\n{wall:.0f} s; {processor:.0f} s of a core by the driver and what it waited for")
    print("\n| process | own memory, peak GB | shared memory, peak GB |\n|---|---|---|")
    for kind, found in sorted(peak.items()):
        print(f"| {kind} | {found['RssAnon']:.2f} | {found['RssShmem']:.2f} |")
    return running.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
