"""The link: how the output saturates in what speaks for it and in what speaks against it, whoever the players are.

With the datamodel's coefficients b split by sign, u+ = sum of b_i phi_i over players that raise the output and u- over
those that lower it, the output is u+ + u- + k1 u+^2 + k2 u-^2 + 2 k3 u+ u-, less the squares of single players. So a
pair has the coefficient 2 k b_i b_j, with the curvature k of its two sides and nothing that belongs to these two alone:
the saturation part of its interaction. One curve of u+ + u- alone (k1 = k2 = k3) does not fit: on real campaigns k1 is
negative, k2 positive and k3 near 0, and where both sides weigh the same, one curve sees no curvature at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.linear.datamodel_fit import LinearFit
from attribution.types import Array, Floating

# The curvatures: of the players that raise the output, of those that lower it, and between the two.
SIDES = ("helping", "hurting", "across")
# Targets from which the curvatures of a block have a common mean; fewer are shrunken towards 0.
_MIN_TARGETS = 8
_UNKNOWN = 1e12  # variance of a curvature that the masks do not determine


@dataclass(frozen=True, kw_only=True)
class LinkFit:
    """Curvatures of t targets. They multiply coefficients in the outputs' units, and are in 1 / that unit.

    Attributes
    ----------
    curvature, stderr : (t, 3) float64
        k1, k2, k3 of every target (`SIDES`), shrunken over the targets, and their posterior standard deviations.
    raw, raw_stderr : (t, 3) float64
        The same before shrinkage; standard errors are clustered by row group, infinite where not identified.
    fold_curvature : (k, t, 3) float64
        Shrunken curvatures without each fold.
    predicted : (m, t) float64
        The link's part of the output at every row, from coefficients and curvatures without the row's fold.

    Examples
    --------
    >>> from attribution.linear.datamodel_fit import fit_linear
    >>> phi = 2.0 * (np.random.default_rng(0).random((900, 6)) < 0.5) - 1
    >>> u, folds = phi @ [0.5, 0.5, 0.5, 0.5, 0.0, 0.0], np.arange(900) % 6
    >>> linear = fit_linear(phi, (u - 0.2 * u**2)[:, None], folds)
    >>> link = fit_link(phi, (u - 0.2 * u**2)[:, None], linear, folds)
    >>> link.curvature[0, :1].round(1).tolist()
    [-0.2]
    >>> link.pair_coefficient(linear.coef, np.array([[0, 1]]))[0].round(1).tolist()
    [-0.1]
    """

    curvature: Array
    stderr: Array
    raw: Array
    raw_stderr: Array
    fold_curvature: Array
    predicted: Array

    def evaluate(self, phi: Floating, coef: Array) -> Array:
        """Return the link's part of the output: phi (h, n), the datamodel's coefficients (t, n) -> (h, t)."""
        return np.einsum("hts,ts->ht", link_columns(phi, coef), self.curvature)

    def pair_coefficient(self, coef: Array, pairs: NDArray[np.int64]) -> Array:
        """Return the saturation part 2 k b_i b_j of pairs (c, 2) on every target, as a coefficient: (t, c)."""
        return _of_pairs(self.curvature, coef, pairs)

    def fold_pair_coefficient(self, fold_coef: Array, pairs: NDArray[np.int64]) -> Array:
        """Return the same by the fits without each fold: fold_coef (k, t, n) -> (k, t, c)."""
        return np.stack([_of_pairs(k, coef, pairs) for k, coef in zip(self.fold_curvature, fold_coef, strict=True)])


def link_columns(phi: Floating, coef: Array) -> Array:
    """Evaluate what each curvature multiplies.

    Parameters
    ----------
    phi : (m, n) float
        The basis at each row.
    coef : (t, n) float64
        Coefficients of the datamodel.

    Returns
    -------
    (m, t, 3) float64
        The sums of b_i b_j phi_i phi_j over ordered pairs of different players: both helping, both hurting, one each.
    """
    helping, hurting = np.maximum(coef, 0.0).T.astype(phi.dtype), np.minimum(coef, 0.0).T.astype(phi.dtype)
    up, down = (phi @ helping).astype(np.float64), (phi @ hurting).astype(np.float64)
    squared = phi * phi
    return np.stack(
        [up**2 - squared @ helping**2, down**2 - squared @ hurting**2, 2.0 * up * down], axis=2
    )


def fit_link(
    phi: Floating,
    outputs: Floating,
    linear: LinearFit,
    folds: NDArray[np.int64],
    *,
    weight: Floating | None = None,
    groups: NDArray[np.int64] | None = None,
    beside: Array | None = None,
) -> LinkFit:
    """Fit the curvatures of every target to what the datamodel leaves.

    Parameters
    ----------
    phi : (m, n) float
        The basis at each row.
    outputs : (m, t) float
    linear : LinearFit
        The datamodel of the same rows and folds.
    folds : (m,) int64
        Fold of each row.
    weight : (m,) float or None
        Weights of the rows; None for ones.
    groups : (m,) int64 or None
        Row groups that standard errors are clustered by; None for single rows.
    beside : (m, t) float64 or None
        Out-of-fold predictions of terms beside datamodel and link, which the curvatures must not explain.

    Returns
    -------
    LinkFit

    Notes
    -----
    Least squares of the out-of-fold residuals on out-of-fold columns. The curvatures kappa = k |b| are then shrunken:
    kappa_t ~ N(mu, tau^2) over the targets, mu and tau by Paule and Mandel (1982); with fewer than eight targets
    mu = 0. They are quadratic, not a spline, so that a pair's part has a closed form at every alpha.
    """
    n_folds, (n_masks, n_targets) = len(linear.fold_coef), outputs.shape
    w = np.ones(n_masks) if weight is None else np.asarray(weight, dtype=np.float64)
    residual = outputs - linear.predicted
    if beside is not None:
        residual = residual - beside
    columns = np.empty((n_masks, n_targets, 3))
    rows = [np.flatnonzero(folds == fold) for fold in range(n_folds)]
    for fold, own in enumerate(rows):
        columns[own] = link_columns(phi[own], linear.fold_coef[fold])
    columns -= np.einsum("m,mts->ts", w, columns) / w.sum()
    residual = residual - (w @ residual) / w.sum()
    gram = np.stack([np.einsum("m,mts,mtr->tsr", w[own], columns[own], columns[own]) for own in rows])
    cross = np.stack([np.einsum("m,mts,mt->ts", w[own], columns[own], residual[own]) for own in rows])
    unit = np.sqrt((linear.coef**2).sum(axis=1))
    raw, bread = _solve(gram.sum(axis=0), cross.sum(axis=0))
    left = residual - np.einsum("mts,ts->mt", columns, raw)
    variance = _clustered(columns, left * w[:, None], bread, groups)
    known = np.einsum("tss->ts", bread) > 0
    variance[~known] = np.inf
    curvature, posterior = _shrink(raw, variance, unit)
    predicted = np.empty((n_masks, n_targets))
    fold_curvature = np.empty((n_folds, n_targets, 3))
    for fold, own in enumerate(rows):
        without = _solve(gram.sum(axis=0) - gram[fold], cross.sum(axis=0) - cross[fold])[0]
        fold_curvature[fold] = _shrink(without, variance * n_folds / max(n_folds - 1, 1), unit)[0]
        predicted[own] = np.einsum("mts,ts->mt", columns[own], fold_curvature[fold])
    return LinkFit(
        curvature=curvature,
        stderr=np.sqrt(posterior),
        raw=raw,
        raw_stderr=np.sqrt(variance),
        fold_curvature=fold_curvature,
        predicted=predicted,
    )


def _of_pairs(curvature: Array, coef: Array, pairs: NDArray[np.int64]) -> Array:
    """2 k b_i b_j of pairs (c, 2), by curvatures (t, 3) and coefficients (t, n): (t, c)."""
    first, second = coef[:, pairs[:, 0]], coef[:, pairs[:, 1]]
    side = np.where((first > 0) & (second > 0), 0, np.where((first < 0) & (second < 0), 1, 2))
    return np.asarray(2.0 * np.take_along_axis(curvature, side, axis=1) * first * second)


def _solve(gram: Array, cross: Array) -> tuple[Array, Array]:
    """Least squares (t, 3) and the inverse Gram matrices (t, 3, 3); zero for columns that vanish."""
    size = np.sqrt(np.einsum("tss->ts", gram))
    used = size > 1e-6 * size.max(axis=1, keepdims=True, initial=1e-300)
    scale = np.where(used, size, 1.0)
    both = used[:, :, None] & used[:, None, :]
    scaled = np.where(both, gram / (scale[:, :, None] * scale[:, None, :]), 0.0) + 1e-9 * np.eye(3)
    scaled += np.einsum("ts,sr->tsr", (~used).astype(np.float64), np.eye(3))
    inverse = np.where(both, np.linalg.inv(scaled) / (scale[:, :, None] * scale[:, None, :]), 0.0)
    return np.einsum("tsr,tr->ts", inverse, cross), inverse


def _clustered(columns: Array, weighted: Array, bread: Array, groups: NDArray[np.int64] | None) -> Array:
    """Sandwich variances (t, 3) of the curvatures, clustered by row group."""
    scores = columns * weighted[:, :, None]
    if groups is not None and len(np.unique(groups)) < len(groups):
        order = np.argsort(groups, kind="stable")
        starts = np.concatenate([[0], np.flatnonzero(np.diff(groups[order])) + 1])
        scores = np.add.reduceat(scores[order], starts, axis=0)
    influence = np.einsum("tsr,mtr->mts", bread, scores)
    return np.asarray((influence**2).sum(axis=0))


def _shrink(raw: Array, variance: Array, unit: Array) -> tuple[Array, Array]:
    """Posterior means and variances (t, 3) of the curvatures, each side by a normal prior over the targets."""
    scale = np.where(unit > 0, unit, 1.0)[:, None]
    kappa, spread = raw * scale, variance * scale**2
    mean, posterior = np.zeros_like(kappa), np.full_like(kappa, 0.0)
    for side in range(kappa.shape[1]):
        known = np.isfinite(spread[:, side]) & (spread[:, side] > 0) & (unit > 0)
        if not known.any():
            continue
        centre, between = _normal_prior(kappa[known, side], spread[known, side])
        own = np.where(known, spread[:, side], _UNKNOWN)
        share = between / (between + own)
        mean[:, side] = np.where(unit > 0, centre + share * (kappa[:, side] - centre), 0.0)
        posterior[:, side] = np.where(unit > 0, share * own, 0.0)
    return mean / scale, posterior / scale**2


def _normal_prior(values: Array, variances: Array) -> tuple[float, float]:
    """Mean of the true values, and the variance at which the weighted sum of squares is as large as expected."""
    common = len(values) >= _MIN_TARGETS
    expected = len(values) - 1 if common else len(values)

    def centre_of(between: float) -> float:
        weight = 1.0 / (between + variances)
        return float(weight @ values / weight.sum()) if common else 0.0

    def excess(between: float) -> float:
        return float(((values - centre_of(between)) ** 2 / (between + variances)).sum()) - expected

    low, high = 0.0, float((values**2).max() + variances.max())
    if excess(low) <= 0:
        return centre_of(low), low
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return centre_of(high), high
