"""A driver that dies on the spot is started again; one that ends by itself, or is asked to end, is not."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys, signal, time
from pathlib import Path
from flows.runtime.supervise import supervise
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
if how.startswith("dies") and n <= int(how[4:]):
    os.kill(os.getpid(), signal.SIGKILL)
if how == "exits" and n == 1:
    os._exit(1)
if how == "fails":
    sys.exit(6)
print("finished")
"""


def start(how: str, starts: Path) -> subprocess.Popen[str]:
    # A suite started in the background ignores SIGINT, and so would what it starts.
    command = ["env", "--default-signal=INT", sys.executable, "-c", SCRIPT, how, str(starts)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


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
