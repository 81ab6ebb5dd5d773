"""Gradient-boosted trees as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin

from attribution.checks import check_choice, check_integer
from attribution.estimators.base import keep_players, masks_to_predict, one_alpha
from attribution.fourier.spectrum import Spectrum
from attribution.masks.folds import N_FOLDS, assign_folds
from attribution.masks.inputs import as_given, check_data
from attribution.proxy.boosted_trees import BoosterSettings
from attribution.proxy.fit import BACKENDS, Backend, Proxy, fit_proxy


class BoostedProxy(RegressorMixin, BaseEstimator):
    """Boosted trees of mask -> output, stopped early on one fold of six: the proxy of ProxySPEX by itself.

    Parameters
    ----------
    alpha : float
        Probability with which a mask includes a player, in (0, 1).
    backend : {"booster", "lightgbm"}
        "booster" fits all targets at once; "lightgbm" is the reference, one model for each target.
    max_depth : int
        Depth of the trees, 1 to 8.
    learning_rate : float
        Shrinkage of the trees, in (0, 1].
    n_estimators : int
        Largest number of trees of one target.
    early_stopping_rounds : int
        A target stops after so many trees without a smaller error on the held-out fold. 0: never.
    seed : int
        Seed of the assignment of masks to folds.
    device : str
        "cpu" for NumPy, or a torch device such as "cuda" for the booster.

    Attributes
    ----------
    proxy_ : Proxy
        The fitted forests.
    n_trees_ : ndarray of int, shape (n_targets,)
        Number of trees of each target.
    single_ : bool
        True if `outputs` was a vector; `predict` then returns a vector.
    n_features_in_ : int
        Number of players.
    feature_names_in_ : ndarray of str, shape (n_players,)
        Column names of the masks; only if they were a data frame with names.

    Notes
    -----
    The spectrum of the trees is exact. It contains every set that some tree has used, whether or not it has a real
    effect.

    **When to use it.** For predictions where interactions are many.

    **When not to use it.** As evidence for an interaction: its sets have neither errors nor q-values. `ProxySPEX` has
    both. No flow uses this class.

    Examples
    --------
    >>> import numpy as np
    >>> from attribution.estimators import BoostedProxy
    >>> rng = np.random.default_rng(0)
    >>> masks = rng.random((400, 6)) < 0.5
    >>> outputs = masks[:, 0] * masks[:, 1] + 0.1 * rng.normal(size=400)
    >>> model = BoostedProxy(n_estimators=100).fit(masks, outputs)
    >>> bool(model.score(masks, outputs) > 0.8)
    True
    >>> bool(abs(model.spectrum().banzhaf((0, 1)) - 1.0) < 0.2)
    True
    """

    def __init__(
        self,
        alpha: float = 0.5,
        backend: str = "booster",
        max_depth: int = 3,
        learning_rate: float = 0.05,
        n_estimators: int = 400,
        early_stopping_rounds: int = 40,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.alpha = alpha
        self.backend = backend
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.n_estimators = n_estimators
        self.early_stopping_rounds = early_stopping_rounds
        self.seed = seed
        self.device = device

    def fit(self, masks: Any, outputs: Any, groups: Any = None, sample_weight: Any = None) -> BoostedProxy:
        """Fit to the outputs of models trained on masks.

        Parameters
        ----------
        masks : array_like of bool, shape (n_masks, n_players)
            True where a player is in the training set.
        outputs : array_like of float, shape (n_masks,) or (n_masks, n_targets)
            One column for each target.
        groups : array_like, shape (n_masks,), optional
            Labels of rows that the split for early stopping must not divide. Equal masks are never
            divided.
        sample_weight : array_like of float, shape (n_masks,), optional
            Positive weights of the rows.

        Returns
        -------
        BoostedProxy
            The fitted estimator.

        Raises
        ------
        AttributionError
            For invalid masks, outputs or settings.
        """
        data = check_data(masks, outputs, one_alpha(self.alpha), groups=groups, sample_weight=sample_weight)
        settings = BoosterSettings(
            max_depth=self.max_depth,
            learning_rate=self.learning_rate,
            n_estimators=self.n_estimators,
            early_stopping_rounds=self.early_stopping_rounds,
            device=self.device,
        )
        self.proxy_: Proxy = fit_proxy(
            data.masks,
            data.outputs,
            settings,
            backend=cast(Backend, check_choice("backend", self.backend, BACKENDS)),
            validation=assign_folds(data.groups, N_FOLDS, self.seed) == 0,
            sample_weight=data.weight,
        )
        self.n_trees_ = np.array([len(forest.roots) for forest in self.proxy_.forests])
        keep_players(self, data)
        return self

    def predict(self, masks: Any) -> NDArray[np.float64]:
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

        check_is_fitted(self, "proxy_")
        predicted = self.proxy_.predict(masks_to_predict(self, masks))
        return as_given(predicted, self.single_)

    def spectrum(self, target: int = 0) -> Spectrum:
        """Read the exact spectrum of a target's trees.

        Parameters
        ----------
        target : int
            Column of `outputs`.

        Returns
        -------
        Spectrum

        Raises
        ------
        AttributionError
            For a target that was not fitted.
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "proxy_")
        return self.proxy_.spectrum(check_integer("target", target, 0, len(self.proxy_.forests) - 1), self.alpha)
