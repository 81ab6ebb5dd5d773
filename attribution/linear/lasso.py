"""L1-penalised least squares for many targets from second moments: the solver of datamodel.py and refit.py.

    minimise over b, c:  1/2 sum_r w_r (y_r - c - x_r . b)^2 / sum_r w_r  +  lambda sum_j penalty_j |b_j|

All targets and all penalties of a path are columns of one accelerated proximal-gradient iteration (FISTA, Beck &
Teboulle 2009, with the restart of O'Donoghue & Candes 2015), so its work is matrix products with the Gram matrix.
Designs of random masks are well conditioned, which is what makes this faster than coordinate descent here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attribution.types import Floating


@dataclass(frozen=True)
class Moments:
    """Weighted sums over rows: total weight; weight x (q,); weight y (t,); weight x x' (q, q); weight y x (t, q);
    weight y^2 (t,). Sums of disjoint rows add up, so folds are taken out by subtraction."""

    weight: float
    x: Floating
    y: Floating
    xx: Floating
    yx: Floating
    yy: Floating

    @staticmethod
    def of(design: Floating, outputs: Floating, weight: Floating | None = None) -> Moments:
        """design (m, q), outputs (m, t), weight (m,) or None for ones."""
        weighted = design if weight is None else design * weight[:, None]
        weighted_y = outputs if weight is None else outputs * weight[:, None]
        return Moments(
            float(len(design) if weight is None else weight.sum()),
            weighted.sum(axis=0),
            weighted_y.sum(axis=0),
            weighted.T @ design,
            weighted_y.T @ design,
            (weighted_y * outputs).sum(axis=0),
        )

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.weight + other.weight,
            self.x + other.x,
            self.y + other.y,
            self.xx + other.xx,
            self.yx + other.yx,
            self.yy + other.yy,
        )

    def __sub__(self, other: Moments) -> Moments:
        return Moments(
            self.weight - other.weight,
            self.x - other.x,
            self.y - other.y,
            self.xx - other.xx,
            self.yx - other.yx,
            self.yy - other.yy,
        )

    def centred(self) -> tuple[Floating, Floating]:
        """Covariances (q, q) of the design and (t, q) of outputs with it: the intercept is thereby fitted."""
        mean_x, mean_y = self.x / self.weight, self.y / self.weight
        return (
            self.xx / self.weight - np.outer(mean_x, mean_x),
            self.yx / self.weight - np.outer(mean_y, mean_x),
        )


def penalty_grid(covariance_y: Floating, penalty: Floating, count: int, smallest: float) -> Floating:
    """(t, count) penalties per target, falling geometrically from the least that leaves nothing in the model.

    covariance_y (t, q); penalty (q,) or (t, q), columns with penalty 0 are not looked at."""
    ratio = np.abs(covariance_y) / np.where(penalty > 0, penalty, np.inf)
    top = ratio.max(axis=-1)
    return np.maximum(top, 1e-300)[:, None] * np.geomspace(1.0, smallest, count)[None, :]


def solve_l1(
    gram: Floating,
    covariance_y: Floating,
    penalties: Floating,
    *,
    start: Floating | None = None,
    tolerance: float = 1e-4,
    max_iterations: int = 2000,
) -> Floating:
    """Coefficients (t, l, q) of every target at each of its l penalties.

    gram: (q, q) shared by all targets or (t, q, q). covariance_y: (t, q). penalties: broadcastable to (t, l, q),
    lambda times the column's own penalty; infinite keeps a column out. tolerance: largest accepted change of a
    coefficient in one iteration, relative to the largest |covariance| of its target (so units do not matter).
    """
    n_targets, n_columns = covariance_y.shape
    n_lambdas = penalties.shape[1]
    dtype = gram.dtype
    shared = gram.ndim == 2
    step = (1.0 / largest_eigenvalue(gram)).astype(dtype)  # () or (t,)
    step_column = step if shared else step[:, None, None]
    cut = step_column * np.broadcast_to(penalties, (n_targets, n_lambdas, penalties.shape[2])).astype(dtype)
    target = covariance_y.astype(dtype)[:, None, :]
    accuracy = tolerance * np.maximum(np.abs(covariance_y).max(axis=1), 1e-300)[:, None]
    coef = np.zeros((n_targets, n_lambdas, n_columns), dtype) if start is None else start.astype(dtype)
    result = coef.copy()
    going = np.arange(n_targets)  # targets not yet converged
    ahead = coef.copy()
    momentum = np.ones((n_targets, n_lambdas, 1), dtype=dtype)
    for _ in range(max_iterations):
        if shared:
            product = (ahead.reshape(-1, n_columns) @ gram).reshape(ahead.shape)
        else:
            product = ahead @ gram
        moved = ahead - step_column * (product - target)
        new = np.sign(moved) * np.maximum(np.abs(moved) - cut, 0)
        change = new - coef
        done = (np.abs(change).max(axis=2) <= accuracy).all(axis=1)
        # Restart the momentum wherever it points uphill.
        uphill = ((ahead - new) * change).sum(axis=2, keepdims=True) > 0
        momentum = np.where(uphill, np.asarray(1, dtype), momentum)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + ((momentum - 1) / following) * change
        momentum, coef = following.astype(dtype), new
        if done.any():
            result[going[done]] = coef[done]
            keep = ~done
            if not keep.any():
                return result
            going, coef, ahead, momentum = going[keep], coef[keep], ahead[keep], momentum[keep]
            cut, target, accuracy = cut[keep], target[keep], accuracy[keep]
            if not shared:
                gram, step_column = gram[keep], step_column[keep]
    result[going] = coef
    return result


def solve_l1_each(
    device: str,
    grams: Sequence[Floating],
    covariances: Sequence[Floating],
    penalties: Sequence[Floating],
    starts: Sequence[Floating | None],
    *,
    tolerance: float = 1e-4,
) -> list[Floating]:
    """solve_l1 of several problems of one shape (folds): one after the other in NumPy, together on another device."""
    if device != "cpu":
        from attribution.linear.lasso_torch import solve_l1_on_device

        return solve_l1_on_device(device, grams, covariances, penalties, starts, tolerance=tolerance)
    return [
        solve_l1(gram, covariance, penalty, start=start, tolerance=tolerance)
        for gram, covariance, penalty, start in zip(grams, covariances, penalties, starts, strict=True)
    ]


def largest_eigenvalue(gram: Floating) -> Floating:
    """A safe upper estimate of the largest eigenvalue of (q, q) or (t, q, q), by power iteration: () or (t,)."""
    vector = np.random.default_rng(0).standard_normal((*gram.shape[:-1], 1)).astype(gram.dtype)
    value = np.ones(gram.shape[:-2], dtype=gram.dtype)
    for _ in range(40):
        vector = gram @ vector
        value = np.sqrt((vector**2).sum(axis=(-2, -1)))
        vector = vector / np.maximum(value, 1e-300)[..., None, None]
    # Power iteration approaches from below; the margin keeps the step below 2/L, which is all FISTA needs.
    return np.maximum(value * 1.02, 1e-12)
