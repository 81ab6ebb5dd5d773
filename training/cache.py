"""Where this user's machine keeps what is slow to find out twice: calibrations and compiled code."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """COTERIE_CACHE, else XDG_CACHE_HOME/coterie, else ~/.cache/coterie. Not created here."""
    given = os.environ.get("COTERIE_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coterie"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that whoever reads it sees all of it or none. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
