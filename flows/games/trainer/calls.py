"""Calls of the user's function on a node: set up once a process, one call a mask (of a value function many masks).

Every fault is a row of its own.
"""

from __future__ import annotations

import faulthandler
import math
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from flows.games.trainer.own_code import OwnCodeError, check_arguments, load
from flows.runtime.wording import plural

ARGUMENTS = ("indices", "seed", "context")
SEEDS = 2**31  # a seed is below: what NumPy, scikit-learn, LightGBM and torch all take
GRACE_SECONDS = 30.0  # after its time limit, a call that does not react ends with its process
_ready: dict[tuple[Any, ...], tuple[Callable[..., Any], Any]] = {}


@dataclass(frozen=True)
class Context:
    """What the user's function is given beside the examples and the seed.

    Parameters
    ----------
    data
        What `game.setup` returned in this process; None without one.
    device
        "cpu" or "cuda".
    n_targets
        Length of the outputs that are expected, audit rows included.
    player_rows
        Names of the rows that indices count in.
    """

    data: Any
    device: str
    n_targets: int
    player_rows: tuple[str, ...] = ()

    def __getitem__(self, key: Any) -> Any:
        """Return an item of what the setup returned."""
        return self.data[key]


@dataclass(frozen=True)
class Called:
    """How one call ended.

    Parameters
    ----------
    outputs
        (n_targets,) float64, as the function returned them; NaN where there is none.
    score
        The second value it returned; NaN without one.
    status
        "ok", "diverged" for outputs that are not finite, "failed" for an exception or outputs of another shape.
    reason
        One line; empty for "ok".
    log
        The traceback of an exception, else empty.
    seconds
        Wall time.
    """

    outputs: np.ndarray
    score: float
    status: str
    reason: str
    log: str
    seconds: float


class TimeLimit(Exception):
    """A call that takes longer than `game.seconds_per_call`."""


def prepare(
    function: str, setup: str | None, folders: tuple[str, ...], version: str, arguments: tuple[str, ...] = ARGUMENTS
) -> tuple[Callable[..., Any], Any]:
    """Import the function and run its setup, once a process.

    Parameters
    ----------
    function, setup
        package.module:name.
    folders
        Where the driver found them.
    version
        Digest of the source: another one is set up again.
    arguments
        What the function is called with.

    Returns
    -------
    function : callable
    data : object
        What the setup returned.

    Raises
    ------
    OwnCodeError
        When one of them cannot be imported or called, or the setup raises.
    """
    key = (function, setup, version)
    if key not in _ready:
        called = load(function, "game.function", folders)
        check_arguments(called, "game.function", function, arguments)
        data = None
        if setup is not None:
            make = load(setup, "game.setup", folders)
            check_arguments(make, "game.setup", setup, ())
            try:
                data = make()
            except Exception as error:
                where = _last_line(error)
                raise OwnCodeError(
                    f"game.setup={setup} raised {type(error).__name__}: {_first_line(error)} ({where}, on "
                    f"{socket.gethostname()})"
                ) from error
        _ready.clear()  # the data of another game are let go
        _ready[key] = (called, data)
    return _ready[key]


def call(
    function: Callable[..., Any], indices: np.ndarray, seed: int, context: Context, seconds: float | None = None
) -> Called:
    """Call the user's function for one mask.

    Parameters
    ----------
    function
        Called as function(indices, seed, context).
    indices
        (n_included,) int64, rows of the players' table that are in, ascending.
    seed
        The call's seed.
    context
        See `Context`.
    seconds
        Longest time of the call.

    Returns
    -------
    Called
        Whatever happens: an exception is a status, not an exception of this function.
    """
    began = time.monotonic()
    try:
        with _limited(seconds):
            returned = function(indices, seed, context)
        outputs, score = _numbers(returned, context.n_targets)
    except Exception as error:  # the user's code: its row records whatever it is
        return _failed(error, f"seed {seed}, {len(indices)} rows", context, time.monotonic() - began)
    return _ended(outputs, score, time.monotonic() - began)


def call_on_masks(
    function: Callable[..., Any], masks: np.ndarray, context: Context, seconds: float | None = None
) -> list[Called]:
    """Call the user's value function once for many masks.

    Parameters
    ----------
    function
        Called as function(masks, context).
    masks
        (n_masks, n_rows) bool, a column for each row of the players' table.
    context
        See `Context`.
    seconds
        Longest time of the call.

    Returns
    -------
    list of Called
        One a mask; an exception is that of all of them.
    """
    began = time.monotonic()
    try:
        with _limited(seconds):
            returned = function(masks, context)
        outputs = _table(returned, len(masks), context.n_targets)
    except Exception as error:  # the user's code: its rows record whatever it is
        each = (time.monotonic() - began) / len(masks)
        return [_failed(error, plural(len(masks), "mask"), context, each)] * len(masks)
    each = (time.monotonic() - began) / len(masks)
    return [_ended(row, math.nan, each) for row in outputs]


def _failed(error: Exception, what: str, context: Context, seconds: float) -> Called:
    reason = f"{type(error).__name__}: {_first_line(error)}"
    log = f"host {socket.gethostname()}, {what}\n{traceback.format_exc()}"
    if isinstance(error, _Refused):
        reason, log = str(error), ""
    return Called(np.full(context.n_targets, np.nan), math.nan, "failed", reason, log, seconds)


def _ended(outputs: np.ndarray, score: float, seconds: float) -> Called:
    """A call that returned; diverged where an output is no number that a table can hold."""
    bad = np.flatnonzero(~np.isfinite(outputs) | (np.abs(outputs) > np.finfo(np.float32).max))
    if len(bad):
        reason = f"output {int(bad[0])} is {outputs[bad[0]]:g} ({len(bad)} of {len(outputs)} are not finite)"
        return Called(np.full(len(outputs), np.nan), math.nan, "diverged", reason, "", seconds)
    return Called(outputs, score, "ok", "", "", seconds)


class _Refused(ValueError):
    """A returned value that is no vector of numbers of the right length."""


def _numbers(returned: Any, n_targets: int) -> tuple[np.ndarray, float]:
    """Outputs and the score of what a function returned: an array, a tensor on any device, a list, a number."""
    score = math.nan
    if isinstance(returned, tuple) and len(returned) == 2 and np.ndim(_array(returned[0])) == 1:
        returned, second = returned
        given = _array(second)
        if given.size != 1 or given.dtype.kind not in "fiub":
            raise _Refused(f"the second returned value is {_describe(second)}; it must be one number, the score")
        score = float(given.reshape(-1)[0])
    if returned is None:
        raise _Refused(f"the function returned None; it must return {n_targets} numbers, one a target")
    outputs = _array(returned)
    if outputs.dtype.kind not in "fiub":
        raise _Refused(f"the function returned {_describe(returned)}; it must return {n_targets} numbers")
    if outputs.size != n_targets or max(outputs.shape, default=1) != n_targets:
        raise _Refused(
            f"the function returned outputs of shape {tuple(outputs.shape)}; there are {n_targets} targets, so "
            f"({n_targets},) is expected"
        )
    return outputs.reshape(-1).astype(np.float64), score


def _table(returned: Any, n_masks: int, n_targets: int) -> np.ndarray:
    """(n_masks, n_targets) float64 of what a value function returned; with one target also (n_masks,)."""
    expected = f"({n_masks}, {n_targets})" + (f" or ({n_masks},)" if n_targets == 1 else "")
    if returned is None:
        raise _Refused(f"the function returned None; it must return outputs of shape {expected}")
    outputs = _array(returned)
    if outputs.dtype.kind not in "fiub":
        raise _Refused(f"the function returned {_describe(returned)}; it must return numbers of shape {expected}")
    if outputs.shape != (n_masks, n_targets) and not (n_targets == 1 and outputs.shape == (n_masks,)):
        raise _Refused(
            f"the function returned outputs of shape {tuple(outputs.shape)} for {plural(n_masks, 'mask')} and "
            f"{plural(n_targets, 'target')}, so {expected} is expected"
        )
    return outputs.reshape(n_masks, n_targets).astype(np.float64)


def _array(value: Any) -> np.ndarray:
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # a torch tensor, without importing torch
        value = value.detach().cpu()
        return np.asarray(value.double() if value.is_floating_point() else value)
    if isinstance(value, (list, tuple)) and any(hasattr(item, "detach") for item in value):
        return np.array([_array(item).reshape(-1) for item in value], dtype=np.float64).reshape(-1)
    try:
        return np.asarray(value)
    except ValueError as error:  # a ragged list
        raise _Refused(f"the function returned {_describe(value)} ({error})") from error


def _describe(value: Any) -> str:
    return f"a {type(value).__name__}" + (f" of {len(value)}" if hasattr(value, "__len__") else "")


@contextmanager
def _limited(seconds: float | None) -> Iterator[None]:
    """Raise TimeLimit in the block after so many seconds; end the process where that is not enough."""
    if seconds is None:
        yield
        return
    in_main = threading.current_thread() is threading.main_thread()

    def stop(*_: object) -> None:
        raise TimeLimit(f"the call took longer than game.seconds_per_call = {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop) if in_main else None
    timer = signal.setitimer(signal.ITIMER_REAL, seconds) if in_main else (0.0, 0.0)
    # A call inside compiled code does not react: the process ends, and Ray runs the shard in another one.
    if sys.__stderr__ is not None:
        faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        if sys.__stderr__ is not None:
            faulthandler.cancel_dump_traceback_later()
        if in_main:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            signal.setitimer(signal.ITIMER_REAL, *timer)  # somebody else's alarm, late by this call; 0 for none


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]


def _last_line(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
