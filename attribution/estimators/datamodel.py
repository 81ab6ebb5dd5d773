"""The linear datamodel: the best linear function of the mask, by LASSO (fitted by linear/datamodel_fit.py)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attribution.estimators.base import LinearMaskModel
from attribution.fourier.basis import basis
from attribution.linear.datamodel_fit import LinearFit, fit_linear
from attribution.masks.folds import N_FOLDS, assign_folds
from attribution.masks.inputs import CheckedData, check_data
from attribution.masks.missing import fill_missing, parts_without_missing
from attribution.masks.player_subset import dense_players
from attribution.types import Array


class Datamodel(LinearMaskModel):
    """LASSO of outputs on masks: the linear datamodel, with a cross-validated penalty for each target.

    Parameters
    ----------
    alpha : float
        Probability with which a mask includes a player, in (0, 1).
    n_penalties : int
        Number of penalties on the path.
    smallest_penalty : float
        Smallest penalty, as a fraction of the smallest one at which every coefficient is zero.
    seed : int
        Seed of the assignment of masks to folds.
    max_dense_players : int
        Up to this many players all enter the fit; of more, only the strongest, and the other coefficients are zero.
    missing : {"raise", "drop"}
        What to do with missing outputs: refuse them, or leave each row out for the targets that lack it.

    Attributes
    ----------
    coef_ : ndarray of shape (n_targets, n_players)
        Change of the output when the player is included, averaged over masks (Banzhaf units).
    intercept_ : ndarray of shape (n_targets,)
        Output at the empty mask.
    penalty_ : ndarray of shape (n_targets,)
        Penalty lambda of each target.
    cross_fitted_ : ndarray of shape (n_masks, n_targets)
        Predictions of the fit masks, each by the fit without the mask's fold; NaN where the output was missing.
    n_missing_ : ndarray of int, shape (n_targets,)
        Masks left out for each target because their output was missing.
    fixed_size_ : bool
        True if every mask includes equally many players. The common shift of the coefficients is then not identified;
        the penalty chooses it so that as many coefficients as possible are zero.
    single_ : bool
        True if `outputs` was a vector; `predict` then returns a vector.
    n_features_in_ : int
        Number of players.
    feature_names_in_ : ndarray of str, shape (n_players,)
        Column names of the masks; only if they were a data frame with names.

    Notes
    -----
    The estimate minimises 1/2 mean((y - c - x.w)^2) + lambda sum_i |w_i| sigma over w and c, with
    sigma^2 = alpha (1 - alpha) (Ilyas et al. 2022, Datamodels, arXiv 2202.00622). The penalty is chosen over six folds,
    none of which divides a group of rows; replicates of a mask are one group.

    **When to use it.** For main effects and predictions, above all where few players matter.

    **When not to use it.** Where a target has evidence of interactions, the spectrum of `ProxySPEX` predicts better.
    Where all players matter a little, `RidgeDatamodel` may.

    Examples
    --------
    >>> import numpy as np
    >>> from attribution import Datamodel
    >>> rng = np.random.default_rng(0)
    >>> masks = rng.random((300, 20)) < 0.5
    >>> outputs = 2.0 * masks[:, 4] - masks[:, 9] + 0.1 * rng.normal(size=300)
    >>> model = Datamodel().fit(masks, outputs)
    >>> model.coef_[0, [4, 9]].round(1)
    array([ 2., -1.])
    >>> int(np.abs(model.coef_[0]).argmax())
    4
    """

    def __init__(
        self,
        alpha: float = 0.5,
        n_penalties: int = 30,
        smallest_penalty: float = 0.01,
        seed: int = 0,
        max_dense_players: int = 4000,
        missing: str = "raise",
    ) -> None:
        self.alpha = alpha
        self.n_penalties = n_penalties
        self.smallest_penalty = smallest_penalty
        self.seed = seed
        self.max_dense_players = max_dense_players
        self.missing = missing

    def fit(self, masks: Any, outputs: Any, groups: Any = None, sample_weight: Any = None) -> Datamodel:
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
        Datamodel
            The fitted estimator.

        Raises
        ------
        AttributionError
            For invalid masks, outputs or settings.
        """
        outputs, where = fill_missing(outputs, self.missing)
        data = check_data(masks, outputs, self.alpha, groups=groups, sample_weight=sample_weight)
        n_masks, n_targets = data.outputs.shape
        self.n_missing_ = np.zeros(n_targets, np.int64) if where is None else where.sum(axis=0)
        coef, intercept = np.zeros((n_targets, data.masks.shape[1])), np.zeros(n_targets)
        self.penalty_, self.cross_fitted_ = np.zeros(n_targets), np.full((n_masks, n_targets), np.nan)
        whole = [(np.arange(n_targets), np.arange(n_masks), data)]
        for targets, rows, part in whole if where is None else parts_without_missing(data, where):
            fitted, coef[targets], intercept[targets] = self._fit_part(part)
            self.penalty_[targets], self.cross_fitted_[np.ix_(rows, targets)] = fitted.penalty, fitted.predicted
        self._keep(data, coef, intercept)
        return self

    def _fit_part(self, data: CheckedData) -> tuple[LinearFit, Array, Array]:
        """Fit targets without missing outputs: the fit, and coefficients and intercepts in the units of the masks."""
        folds = assign_folds(data.groups, N_FOLDS, self.seed)
        players, allowed = dense_players(
            data.masks, data.outputs, folds, data.weight, self.alpha, self.max_dense_players
        )
        fitted = fit_linear(
            basis(data.masks[:, players], self.alpha), data.outputs, folds, weight=data.weight,
            n_penalties=self.n_penalties, smallest=self.smallest_penalty,
            allowed=allowed,
        )  # fmt: skip
        sigma = math.sqrt(self.alpha * (1 - self.alpha))
        coef = np.zeros((data.outputs.shape[1], data.masks.shape[1]))
        coef[:, players] = fitted.coef / sigma
        return fitted, coef, fitted.intercept - self.alpha * coef.sum(axis=1)
