"""L1-penalised least squares for many targets from second moments: the solver of datamodel_fit.py and of the refits.

    minimise over b, c:  1/2 sum_r w_r (y_r - c - x_r . b)^2 / sum_r w_r  +  lambda sum_j penalty_j |b_j|

All targets and all penalties of a path are columns of one accelerated proximal-gradient iteration (FISTA, Beck and
Teboulle 2009, with the restart of O'Donoghue and Candes 2015), so its work is matrix products with the Gram matrix.
Designs of random masks are well conditioned, so few iterations suffice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attribution.types import Floating

POWER_ITERATIONS = 40  # a choice: any step below 2/L converges, so an estimate down to L/2 is good enough
EIGENVALUE_MARGIN = 1.02  # a choice, for the error that remains


@dataclass(frozen=True)
class Moments:
    """Weighted sums over rows, of which a fit needs no more. Folds are left out by subtracting their moments.

    Attributes
    ----------
    weight : float
        Sum of the weights.
    x : (q,), y : (t,)
        Weighted sums of the design's columns and of the outputs.
    xx : (q, q), yx : (t, q), yy : (t,)
        Weighted sums of products x x', y x and y^2.

    Examples
    --------
    >>> design, outputs = np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [0.0], [2.0]])
    >>> without_last = Moments.of(design, outputs) - Moments.of(design[2:], outputs[2:])
    >>> without_last.weight, without_last.x.tolist(), without_last.yx.tolist()
    (2.0, [3.0], [[1.0]])
    """

    weight: float
    x: Floating
    y: Floating
    xx: Floating
    yx: Floating
    yy: Floating

    @staticmethod
    def of(design: Floating, outputs: Floating, weight: Floating | None = None) -> Moments:
        """Sum over rows: design (m, q), outputs (m, t), weight (m,) or None for ones."""
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
        """Return the covariances (q, q) of the design and (t, q) of outputs with it; centring fits the intercept."""
        mean_x, mean_y = self.x / self.weight, self.y / self.weight
        return (
            self.xx / self.weight - np.outer(mean_x, mean_x),
            self.yx / self.weight - np.outer(mean_y, mean_x),
        )


def penalty_grid(covariance_y: Floating, penalty: Floating, count: int, smallest: float) -> Floating:
    """Compute a falling geometric grid of penalties for each target.

    Parameters
    ----------
    covariance_y : (t, q)
        Covariances of outputs with the design.
    penalty : (q,) or (t, q)
        Relative penalty of each column; columns with penalty 0 are ignored.
    count : int
        Number of penalties.
    smallest : float
        Ratio of the last penalty to the first.

    Returns
    -------
    (t, count)
        Penalties from the smallest one at which every coefficient is zero, downwards.
    """
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
    """Solve for every target at each of its penalties.

    Parameters
    ----------
    gram : (q, q) or (t, q, q)
        Covariance of the design, shared by all targets or one for each.
    covariance_y : (t, q)
        Covariances of outputs with the design.
    penalties : broadcastable to (t, l, q)
        lambda times the column's own penalty; infinity keeps a column out.
    start : (t, l, q) or None
        Coefficients to start from; None for zeros.
    tolerance : float
        Largest accepted change of a coefficient in one iteration, relative to the largest |covariance| of its target.
    max_iterations : int
        Largest number of iterations.

    Returns
    -------
    (t, l, q)
        Coefficients.
    """
    n_targets, n_columns = covariance_y.shape
    n_lambdas = penalties.shape[1]
    dtype = gram.dtype
    shared = gram.ndim == 2
    step = (1.0 / largest_eigenvalue(gram)).astype(dtype)  # () or (t,)
    step_column = step if shared else step[:, None, None]
    shrinkage = step_column * np.broadcast_to(penalties, (n_targets, n_lambdas, penalties.shape[2])).astype(dtype)
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
        new = np.sign(moved) * np.maximum(np.abs(moved) - shrinkage, 0)
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
            shrinkage, target, accuracy = shrinkage[keep], target[keep], accuracy[keep]
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
    """Solve several problems of one shape (folds), each as `solve_l1`.

    Parameters
    ----------
    device : str
        "cpu" solves one after the other in NumPy; another torch device solves them together (lasso_torch.py).
    grams, covariances, penalties, starts : sequences of k
        Arguments of `solve_l1`, one of each problem.
    tolerance : float
        As in `solve_l1`.

    Returns
    -------
    list of k (t, l, q)
        Coefficients of each problem.

    Raises
    ------
    AttributionError
        If the device does not exist.
    """
    if device != "cpu":
        from attribution.linear.lasso_torch import solve_l1_on_device

        return solve_l1_on_device(device, grams, covariances, penalties, starts, tolerance=tolerance)
    return [
        solve_l1(gram, covariance, penalty, start=start, tolerance=tolerance)
        for gram, covariance, penalty, start in zip(grams, covariances, penalties, starts, strict=True)
    ]


def largest_eigenvalue(gram: Floating) -> Floating:
    """Estimate the largest eigenvalue from above, by power iteration.

    Parameters
    ----------
    gram : (q, q) or (t, q, q)
        Positive semidefinite matrices.

    Returns
    -------
    () or (t,)
        Estimates, at least 1e-12.
    """
    vector = np.random.default_rng(0).standard_normal((*gram.shape[:-1], 1)).astype(gram.dtype)
    value = np.ones(gram.shape[:-2], dtype=gram.dtype)
    for _ in range(POWER_ITERATIONS):
        vector = gram @ vector
        value = np.sqrt((vector**2).sum(axis=(-2, -1)))
        vector = vector / np.maximum(value, 1e-300)[..., None, None]
    # Power iteration converges from below; the margin keeps the step below 2/L, which FISTA needs to converge.
    return np.maximum(value * EIGENVALUE_MARGIN, 1e-12)
