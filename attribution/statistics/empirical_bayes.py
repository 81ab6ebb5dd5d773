"""How large effects really are, given how large the largest estimates look: empirical Bayes over a whole family.

The z of a family (all pairs of a screen, all targets of a block) are taken as draws from
pi_0 N(0, 1) + sum_k pi_k N(0, 1 + tau_k^2): most effects are nil, the others have some unimodal distribution of
sizes (Stephens 2017, "False discovery rates: a new deal", his ash). The weights are fitted by EM on the histogram
of |z|. The posterior mean is the shrunken value; it needs no correction for having been selected for its size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.types import Array

# Pseudo-observations of "nil" (as in ash): with little data effects are taken to be nil rather than small.
_NULL_WEIGHT = 10.0
_EM_STEPS = 400


@dataclass(frozen=True)
class EffectPrior:
    """Mixture of the true z: weights (k,), scales (k,) with scales[0] = 0, the point mass at nil."""

    weights: Array
    scales: Array

    @staticmethod
    def fit(counts: NDArray[np.integer], step: float) -> EffectPrior:
        """Fit to a histogram of |z|: counts (bins,) with bin b holding |z| in [b, b+1) * step."""
        used = np.flatnonzero(counts)
        if len(used) == 0:
            return EffectPrior(np.ones(1), np.zeros(1))
        centre: Array = (used + 0.5) * np.float64(step)
        n = counts[used].astype(np.float64)
        largest = max(2.0, float(centre[-1]))
        # The smallest scale is one standard error: anything below is not told from nil, and would let the
        # mixture explain slightly heavy tails of the noise by a swarm of tiny effects.
        scales = np.concatenate([[0.0], np.geomspace(1.0, 2.0 * largest, 14)])
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
        """The prior of z from `factor` times as many masks."""
        return EffectPrior(self.weights, self.scales * np.sqrt(factor))

    def shrink(self, z: NDArray[np.floating]) -> tuple[Array, Array]:
        """Posterior mean of the true z, and probability that the effect is nil; both of z's shape."""
        flat = np.abs(np.asarray(z, dtype=np.float64)).ravel()
        share = _posterior(_log_density(flat, self.scales), self.weights)
        mean = (share @ (self.scales**2 / (1 + self.scales**2))) * np.asarray(z, dtype=np.float64).ravel()
        return mean.reshape(np.shape(z)), share[:, 0].reshape(np.shape(z))


def _log_density(z: Array, scales: Array) -> Array:
    variance = 1 + scales**2
    return -0.5 * z[:, None] ** 2 / variance - 0.5 * np.log(variance)


def _posterior(log_density: Array, weights: Array) -> Array:
    with np.errstate(divide="ignore"):
        joint = log_density + np.log(weights)
    joint -= joint.max(axis=1, keepdims=True)
    share = np.exp(joint)
    return share / share.sum(axis=1, keepdims=True)
