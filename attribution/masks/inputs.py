"""Validation of user input: clear errors, or arrays that every later step can rely on."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.checks import check_alpha, check_masks, check_numbers
from attribution.containers import as_array, as_labels, check_row_order, column_names, is_vector
from attribution.errors import AttributionError, AttributionWarning
from attribution.masks.design import check_design, masks_are_of_spex
from attribution.masks.folds import N_FOLDS
from attribution.masks.inseparable import InseparablePlayers, merge_inseparable
from attribution.masks.weights import check_effective_masks, check_weight, effective_groups
from attribution.types import Array, Labels, Masks, Outputs

# Outputs are centred by the mean of their own alpha, which shrinks effects by 1/k of k masks an alpha: 2% at 50. At 40
# masks 3% of the 95% intervals missed more than they should; at 10, 13% (main effects, 20 players, 600 masks).
MIN_MASKS_AN_ALPHA = 50
MIN_GROUPS = 2 * N_FOLDS  # two independent groups of masks in each fold; a choice
MASKS_PER_PLAYER = 9  # quickstart: 1,792 masks of 200 players show pairs, 1,024 of 400 showed none (detectability.py)


@dataclass(frozen=True, kw_only=True)
class CheckedData:
    """Validated input of a fit.

    Attributes
    ----------
    masks : (m, n) bool
        True where a player is in the training set.
    outputs : (m, t) float64
        Outputs of all targets, finite.
    groups : (m,) int64
        Row groups as codes 0..g-1: rows of one group share a fold. Replicates always do.
    weight : (m,) float64 or None
        Weights with mean 1; None for ones.
    single : bool
        Whether outputs came as a vector.
    fixed_size : bool
        Whether every mask includes equally many players.
    alphas : (m,) float64 or None
        Alpha of every mask if there are several, else None.
    player_names : (n,) object array or None
        Column names, if the masks came as a data frame that names its columns.
    inseparable : list of InseparablePlayers
        Players that no mask separates; `masks` holds one of each group, the others are in no mask.

    Examples
    --------
    >>> masks = np.random.default_rng(0).random((40, 5)) < 0.5
    >>> data = check_data(masks, masks.sum(axis=1), alpha=0.5)
    >>> data.outputs.shape, data.single, data.fixed_size
    ((40, 1), True, False)
    """

    masks: Masks
    outputs: Outputs
    groups: Labels
    weight: Array | None
    single: bool
    fixed_size: bool
    alphas: Array | None = None
    player_names: NDArray[np.object_] | None = None
    inseparable: list[InseparablePlayers] = field(default_factory=list)


def as_given(predicted: Outputs, single: bool) -> Array:
    """Return predictions in the shape that outputs came in.

    Parameters
    ----------
    predicted : (m, t) float64
        Predictions of all targets.
    single : bool
        Whether outputs came as a vector (CheckedData.single).

    Returns
    -------
    (m,) or (m, t) float64
        A vector if `single`, else the same array.
    """
    return predicted[:, 0] if single else predicted


def check_outputs(outputs: Any, n_masks: int, name: str = "outputs") -> Outputs:
    """Validate outputs.

    Parameters
    ----------
    outputs : (m,) or (m, t) numbers
        Outputs of one target, or of t targets.
    n_masks : int
        Required number of rows, m.
    name : str
        Name of the argument in messages.

    Returns
    -------
    (m, t) float64
        The outputs, one column per target.

    Raises
    ------
    AttributionError
        If values are not numbers or not finite, the shape is another one, or there are no targets.
    """
    values = as_array(outputs, name)  # missing entries are NaN
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
            "rows of diverged or failed models out (masks and outputs alike), or fit with missing='drop' where an "
            "estimator has it."
        )
    return values


def check_alpha_of_masks(alpha: Any, masks: Masks) -> float:
    """Validate alpha against the masks drawn with it.

    Parameters
    ----------
    alpha : float
        Probability that a mask includes a player.
    masks : (m, n) bool
        Masks drawn at this alpha.

    Returns
    -------
    float
        The same alpha.

    Raises
    ------
    AttributionError
        If alpha lies outside (0, 1), or the masks contradict it: the share of included players lies further from alpha
        than six standard errors of independent inclusion (plus .001 for designs that fix the size), where a mask and
        its replicates are one draw.
    """
    value = check_alpha(alpha)
    share = float(masks.mean())
    slack = _chance(value, masks.size)
    if abs(share - value) > slack:  # replicates are no further draws
        slack = _chance(value, effective_groups(None, _equal_rows(masks)) * masks.shape[1])
    # A fixed size of round(alpha n) players may sit half a player off.
    if (masks.sum(axis=1) == masks[0].sum()).all():
        slack = max(slack, 0.51 / masks.shape[1])
    if abs(share - value) > slack:
        raise AttributionError(
            f"alpha = {value} contradicts the masks: they include {share:.4f} of the players, {abs(share - value):.4f} "
            f"away (at most {slack:.4f} is chance). Give the alpha the masks were drawn with."
        )
    return value


def _chance(alpha: float, draws: float) -> float:
    """How far from alpha the share of included players may lie by chance, of that many independent inclusions."""
    return 6.0 * math.sqrt(alpha * (1 - alpha) / draws) + 1e-3


def check_alphas(alphas: Any, masks: Masks) -> Array | None:
    """Validate one alpha per mask.

    Parameters
    ----------
    alphas : (m,) float
        Alpha of each mask.
    masks : (m, n) bool
        The masks.

    Returns
    -------
    (m,) float64 or None
        The alphas; None if they are all equal.

    Raises
    ------
    AttributionError
        If the length is another one, or an alpha contradicts its masks (check_alpha_of_masks).
    """
    given = check_numbers("alpha", alphas)
    if given.shape != (len(masks),):
        raise AttributionError(f"alpha must be one number or one for every mask, ({len(masks)},); got {given.shape}.")
    outside = ~((given > 0) & (given < 1))  # missing ones are NaN
    if outside.any():
        row = int(outside.argmax())
        raise AttributionError(
            f"alpha must lie in (0, 1) for every mask; that of mask {row} is {given[row]:g}. Give the probability with "
            "which the mask includes a player."
        )
    found, counts = np.unique(given, return_counts=True)
    if len(found) > 1 and counts.min() < MIN_MASKS_AN_ALPHA:
        few = int(counts.argmin())
        raise AttributionError(
            f"alpha takes {len(found)} values and each needs at least {MIN_MASKS_AN_ALPHA} masks, because outputs are "
            f"centred alpha by alpha; alpha = {found[few]:g} has {counts[few]}. Draw masks at a few alphas."
        )
    for value in found:
        check_alpha_of_masks(float(value), masks[given == value])
    return given if len(found) > 1 else None


def check_groups(groups: Any, masks: Masks, alpha: float | Array | None = None) -> Labels:
    """Validate row groups and join the groups of equal masks.

    Parameters
    ----------
    groups : (m,) comparable values or None
        Group of each row; None for one group per distinct mask.
    masks : (m, n) bool
        The masks. Rows with equal masks (replicates) always share a group.
    alpha : float or (m,) float64, optional
        Inclusion probability. At 1/2 a mask and its complement (antithetic partners) share a group as well: products
        of an even number of players are equal on both, so that as separate rows they would count twice.

    Returns
    -------
    (m,) int64
        Codes 0..g-1.

    Raises
    ------
    AttributionError
        If the length is another one, or values are missing or not comparable.
    """
    n_masks = len(masks)
    same_mask = _equal_rows(masks)
    if not isinstance(alpha, np.ndarray) and alpha == 0.5:
        folded = _equal_rows(masks ^ masks[:, :1])  # equal for a mask and its complement
        n_distinct = int(same_mask.max()) + 1
        n_pairs = n_distinct - 1 - int(folded.max())
        by_chance = math.ldexp(n_distinct**2, -masks.shape[1] - 1)  # few players: most masks have their complement
        if n_pairs > 3 * by_chance + 10:
            same_mask = folded
    if groups is None:
        return _recode(same_mask)
    try:
        given = as_labels(groups, "groups")
    except AttributionError as error:
        raise AttributionError(f"groups must have one entry per mask, ({n_masks},); got lists of lists.") from error
    if given.shape != (n_masks,):
        raise AttributionError(f"groups must have one entry per mask, ({n_masks},); got {given.shape}.")
    if _missing(given).any():
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


def check_data(
    masks: Any, outputs: Any, alpha: Any, *, groups: Any = None, sample_weight: Any = None, design: bool = True
) -> CheckedData:
    """Validate all inputs of a fit together and warn about weak designs.

    Parameters
    ----------
    masks : (m, n) bool, or 0 and 1
        True where a player is in the training set.
    outputs : (m,) or (m, t) numbers
        Outputs of one target, or of t targets.
    alpha : float or (m,) float
        Inclusion probability of all masks, or of each.
    groups : (m,) comparable values or None
        Row groups, e.g. antithetic pairs; replicates are found without it.
    sample_weight : (m,) float or None
        Positive weights.
    design : bool
        Whether to check how the masks were drawn (design.py); False for a part of masks that were checked.

    Returns
    -------
    CheckedData
        The validated arrays.

    Raises
    ------
    AttributionError
        If an input is invalid, pandas rows are labelled alike in another order, the masks form fewer than 12
        independent groups, or weights leave fewer than 12 effective ones.

    Warns
    -----
    AttributionWarning
        If there are fewer masks than players, or weights leave fewer than 100 effective masks, or a player is in no
        mask or in every mask: the effects of such a player are not identified and reported as NaN with p = 1. If no
        mask separates some players: each group of them is one player then.
    """
    check_row_order(masks=masks, outputs=outputs, groups=groups, sample_weight=sample_weight, alpha=alpha)
    given = check_masks(masks)
    values = check_outputs(outputs, len(given))
    rows = given
    merged: list[InseparablePlayers] = []
    if not masks_are_of_spex():
        rows, merged = merge_inseparable(given, float(np.mean(check_numbers("alpha", alpha))))
    separate = np.ones(rows.shape[1], dtype=bool)
    for group in merged:
        separate[[*group.same, *group.opposite]] = False
    apart = rows if not merged else np.ascontiguousarray(rows[:, separate])  # what a sampler drew
    alphas = None
    if np.ndim(alpha) == 0:
        check_alpha_of_masks(alpha, apart)
    else:
        alphas = check_alphas(alpha, apart)
    shared = float(np.ravel(alpha)[0]) if alphas is None else np.asarray(alpha, dtype=np.float64)
    codes = check_groups(groups, apart, shared)
    weight = check_weight(sample_weight, len(rows))
    n_groups = int(codes.max()) + 1
    if n_groups < MIN_GROUPS:
        raise AttributionError(
            f"{len(rows)} masks form {n_groups} independent groups; cross-fitting needs at least {MIN_GROUPS}. "
            "Train more masks."
        )
    if weight is not None:
        check_effective_masks(weight, MIN_GROUPS)
    if len(rows) < rows.shape[1]:
        warnings.warn(
            f"{len(rows)} masks for {rows.shape[1]} players: with fewer masks than players only a few large main "
            f"effects can be estimated. Use at least {MASKS_PER_PLAYER} masks per player to detect interactions.",
            AttributionWarning,
            stacklevel=3,
        )
    constant = (rows == rows[:1]).all(axis=0) & separate
    if constant.any():
        warnings.warn(
            f"{int(constant.sum())} players are in no mask or in every mask (first: player "
            f"{int(np.flatnonzero(constant)[0])}); their effects are reported as NaN.",
            AttributionWarning,
            stacklevel=3,
        )
    sizes = apart.sum(axis=1)
    fixed_size = apart.shape[1] > 1 and bool((sizes == sizes[0]).all())
    if design:
        check_design(apart, shared, codes, fixed_size, np.flatnonzero(separate))
    return CheckedData(
        masks=rows,
        outputs=values,
        groups=codes,
        weight=weight,
        single=is_vector(outputs),
        fixed_size=fixed_size,
        alphas=alphas,
        player_names=column_names(masks),
        inseparable=merged,
    )


def _missing(labels: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Which labels are missing: NaN, NaT, None, or not finite."""
    if labels.dtype.kind in "mM":
        return np.isnat(labels)
    if labels.dtype.kind == "f":
        return ~np.isfinite(labels)
    if labels.dtype != object:
        return np.zeros(len(labels), dtype=bool)
    return np.array([one is None or one != one or type(one).__name__ == "NAType" for one in labels], dtype=bool)


def _equal_rows(masks: Masks) -> Labels:
    """Label rows (m,) so that equal masks have equal labels 0..u-1."""
    packed = np.ascontiguousarray(np.packbits(masks, axis=1))  # a selection of columns packs in Fortran order
    _, label = np.unique(packed.view(np.dtype((np.void, packed.shape[1]))).ravel(), return_inverse=True)
    return np.asarray(label, dtype=np.int64).ravel()


def _recode(codes: Labels) -> Labels:
    """Renumber labels as 0..g-1 in their order."""
    return np.asarray(np.unique(codes, return_inverse=True)[1], dtype=np.int64).ravel()
