"""The base of the linear estimators, and the protocol of all estimators."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from attribution.checks import check_alpha, check_masks
from attribution.containers import column_names
from attribution.errors import AttributionError
from attribution.masks.inputs import CheckedData, as_given
from attribution.masks.player_subset import player_blocks
from attribution.types import Array, Masks


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


def keep_players(model: Any, data: CheckedData) -> None:
    """Set what scikit-learn expects of a fitted estimator.

    Parameters
    ----------
    model : estimator
        Gets `n_features_in_`, `single_`, and `feature_names_in_` where the masks were a frame with named columns.
    data : CheckedData
        The input of its fit.
    """
    model.n_features_in_, model.single_ = data.masks.shape[1], data.single
    if data.player_names is not None:
        model.feature_names_in_ = data.player_names
    elif hasattr(model, "feature_names_in_"):
        del model.feature_names_in_


def masks_to_predict(model: Any, masks: Any) -> Masks:
    """Validate masks against the players of a fit.

    Parameters
    ----------
    model : estimator
        A fitted estimator.
    masks : array_like of bool, shape (n_masks, n_players)
        Masks in any container that a fit accepts.

    Returns
    -------
    (n_masks, n_players) bool

    Raises
    ------
    AttributionError
        For another number of players, or a frame whose columns have other names or another order than in the fit.
    """
    fitted, given = getattr(model, "feature_names_in_", None), column_names(masks)
    if fitted is not None and given is not None and list(fitted) != list(given):
        difference = "another order" if sorted(fitted) == sorted(given) else "other names"
        raise AttributionError(
            f"the columns of masks have {difference} than in fit. Select masks[list(model.feature_names_in_)]."
        )
    return check_masks(masks, model.n_features_in_)


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
    feature_names_in_ : ndarray of str, shape (n_players,)
        Column names of the masks; only if they were a data frame with names.
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
        rows = masks_to_predict(self, masks)
        predicted = np.tile(self.intercept_, (len(rows), 1))
        for block in player_blocks(rows.shape[1]):
            predicted += rows[:, block].astype(np.float64) @ np.nan_to_num(self.coef_[:, block]).T
        return as_given(predicted, self.single_)

    def _keep(self, data: CheckedData, coef: Array, intercept: Array) -> None:
        self.coef_, self.intercept_ = coef, intercept
        self.fixed_size_ = data.fixed_size
        keep_players(self, data)
