"""The base of the linear estimators, and the protocol of all estimators."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from attribution.checks import check_alpha, check_masks
from attribution.errors import AttributionError
from attribution.masks.inputs import CheckedData, as_given
from attribution.masks.player_subset import player_blocks
from attribution.types import Array


class Estimator(Protocol):
    """A model of mask -> outputs that a campaign can fit and score (analysis/scores.py, `ESTIMATORS`).

    Every estimator of this folder is one. A further one needs these two methods and a line in that table.
    """

    def fit(self, masks: Any, outputs: Any, groups: Any = None) -> Any:
        """Fit to masks (m, n) bool and outputs (m, t). groups: (m,) labels of rows that no split may divide."""

    def predict(self, masks: Any) -> Array:
        """Return the predicted outputs, (h, t), of masks (h, n) bool."""


def one_alpha(alpha: Any) -> float:
    """Return alpha. Raises AttributionError if it is no number in (0, 1), or one value for every mask."""
    if np.ndim(alpha) != 0:
        raise AttributionError(
            f"alpha must be one number in (0, 1): this estimator takes one alpha for all masks; got {np.shape(alpha)}. "
            "Use ProxySPEX, which takes one for every mask."
        )
    return check_alpha(alpha)


class LinearMaskModel(RegressorMixin, BaseEstimator):
    """Base of the linear estimators: output = intercept + masks @ coef'.

    Attributes
    ----------
    coef_ : ndarray of shape (n_targets, n_players)
        Change of the output when the player is included, averaged over masks (Banzhaf units).
    intercept_ : ndarray of shape (n_targets,)
        Output at the empty mask.
    fixed_size_ : bool
        True if every mask includes equally many players. The common shift of the coefficients is then not identified,
        and their mean is zero unless the class documents another convention.
    single_ : bool
        True if `outputs` was a vector; `predict` then returns a vector.
    n_features_in_ : int
        Number of players.
    """

    coef_: Array
    intercept_: Array
    single_: bool
    fixed_size_: bool

    def predict(self, masks: Any) -> Array:
        """Predict the outputs of models trained on masks.

        Parameters
        ----------
        masks : array_like of bool, shape (n_masks, n_players)

        Returns
        -------
        ndarray of shape (n_masks,) or (n_masks, n_targets)
            One dimension if `fit` was given a vector. A player whose coefficient is NaN contributes nothing.

        Raises
        ------
        AttributionError
            For a number of players other than in `fit`.
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "coef_")
        rows = check_masks(masks, self.n_features_in_)
        predicted = np.tile(self.intercept_, (len(rows), 1))
        for block in player_blocks(rows.shape[1]):
            predicted += rows[:, block].astype(np.float64) @ np.nan_to_num(self.coef_[:, block]).T
        return as_given(predicted, self.single_)

    def _keep(self, data: CheckedData, coef: Array, intercept: Array) -> None:
        self.coef_, self.intercept_ = coef, intercept
        self.single_, self.fixed_size_ = data.single, data.fixed_size
        self.n_features_in_ = data.masks.shape[1]
