"""Empirical-Bayes shrinkage of a family of z-scores.

The z of a family (all pairs of a screen, all targets of a block) are modelled as draws from
pi_0 N(0, 1) + sum_k pi_k N(0, 1 + tau_k^2): most effects are null, the others have a unimodal distribution of sizes
(Stephens 2017, "False discovery rates: a new deal", ash). The weights are fitted by EM on the histogram of |z|. The
posterior mean is the shrunken value; it needs no correction for selection by size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.types import Array

_NULL_WEIGHT = 10.0  # pseudo-count of null effects, the default of ash: few data prefer null to small effects
_N_SCALES = 14  # positive scales, geometric up to twice the largest |z|; a choice (ash takes steps of sqrt(2))
_EM_STEPS = 400  # at most; a choice, iterations stop earlier once weights change by less than 1e-9


@dataclass(frozen=True)
class EffectPrior:
    """Mixture of normals as the prior of the true z.

    Attributes
    ----------
    weights : (k,) float64
        Probability of each component, summing to 1.
    scales : (k,) float64
        Standard deviation tau of each component; scales[0] = 0 is the point mass of null effects.

    Examples
    --------
    >>> prior = EffectPrior(np.array([0.9, 0.1]), np.array([0.0, 3.0]))
    >>> mean, p_null = prior.shrink(np.array([0.5, 6.0]))
    >>> mean.round(2).tolist(), p_null.round(2).tolist()
    ([0.02, 5.4], [0.96, 0.0])
    """

    weights: Array
    scales: Array

    @staticmethod
    def fit(counts: NDArray[np.integer], step: float) -> EffectPrior:
        """Fit to a histogram of |z|.

        Parameters
        ----------
        counts : (bins,) int64
            Number of tests with |z| in [b, b + 1) * step, for each bin b.
        step : float
            Width of a bin.

        Returns
        -------
        EffectPrior
            The fitted mixture; the point mass alone if there are no tests.
        """
        used = np.flatnonzero(counts)
        if len(used) == 0:
            return EffectPrior(np.ones(1), np.zeros(1))
        centre: Array = (used + 0.5) * np.float64(step)
        n = counts[used].astype(np.float64)
        largest = max(2.0, float(centre[-1]))
        # The smallest scale is one standard error: smaller effects cannot be distinguished from null ones, and would
        # let the mixture explain slightly heavy tails of the noise by many tiny effects.
        scales = np.concatenate([[0.0], np.geomspace(1.0, 2.0 * largest, _N_SCALES)])
        log_density = _log_density(centre, scales)
        weights = np.concatenate([[0.99], np.full(len(scales) - 1, 0.01 / (len(scales) - 1))])
        # A bin's common factor cancels in its posterior: an EM step is two products with this matrix.
        density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
        for _ in range(_EM_STEPS):
            mass = weights * (density.T @ (n / np.maximum(density @ weights, 1e-300)))
            mass[0] += _NULL_WEIGHT
            new = mass / mass.sum()
            if np.abs(new - weights).max() < 1e-9:
                weights = new
                break
            weights = new
        return EffectPrior(weights, scales)

    def scaled(self, factor: float) -> EffectPrior:
        """Return the prior of z from `factor` times as many masks."""
        return EffectPrior(self.weights, self.scales * np.sqrt(factor))

    def shrink(self, z: NDArray[np.floating]) -> tuple[Array, Array]:
        """Compute the posterior of observed z-scores.

        Parameters
        ----------
        z : array of float
            Observed z-scores.

        Returns
        -------
        array of float64, array of float64
            Posterior mean of the true z, and p_null, the posterior probability that the effect is null (the local
            false discovery rate); both of z's shape.
        """
        flat = np.abs(np.asarray(z, dtype=np.float64)).ravel()
        share = _posterior(_log_density(flat, self.scales), self.weights)
        mean = (share @ (self.scales**2 / (1 + self.scales**2))) * np.asarray(z, dtype=np.float64).ravel()
        return mean.reshape(np.shape(z)), share[:, 0].reshape(np.shape(z))


def _log_density(z: Array, scales: Array) -> Array:
    """Evaluate each component's log density at z, up to a constant: (c,), (k,) -> (c, k)."""
    variance = 1 + scales**2
    return -0.5 * z[:, None] ** 2 / variance - 0.5 * np.log(variance)


def _posterior(log_density: Array, weights: Array) -> Array:
    """Compute each component's posterior probability: (c, k), (k,) -> (c, k)."""
    with np.errstate(divide="ignore"):
        joint = log_density + np.log(weights)
    joint -= joint.max(axis=1, keepdims=True)
    share = np.exp(joint)
    return share / share.sum(axis=1, keepdims=True)
