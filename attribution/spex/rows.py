"""Which rows of a data set are which masks of a SPEX design, and folds that keep the design's halves apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.masks.folds import assign_folds
from attribution.spex.design import SpexDesign
from attribution.types import Labels, Masks

MAX_MISSING = 0.05  # share of a design's masks that may lack an output; a choice: each bin loses as much of its signal


def rows_of_design(design: SpexDesign, masks: Masks) -> NDArray[np.int64]:
    """Find the row that holds each mask of a design.

    Parameters
    ----------
    design : SpexDesign
    masks : (m, n_players) bool
        In any order, others among them.

    Returns
    -------
    (n_masks,) int64
        -1 where no row has the mask.

    Raises
    ------
    AttributionError
        Where more than 5% of the design's masks are missing.
    """
    if masks.shape[1] != design.n_players:
        raise AttributionError(f"the design has {design.n_players} players and the masks {masks.shape[1]} columns.")
    wanted = design.masks()
    if len(masks) == len(wanted) and bool((masks == wanted).all()):
        return np.arange(len(wanted), dtype=np.int64)
    both = np.packbits(np.concatenate([masks, wanted]), axis=1)
    _, code = np.unique(both.view(np.dtype((np.void, both.shape[1]))).ravel(), return_inverse=True)
    row_of_code = np.full(int(code.max()) + 1, -1, np.int64)
    row_of_code[code[: len(masks)][::-1]] = np.arange(len(masks))[::-1]
    found = row_of_code[code[len(masks) :]]
    missing = int((found < 0).sum())
    if missing > MAX_MISSING * len(found):
        raise AttributionError(
            f"{missing:,} of the {len(found):,} masks of {design!r} have no row. Evaluate design.masks(), or give the "
            "design the masks were made by."
        )
    return found


def half_folds(design: SpexDesign, masks: Masks, groups: Labels, n_folds: int, seed: int) -> Labels:
    """Deal row groups to folds so that even folds hold the first half of a design and odd ones the second.

    Parameters
    ----------
    design : SpexDesign
    masks : (m, n_players) bool
    groups : (m,) int64
        Row groups as codes 0..g-1; a group goes to the half of its first mask.
    n_folds : int
        Even.
    seed : int

    Returns
    -------
    (m,) int64
        Rows outside the design are dealt to all folds.

    Raises
    ------
    AttributionError
        Where masks of the design are missing, or a half has fewer groups than folds.
    """
    rows = rows_of_design(design, masks)
    number = np.full(int(groups.max()) + 1, -1, np.int64)
    known = np.flatnonzero(rows >= 0)[::-1]
    number[groups[rows[known]]] = known
    half = np.where(number < 0, -1, (number >= design.n_masks // 2).astype(np.int64))
    fold_of_group = np.empty(len(number), np.int64)
    for value in (-1, 0, 1):
        own = np.flatnonzero(half == value)
        if not len(own) and value == -1:
            continue
        if value == -1:
            fold_of_group[own] = np.arange(len(own)) % n_folds
            continue
        dealt = assign_folds(np.arange(len(own)), n_folds // 2, seed)
        fold_of_group[own] = 2 * dealt + value
    return fold_of_group[groups]
