"""The sieve by signs, compiled once for this machine's processor; without a compiler sieve.py does the same."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SOURCE = Path(__file__).with_name("sieve.cpp")
_FLAGS = ("-O3", "-march=native", "-std=gnu++17", "-shared", "-fPIC")
_WORDS = (4, 8, 16)  # of 64 masks: what sieve.cpp compiles
_BLOCK = 64  # of players, as in sieve.cpp
_COMPILE_SECONDS = 120.0


def triples_by_sign(signs: NDArray[np.int8], weights: NDArray[np.int8], limit: int) -> NDArray[np.int64] | None:
    """List the triples with |sum signs_i signs_j signs_k weights| >= limit.

    Parameters
    ----------
    signs : (n, m) int8
        +1 or -1 for every player and mask.
    weights : (m,) int8
        +1 or -1.
    limit : int

    Returns
    -------
    (c, 3) int64 or None
        In ascending order; None without compiled code, or for more masks than it takes.
    """
    function = _function()
    (n_players, n_masks), n_words = signs.shape, next((w for w in _WORDS if 64 * w >= signs.shape[1]), None)
    if function is None or n_words is None:
        return None
    padded = -n_players % _BLOCK
    words = np.pad(_words(signs < 0, n_words), ((0, padded), (0, 0)))
    players = np.ascontiguousarray(words.reshape(-1, _BLOCK, n_words).transpose(0, 2, 1))
    residual = _words((weights < 0)[None], n_words)[0]
    # The sum is m - 2 c for c negative products: at least limit for c <= low, at most -limit for c >= high. A limit
    # above m leaves nothing to find.
    if limit > n_masks:
        return np.zeros((0, 3), np.int64)
    low, high = (n_masks - limit) // 2, -(-(n_masks + limit) // 2)
    room = 1 << 16
    while True:
        found = np.empty((room, 3), np.int32)
        count = int(function(_at(players), _at(residual), n_words, n_players, low, high, _at(found), room))
        if count <= room:
            return found[:count].astype(np.int64)
        room = count


def _words(negative: NDArray[np.bool_], n_words: int) -> NDArray[np.uint64]:
    """Bits (r, m) as words (r, n_words); masks beyond m are zeros, which no count sees."""
    packed = np.packbits(negative, axis=1, bitorder="little")
    return np.pad(packed, ((0, 0), (0, 8 * n_words - packed.shape[1]))).view(np.uint64)


def _at(values: NDArray[Any]) -> ctypes.c_void_p:
    return values.ctypes.data_as(ctypes.c_void_p)


@functools.cache
def _function() -> Any:
    """The compiled function; None where it cannot be compiled or loaded."""
    try:
        function = ctypes.CDLL(str(_compiled())).sieve_signs
    except (OSError, subprocess.SubprocessError, LookupError):
        return None
    function.restype = ctypes.c_int64
    function.argtypes = [
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint64,
        ctypes.c_void_p, ctypes.c_int64,
    ]  # fmt: skip
    return function


def _compiled() -> Path:
    """Path of the library, compiled now unless an earlier process has compiled it. Raises LookupError, OSError."""
    named = os.environ.get("CXX")
    path = shutil.which(named) if named else next(filter(None, map(shutil.which, ("g++", "clang++"))), None)
    if path is None:
        raise LookupError("there is no C++ compiler.")
    version = subprocess.run([path, "--version"], capture_output=True, check=True, timeout=30).stdout
    parts = (_SOURCE.read_bytes(), version, repr(_FLAGS).encode(), _processor().encode())
    name = f"sieve-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:24]}.so"
    given = os.environ.get("COTERIE_CACHE")
    cache = Path(given or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coterie")
    try:
        return _compile(path, cache / name)
    except OSError:  # a home that cannot be written
        return _compile(path, Path(tempfile.mkdtemp(prefix="coterie-")) / name)


def _compile(path: str, file: Path) -> Path:
    if file.is_file():
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{os.getpid()}.{file.name}")
    command = [path, *_FLAGS, "-o", str(temporary), str(_SOURCE)]
    try:
        subprocess.run(command, capture_output=True, timeout=_COMPILE_SECONDS, check=True)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    return file


def _processor() -> str:
    """What `-march=native` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine() + platform.processor()
    return "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
