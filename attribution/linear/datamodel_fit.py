"""The LASSO datamodel of every target, on all rows and without each fold in turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.checks import check_integer, check_number
from attribution.linear.few_masks import CentredRows, fit_few_masks
from attribution.linear.lasso import Moments, penalty_grid, solve_l1_each
from attribution.types import Array, Floating

# Penalties of a path solved together; a choice. A target stops once its best penalty lies before the last chunk.
_CHUNK = 6
MAX_PENALTIES = 10_000  # a choice: far more than a path needs, and few enough for memory


@dataclass(frozen=True, kw_only=True)
class LinearFit:
    """The LASSO datamodel of t targets, fitted on all rows and without each of k folds.

    Coefficients are those of the design's columns, in the outputs' units.

    Attributes
    ----------
    coef : (t, n) float64
        Coefficients of the fit on all rows.
    intercept, penalty : (t,) float64
        Its intercept and chosen penalty.
    fold_coef : (k, t, n) float64
        Coefficients of the fits without each fold.
    fold_intercept, fold_penalty : (k, t) float64
        Their intercepts and chosen penalties.
    predicted : (m, t) float64
        Prediction of each row by the fit without its fold.

    Examples
    --------
    >>> phi = 2.0 * (np.random.default_rng(0).random((120, 4)) < 0.5) - 1
    >>> fit = fit_linear(phi, phi[:, [0]] - 2.0 * phi[:, [2]], np.arange(120) % 6)
    >>> (fit.coef.round(1) + 0.0).tolist()
    [[1.0, 0.0, -2.0, 0.0]]
    >>> fit.fold_coef.shape, fit.predicted.shape
    ((6, 1, 4), (120, 1))
    """

    coef: Array
    intercept: Array
    penalty: Array
    fold_coef: Array
    fold_intercept: Array
    fold_penalty: Array
    predicted: Array


def fit_linear(
    phi: Floating,
    outputs: Floating,
    folds: NDArray[np.int64],
    *,
    weight: Floating | None = None,
    n_penalties: int = 30,
    smallest: float = 0.01,
    allowed: NDArray[np.bool_] | None = None,
    device: str = "cpu",
) -> LinearFit:
    """Fit the LASSO datamodel, its penalty chosen by cross-validation.

    Parameters
    ----------
    phi : (m, n) float
        Design: the basis at each row.
    outputs : (m, t) float
        Outputs of all targets.
    folds : (m,) int64
        Fold of each row, 0..k-1.
    weight : (m,) float or None
        Weights of the rows; None for ones.
    n_penalties : int
        Number of penalties of the path; a choice.
    smallest : float
        Ratio of the smallest penalty to the one that empties the model; a choice.
    allowed : (k + 1, n) bool or None
        Columns that the fit without each fold, and (last) the fit on all rows may use; None for all.
    device : str
        Where the path is solved, as BoosterSettings.device.

    Returns
    -------
    LinearFit
        The fits. The fit without fold k takes the penalty that is best on the other folds, so fold k has no influence
        on the predictions made for it.

    Raises
    ------
    AttributionError
        If the device does not exist, or a setting is out of range.
    """
    check_integer("n_penalties", n_penalties, 1, MAX_PENALTIES)
    check_number("smallest_penalty", smallest, 0, 1, includes="]")
    n_folds = int(folds.max()) + 1
    # Units of each target's own spread, so that float32 products serve any output.
    centre = outputs.mean(axis=0)
    scale = outputs.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    y = ((outputs - centre) / scale).astype(phi.dtype)
    w = None if weight is None else weight.astype(phi.dtype)
    rows = [np.flatnonzero(folds == fold) for fold in range(n_folds)]
    targets = np.arange(y.shape[1])
    # A column that a fit may not use has an infinite penalty.
    may = np.ones((n_folds + 1, phi.shape[1]), dtype=bool) if allowed is None else allowed
    if device == "cpu" and prefers_coordinates(len(phi), phi.shape[1], y.shape[1]):
        covariance = CentredRows.of(phi, y, w, np.ones(phi.shape[1], dtype=bool))
        lambdas = penalty_grid(covariance.y.T @ covariance.x / len(y), np.ones(phi.shape[1]), n_penalties, smallest)
        coefs, intercepts, penalty = fit_few_masks(phi, y, w, rows, lambdas.astype(np.float64), may, _CHUNK)
    else:
        parts = [Moments.of(phi[r], y[r], None if w is None else w[r]) for r in rows]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        lambdas = penalty_grid(total.centred()[1], np.ones(phi.shape[1]), n_penalties, smallest)
        train = [total - part for part in parts]
        del parts  # Gram matrices take most of the memory here
        relative = np.where(may, 1.0, np.inf).astype(phi.dtype)
        error = _path_errors(phi, y, w, rows, train, lambdas, relative, device)
        best = error.sum(axis=0).argmin(axis=1)
        # The penalty of each fit without a fold, and (last) of that on all rows.
        choice = [np.delete(error, fold, axis=0).sum(axis=0).argmin(axis=1) for fold in range(n_folds)]
        penalty = np.stack([lambdas[targets, chosen] for chosen in (*choice, best)])
        coefs, intercepts = _solve([*train, total], penalty, relative, device)
    coefs, intercepts = coefs * scale[:, None], intercepts * scale + centre
    predicted = np.empty(outputs.shape, dtype=np.float64)
    for fold, r in enumerate(rows):
        predicted[r] = phi[r] @ coefs[fold].T.astype(phi.dtype) + intercepts[fold]
    return LinearFit(
        coef=coefs[-1],
        intercept=intercepts[-1],
        penalty=penalty[-1] * scale,
        fold_coef=coefs[:-1],
        fold_intercept=intercepts[:-1],
        fold_penalty=penalty[:-1] * scale,
        predicted=predicted,
    )


def prefers_coordinates(n_masks: int, n_players: int, n_targets: int) -> bool:
    """Whether coordinate descent on the masks takes less time than products with the Gram matrix.

    300 masks, seconds of descent and of products: 400 players .12 and .29 for 1 target, 9.6 and 4.8 for 100; 1,000
    players .24 and 1.2 for 1, 5.6 and 6.6 for 20, 15 and 14 for 60; 2,000 players .8 and 7.7 for 1 (one core).
    """
    return n_players > n_masks and (n_targets <= n_players / 40 or n_players >= 4 * n_masks)


def _path_errors(
    phi: Floating,
    y: Floating,
    weight: Floating | None,
    rows: list[NDArray[np.int64]],
    train: list[Moments],
    lambdas: Floating,
    relative: Floating,
    device: str,
) -> Floating:
    """Sum squared errors (k, t, l) on each fold by the fit without it; inf where a target's path stopped early."""
    n_targets, n_penalties = lambdas.shape
    error = np.full((len(rows), n_targets, n_penalties), np.inf)
    active = np.arange(n_targets)
    centred = [moments.centred() for moments in train]
    last: list[Floating | None] = [None] * len(rows)
    for first in range(0, n_penalties, _CHUNK):
        chunk = slice(first, min(first + _CHUNK, n_penalties))
        size = chunk.stop - first
        coefs = solve_l1_each(
            device,
            [gram for gram, _ in centred],
            [covariance[active] for _, covariance in centred],
            [lambdas[active, chunk][:, :, None] * relative[fold] for fold in range(len(rows))],
            [None if start is None else np.repeat(start[active][:, None], size, axis=1) for start in last],
        )
        for fold, (r, coef) in enumerate(zip(rows, coefs, strict=True)):
            moments = train[fold]
            intercept = (moments.y[active, None] - coef @ moments.x) / moments.weight
            fitted = (coef.reshape(-1, phi.shape[1]) @ phi[r].T).reshape(len(active), size, len(r))
            squared = (y[r].T[active][:, None, :] - intercept[:, :, None] - fitted) ** 2
            error[fold, active, chunk] = squared.sum(axis=2) if weight is None else squared @ weight[r]
            ends = last[fold]
            if ends is None:
                ends = last[fold] = np.zeros((n_targets, phi.shape[1]), dtype=phi.dtype)
            ends[active] = coef[:, -1]
        best = error[:, active].sum(axis=0).argmin(axis=1)
        active = active[best >= chunk.stop - _CHUNK]
        if len(active) == 0:
            break
    return error


def _solve(moments: list[Moments], penalty: Floating, relative: Floating, device: str) -> tuple[Array, Array]:
    """Solve every fit at its penalty (k, t): coefficients (k, t, n) and intercepts (k, t); relative: (k, n)."""
    grams, covariances = zip(*(of_rows.centred() for of_rows in moments), strict=True)
    penalties = [own[:, None, None] * columns for own, columns in zip(penalty, relative, strict=True)]
    found = solve_l1_each(device, grams, covariances, penalties, [None] * len(moments), tolerance=1e-6)
    coefs = [coef[:, 0] for coef in found]
    intercepts = [
        (of_rows.y - coef @ of_rows.x).astype(np.float64) / of_rows.weight
        for of_rows, coef in zip(moments, coefs, strict=True)
    ]
    return np.stack(coefs).astype(np.float64), np.stack(intercepts)
