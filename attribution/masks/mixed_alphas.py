"""Campaigns with several inclusion probabilities: one joint fit, and the estimand it has.

Every mask has the basis of its own alpha, phi_i(x) = (x_i - p_u) / sigma_u. The phi_S are orthonormal whatever the
mixture, so tests, standard errors and cross-fitting are those of a single alpha. The coefficient of phi_S is the mean
of F_a(S) over the campaign's masks. In Banzhaf units it is reported as

    I(S) = sum_a share_a sigma_a^|S| I_a(S) / sum_a share_a sigma_a^|S|,

a weighted mean of the interactions at every alpha. These differ where larger sets act: k copies have
I_a = -(1 - a)^(k - 2). Outputs are centred for each alpha separately, because models trained on fewer examples have
lower outputs for every target. Main effects that differ between alphas cost a little variance and add no bias: tests
use out-of-fold residuals and a basis that is orthogonal to the main effects. Spectra are written in the basis of one
alpha, the reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attribution.fourier.spectrum import Spectrum
from attribution.masks.inputs import CheckedData
from attribution.types import Array


@dataclass(frozen=True)
class AlphaMixture:
    """The inclusion probabilities of a campaign's masks, and the units of results.

    With a single alpha nothing is centred and all units are 1.

    Attributes
    ----------
    reference : float
        Alpha at which results are reported.
    alphas : (k,) float64
        Distinct alphas, ascending.
    shares : (k,) float64
        Share of the masks' weight at each alpha.
    means : (k, t) float64
        Mean output of each target at each alpha.

    Examples
    --------
    >>> mixture = AlphaMixture(0.5, np.array([0.2, 0.5]), np.array([0.5, 0.5]), np.array([[1.0], [4.0]]))
    >>> mixture.several, mixture.offset(0.3).round(1).tolist()
    (True, [2.0])
    >>> round(mixture.unit(2), 3)  # sigma^2 at the reference over its mean of the mixture: .25 / .205
    1.22
    """

    reference: float
    alphas: Array
    shares: Array
    means: Array

    @staticmethod
    def of(data: CheckedData, reference: float) -> AlphaMixture:
        """Compute the mixture of validated data; reference: alpha at which results are reported."""
        n_targets = data.outputs.shape[1]
        if data.alphas is None:
            return AlphaMixture(reference, np.array([reference]), np.ones(1), np.zeros((1, n_targets)))
        weight = np.ones(len(data.masks)) if data.weight is None else data.weight
        alphas = np.unique(data.alphas)
        rows = [data.alphas == alpha for alpha in alphas]
        means = np.stack([np.average(data.outputs[r], axis=0, weights=weight[r]) for r in rows])
        return AlphaMixture(reference, alphas, np.array([weight[r].sum() for r in rows]) / weight.sum(), means)

    @property
    def several(self) -> bool:
        """Whether the masks have more than one alpha."""
        return len(self.alphas) > 1

    def unit(self, order: int) -> float:
        """Return the factor from a coefficient of phi_S, |S| = order, to that in the reference's basis."""
        if not self.several:
            return 1.0
        sigma = np.sqrt(self.alphas * (1 - self.alphas))
        own = (self.reference * (1 - self.reference)) ** 0.5
        return float(own**order / (self.shares @ sigma**order))

    def offset(self, alpha: float) -> Array:
        """Return the (t,) mean output at an alpha, interpolated linearly between the mixture's alphas."""
        return np.array([np.interp(alpha, self.alphas, mean) for mean in self.means.T])

    def centred(self, outputs: Array, alphas: Array | None) -> Array:
        """Subtract from outputs (m, t) the mean of the masks of the same alpha; alphas (m,) or None for one."""
        if alphas is None or not self.several:
            return outputs
        return outputs - self.means[np.searchsorted(self.alphas, alphas)]

    def spectrum_at(self, spectrum: Spectrum, alpha: float) -> Spectrum:
        """Convert a fit's spectrum, written at the reference, to the basis of masks at `alpha`, without offsets."""
        unit = {order: self.unit(order) for order in range(spectrum.degree + 1)}
        terms = {members: value / unit[len(members)] for members, value in spectrum.terms.items()}
        return Spectrum(terms, spectrum.n_players, alpha)
