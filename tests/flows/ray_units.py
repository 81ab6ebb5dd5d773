"""Units of work that the tests of the map send to Ray's workers."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np


def add(shared: int, unit: int) -> int:
    return shared + unit


def only_even(shared: None, unit: int) -> int:
    if unit % 2:
        raise ValueError(f"{unit} is odd\nand this line is detail")
    return unit


def always_wrong(shared: str, unit: int) -> int:
    raise RuntimeError(shared)


def die_unless_tried(folder: str, unit: int) -> int:
    """The first try ends the whole process, as running out of memory does."""
    mark = Path(folder) / str(unit)
    if not mark.exists():
        mark.touch()
        os._exit(1)
    return unit


def die(shared: None, unit: int) -> int:
    if unit == 1:
        os._exit(1)
    return unit


def describe(shared: np.ndarray, unit: int) -> tuple[bool, int, set[str]]:
    """Whether the shared array can be written, this process, and which of Prefect's modules it holds."""
    import sys

    return shared.flags.writeable, os.getpid(), {name for name in sys.modules if name.split(".")[0] == "prefect"}


def wait_for(folder: str, unit: int) -> int:
    """Unit 0 waits for a file that the driver makes when it has seen another unit's outcome."""
    end = time.monotonic() + 60
    while unit == 0 and not (Path(folder) / "go").exists():
        if time.monotonic() > end:
            raise TimeoutError("nobody saw the other units' outcomes")
        time.sleep(0.01)
    return unit


def linger(folder: str, unit: int) -> int:
    """Unit 0 returns as soon as another one runs; the others run for longer than any test."""
    if unit == 0:
        end = time.monotonic() + 60
        while not any(Path(folder).iterdir()):
            if time.monotonic() > end:
                raise TimeoutError("no other unit runs")
            time.sleep(0.01)
        return 0
    (Path(folder) / f"{unit}-{os.getpid()}").touch()
    time.sleep(600)
    return unit


def fail_to_evaluate(game: object, shard: object) -> None:
    """Stands where `evaluate_shard` does."""
    raise ValueError("this shard cannot be trained")
