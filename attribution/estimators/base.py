"""What every linear function of the mask shares: coefficients in Banzhaf units, an intercept, predictions."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from attribution.checks import check_masks
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


def one_alpha(alpha: Any) -> Any:
    """alpha as given. Raises AttributionError where it is one for every mask."""
    if np.ndim(alpha) != 0:
        raise AttributionError("this estimator takes one alpha for all masks; several were given. Use ProxySPEX.")
    return alpha


class LinearMaskModel(RegressorMixin, BaseEstimator):
    """Base of the linear estimators: y = intercept + masks @ coef'.

    Attributes after fit: coef_ (t, n), the change of output by including a player; intercept_ (t,), the output at the
    empty mask; single_, whether outputs came as a vector (then predict returns one); fixed_size_, whether every mask
    includes equally many players: then the coefficients' common shift is not identified, and their mean is zero
    unless a class says otherwise.
    """

    coef_: Array
    intercept_: Array
    single_: bool
    fixed_size_: bool

    def predict(self, masks: Any) -> Array:
        """(m, n) bool -> (m,) or (m, t). A player whose coefficient is unknown (NaN) counts as zero.

        Raises AttributionError for another number of players."""
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
