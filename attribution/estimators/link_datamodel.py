"""The datamodel with a link: LASSO, and a curve for what raises and for what lowers the output."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attribution.checks import check_integer
from attribution.estimators.base import LinearMaskModel, masks_to_predict, one_alpha
from attribution.fourier.basis import basis
from attribution.linear.datamodel_fit import fit_linear
from attribution.linear.link import fit_link, link_columns
from attribution.masks.folds import N_FOLDS, assign_folds
from attribution.masks.inputs import as_given, check_data
from attribution.masks.player_subset import dense_players
from attribution.types import Array


class LinkDatamodel(LinearMaskModel):
    """Datamodel whose output saturates: LASSO plus three curvatures for each target.

    Parameters
    ----------
    alpha : float
        Probability with which a mask includes a player, in (0, 1).
    seed : int
        Seed of the assignment of masks to folds.
    max_dense_players : int
        Up to this many players all enter the fit; of more, only the strongest, and the other coefficients are zero.

    Attributes
    ----------
    coef_ : ndarray of shape (n_targets, n_players)
        Main effects: the mean change of the output when the player is included (Banzhaf units).
    intercept_ : ndarray of shape (n_targets,)
        Output of the linear part at the empty mask.
    curvature_ : ndarray of shape (n_targets, 3)
        Curvature of what raises the output, of what lowers it, and between the two, in 1 / the output's unit. Below 0
        in the first column: players that raise the output saturate. Above 0 in the second: those that lower it do.
    curvature_stderr_ : ndarray of shape (n_targets, 3)
        Posterior standard deviations of `curvature_`.
    cross_fitted_ : ndarray of shape (n_masks, n_targets)
        Predictions of the fit masks, each by the fit without the mask's fold.
    fixed_size_ : bool
        True if every mask includes equally many players.
    single_ : bool
        True if `outputs` was a vector; `predict` then returns a vector.
    n_features_in_ : int
        Number of players.
    feature_names_in_ : ndarray of str, shape (n_players,)
        Column names of the masks; only if they were a data frame with names.

    Notes
    -----
    f = c + u+ + u- + k1 u+^2 + k2 u-^2 + 2 k3 u+ u-, with u+ and u- the LASSO's terms that raise and that lower the
    output, less the squares of single players (`attribution.linear.link`). The curvatures are fitted to out-of-fold
    residuals, and shrunken towards their mean over the targets of the call.

    **When to use it.** To compare: what `ProxySPEX` predicts beyond this model belongs to specific sets of players.

    **When not to use it.** To find out which players act together: its interactions are products of main effects.

    Examples
    --------
    >>> import numpy as np
    >>> from attribution.estimators import LinkDatamodel
    >>> rng = np.random.default_rng(0)
    >>> masks = rng.random((900, 10)) < 0.5
    >>> evidence = masks[:, :4] @ np.ones(4)
    >>> model = LinkDatamodel().fit(masks, evidence - 0.15 * evidence**2 + 0.1 * rng.normal(size=900))
    >>> bool(model.curvature_[0, 0] < 0), model.saturation(0, 1).round(1).tolist()
    (True, [-0.3])
    """

    def __init__(self, alpha: float = 0.5, seed: int = 0, max_dense_players: int = 4000) -> None:
        self.alpha = alpha
        self.seed = seed
        self.max_dense_players = max_dense_players

    def fit(self, masks: Any, outputs: Any, groups: Any = None, sample_weight: Any = None) -> LinkDatamodel:
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
        LinkDatamodel
            The fitted estimator.

        Raises
        ------
        AttributionError
            For invalid masks, outputs or settings.
        """
        data = check_data(masks, outputs, one_alpha(self.alpha), groups=groups, sample_weight=sample_weight)
        folds = assign_folds(data.groups, N_FOLDS, self.seed)
        players, allowed = dense_players(
            data.masks, data.outputs, folds, data.weight, self.alpha, self.max_dense_players
        )
        phi = basis(data.masks[:, players], self.alpha)
        linear = fit_linear(phi, data.outputs, folds, weight=data.weight, allowed=allowed)
        link = fit_link(phi, data.outputs, linear, folds, weight=data.weight, groups=data.groups)
        coef = np.zeros((data.outputs.shape[1], data.masks.shape[1]))
        coef[:, players] = linear.coef / self._sigma
        self._keep(data, coef, linear.intercept - self.alpha * coef.sum(axis=1))
        self.curvature_, self.curvature_stderr_ = link.curvature, link.stderr
        self.cross_fitted_ = linear.predicted + link.predicted
        return self

    @property
    def _sigma(self) -> float:
        return math.sqrt(self.alpha * (1 - self.alpha))

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
        linear = np.asarray(super().predict(masks)).reshape(-1, len(self.intercept_))
        used = np.flatnonzero(self.coef_.any(axis=0))
        phi = basis(masks_to_predict(self, masks)[:, used], self.alpha)
        columns = link_columns(phi, self.coef_[:, used] * self._sigma)
        return as_given(linear + np.einsum("hts,ts->ht", columns, self.curvature_), self.single_)

    def saturation(self, first: int, second: int) -> Array:
        """Return the interaction of two players that the link gives them.

        Parameters
        ----------
        first, second : int
            Two players.

        Returns
        -------
        ndarray of shape (n_targets,)
            I({first, second}) = 2 k b_i b_j in Banzhaf units, with the main effects b.

        Raises
        ------
        AttributionError
            For a player that was not fitted.
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "coef_")
        first, second = (
            check_integer(name, player, 0, self.n_features_in_ - 1)
            for name, player in (("first", first), ("second", second))
        )
        one, other = self.coef_[:, first], self.coef_[:, second]
        side = np.where((one > 0) & (other > 0), 0, np.where((one < 0) & (other < 0), 1, 2))
        return np.asarray(2.0 * self.curvature_[np.arange(len(side)), side] * one * other)
