"""Gradient-boosted trees alone, with the face of an estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin

from attribution.checks import check_masks
from attribution.errors import AttributionError
from attribution.estimators.base import one_alpha
from attribution.fourier.spectrum import Spectrum
from attribution.masks.folds import N_FOLDS, assign_folds
from attribution.masks.inputs import as_given, check_data
from attribution.proxy.boosted_trees import BoosterSettings
from attribution.proxy.fit import BACKENDS, Proxy, fit_proxy


class BoostedProxy(RegressorMixin, BaseEstimator):
    """The proxy of ProxySPEX by itself: boosted trees mask -> output, stopped early on one fold of six.

    Its spectrum can be read exactly, and every set in it is one that some tree has used, real or not: a good
    predictor where interactions are many, no evidence for any of them.

    backend: "booster" (all targets at once) or "lightgbm" (the reference). max_depth, learning_rate, n_estimators,
    early_stopping_rounds, device: as in BoosterSettings. After fit: proxy_; n_trees_ is the number of
    trees of each target.
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
        """Fit to masks (m, n) bool and outputs (m,) or (m, t).

        groups: (m,) labels of rows that the split for early stopping may not divide. sample_weight: (m,) positive.
        Raises AttributionError for bad input (checks.check_data) or settings."""
        data = check_data(masks, outputs, one_alpha(self.alpha), groups=groups, sample_weight=sample_weight)
        if self.backend not in BACKENDS:
            raise AttributionError(f"backend must be one of {', '.join(BACKENDS)}; got {self.backend!r}.")
        settings = BoosterSettings(
            max_depth=int(self.max_depth),
            learning_rate=self.learning_rate,
            n_estimators=int(self.n_estimators),
            early_stopping_rounds=int(self.early_stopping_rounds),
            device=self.device,
        )
        self.proxy_: Proxy = fit_proxy(
            data.masks,
            data.outputs,
            settings,
            backend=self.backend,
            validation=assign_folds(data.groups, N_FOLDS, self.seed) == 0,
            sample_weight=data.weight,
        )
        self.n_trees_ = np.array([len(forest.roots) for forest in self.proxy_.forests])
        self.single_ = data.single
        self.n_features_in_ = data.masks.shape[1]
        return self

    def predict(self, masks: Any) -> NDArray[np.float64]:
        """(m, n) bool -> (m,) or (m, t). Raises AttributionError for another number of players."""
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "proxy_")
        predicted = self.proxy_.predict(check_masks(masks, self.n_features_in_))
        return as_given(predicted, self.single_)

    def spectrum(self, target: int = 0) -> Spectrum:
        """The exact spectrum of a target's trees. Raises AttributionError for a target that was not fitted."""
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "proxy_")
        if not 0 <= target < len(self.proxy_.forests):
            raise AttributionError(f"the model has targets 0..{len(self.proxy_.forests) - 1}; got {target}.")
        return self.proxy_.spectrum(target, self.alpha)
