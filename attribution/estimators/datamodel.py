"""The linear datamodel (Ilyas et al. 2022): the best linear function of the mask, by LASSO."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attribution.estimators.base import LinearMaskModel
from attribution.fourier.basis import basis
from attribution.linear.cross_fitted import fit_linear
from attribution.masks.folds import N_FOLDS, assign_folds
from attribution.masks.inputs import check_data
from attribution.masks.player_subset import dense_players


class Datamodel(LinearMaskModel):
    """LASSO of outputs on masks, all targets at once, the penalty of each chosen by cross-validation.

    minimise 1/2 mean((y - c - x.w)^2) + lambda sum_i |w_i| sigma  over w, c; six folds, none of which divides a
    group of rows (replicates of a mask always form one). When not to use it: where the verdict "interactions"
    stands, the spectrum of `ProxySPEX` predicts better.

    alpha: the probability with which masks include a player. n_penalties, smallest_penalty: the path, as a fraction
    of the least penalty that empties the model. max_dense_players: beyond this many players only the strongest enter
    the fit (masks/player_subset.py); the others' coefficients are zero.

    Attributes after fit: coef_ (t, n), the change of output by including a player (Banzhaf units); intercept_ (t,),
    the output at the empty mask; penalty_ (t,); cross_fitted_ (m, t), each row predicted by the fit without its
    fold; single_ and fixed_size_ as of LinearMaskModel. Of masks of one size the penalty chooses the coefficients'
    common shift: as many as can be are zero.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        n_penalties: int = 30,
        smallest_penalty: float = 0.01,
        seed: int = 0,
        max_dense_players: int = 4000,
    ) -> None:
        self.alpha = alpha
        self.n_penalties = n_penalties
        self.smallest_penalty = smallest_penalty
        self.seed = seed
        self.max_dense_players = max_dense_players

    def fit(self, masks: Any, outputs: Any, groups: Any = None, sample_weight: Any = None) -> Datamodel:
        """Fit to masks (m, n) bool and outputs (m,) or (m, t).

        groups: (m,) labels of rows no split may divide. sample_weight: (m,) positive.
        Raises AttributionError for bad input (checks.check_data).
        """
        data = check_data(masks, outputs, self.alpha, groups=groups, sample_weight=sample_weight)
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
        self._keep(data, coef, fitted.intercept - self.alpha * coef.sum(axis=1))
        self.penalty_ = fitted.penalty
        self.cross_fitted_ = fitted.predicted
        return self
