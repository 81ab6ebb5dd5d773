"""Units of work for the short tests of faults."""

from __future__ import annotations

import os
from pathlib import Path


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
