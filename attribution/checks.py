"""Validation of masks and alpha, shared by everything that takes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from attribution.errors import AttributionError
from attribution.types import Masks


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
    try:
        value = float(alpha)
    except (TypeError, ValueError) as error:
        raise AttributionError(f"alpha must be a number in (0, 1); got {alpha!r}.") from error
    if not 0.0 < value < 1.0:
        raise AttributionError(
            f"alpha must lie in (0, 1); got {alpha!r}. Give the probability that a mask includes a player."
        )
    return value


def check_masks(masks: Any, n_players: int | None = None, name: str = "masks", *, allow_empty: bool = False) -> Masks:
    """Validate masks and convert them to contiguous booleans.

    Parameters
    ----------
    masks : (m, n) bool, or numbers that are all 0 or 1
        True where a player is in the training set.
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
    if isinstance(masks, np.ma.MaskedArray) and np.ma.getmaskarray(masks).any():
        raise AttributionError(f"{name} hold masked entries; a player is in a mask or is not. Leave such rows out.")
    rows = np.asarray(masks)
    if rows.ndim != 2 or (0 in rows.shape and not allow_empty):
        least = "" if allow_empty else ", both at least 1"
        raise AttributionError(f"{name} must have shape (n_masks, n_players){least}; got {rows.shape}.")
    if n_players is not None and rows.shape[1] != n_players:
        raise AttributionError(
            f"{name} must have shape (n_masks, {n_players}), one column per player of the model; got {rows.shape}."
        )
    if rows.dtype != np.bool_:
        if rows.dtype.kind not in "iuf" or not np.isin(rows, (0, 1)).all():
            raise AttributionError(
                f"{name} must be boolean (True = the player is in the training set); got {rows.dtype} with other "
                "values than 0 and 1. Unpack packed masks with np.unpackbits first."
            )
        rows = rows.astype(np.bool_)
    return np.ascontiguousarray(rows)
