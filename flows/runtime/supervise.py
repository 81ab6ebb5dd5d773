"""A driver that ends abruptly is started again, by a parent that does nothing else.

When the Ray daemon of this machine (the raylet) dies, Ray ends the driver's process on the spot, without an exception
that could be caught; the kernel does the same when memory runs out. What was finished is in the campaign's folder, so
the remedy is to run again, and nobody has to be awake for it.

The child and what it starts are a process group of their own. A signal to the parent's whole group (a terminal's
Ctrl-C, `kill -- -PGID`, a scheduler) therefore reaches the child once, by way of the parent, and neither Ray's daemons
nor Prefect's server, which the child needs to end in order: without them it waits for them a minute.
"""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import signal
import sys
import time

LOG = logging.getLogger("coterie")
MAX_STARTS = 4
_PR_SET_PDEATHSIG = 1
_PASSED_ON = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_STOPS = {signal.SIGTSTP, signal.SIGCONT}  # Ctrl-Z and what follows it
# A child that is asked to end by SIGTERM or SIGHUP does so within seconds (Ray cancels its tasks first). One whose
# daemons were killed along with it would wait a minute for them; rows that are written stay whole however it ends.
ENDING_SECONDS = 15.0


def supervise() -> None:
    """Return in a child process; the parent waits, starts another child if this one ends abruptly, and exits as the
    last one did. Call it before threads exist, Ray's and Prefect's among them.

    An end is orderly when Python itself ended (with whatever exit code), or a signal asked for it: SIGINT, SIGTERM,
    SIGHUP. What was asked to end is never started again, however it ended: Ray may abort during its shutdown.
    COTERIE_SUPERVISE=0 switches this off.
    """
    if os.environ.get("COTERIE_SUPERVISE") == "0" or not hasattr(signal, "sigwaitinfo"):
        return
    for start in range(1, MAX_STARTS + 1):
        reader, writer = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON | _STOPS | {signal.SIGCHLD})
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.setpgid(0, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
            _die_with(parent)
            atexit.register(_say_orderly, writer, os.getpid())
            return
        os.close(writer)
        status, asked = _wait(child)
        orderly = os.read(reader, 1) == b"."
        os.close(reader)
        code = os.waitstatus_to_exitcode(status)
        if asked and code < 0:
            code = -asked
            name = signal.Signals(asked).name
            print(f"ended by {name}; finished models are kept. Run the same command to go on", file=sys.stderr)
        if asked or orderly or -code in _PASSED_ON or start == MAX_STARTS:
            _leave(code)
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        LOG.warning(
            "the driver ended abruptly (%s): Ray's daemon died, or memory ran out. Finished models are kept; "
            "starting again (%d of %d)",
            f"signal {-code}" if code < 0 else f"exit code {code}", start, MAX_STARTS - 1,
        )


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies, so that no half of a campaign goes on alone."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it died in between
        os._exit(1)


def _say_orderly(writer: int, pid: int) -> None:
    if os.getpid() == pid:  # not in a process forked from this one
        os.write(writer, b".")


def _wait(child: int) -> tuple[int, int]:
    """Pass signals on to the child until it ends; its wait status, and the last signal that asked it to (0: none).

    SIGTERM is passed on once, however often it comes: a second one would interrupt the child's orderly end.
    """
    asked, deadline = 0, float("inf")
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status, asked
        received = _next_signal(deadline)
        if received == 0:  # the time to end is over
            deadline = float("inf")
            os.kill(child, signal.SIGKILL)
        elif received in _STOPS:
            _stop_or_go_on(child, received)
        elif received in (signal.SIGTERM, signal.SIGHUP):
            if asked != received:
                os.kill(child, received)
            asked, deadline = received, min(deadline, time.monotonic() + ENDING_SECONDS)
        elif received != signal.SIGCHLD:
            asked = received
            os.kill(child, received)


def _next_signal(deadline: float) -> int:
    """Wait for a signal to this process; 0 at the deadline, in seconds of `time.monotonic`."""
    expected = _PASSED_ON | _STOPS | {signal.SIGCHLD}
    if deadline == float("inf"):
        return signal.sigwaitinfo(expected).si_signo
    received = signal.sigtimedwait(expected, max(0.0, deadline - time.monotonic()))
    return 0 if received is None else received.si_signo


def _stop_or_go_on(child: int, received: int) -> None:
    """Ctrl-Z stops the child's processes and this one; SIGCONT, which has continued this one, continues them."""
    if received == signal.SIGTSTP:
        os.killpg(child, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        os.killpg(child, signal.SIGCONT)


def _leave(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: what Python would do at its end belongs to the child, which has done it.
    os._exit(code if code >= 0 else 128 - code)
