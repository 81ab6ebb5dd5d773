"""LASSO over all players and all pairs of them, for few players."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin

from attribution.checks import check_integer, check_number
from attribution.errors import AttributionError
from attribution.estimators.base import keep_players, masks_to_predict, one_alpha
from attribution.fourier.basis import basis
from attribution.fourier.spectrum import Spectrum
from attribution.linear.datamodel_fit import MAX_PENALTIES
from attribution.masks.folds import N_FOLDS, assign_folds
from attribution.masks.inputs import as_given, check_data
from attribution.types import Array, Float32


class PairwiseLasso(RegressorMixin, BaseEstimator):
    """LASSO over all players and all pairs, with one cross-validated penalty for each target.

    Parameters
    ----------
    alpha : float
        Probability with which a mask includes a player, in (0, 1).
    n_penalties : int
        Number of penalties on the path. The path ends early once the cross-validated error has not improved for five.
    smallest_penalty : float
        Smallest penalty, as a fraction of the smallest one at which every coefficient is zero.
    seed : int
        Seed of the assignment of masks to folds.
    max_players : int
        Campaigns of more players are refused.

    Attributes
    ----------
    spectra_ : list of Spectrum
        One for each target.
    coef_ : ndarray of shape (n_targets, n_players)
        Main effects in Banzhaf units: the effect of a player averaged over masks.
    intercept_ : ndarray of shape (n_targets,)
        Mean output.
    penalty_ : ndarray of shape (n_targets,)
        Penalty lambda of each target.
    cross_fitted_ : ndarray of shape (n_masks, n_targets)
        Predictions of the fit masks, each by the fit without the mask's fold.
    single_ : bool
        True if `outputs` was a vector; `predict` then returns a vector.
    n_features_in_ : int
        Number of players.
    feature_names_in_ : ndarray of str, shape (n_players,)
        Column names of the masks; only if they were a data frame with names.

    Notes
    -----
    The estimate minimises

        1/2 mean(w (y - c - sum_i b_i phi_i - sum_ij b_ij phi_i phi_j)^2) + lambda |b|_1

    The path is solved with the sequential strong rule (Tibshirani et al. 2012): only columns whose correlation with the
    residual may matter are fitted, and all columns are checked afterwards: the solution is that of the whole problem.
    The n (n + 1) / 2 columns are held in float32: 165 MB for 200 players and 2,048 masks.

    **When to use it.** As a baseline for up to 300 players.

    **When not to use it.** One penalty for many small main effects and few large interactions halves the interactions
    (docs/NEGATIVE_RESULTS.md), and there are no triples, errors or q-values. `ProxySPEX` has them. No flow uses this
    class.

    Examples
    --------
    >>> import numpy as np
    >>> from attribution.estimators import PairwiseLasso
    >>> rng = np.random.default_rng(0)
    >>> masks = rng.random((300, 8)) < 0.5
    >>> outputs = masks[:, 1] + 2.0 * masks[:, 3] * masks[:, 6] + 0.1 * rng.normal(size=300)
    >>> spectrum = PairwiseLasso().fit(masks, outputs).spectra_[0]
    >>> max((members for members in spectrum.terms if len(members) == 2), key=lambda pair: abs(spectrum.terms[pair]))
    (3, 6)
    """

    def __init__(
        self,
        alpha: float = 0.5,
        n_penalties: int = 25,
        smallest_penalty: float = 0.05,
        seed: int = 0,
        max_players: int = 300,
    ) -> None:
        self.alpha = alpha
        self.n_penalties = n_penalties
        self.smallest_penalty = smallest_penalty
        self.seed = seed
        self.max_players = max_players

    def fit(self, masks: Any, outputs: Any, groups: Any = None, sample_weight: Any = None) -> PairwiseLasso:
        """Fit to the outputs of models trained on masks.

        Parameters
        ----------
        masks : array_like of bool, shape (n_masks, n_players)
            True where a player is in the training set.
        outputs : array_like of float, shape (n_masks,) or (n_masks, n_targets)
            One column for each target.
        groups : array_like, shape (n_masks,), optional
            Labels of rows that must share a fold. Equal masks always share one.
        sample_weight : array_like of float, shape (n_masks,), optional
            Positive weights of the rows.

        Returns
        -------
        PairwiseLasso
            The fitted estimator.

        Raises
        ------
        AttributionError
            For invalid masks, outputs or settings, and for more than `max_players`
            players.
        """
        n_penalties = check_integer("n_penalties", self.n_penalties, 1, MAX_PENALTIES)
        smallest = check_number("smallest_penalty", self.smallest_penalty, 0, 1, includes="]")
        max_players = check_integer("max_players", self.max_players, 1)
        data = check_data(masks, outputs, one_alpha(self.alpha), groups=groups, sample_weight=sample_weight)
        n_players, n_targets = data.masks.shape[1], data.outputs.shape[1]
        if n_players > max_players:
            raise AttributionError(
                f"{n_players} players have {n_players * (n_players - 1) // 2} pairs, too many to fit jointly (at "
                f"most {max_players} players, max_players). Use ProxySPEX, which screens them."
            )
        pairs = np.column_stack(np.triu_indices(n_players, 1))
        columns = _design(basis(data.masks, self.alpha))
        folds = assign_folds(data.groups, N_FOLDS, self.seed)
        weight = np.ones(len(data.masks)) if data.weight is None else data.weight
        ratios = np.geomspace(1.0, smallest, n_penalties)
        self.spectra_: list[Spectrum] = []
        self.coef_: Array = np.zeros((n_targets, n_players))
        self.intercept_: Array = np.zeros(n_targets)
        self.penalty_: Array = np.zeros(n_targets)
        self.cross_fitted_: Array = np.zeros(data.outputs.shape)
        for target in range(n_targets):
            fitted = _fit_target(columns, data.outputs[:, target], weight, folds, ratios)
            terms: dict[tuple[int, ...], float] = {(): fitted.intercept}
            for at in np.flatnonzero(fitted.coef):
                members = (int(at),) if at < n_players else tuple(int(i) for i in pairs[at - n_players])
                terms[members] = float(fitted.coef[at])
            spectrum = Spectrum(terms, n_players, float(self.alpha))
            self.spectra_.append(spectrum)
            self.coef_[target] = fitted.coef[:n_players] / spectrum.sigma
            self.intercept_[target], self.penalty_[target] = fitted.intercept, fitted.penalty
            self.cross_fitted_[:, target] = fitted.predicted
        keep_players(self, data)
        return self

    def predict(self, masks: Any) -> Array:
        """Predict the outputs of models trained on masks.

        Parameters
        ----------
        masks : array_like of bool, shape (n_masks, n_players)

        Returns
        -------
        ndarray of shape (n_masks,) or (n_masks, n_targets)
            One dimension if `fit` was given a vector.

        Raises
        ------
        AttributionError
            For a number of players other than in `fit`.
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "spectra_")
        rows = masks_to_predict(self, masks)
        predicted = np.column_stack([spectrum.evaluate(rows) for spectrum in self.spectra_])
        return as_given(predicted, self.single_)


@dataclass(frozen=True)
class _Fitted:
    coef: Array
    intercept: float
    penalty: float
    predicted: Array


_PATIENCE = 5  # penalties without a smaller cross-validated error after which the path ends


def _design(phi: Float32) -> Float32:
    """phi_i and then phi_i phi_j, i < j, of every mask: (m, n) -> (n (n + 1) / 2, m).

    A column of the design is a row here, so that reading some of them reads memory in order."""
    n_masks, n_players = phi.shape
    columns = np.empty((n_players * (n_players + 1) // 2, n_masks), dtype=np.float32)
    columns[:n_players] = phi.T
    start = n_players
    for player in range(n_players - 1):
        stop = start + n_players - 1 - player
        np.multiply(columns[player], columns[player + 1 : n_players], out=columns[start:stop])
        start = stop
    return columns


def _fit_target(columns: Float32, outputs: Array, weight: Array, folds: NDArray[np.int64], ratios: Array) -> _Fitted:
    """Fit one target: the paths of all folds, penalty by penalty, then the fit on all masks."""
    mean, scale = float(np.average(outputs, weights=weight)), float(outputs.std()) or 1.0
    y = ((outputs - mean) / scale).astype(np.float32)
    n_folds = int(folds.max()) + 1
    w = weight.astype(np.float32)
    held = [np.flatnonzero(folds == fold) for fold in range(n_folds)]
    paths = [_Path(columns, y, np.where(folds == fold, np.float32(0), w)) for fold in range(n_folds)]
    everything = _Path(columns, y, w)
    top = everything.largest_penalty
    error = np.full((n_folds, len(ratios)), np.inf)
    predictions = np.zeros((len(ratios), len(y)))
    for step, ratio in enumerate(ratios):
        for fold, path in enumerate(paths):
            path.advance(top * ratio)
            predictions[step, held[fold]] = path.predict(held[fold])
            error[fold, step] = w[held[fold]] @ (y[held[fold]] - predictions[step, held[fold]]) ** 2
        if step - int(error.sum(axis=0).argmin()) >= _PATIENCE:
            break
    best = int(error.sum(axis=0).argmin())
    for ratio in ratios[: best + 1]:
        everything.advance(top * ratio, tolerance=1e-8)
    predicted = np.empty(len(y))
    for fold, rows in enumerate(held):
        # The penalty used on a fold is chosen on the others.
        predicted[rows] = predictions[np.delete(error, fold, axis=0).sum(axis=0).argmin(), rows]
    return _Fitted(
        everything.coefficients() * scale,
        float(everything.intercept) * scale + mean,
        top * ratios[best] * scale,
        predicted * scale + mean,
    )


class _Path:
    """A LASSO path on some rows (weight 0 leaves a row out), solved penalty by penalty on a working set of columns.

    The working set only grows, and its Gram matrix with it, so that each step computes new columns only. place (q,):
    position of each column in the set, -1 outside it; at (w,): the columns of the set. Coordinate descent is
    scikit-learn's."""

    def __init__(self, columns: Float32, y: Float32, weight: Float32) -> None:
        self.columns, self.y, self.weight = columns, y, weight
        self.total = float(weight.sum())
        self.mean_y = float(weight @ y) / self.total
        # The duality gap is measured relative to its square.
        self.spread = np.sqrt([max(float(weight @ y**2) / self.total - self.mean_y**2, 1e-12)])
        self.place = np.full(len(columns), -1, dtype=np.int64)
        self.at = np.zeros(0, dtype=np.int64)
        self.x = np.zeros((0, len(y)), dtype=np.float32)
        self.mean: Array = np.zeros(0)
        self.gram: Array = np.zeros((0, 0))
        self.covariance: Array = np.zeros(0)
        self.coef: Array = np.zeros(0)
        self.intercept = self.mean_y
        self.correlation = self._correlations((y - np.float32(self.mean_y)) * weight)
        self.largest_penalty = float(np.abs(self.correlation).max())
        self.penalty = self.largest_penalty

    def _correlations(self, weighted_residual: Float32) -> Float32:
        # The residual sums to zero, so the columns need no centring.
        return np.asarray(self.columns @ weighted_residual, dtype=np.float32) / np.float32(self.total)

    def advance(self, penalty: float, tolerance: float = 1e-6) -> None:
        """Solve for a smaller penalty; tolerance: largest duality gap, as a share of the outputs' variance."""
        # 5% more than the strong rule requires: fetching columns together takes less time.
        wanted = np.abs(self.correlation) >= 0.95 * (2.0 * penalty - self.penalty)
        self.penalty = penalty
        while True:
            self._fetch(np.flatnonzero(wanted & (self.place < 0)))
            self._solve(penalty, tolerance)
            wanted = (np.abs(self.correlation) > penalty * 1.001 + 1e-6) & (self.place < 0)
            if not wanted.any():
                return

    def _fetch(self, at: NDArray[np.int64]) -> None:
        if len(at) == 0:
            return
        x = self.columns[at]
        weighted = x * self.weight
        mean = weighted.sum(axis=1) / self.total
        cross = self.x @ weighted.T / self.total - np.outer(self.mean, mean)
        own = x @ weighted.T / self.total - np.outer(mean, mean)
        self.gram = np.ascontiguousarray(np.block([[self.gram, cross], [cross.T, own]]))
        self.covariance = np.concatenate([self.covariance, weighted @ self.y / self.total - self.mean_y * mean])
        self.place[at] = len(self.at) + np.arange(len(at))
        self.at, self.mean = np.concatenate([self.at, at]), np.concatenate([self.mean, mean])
        self.x, self.coef = np.concatenate([self.x, x]), np.concatenate([self.coef, np.zeros(len(at))])

    def _solve(self, penalty: float, tolerance: float) -> None:
        from sklearn.linear_model import lasso_path

        if len(self.at):
            # One row of zeros replaces the design: beside the Gram matrix only its shape is used.
            self.coef = lasso_path(
                np.zeros((1, len(self.at))), self.spread, alphas=[penalty], precompute=self.gram, Xy=self.covariance,
                coef_init=self.coef, check_input=False, copy_X=False, tol=tolerance, max_iter=10_000,
            )[1][:, 0]  # fmt: skip
        self.intercept = self.mean_y - float(self.coef @ self.mean)
        active = np.flatnonzero(self.coef)
        fitted = self.coef[active].astype(np.float32) @ self.x[active]
        self.correlation = self._correlations((self.y - fitted - np.float32(self.intercept)) * self.weight)

    def predict(self, rows: NDArray[np.int64]) -> Array:
        active = np.flatnonzero(self.coef)
        return self.coef[active] @ self.x[np.ix_(active, rows)] + self.intercept

    def coefficients(self) -> Array:
        dense = np.zeros(len(self.columns))
        dense[self.at] = self.coef
        return dense
