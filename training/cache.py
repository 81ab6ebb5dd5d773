"""The user's cache folder: calibrations and compiled code, which are slow to make twice."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the cache folder: COTERIE_CACHE, else XDG_CACHE_HOME/coterie, else ~/.cache/coterie.

    The folder is not created here.
    """
    given = os.environ.get("COTERIE_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coterie"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader finds all of it or nothing.

    Parameters
    ----------
    path : Path
        The file; its folder is created.
    content : bytes
        The whole content.

    Raises
    ------
    OSError
        When the folder or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
