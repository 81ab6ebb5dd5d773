"""Units of work for the short tests of faults."""

from __future__ import annotations

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


def complain(shared: None, unit: int) -> int:
    if unit == 1:
        raise ValueError("the data are wrong")
    return unit
