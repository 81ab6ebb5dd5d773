"""The processes of a driver and of its Ray, found by descent: nothing else on the machine is ever touched."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process: its id, its parent's, its name, its command line, and when it began (clock ticks since boot)."""

    pid: int
    parent: int
    name: str
    command: str
    began: int


def _read(pid: int) -> Process | None:
    folder = Path("/proc") / str(pid)
    try:
        status = (folder / "stat").read_text()
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:  # it has ended meanwhile
        return None
    name, rest = status[status.index("(") + 1 : status.rindex(")")], status[status.rindex(")") + 2 :].split()
    return None if rest[0] == "Z" else Process(pid, int(rest[1]), name, command, int(rest[19]))


def descendants(root: int) -> list[Process]:
    """Every living process below `root`, which itself is not listed."""
    found = [process for entry in os.listdir("/proc") if entry.isdigit() and (process := _read(int(entry)))]
    below, family = {root}, []
    grew = True
    while grew:
        grew = False
        for process in found:
            if process.parent in below and process.pid not in below:
                below.add(process.pid)
                family.append(process)
                grew = True
    return family


def is_alive(pid: int) -> bool:
    return _read(pid) is not None


def still_there(family: list[Process], but: tuple[str, ...] = ()) -> list[Process]:
    """Those that still live, as they are now; `but`: not those whose command has one of these words."""
    found = [process for known in family if (process := _read(known.pid)) and process.began == known.began]
    return [process for process in found if not any(word in process.command for word in but)]


def busy_workers(root: int) -> list[Process]:
    """Ray worker processes below `root` that run a task at this moment."""
    return [process for process in descendants(root) if process.command.startswith("ray::run_task")]


def raylets(root: int) -> list[Process]:
    return [process for process in descendants(root) if process.name == "raylet"]


def kill_family(root: int) -> None:
    """End a process and everything below it."""
    for process in descendants(root):
        _kill(process.pid)
    _kill(root)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
