"""Validation of masks and alpha, shared by everything that takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from attribution.containers import as_array
from attribution.errors import AttributionError
from attribution.types import Array, Masks


def check_alpha(alpha: Any) -> float:
    """Validate an inclusion probability.

    Parameters
    ----------
    alpha : float
        Probability that a mask includes a player.

    Returns
    -------
    float
        The same value.

    Raises
    ------
    AttributionError
        If alpha is not a number strictly between 0 and 1.
    """
    if not _is_real(alpha):
        raise AttributionError(f"alpha must be a number in (0, 1); got {_shown(alpha)}.")
    value = float(alpha)
    if not 0.0 < value < 1.0:
        raise AttributionError(
            f"alpha must lie in (0, 1); got {alpha!r}. Give the probability that a mask includes a player."
        )
    return value


def check_integer(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Validate an integer setting.

    Parameters
    ----------
    name : str
        Name of the setting in messages.
    value : int
        Its value, of Python or of NumPy.
    least : int
        Smallest value accepted.
    most : int or None
        Largest value accepted; None for no limit.

    Returns
    -------
    int
        The same value.

    Raises
    ------
    AttributionError
        If the value is not an integer (True and 2.0 are not), or out of range.
    """
    valid = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not valid or value < least or (most is not None and value > most):
        accepted = f"an integer of at least {least}" if most is None else f"an integer in {least}..{most}"
        raise AttributionError(f"{name} must be {accepted}; got {_shown(value)}.")
    return int(value)


def check_seed(seed: Any) -> int:
    """Validate a seed.

    Parameters
    ----------
    seed : int
        At least 0.

    Returns
    -------
    int
        The same seed.

    Raises
    ------
    AttributionError
        If it is not such an integer. Generators and None, which scikit-learn accepts as `random_state`, are not: a fit
        gives the same result whenever it is repeated.
    """
    if seed is None or isinstance(seed, (np.random.RandomState, np.random.Generator)):
        raise AttributionError(
            f"seed must be an integer of at least 0, so that a fit can be repeated; got {_shown(seed)}. Draw one with "
            "int(np.random.default_rng().integers(2**31)) where it should differ from run to run."
        )
    return check_integer("seed", seed, 0)


def check_number(name: str, value: Any, low: float, high: float, *, includes: str = "") -> float:
    """Validate a number within an interval.

    Parameters
    ----------
    name : str
        Name of the setting in messages.
    value : float
        Its value, of Python or of NumPy.
    low, high : float
        Ends of the interval.
    includes : str
        "[" if low itself is accepted, "]" if high is, "[]" for both.

    Returns
    -------
    float
        The same value.

    Raises
    ------
    AttributionError
        If the value is not a number, or outside the interval.
    """
    ends = [end for end, bracket in ((low, "["), (high, "]")) if bracket in includes]
    valid = _is_real(value) and (low < value < high or value in ends)
    if not valid:
        interval = f"{'[' if '[' in includes else '('}{low:g}, {high:g}{']' if ']' in includes else ')'}"
        raise AttributionError(f"{name} must be a number in {interval}; got {_shown(value)}.")
    return float(value)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Validate a setting that is one of some words.

    Parameters
    ----------
    name : str
        Name of the setting in messages.
    value : str
        Its value.
    choices : sequence of str
        The words accepted.

    Returns
    -------
    str
        The same value.

    Raises
    ------
    AttributionError
        If it is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        raise AttributionError(f"{name} must be one of {', '.join(choices)}; got {_shown(value)}.")
    return str(value)


def check_numbers(name: str, values: Any) -> Array:
    """Validate an array of numbers.

    Parameters
    ----------
    name : str
        Name of the argument in messages.
    values : array_like of numbers
        The values, of any shape.

    Returns
    -------
    array of float64
        The same values.

    Raises
    ------
    AttributionError
        If they are not numbers, or rows of different lengths.
    """
    try:
        array = as_array(values, name)  # missing and masked entries are NaN
    except AttributionError as error:
        raise AttributionError(f"{name} must be numbers in rows of one length; got {_shown(values)}.") from error
    if array.dtype.kind not in "iuf":
        raise AttributionError(f"{name} must be numbers; got {_shown(values)}.")
    return array.astype(np.float64)


def _is_real(value: Any) -> bool:
    """Whether a value is a real number of Python or NumPy, an array without dimensions included; no bool."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """A value in a message, shortened."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_masks(masks: Any, n_players: int | None = None, name: str = "masks", *, allow_empty: bool = False) -> Masks:
    """Validate masks and convert them to contiguous booleans.

    Parameters
    ----------
    masks : (m, n) bool, or numbers that are all 0 or 1
        True where a player is in the training set. Any container of `attribution.containers.as_array`.
    n_players : int or None
        Required number of columns; None accepts any.
    name : str
        Name of the argument in messages.
    allow_empty : bool
        Whether zero rows or zero columns are accepted.

    Returns
    -------
    (m, n) bool
        The masks, C-contiguous.

    Raises
    ------
    AttributionError
        If the shape is another one, or values other than 0 and 1 occur.
    """
    rows = as_array(masks, name)
    if rows.ndim != 2 or (0 in rows.shape and not allow_empty):
        least = "" if allow_empty else ", both at least 1"
        raise AttributionError(f"{name} must have shape (n_masks, n_players){least}; got {rows.shape}.")
    if n_players is not None and rows.shape[1] != n_players:
        packed = rows.dtype == np.uint8 and rows.shape[1] == -(-n_players // 8)
        remedy = " Unpack packed bits with attribution.unpack_masks (np.unpackbits)." if packed else ""
        problem = f"{name} must have shape (n_masks, {n_players}), a column per player of the model; got {rows.shape}."
        raise AttributionError(problem + remedy)
    if rows.dtype != np.bool_:
        if rows.dtype.kind == "f" and np.isnan(rows).any():
            raise AttributionError(
                f"{name} hold missing or masked entries; a player is in a mask or is not. Leave such rows out."
            )
        if rows.dtype.kind not in "iuf" or not np.isin(rows, (0, 1)).all():
            raise AttributionError(
                f"{name} must be boolean (True = the player is in the training set); got {rows.dtype} with other "
                "values than 0 and 1. Unpack packed bits with attribution.unpack_masks (np.unpackbits)."
            )
        rows = rows.astype(np.bool_)
    return np.ascontiguousarray(rows)
