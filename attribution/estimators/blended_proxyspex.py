"""ProxySPEX with its predictions blended with boosted trees: for outputs of very many interactions."""

from __future__ import annotations

from typing import Any

import numpy as np

from attribution.errors import AttributionError
from attribution.estimators.base import masks_to_predict, one_alpha
from attribution.estimators.proxyspex import ProxySPEX
from attribution.fourier.basis import basis
from attribution.interactions.setup import N_FOLDS, default_proxy_order
from attribution.masks.folds import assign_folds
from attribution.masks.inputs import as_given
from attribution.proxy.boosted_trees import BoosterSettings
from attribution.proxy.fit import Proxy, fit_proxy
from attribution.randomness import Purpose, random_stream
from attribution.types import Array, Masks

_N_DRAWN = 1000  # masks on which the spread of the averaged trees is measured; a choice


class BlendedProxySPEX(ProxySPEX):
    """ProxySPEX that predicts by a mixture of its spectrum and of boosted trees, in the share that predicts best.

    Interactions, effects, errors, q-values and spectra are those of `ProxySPEX`, with the same parameters. Only
    `predict` differs.

    Parameters
    ----------
    alpha, learning_rate : float
        This and the following parameters are those of `ProxySPEX`.
    max_order, seed, n_estimators, max_pair_players, max_triple_players, max_sieve_players, n_proxy_sets : int
        Orders, players and proposals. The trees of the prediction have settings of their own.
    max_depth, max_proxy_order : int or None
        None for what `max_order` gives.
    backend, q_method, device : str
        How proxies are fitted, q-values made, and where.
    missing : {"raise"}
        No output may be missing.

    Attributes
    ----------
    spectra_, inseparable_players_ : list
        This and the following attributes are those of `ProxySPEX`.
    curvature_, gate_p_, gate_q_, gate_open_, effects_, effect_stderrs_, n_missing_, feature_names_in_ : ndarray
        Of the targets, and of the players.
    cross_fitted_ : ndarray of shape (n_masks, n_targets)
        Predictions of the fit masks by spectra alone, without the trees.
    n_considered_, n_untestable_, n_features_in_ : int
        Counts of tests and of players.
    fixed_size_, single_ : bool
        Whether every mask has one size, and whether `fit` was given one target.
    share_ : ndarray of shape (n_targets,)
        Share of the trees in the predictions, 0 to 1.

    Notes
    -----
    A spectrum leaves out every set without evidence of its own. Where an output has hundreds of small interactions,
    all of them together still predict, and averaged trees hold many of them. For each of the six folds, trees are
    fitted to what the datamodel without that fold leaves on the other folds; G is the mean of the six sums of
    datamodel and trees. With f the spectrum's prediction, the prediction is f + c (G - f). The share c that minimises
    the squared error is cov(y - f, G - f) / var(G - f), clipped to 0 to 1. The covariance is taken over cross-fitted
    predictions, the variance over masks drawn for it: averaging six sums lowers the variance of G, and cross-fitted
    predictions are each of a single one.

    **When to use it.** For predictions where the output has no noise and interactions are many, as regions of an image
    have; where outputs are noisy the share goes to zero. **When not to use it.** To name sets: trees give no evidence.
    It takes complete outputs and one alpha, and the time of six proxies more.

    Examples
    --------
    Fifteen interactions of seven players, too small for most to be reported from 150 masks:

    >>> import numpy as np
    >>> from attribution import ProxySPEX
    >>> from attribution.estimators import BlendedProxySPEX
    >>> masks = np.random.default_rng(0).random((1150, 7)) < 0.5
    >>> outputs = np.maximum(masks @ np.arange(1.0, 8) - 14, 0) * (1 - masks[:, 2] * masks[:, 5])
    >>> models = [made().fit(masks[:150], outputs[:150]) for made in (ProxySPEX, BlendedProxySPEX)]
    >>> first, second = [float(model.score(masks[150:], outputs[150:])) for model in models]
    >>> second > first
    True
    """

    def fit(
        self,
        masks: Any,
        outputs: Any,
        groups: Any = None,
        sample_weight: Any = None,
        higher_is_better: bool = True,
        player_labels: Any = None,
        target_labels: Any = None,
        alpha: Any = None,
    ) -> BlendedProxySPEX:
        """Fit the spectrum as `ProxySPEX` does, then the trees and their share.

        Parameters
        ----------
        masks, outputs, groups, sample_weight, higher_is_better, player_labels, target_labels
            As for `ProxySPEX.fit`. No output may be missing.
        alpha : float, optional
            The estimator's own alpha; several are refused.

        Returns
        -------
        BlendedProxySPEX
            The fitted estimator.

        Raises
        ------
        AttributionError
            For invalid input, missing outputs, or masks of several alphas.
        """
        if alpha is not None:
            one_alpha(alpha)
        if isinstance(self.missing, str) and self.missing == "drop":
            raise AttributionError("BlendedProxySPEX takes complete outputs; got missing='drop'. Use ProxySPEX.")
        super().fit(masks, outputs, groups, sample_weight, higher_is_better, player_labels, target_labels, alpha)
        data = self._checked(masks, outputs, groups, sample_weight, self.alpha)
        linear, self._players = self._fitted.linear, self._fitted.players
        folds = assign_folds(data.groups, N_FOLDS, self._settings().seed)
        self._trees: list[Proxy] = []
        self._main, self._intercept = linear.fold_coef, linear.fold_intercept
        crossed = np.empty_like(data.outputs)  # each mask by the datamodel and the trees without its fold
        for fold in range(N_FOLDS):
            held = folds == fold
            residual = data.outputs[~held] - self._linear(fold, data.masks[~held])
            weight = None if data.weight is None else data.weight[~held]
            self._trees.append(fit_proxy(data.masks[~held], residual, self._booster(), sample_weight=weight))
            crossed[held] = self._linear(fold, data.masks[held]) + self._trees[fold].predict(data.masks[held])
        rng = random_stream(Purpose.BLEND, self._settings().seed)
        drawn = rng.random((_N_DRAWN, data.masks.shape[1])) < float(self.alpha)
        apart = crossed - self.cross_fitted_
        apart -= np.average(apart, axis=0, weights=data.weight)
        common = np.average(apart * (data.outputs - self.cross_fitted_), axis=0, weights=data.weight)
        spread = (self._averaged(drawn) - self._fitted.predict(drawn)).var(axis=0)
        self.share_ = np.divide(common, spread, out=np.zeros_like(common), where=spread > 0).clip(0.0, 1.0)
        return self

    def predict(self, masks: Any, alpha: Any = None) -> Array:
        """Evaluate spectra, links and trees on masks.

        Parameters
        ----------
        masks : array_like of bool, shape (n_masks, n_players)
        alpha : None
            Only there because `ProxySPEX.predict` has it.

        Returns
        -------
        ndarray of shape (n_masks,) or (n_masks, n_targets)
            One dimension if `fit` was given a vector.

        Raises
        ------
        AttributionError
            For a number of players other than in `fit`, or alphas.
        """
        self._check_fitted()
        if alpha is not None:
            one_alpha(alpha)
        rows = masks_to_predict(self, masks)
        by_sets = self._fitted.predict(rows)
        return as_given(by_sets + self.share_ * (self._averaged(rows) - by_sets), self.single_)

    def _averaged(self, masks: Masks) -> Array:
        """Mean over the folds of datamodel and trees: (m, t)."""
        parts = [self._linear(fold, masks) + trees.predict(masks) for fold, trees in enumerate(self._trees)]
        return np.mean(parts, axis=0)

    def _linear(self, fold: int, masks: Masks) -> Array:
        """The datamodel without a fold: (m, t)."""
        phi = basis(masks[:, self._players], float(self.alpha)).astype(np.float64)
        return phi @ self._main[fold].T + self._intercept[fold]

    def _booster(self) -> BoosterSettings:
        """Small steps, small leaves, and trees one member deeper than sets are screened."""
        depth = max(3, default_proxy_order(int(self.max_order)))
        return BoosterSettings(
            max_depth=depth, learning_rate=0.05, n_estimators=400, min_child_samples=5, early_stopping_rounds=0,
            device=self.device,
        )  # fmt: skip
