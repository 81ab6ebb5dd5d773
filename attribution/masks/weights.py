"""Weights of the masks, and how many equally weighted masks they are worth."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from attribution.checks import check_numbers
from attribution.errors import AttributionError, AttributionWarning
from attribution.types import Array, Labels

FEW_EFFECTIVE_MASKS = 100  # a choice: below, 95% intervals are wider by more than 1% for want of degrees of freedom


def effective_number(weight: Array) -> float:
    """Compute the number of equal weights that would carry as much information: (sum w)^2 / sum w^2 (Kish 1965).

    Parameters
    ----------
    weight : (g,) float64
        Positive weights.

    Returns
    -------
    float
        At most g, and g where all weights are equal.
    """
    return float(weight.sum() ** 2 / (weight**2).sum())


def effective_groups(weight: Array | None, groups: Labels) -> float:
    """Compute the number of equally weighted row groups that would carry as much information.

    Parameters
    ----------
    weight : (m,) float64 or None
        Weights of the rows; None for ones.
    groups : (m,) int64
        Row group of each row, any integers.

    Returns
    -------
    float
        `effective_number` of the groups' summed weights w_g.

    Notes
    -----
    With weights w_g = 1 / variance it is the Satterthwaite number of degrees of freedom of sum_g w_g^2 e_g^2, plus the
    one that the mean takes.

    Examples
    --------
    >>> effective_groups(np.array([1.0, 1.0, 2.0]), np.array([0, 0, 1]))
    2.0
    >>> round(effective_groups(np.array([1.0, 1.0, 20.0]), np.array([0, 1, 2])), 2)
    1.2
    """
    codes = np.asarray(np.unique(groups, return_inverse=True)[1]).ravel()
    return effective_number(np.bincount(codes, weight).astype(np.float64))


def weighted_df(weight: Array | None, groups: Labels) -> float | None:
    """Compute the degrees of freedom of a weighted mean's standard error.

    Parameters
    ----------
    weight : (m,) float64 or None
        Weights of the rows.
    groups : (m,) int64
        Row group of each row.

    Returns
    -------
    float or None
        One less than the effective number of row groups, at least 1. None without weights: the normal distribution
        then serves.
    """
    return None if weight is None else max(effective_groups(weight, groups) - 1.0, 1.0)


def check_weight(sample_weight: Any, n_masks: int) -> Array | None:
    """Validate sample weights.

    Parameters
    ----------
    sample_weight : (m,) float or None
        Weight of each row.
    n_masks : int
        Required number of rows, m.

    Returns
    -------
    (m,) float64 or None
        The weights scaled to mean 1; None for None and for weights that are all equal.

    Raises
    ------
    AttributionError
        If the length is another one, or a weight is not finite and positive.
    """
    if sample_weight is None:
        return None
    weight = check_numbers("sample_weight", sample_weight)
    if weight.shape != (n_masks,):
        raise AttributionError(f"sample_weight must have one entry per mask, ({n_masks},); got {weight.shape}.")
    if not np.isfinite(weight).all() or (weight <= 0).any():
        raise AttributionError(
            "sample_weight must be finite and above 0. Leave masks out instead of giving them weight 0."
        )
    return None if (weight == weight[0]).all() else weight / weight.mean()


def check_effective_masks(weight: Array, least: int) -> None:
    """Refuse weights that leave too few effective masks, and warn where they leave few.

    Parameters
    ----------
    weight : (m,) float64
        Weights of the rows.
    least : int
        Smallest effective number accepted.

    Raises
    ------
    AttributionError
        If the effective number of rows is smaller.

    Warns
    -----
    AttributionWarning
        If it is below 100, and below nine tenths of the rows.
    """
    effective = effective_number(weight)
    if round(effective, 6) < least:  # six digits: rounding of the sums is no reason to refuse
        raise AttributionError(
            f"sample_weight leaves {effective:.3g} effective masks of {len(weight)}, (sum w)^2 / sum w^2; at least "
            f"{least} are needed. Give weights of a smaller range, or leave them out."
        )
    if effective < FEW_EFFECTIVE_MASKS and effective < 0.9 * len(weight):
        warnings.warn(
            f"sample_weight leaves {effective:.0f} effective masks of {len(weight)}, (sum w)^2 / sum w^2: errors and "
            "p-values allow for it, and interactions are found only if they are large.",
            AttributionWarning,
            stacklevel=4,
        )
