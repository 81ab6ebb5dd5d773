"""Units of work for the short tests of faults."""

from __future__ import annotations

import os
import time
from pathlib import Path


def slow_once(folder: str, unit: int) -> int:
    """Unit 3's first try takes longer than any test; a copy of it, and every other unit, takes a moment."""
    tries = Path(folder) / f"{unit}-{time.monotonic_ns()}"
    tries.touch()
    if unit == 3 and len(list(Path(folder).glob("3-*"))) == 1:
        time.sleep(300)
    time.sleep(0.1)
    return unit


def die_three_times(folder: str, unit: int) -> int:
    """Unit 1 ends its process the first three times, with the others done by then when it succeeds."""
    if unit == 1:
        tries = len(list(Path(folder).glob("try-*")))
        (Path(folder) / f"try-{tries}").touch()
        if tries < 3:
            os._exit(1)
        return len(list(Path(folder).glob("done-*")))
    (Path(folder) / f"done-{unit}").touch()
    return unit


def complain(shared: None, unit: int) -> int:
    if unit == 1:
        raise ValueError("the data are wrong")
    return unit
