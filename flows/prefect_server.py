"""Prefect's temporary server ends with the process that started it, however that process ends.

Prefect stops it at a normal exit only: a driver that was killed, or whose terminal was closed, would leave a server
running for good.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

# Reads until the driver's end of the pipe closes, which the system sees to, then ends the server if it still runs: as
# Prefect does it, asked first, and killed when it has not followed after five seconds (it was seen to take sixty).
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


def end_server_with_this_process() -> None:
    """Have every temporary server that Prefect starts from now on watched by a small process of its own."""
    from prefect.server.api.server import SubprocessASGIServer

    start = SubprocessASGIServer._run_uvicorn_command
    if getattr(start, "is_guarded", False):
        return

    def start_guarded(server: SubprocessASGIServer) -> subprocess.Popen[Any]:
        process = start(server)
        _guards.append(
            subprocess.Popen(
                [sys.executable, "-S", "-E", "-c", _GUARD, str(process.pid)],
                stdin=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C in the terminal is not for it
            )
        )
        return process

    start_guarded.is_guarded = True  # type: ignore[attr-defined]
    SubprocessASGIServer._run_uvicorn_command = start_guarded  # type: ignore[method-assign,assignment]
