"""Main effects of every player: cross-fitted LASSO with a one-step correction and clustered standard errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.fourier.basis import basis
from attribution.linear.cross_fitted import fit_linear
from attribution.masks.folds import N_FOLDS, assign_folds
from attribution.statistics.p_values import clustered_mean
from attribution.types import Array


@dataclass(frozen=True)
class MainEffects:
    """One-step main effects, (t, n) in Banzhaf units, and their standard errors; mean (t,) of the outputs.

    residuals: (m, t), out of fold, of the datamodel alone.
    """

    effect: Array
    stderr: Array
    mean: Array
    residuals: Array


def main_effects(
    masks: NDArray[np.bool_], outputs: Array, alpha: float, groups: NDArray[np.int64] | None = None, seed: int = 0
) -> MainEffects:
    """Main effects of every player on a few outputs: cross-fitted LASSO plus the one-step correction.

    masks: (m, n); outputs: (m, t). b_i = fold coefficient + mean(phi_i r), r out of fold, over sigma; the estimate and
    its clustered variance are those of statistics/false_discovery.py. groups: (m,) rows no split may divide.
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
