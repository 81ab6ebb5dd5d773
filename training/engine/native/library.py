"""Compile native.cpp and its header once for this machine's processor, and load the result."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from training.cache import cache_folder

LOG = logging.getLogger("coterie")
SOURCE = Path(__file__).with_name("native.cpp")
HEADER = Path(__file__).with_name("layers.h")
FLAGS = ("-O3", "-march=native", "-std=gnu++17", "-shared", "-fPIC", "-fno-math-errno")
TYPES = {"float32": "float", "float64": "double"}
COMPILE_SECONDS = 600.0


class NoLibrary(RuntimeError):
    """There is no compiled code here; the message gives the reason."""


def compiler() -> str | None:
    """Return the path of the C++ compiler: CXX where set, else g++ or clang++; None without one."""
    named = os.environ.get("CXX")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, ("g++", "clang++"))), None)


@functools.cache
def _load(dtype: str, path: str | None) -> ctypes.CDLL | NoLibrary:
    try:
        return ctypes.CDLL(str(_compiled(dtype, path)))
    except (OSError, subprocess.SubprocessError, NoLibrary) as error:
        return NoLibrary(str(error))


def library(dtype: str) -> ctypes.CDLL:
    """Return the compiled code for a type of weights.

    Parameters
    ----------
    dtype : str
        `float32` or `float64`.

    Raises
    ------
    NoLibrary
        When it cannot be compiled or loaded; later calls with the same compiler raise it again without trying.
    """
    found = _load(dtype, compiler())
    if isinstance(found, NoLibrary):
        raise NoLibrary(*found.args)
    return found


def _compiled(dtype: str, path: str | None) -> Path:
    """Path of the library, compiled now unless an earlier process has compiled it. Raises NoLibrary, OSError."""
    if path is None:
        raise NoLibrary("there is no C++ compiler (g++ or clang++)")
    for file in (SOURCE, HEADER):
        if not file.is_file():
            raise NoLibrary(f"{file.name} was not installed")
    version = subprocess.run([path, "--version"], capture_output=True, check=True, timeout=30).stdout
    parts = (SOURCE.read_bytes(), HEADER.read_bytes(), version, repr((FLAGS, dtype)).encode(), _processor().encode())
    name = f"native-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:24]}.so"
    try:
        return _compile(path, cache_folder() / name, dtype)
    except OSError as error:  # a home that cannot be written
        LOG.info("compiled code cannot be kept (%s)", error)
        return _compile(path, Path(tempfile.mkdtemp(prefix="coterie-")) / name, dtype)


def _compile(path: str, file: Path, dtype: str) -> Path:
    if file.is_file():
        return file
    began = time.perf_counter()
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{os.getpid()}.{file.name}")
    command = [path, *FLAGS, f"-DCOTERIE_TYPE={TYPES[dtype]}", "-o", str(temporary), str(SOURCE)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False)
        if done.returncode:
            raise NoLibrary(f"{path} cannot compile {SOURCE.name}: {(done.stderr.splitlines() or ['?'])[0]}")
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    LOG.info("compiled %s for this processor in %.1f s", SOURCE.name, time.perf_counter() - began)
    return file


def _processor() -> str:
    """What `-march=native` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine() + platform.processor()
    return "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
