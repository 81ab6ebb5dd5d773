"""The LASSO datamodel by coordinate descent: for players that outnumber the masks, where no Gram matrix pays.

The Gram matrix of n players costs m n^2 multiplications and each step of `lasso.solve_l1` n^2 for each target. A sweep
of coordinate descent on the residuals costs m n, and less where most coefficients stay at zero (scikit-learn screens
them out; Fercoq, Gramfort and Salmon 2015, "Mind the duality gap"). Both solve the same problem.
"""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.types import Array, Floating

PATH_GAP, FINAL_GAP = 1e-4, 1e-8  # largest duality gap of a path and of the chosen fits, as shares of the variance
LOG_SECONDS = 10.0  # between two lines about a long fit; a choice
_logger = logging.getLogger("coterie.attribution")


@dataclass(frozen=True)
class CentredRows:
    """The rows of one fit, centred and scaled, so that the fit minimises |y - x b|^2 / (2 m) + lambda |b|_1.

    Attributes
    ----------
    x : (m, q) float64
        Design of the columns that the fit may use.
    y : (m, t) float64
        Outputs.
    mean_x : (q,), mean_y : (t,) float64
        Weighted means that were taken out.
    columns : (q,) int64
        Columns of the whole design that `x` holds.

    Examples
    --------
    >>> rows = CentredRows.of(np.array([[1.0], [3.0]]), np.array([[2.0], [6.0]]), None, np.array([True]))
    >>> rows.solve(0, np.array([0.5]), PATH_GAP, None)[0].round(3).tolist()
    [[1.5]]
    """

    x: Array
    y: Array
    mean_x: Array
    mean_y: Array
    columns: NDArray[np.int64]

    @staticmethod
    def of(design: Floating, outputs: Floating, weight: Floating | None, allowed: NDArray[np.bool_]) -> CentredRows:
        """Centre and scale: design (m, n), outputs (m, t), weight (m,) or None for ones, allowed (n,)."""
        columns = np.flatnonzero(allowed)
        x, y = design[:, columns].astype(np.float64), outputs.astype(np.float64)
        mean_x, mean_y = np.average(x, axis=0, weights=weight), np.average(y, axis=0, weights=weight)
        root = np.ones(len(x)) if weight is None else np.sqrt(weight / weight.mean())
        return CentredRows(
            np.asfortranarray((x - mean_x) * root[:, None]),
            np.asfortranarray((y - mean_y) * root[:, None]),
            mean_x,
            mean_y,
            columns,
        )

    def solve(self, target: int, penalties: Array, gap: float, start: Array | None) -> tuple[Array, Array]:
        """Solve one target at falling penalties (l,), from `start` (q,): coefficients (l, q) and intercepts (l,)."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import lasso_path

        with warnings.catch_warnings():
            # A gap that rounding keeps above FINAL_GAP is no error of the coefficients.
            warnings.simplefilter("ignore", ConvergenceWarning)
            coefs = lasso_path(
                self.x, np.ascontiguousarray(self.y[:, target]), alphas=penalties, precompute=False, coef_init=start,
                check_input=False, copy_X=False, tol=gap, max_iter=2000,
            )[1].T  # fmt: skip
        return coefs, self.mean_y[target] - coefs @ self.mean_x


def fit_few_masks(
    phi: Floating,
    y: Floating,
    weight: Floating | None,
    rows: list[NDArray[np.int64]],
    lambdas: Array,
    allowed: NDArray[np.bool_],
    chunk: int,
) -> tuple[Array, Array, Array]:
    """Fit every target without each fold and on all rows, each at the penalty that cross-validation chooses.

    Parameters
    ----------
    phi : (m, n) float
        Design.
    y : (m, t) float
        Outputs, in units of their spread.
    weight : (m,) float or None
        Weights of the rows.
    rows : list of (m_k,) int64
        Rows of each of k folds.
    lambdas : (t, l) float
        Falling penalties of each target.
    allowed : (k + 1, n) bool
        Columns that the fit without each fold, and (last) the fit on all rows may use.
    chunk : int
        Penalties solved together; a target's path ends once its best penalty lies before the last chunk.

    Returns
    -------
    coefs : (k + 1, t, n) float64
    intercepts : (k + 1, t) float64
    penalties : (k + 1, t) float64
        Of the fit without each fold, chosen on the other folds, and (last) of the fit on all rows.
    """
    n_folds, (n_targets, n_penalties) = len(rows), lambdas.shape
    everything = np.arange(len(y))
    kept = [np.setdiff1d(everything, held) for held in rows] + [everything]
    fits = [
        CentredRows.of(phi[own], y[own], None if weight is None else weight[own], may)
        for own, may in zip(kept, allowed, strict=True)
    ]
    coefs = np.zeros((n_folds + 1, n_targets, phi.shape[1]))
    intercepts, penalties = np.zeros((n_folds + 1, n_targets)), np.zeros((n_folds + 1, n_targets))
    begun = said = time.monotonic()
    for target in range(n_targets):
        error = np.full((n_folds, n_penalties), np.inf)
        starts: list[Array | None] = [None] * n_folds
        for first in range(0, n_penalties, chunk):
            now = slice(first, min(first + chunk, n_penalties))
            for fold, held in enumerate(rows):
                fit = fits[fold]
                found, intercept = fit.solve(target, lambdas[target, now], PATH_GAP, starts[fold])
                starts[fold] = found[-1].copy()
                used = np.flatnonzero(found.any(axis=0))
                fitted = phi[np.ix_(held, fit.columns[used])] @ found[:, used].T + intercept
                squared = (y[held, target][:, None] - fitted) ** 2
                error[fold, now] = squared.sum(axis=0) if weight is None else weight[held] @ squared
            if error.sum(axis=0).argmin() < now.stop - chunk:
                break
        for fold, fit in enumerate(fits):
            others = np.delete(error, fold, axis=0) if fold < n_folds else error
            penalties[fold, target] = lambdas[target, others.sum(axis=0).argmin()]
            start = starts[fold] if fold < n_folds else None
            found, intercept = fit.solve(target, penalties[fold, [target]], FINAL_GAP, start)
            coefs[fold, target, fit.columns], intercepts[fold, target] = found[0], intercept[0]
        if time.monotonic() - said > LOG_SECONDS:
            said = time.monotonic()
            _logger.info("datamodel: %d of %d targets after %.0f s", target + 1, n_targets, said - begun)
    return coefs, intercepts, penalties
