"""A driver that dies on the spot is started again; one that ends by itself, or is asked to end, is not."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = """
import os, sys, signal, time
from pathlib import Path
from flows.runtime import supervise as module
from flows.runtime.supervise import supervise
module.ENDING_SECONDS = 1.0
starts = Path(sys.argv[2])
supervise()
with starts.open("a") as file:
    file.write(f"{os.getpid()}\\n")
n = len(starts.read_text().splitlines())
how = sys.argv[1]
if how == "wait":
    print("ready", flush=True)
    signal.pause()
if how == "aborts":
    signal.signal(signal.SIGTERM, lambda *_: os.abort())
    print("ready", flush=True)
    signal.pause()
if how == "counts":
    received = []
    signal.signal(signal.SIGTERM, lambda *_: received.append(1))
    helper = os.fork()
    if helper == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(30)
        os._exit(0)
    print("ready", flush=True)
    while not received:
        time.sleep(0.01)
    time.sleep(0.3)
    lives = os.waitpid(helper, os.WNOHANG)[0] == 0
    os.kill(helper, signal.SIGKILL)
    print(f"received {len(received)}, helper {'lives' if lives else 'died'}", flush=True)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
if how == "ignores":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    time.sleep(60)
if how.startswith("dies") and n <= int(how[4:]):
    os.kill(os.getpid(), signal.SIGKILL)
if how == "exits" and n == 1:
    os._exit(1)
if how == "fails":
    sys.exit(6)
print("finished")
"""


def start(how: str, starts: Path, group: bool = False) -> subprocess.Popen[str]:
    # A suite started in the background ignores SIGINT, and so would what it starts.
    command = ["env", "--default-signal=INT", sys.executable, "-c", SCRIPT, how, str(starts)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=group)


@pytest.mark.parametrize(
    ("how", "code", "starts"),
    [("lives", 0, 1), ("dies1", 0, 2), ("dies3", 0, 4), ("dies9", 137, 4), ("exits", 0, 2), ("fails", 6, 1)],
)
def test_an_abrupt_end_is_followed_by_a_new_start(tmp_path: Path, how: str, code: int, starts: int) -> None:
    process = start(how, tmp_path / "starts")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert len((tmp_path / "starts").read_text().splitlines()) == starts
    assert (output == "finished\n") == (code == 0)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_parent_ends_the_child_and_nothing_is_started_again(tmp_path: Path, signum: int) -> None:
    process = start("wait", tmp_path / "starts")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signum)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert len((tmp_path / "starts").read_text().splitlines()) == 1


def test_a_signal_to_the_whole_group_reaches_the_child_once(tmp_path: Path) -> None:
    """A scheduler, or kill -- -PGID: Ray's daemons and Prefect's server must outlive the child that needs them."""
    process = start("counts", tmp_path / "starts", group=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (128 + signal.SIGTERM, "received 1, helper lives\n")
    assert errors == "ended by SIGTERM; finished models are kept. Run the same command to go on\n"


def test_a_child_that_does_not_end_is_killed_after_a_while(tmp_path: Path) -> None:
    process = start("ignores", tmp_path / "starts")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert errors.count("\n") == 1 and errors.startswith("ended by SIGTERM;")
    assert len((tmp_path / "starts").read_text().splitlines()) == 1


def test_ctrl_z_stops_the_child_too_and_it_goes_on(tmp_path: Path) -> None:
    process = start("wait", tmp_path / "starts")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    child = int((tmp_path / "starts").read_text())
    for signum, states in ((signal.SIGTSTP, "T"), (signal.SIGCONT, "RS")):
        process.send_signal(signum)
        wait_until(lambda states=states: {state_of(process.pid), state_of(child)} <= set(states))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


def state_of(pid: int) -> str:
    """R, S, T, …: the third word of /proc/PID/stat."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_child_that_aborts_while_it_is_asked_to_end_is_not_started_again(tmp_path: Path) -> None:
    process = start("aborts", tmp_path / "starts")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert len((tmp_path / "starts").read_text().splitlines()) == 1


def test_the_child_does_not_outlive_its_parent(tmp_path: Path) -> None:
    process = start("wait", tmp_path / "starts")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    child = int((tmp_path / "starts").read_text())
    ended = os.pidfd_open(child)
    process.kill()
    process.communicate(timeout=60)
    assert select.select([ended], [], [], 10)[0], "the child still runs"
    os.close(ended)
