"""Several alphas in one campaign: what stays one fit, and what an interaction then means.

Every mask has the basis of its own alpha, phi_i(x) = (x_i - p_u) / sigma_u, so the phi_S are orthonormal whatever the
mixture, and tests, standard errors and cross-fitting are those of a single alpha. The coefficient of phi_S is the mean
of F_a(S) over the campaign's masks. In Banzhaf units it is told as

    I(S) = sum_a share_a sigma_a^|S| I_a(S) / sum_a share_a sigma_a^|S|,

a weighted mean of the interactions at every alpha (they differ where larger sets act: k copies have
I_a = -(1 - a)^(k - 2)). Outputs are centred alpha by alpha, because models of fewer examples are worse at everything.
That main effects differ between alphas costs a little variance and biases nothing: tests use residuals out of fold and
a basis that is orthogonal to them. Spectra are written in the basis of one alpha, the reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attribution.fourier.spectrum import Spectrum
from attribution.masks.inputs import CheckedData
from attribution.types import Array


@dataclass(frozen=True)
class Strata:
    """alphas (k,) ascending, shares (k,) of the masks (by weight), means (k, t) of the outputs; reference: the alpha
    that results are told at. With a single alpha nothing is centred and all units are 1."""

    reference: float
    alphas: Array
    shares: Array
    means: Array

    @staticmethod
    def of(data: CheckedData, reference: float) -> Strata:
        n_targets = data.outputs.shape[1]
        if data.alphas is None:
            return Strata(reference, np.array([reference]), np.ones(1), np.zeros((1, n_targets)))
        weight = np.ones(len(data.masks)) if data.weight is None else data.weight
        alphas = np.unique(data.alphas)
        rows = [data.alphas == alpha for alpha in alphas]
        means = np.stack([np.average(data.outputs[r], axis=0, weights=weight[r]) for r in rows])
        return Strata(reference, alphas, np.array([weight[r].sum() for r in rows]) / weight.sum(), means)

    @property
    def several(self) -> bool:
        return len(self.alphas) > 1

    def unit(self, order: int) -> float:
        """What turns a coefficient of phi_S into that of the reference's basis, for |S| = order."""
        if not self.several:
            return 1.0
        sigma = np.sqrt(self.alphas * (1 - self.alphas))
        own = (self.reference * (1 - self.reference)) ** 0.5
        return float(own**order / (self.shares @ sigma**order))

    def offset(self, alpha: float) -> Array:
        """(t,) mean output at an alpha: that of its masks, between two alphas on the line through them."""
        return np.array([np.interp(alpha, self.alphas, mean) for mean in self.means.T])

    def centred(self, outputs: Array, alphas: Array | None) -> Array:
        """Outputs (m, t) less the mean of their alpha's masks."""
        if alphas is None or not self.several:
            return outputs
        return outputs - self.means[np.searchsorted(self.alphas, alphas)]

    def spectrum_at(self, spectrum: Spectrum, alpha: float) -> Spectrum:
        """A fit's spectrum (told at the reference) as the fit applies it to masks of `alpha`, offsets left out."""
        unit = {order: self.unit(order) for order in range(spectrum.degree + 1)}
        terms = {members: value / unit[len(members)] for members, value in spectrum.terms.items()}
        return Spectrum(terms, spectrum.n_players, alpha)
