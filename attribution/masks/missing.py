"""Missing outputs: rows without a number are left out target by target, and counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.checks import check_choice
from attribution.containers import as_array
from attribution.errors import AttributionError
from attribution.masks.inputs import MIN_GROUPS, CheckedData
from attribution.types import Array

RAISE, DROP = "raise", "drop"


def fill_missing(outputs: Any, missing: Any) -> tuple[Any, NDArray[np.bool_] | None]:
    """Fill missing outputs, so that the other checks can run, and return where they were.

    Parameters
    ----------
    outputs : array_like, shape (m,) or (m, t)
        Outputs; NaN, None and pandas' NA are missing.
    missing : {"raise", "drop"}
        The setting of the estimator.

    Returns
    -------
    outputs : array_like
        The outputs as given if none is missing or missing ones are to be refused, else with the mean of the target in
        their places.
    where : (m, t) bool or None
        Where outputs were missing; None if nowhere, or if missing ones are to be refused.

    Raises
    ------
    AttributionError
        For another setting, or a target without any output.
    """
    if check_choice("missing", missing, (RAISE, DROP)) == RAISE:
        return outputs, None
    values = as_array(outputs, "outputs")
    if values.dtype.kind != "f" or values.ndim not in (1, 2) or not np.isnan(values).any():
        return outputs, None
    absent = np.isnan(values)
    where = absent.reshape(len(values), -1)
    empty = np.flatnonzero(where.all(axis=0))
    if len(empty):
        raise AttributionError(f"target {empty[0]} has no output at all. Leave its column out.")
    means = np.nanmean(values, axis=0)
    return np.where(absent, means, values), where


def parts_without_missing(
    data: CheckedData, where: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], CheckedData]]:
    """Divide targets by the rows they have, each part with these rows only.

    Parameters
    ----------
    data : CheckedData
        The whole input, missing outputs filled.
    where : (m, t) bool
        Where outputs were missing.

    Yields
    ------
    targets : (k,) int64
        Targets with the same rows.
    rows : (r,) int64
        Rows that these targets have.
    part : CheckedData
        Their input.

    Raises
    ------
    AttributionError
        If the rows of a target form too few groups to fit.
    """
    patterns, label = np.unique(where, axis=1, return_inverse=True)
    for pattern in range(patterns.shape[1]):
        targets = np.flatnonzero(np.ravel(label) == pattern)
        rows = np.flatnonzero(~patterns[:, pattern])
        codes = np.unique(data.groups[rows], return_inverse=True)[1]
        if len(np.unique(codes)) < MIN_GROUPS:
            raise AttributionError(
                f"target {targets[0]} has outputs on {len(rows)} masks only; a fit needs {MIN_GROUPS} independent "
                "groups of masks. Leave the target out."
            )
        weight: Array | None = None if data.weight is None else data.weight[rows] / data.weight[rows].mean()
        yield targets, rows, replace(
            data,
            masks=np.ascontiguousarray(data.masks[rows]),
            outputs=np.ascontiguousarray(data.outputs[np.ix_(rows, targets)]),
            groups=np.ravel(codes).astype(np.int64),
            weight=weight,
        )
