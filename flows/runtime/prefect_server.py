"""Prefect's temporary server ends with the process that started it, and writes to a file of its own.

Prefect stops it at a normal exit only: a driver that was killed, or whose terminal was closed, would leave a server
running for good. And a server that receives SIGTERM while it talks to its database prints a traceback, which on the
driver's terminal reads like a failure of the campaign.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Reads until the driver's end of the pipe closes, which the system sees to, then ends the server if it still runs: as
# Prefect does it, asked first, and killed when it has not followed after five seconds (it once took sixty).
_GUARD = """
import os, signal, sys, time
sys.stdin.buffer.read()
server = int(sys.argv[1])
def end(how):
    with open(f"/proc/{server}/cmdline", "rb") as handle:
        if b"prefect.server" not in handle.read():
            sys.exit()
    os.kill(server, how)
try:
    end(signal.SIGTERM)
    for _ in range(50):
        time.sleep(0.1)
        os.kill(server, 0)
    end(signal.SIGKILL)
except OSError:
    pass
"""
_guards: list[subprocess.Popen[bytes]] = []  # kept, so that the pipes stay open as long as this process lives
_LARGEST_LOG = 2**20  # bytes; a longer one is truncated


def _start(*, args: list[str], **options: Any) -> subprocess.Popen[bytes]:
    log = server_log()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        if sink.tell() > _LARGEST_LOG:
            sink.truncate(0)
        process = subprocess.Popen(args, stdout=sink, stderr=subprocess.STDOUT, **options)
    _guards.append(
        subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", _GUARD, str(process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C in the terminal is not for it
        )
    )
    return process


def server_log() -> Path:
    """Return the file that the temporary server writes to, in Prefect's own folder.

    Returns
    -------
    Path
    """
    from prefect.settings import PREFECT_HOME

    return Path(PREFECT_HOME.value()) / "coterie-temporary-server.log"


def guard_temporary_server() -> None:
    """Every temporary server that Prefect starts from now on has a log and is watched by a small process of its own.

    Prefect gives no way to say where the server's output goes; in its module of the server it starts nothing else.
    """
    from prefect.server.api import server

    server.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": _start})  # type: ignore[assignment]
