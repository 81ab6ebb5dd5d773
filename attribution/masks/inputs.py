"""What users hand in, checked once at the door: clear errors, or inputs every later step can rely on."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError, AttributionWarning

MIN_GROUPS = 12  # two masks or more in every one of six folds


@dataclass(frozen=True)
class CheckedData:
    """masks (m, n) bool; outputs (m, t) float64; groups (m,) int64 codes 0..g-1; weight (m,) float64 of mean 1 or
    None; single: outputs came as a vector; fixed_size: every mask includes equally many players; alphas (m,) of
    every mask where there are several, else None."""

    masks: NDArray[np.bool_]
    outputs: NDArray[np.float64]
    groups: NDArray[np.int64]
    weight: NDArray[np.float64] | None
    single: bool
    fixed_size: bool
    alphas: NDArray[np.float64] | None = None


def as_given(predicted: NDArray[np.float64], single: bool) -> NDArray[np.float64]:
    """(m, t) predictions in the shape that outputs came in: (m,) where they were a vector."""
    return predicted[:, 0] if single else predicted


def check_masks(masks: Any, n_players: int | None = None, name: str = "masks") -> NDArray[np.bool_]:
    """(m, n) bool from bool or 0/1 input. Raises AttributionError for anything else."""
    rows = np.asarray(masks)
    if rows.ndim != 2 or 0 in rows.shape:
        raise AttributionError(f"{name} must have shape (n_masks, n_players), neither 0; got {rows.shape}.")
    if n_players is not None and rows.shape[1] != n_players:
        raise AttributionError(f"{name} have {rows.shape[1]} players; the model was fitted on {n_players}.")
    if rows.dtype != np.bool_:
        if rows.dtype.kind not in "iuf" or not np.isin(rows, (0, 1)).all():
            raise AttributionError(
                f"{name} must be boolean (True = the player is in the training set); got {rows.dtype} with other "
                "values than 0 and 1. Unpack packed masks with np.unpackbits first."
            )
        rows = rows.astype(np.bool_)
    return np.ascontiguousarray(rows)


def check_outputs(outputs: Any, n_masks: int, name: str = "outputs") -> NDArray[np.float64]:
    """(m, t) float64, all finite. Raises AttributionError for another shape, no targets, NaN or infinity."""
    values = np.asarray(outputs)
    if values.dtype.kind not in "iufb":
        raise AttributionError(f"{name} must be numbers; got {values.dtype}.")
    if values.ndim not in (1, 2) or len(values) != n_masks:
        raise AttributionError(
            f"{name} must have shape (n_masks,) or (n_masks, n_targets) with n_masks = {n_masks}; got {values.shape}."
        )
    values = values.astype(np.float64).reshape(n_masks, -1)
    if values.shape[1] == 0:
        raise AttributionError(f"{name} have no targets; give at least one column.")
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise AttributionError(
            f"{name} hold {int(bad.sum())} values that are not finite, first in row {row}, target {column}. Leave "
            "rows of diverged or failed models out (masks and outputs alike)."
        )
    return values


def check_alpha(alpha: float, masks: NDArray[np.bool_]) -> float:
    """alpha as a float. Raises AttributionError outside (0, 1) or where the masks contradict it.

    Contradiction: the share of included players lies further from alpha than six standard errors (of independent
    inclusion, plus .001 for designs that fix it), i.e. the masks were drawn at another alpha.
    """
    try:
        value = float(alpha)
    except (TypeError, ValueError) as error:
        raise AttributionError(f"alpha must be a number in (0, 1); got {alpha!r}.") from error
    if not 0.0 < value < 1.0:
        raise AttributionError(
            f"alpha must lie in (0, 1); got {alpha!r}. Give the probability with which masks include a player."
        )
    share = float(masks.mean())
    slack = 6.0 * math.sqrt(value * (1 - value) / masks.size) + 1e-3
    # A fixed size of round(alpha n) players may sit half a player off.
    if (masks.sum(axis=1) == masks[0].sum()).all():
        slack = max(slack, 0.51 / masks.shape[1])
    if abs(share - value) > slack:
        raise AttributionError(
            f"alpha = {value} contradicts the masks: they include {share:.4f} of the players, {abs(share - value):.4f} "
            f"away (at most {slack:.4f} is chance). Give the alpha the masks were drawn with."
        )
    return value


def check_alphas(alphas: Any, masks: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """One alpha per mask, (m,) float64; None where they are all the same.

    Raises AttributionError for another length, and for each alpha that its masks contradict (check_alpha)."""
    given = np.asarray(alphas, dtype=np.float64)
    if given.shape != (len(masks),):
        raise AttributionError(f"alpha must be one number or one for every mask, ({len(masks)},); got {given.shape}.")
    found = np.unique(given)
    for value in found:
        check_alpha(float(value), masks[given == value])
    return given if len(found) > 1 else None


def check_at_least(name: str, value: Any, least: int) -> int:
    """An integer setting. Raises AttributionError for another type and for less than `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise AttributionError(f"{name} must be an integer of at least {least}; got {value!r}.")
    return int(value)


def check_groups(groups: Any, masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(m,) codes 0..g-1. Rows with equal masks (replicates) always share a group, whatever is given.

    Raises AttributionError for another length or missing values.
    """
    n_masks = len(masks)
    packed = np.ascontiguousarray(np.packbits(masks, axis=1))  # of masks[:, players] it comes by columns
    _, same_mask = np.unique(packed.view(np.dtype((np.void, packed.shape[1]))).ravel(), return_inverse=True)
    same_mask = np.asarray(same_mask, dtype=np.int64).ravel()
    if groups is None:
        return _recode(same_mask)
    given = np.asarray(groups)
    if given.shape != (n_masks,):
        raise AttributionError(f"groups must have one entry per mask, ({n_masks},); got {given.shape}.")
    if given.dtype.kind == "f" and not np.isfinite(given).all():
        raise AttributionError("groups hold missing values; give every mask the name of its group.")
    try:
        _, codes = np.unique(given, return_inverse=True)
    except TypeError as error:
        raise AttributionError("groups must be comparable values of one type, e.g. integers.") from error
    codes = np.asarray(codes, dtype=np.int64).ravel()
    if len(np.unique(same_mask)) == n_masks:
        return _recode(codes)
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    offset = int(codes.max()) + 1
    size = offset + int(same_mask.max()) + 1
    graph = coo_matrix((np.ones(n_masks), (codes, offset + same_mask)), shape=(size, size))
    return _recode(np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)[codes])


def check_weight(sample_weight: Any, n_masks: int) -> NDArray[np.float64] | None:
    """(m,) float64 scaled to mean 1, or None. Raises AttributionError unless all are finite and positive."""
    if sample_weight is None:
        return None
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n_masks,):
        raise AttributionError(
            f"sample_weight must have one entry per mask, ({n_masks},); got {weight.shape}."
        )
    if not np.isfinite(weight).all() or (weight <= 0).any():
        raise AttributionError(
            "sample_weight must be finite and above 0. Leave masks out rather than weigh them 0."
        )
    return weight / weight.mean()


def check_data(
    masks: Any, outputs: Any, alpha: Any, *, groups: Any = None, sample_weight: Any = None
) -> CheckedData:
    """All of the above, and warnings for what is defined but weak (AttributionWarning). alpha: a number, or one a mask.

    Raises AttributionError for fewer than 12 groups of masks. Warns of fewer masks than players, and of players
    that no mask, or every mask, includes: their effects cannot be told and are reported as NaN with p = 1.
    """
    rows = check_masks(masks)
    values = check_outputs(outputs, len(rows))
    alphas = None
    if np.ndim(alpha) == 0:
        check_alpha(alpha, rows)
    else:
        alphas = check_alphas(alpha, rows)
    codes = check_groups(groups, rows)
    weight = check_weight(sample_weight, len(rows))
    n_groups = int(codes.max()) + 1
    if n_groups < MIN_GROUPS:
        raise AttributionError(
            f"{len(rows)} masks form {n_groups} independent groups; cross-fitting needs at least {MIN_GROUPS}. "
            "Train more masks."
        )
    if len(rows) < rows.shape[1]:
        warnings.warn(
            f"{len(rows)} masks for {rows.shape[1]} players: main effects are told only where few are large, and "
            "interactions hardly at all. 8 to 9 masks a player showed interactions on real campaigns.",
            AttributionWarning,
            stacklevel=3,
        )
    included = rows.mean(axis=0)
    constant = (included == 0) | (included == 1)
    if constant.any():
        warnings.warn(
            f"{int(constant.sum())} players are in no mask or in every mask (first: player "
            f"{int(np.flatnonzero(constant)[0])}); their effects are reported as NaN.",
            AttributionWarning,
            stacklevel=3,
        )
    sizes = rows.sum(axis=1)
    return CheckedData(
        masks=rows,
        outputs=values,
        groups=codes,
        weight=weight,
        single=np.ndim(outputs) == 1,
        fixed_size=rows.shape[1] > 1 and bool((sizes == sizes[0]).all()),
        alphas=alphas,
    )


def _recode(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(np.unique(codes, return_inverse=True)[1], dtype=np.int64).ravel()
