"""Class labels of players and targets as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from attribution.containers import as_array
from attribution.errors import AttributionError

NO_CLASS = -1


def class_numbers(
    players: Any, n_players: int, targets: Any, n_targets: int
) -> tuple[list[int] | None, list[int] | None]:
    """Validate the classes of players and targets and number them alike.

    Parameters
    ----------
    players : array_like of int or str, shape (n_players,), or None
        Class of every player. A negative number, "" and None (of one player) mean no class.
    n_players : int
    targets : array_like of int or str, shape (n_targets,), or None
        Class of every target, of the same type.
    n_targets : int

    Returns
    -------
    (list of int or None, list of int or None)
        Integers stay as they are; equal names get equal numbers; NO_CLASS for none.

    Raises
    ------
    AttributionError
        If the shape is another one, or the labels are of another type, or of two types.

    Examples
    --------
    >>> class_numbers(["cat", "dog", ""], 3, ["dog"], 1)
    ([0, 1, -1], [1])
    """
    given = [
        None if labels is None else _checked(labels, count, name)
        for labels, count, name in (
            (players, n_players, "player_labels"),
            (targets, n_targets, "target_labels"),
        )
    ]
    kinds = {labels.dtype.kind == "U" for labels in given if labels is not None}
    if len(kinds) > 1:
        raise AttributionError("player_labels and target_labels must both be integers, or both be names.")
    if kinds != {True}:
        first, second = (None if labels is None else labels.astype(np.int64).tolist() for labels in given)
        return first, second
    names = sorted({str(one) for labels in given if labels is not None for one in labels if one})
    number = {name: at for at, name in enumerate(names)} | {"": NO_CLASS}
    first, second = (None if labels is None else [number[str(one)] for one in labels] for labels in given)
    return first, second


def _checked(labels: Any, count: int, name: str) -> np.ndarray[Any, Any]:
    """One argument as an array of integers or of text."""
    values = as_array(labels, name)
    if values.shape != (count,):
        raise AttributionError(f"{name} must have shape ({count},); got {values.shape}.")
    if values.dtype == object and all(one is None or isinstance(one, str) for one in values):
        values = np.array(["" if one is None else one for one in values], dtype=str)
    if values.dtype.kind not in "iuU":
        raise AttributionError(f"{name} must be integers or names, one for each; got {values.dtype}.")
    return values
