"""Main effects of every player: cross-fitted LASSO with a one-step correction and clustered standard errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.fourier.basis import basis
from attribution.linear.datamodel_fit import fit_linear
from attribution.masks.folds import N_FOLDS, assign_folds
from attribution.statistics.p_values import clustered_mean
from attribution.types import Array


@dataclass(frozen=True)
class MainEffects:
    """One-step main effects.

    Attributes
    ----------
    effect : (t, n) float64
        Main effects I({i}) in the outputs' units.
    stderr : (t, n) float64
        Clustered standard errors.
    mean : (t,) float64
        Mean output of each target.
    residuals : (m, t) float64
        Out-of-fold residuals of the datamodel.

    Examples
    --------
    >>> masks = np.random.default_rng(0).random((400, 3)) < 0.5
    >>> effects = main_effects(masks, 3.0 * masks[:, [1]], alpha=0.5)
    >>> np.abs(effects.effect).round(1).tolist()
    [[0.0, 3.0, 0.0]]
    """

    effect: Array
    stderr: Array
    mean: Array
    residuals: Array


def main_effects(
    masks: NDArray[np.bool_], outputs: Array, alpha: float, groups: NDArray[np.int64] | None = None, seed: int = 0
) -> MainEffects:
    """Estimate the main effect of every player by a cross-fitted LASSO and a one-step correction.

    Parameters
    ----------
    masks : (m, n) bool
        Masks drawn at one alpha.
    outputs : (m, t) float64
        Outputs of all targets.
    alpha : float
        Inclusion probability.
    groups : (m,) int64 or None
        Row groups; None treats every row as its own.
    seed : int
        Seed of the folds.

    Returns
    -------
    MainEffects
        Effects, standard errors and residuals.

    Raises
    ------
    AttributionError
        If there are fewer groups than folds, or the seed is negative.

    Notes
    -----
    b_i = fold coefficient + mean(phi_i r) with out-of-fold residuals r, divided by sigma: the debiased estimate of
    Chernozhukov et al. (2018) for an orthonormal design, whose correction needs no inverse. Its variance is that of
    phi_i r + b_i phi_i^2, clustered by row group.

    Curation and the search for copies use this estimate: it needs masks and outputs alone. The effects that a campaign
    reports come from `attribution.interactions.estimates_and_p_values.one_step_main_effects`, whose numbers differ:
    its residuals are those of whichever model it is given (for the reported effects the spectrum, whose interactions
    leave smaller residuals; here always the datamodel), it centres and weights them, it takes phi_i^2 = 1 and the
    fold coefficients as constants in the standard error, and it allows for several alphas and masks of fixed size.
    """
    labels = np.arange(len(masks), dtype=np.int64) if groups is None else np.unique(groups, return_inverse=True)[1]
    phi = basis(masks, alpha)
    folds = assign_folds(labels, N_FOLDS, seed)
    linear = fit_linear(phi, outputs, folds)
    residuals = outputs - linear.predicted
    sigma = (alpha * (1 - alpha)) ** 0.5
    effects, errors = [], []
    for target in range(outputs.shape[1]):
        # phi_i (r + b_i phi_i) has mean F({i}) and the variance that the estimate has.
        own = linear.fold_coef[folds, target]
        value, stderr = clustered_mean(phi * residuals[:, [target]] + own * phi**2, None, labels)
        effects.append(value / sigma)
        errors.append(stderr / sigma)
    return MainEffects(np.array(effects), np.array(errors), outputs.mean(axis=0), residuals)
