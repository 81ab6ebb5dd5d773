"""SPEX as a scikit-learn estimator, for outputs of a design's masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from attribution.errors import AttributionError
from attribution.estimators.proxyspex import ProxySPEX
from attribution.fourier.basis import basis
from attribution.fourier.spectrum import Spectrum
from attribution.interactions.block import BlockSettings
from attribution.masks.design import untested_design
from attribution.masks.inputs import CheckedData, check_data
from attribution.spex.decoder import bins_of, decode
from attribution.spex.design import SpexDesign
from attribution.spex.rows import rows_of_design


class SPEX(ProxySPEX):
    """Estimate a sparse Fourier spectrum from structured masks, with errors and q-values.

    Either half of the design is decoded after its datamodel has been subtracted. The sets found are candidates of the
    same cross-fitted selection, tests and intervals as in `ProxySPEX`; each is tested on the half of the masks that
    did not find it.

    Parameters
    ----------
    design : SpexDesign
        The design whose masks are given to `fit`.
    alpha : float
        Only 1/2 exists: the masks are affine subspaces of the cube.
    seed : int
        Seed of the assignment of masks to folds.
    q_method : {"BH", "BY"}
        As for `ProxySPEX`.
    device : str
        As for `ProxySPEX`; decoding runs on the CPU.

    Attributes
    ----------
    decoded_ : list of Spectrum
        The datamodel and what the rest of the outputs decodes to on all masks, for each target: a function without
        noise and with at most about 2^n_bits interactions is recovered exactly. No test was made of these sets.
    spectra_, gate_p_, gate_q_, gate_open_, effects_, effect_stderrs_, cross_fitted_, n_considered_ : various
        As for `ProxySPEX`.
    n_untestable_ : int
        As for `ProxySPEX`; 0, since a design's sets are tested on its own bins.
    curvature_ : ndarray of shape (n_targets, 3)
        Zeros: on a design no curve is fitted.
    fixed_size_, single_, n_features_in_, n_missing_, inseparable_players_ : bool, bool, int, ndarray, list
        As for `ProxySPEX`.

    Notes
    -----
    Kang et al. 2025, arXiv 2502.13870, with soft decoding.

    **When to use it.** Outputs without noise, or with little, and pure sets of order 3 to 6 whose members have no
    smaller effects, or too many players to screen.

    **When not to use it.** Noisy retraining. A pair needs |F| of about 0.1 of the noise of one evaluation at 3,000
    masks, and a screen of as many random masks finds pairs as small.

    Held-out masks have to be drawn uniformly, never from the design.

    Examples
    --------
    A pure set of three: no pair and no single player of it has an effect.

    >>> import numpy as np
    >>> from attribution import SPEX, SpexDesign
    >>> design = SpexDesign(n_players=30, n_bits=5, max_order=3, seed=0)
    >>> masks = design.masks()
    >>> outputs = np.prod(2.0 * masks[:, [3, 8, 21]] - 1, axis=1)
    >>> outputs += 0.1 * np.random.default_rng(0).normal(size=len(masks))
    >>> model = SPEX(design).fit(masks, outputs)
    >>> [(found.members, round(found.value / 8, 1)) for found in model.interactions(max_q=0.05)]
    [((3, 8, 21), 1.0)]
    """

    def __init__(
        self, design: SpexDesign, alpha: float = 0.5, seed: int = 0, *, q_method: str = "BH", device: str = "cpu"
    ) -> None:
        super().__init__(alpha, max_order=design.max_order, seed=seed, q_method=q_method, device=device)
        self.design = design

    def fit(self, masks: Any, outputs: Any, groups: Any = None, *args: Any, **labels: Any) -> SPEX:
        """Fit to the outputs of a design's masks.

        Parameters
        ----------
        masks : array_like of bool, shape (n_masks, n_players)
            `design.masks()`, in any order; others among them take part in the refit alone.
        outputs : array_like of float, shape (n_masks,) or (n_masks, n_targets)
            One column for each target.
        groups, *args, **labels
            As for `ProxySPEX.fit`.

        Returns
        -------
        SPEX
            The fitted estimator.

        Raises
        ------
        AttributionError
            For masks that are not the design's, alpha other than 1/2, or other invalid input.
        """
        super().fit(masks, outputs, groups, *args, **labels)
        data = self._checked(masks, outputs, groups, None, self.alpha)
        linear, players = self._fitted.linear, self._fitted.players
        fitted = basis(data.masks[:, players], 0.5) @ linear.coef.T + linear.intercept
        rows = rows_of_design(self.design, data.masks)
        values = np.where((rows >= 0)[:, None], (data.outputs - fitted)[rows], 0.0)
        self.decoded_ = []
        for target, found in enumerate(decode(self.design, bins_of(self.design, values))):
            found[()] = found.get((), 0.0) + float(linear.intercept[target])
            for place in np.flatnonzero(linear.coef[target]):
                own = (int(players[place]),)
                found[own] = found.get(own, 0.0) + float(linear.coef[target, place])
            self.decoded_.append(Spectrum.from_terms(found, self.design.n_players, 0.5))
        return self

    def _checked(self, masks: Any, outputs: Any, groups: Any, sample_weight: Any, alpha: Any) -> CheckedData:
        if alpha != 0.5:
            raise AttributionError(
                f"SPEX exists at alpha = 0.5 only: its masks include every player half of the time; got {alpha}. Use "
                "ProxySPEX for other masks."
            )
        with untested_design("spex"):
            return check_data(masks, outputs, 0.5, groups=groups, sample_weight=sample_weight)

    def _settings(self) -> BlockSettings:
        if self.design.n_bits < 2:
            raise AttributionError("SPEX tests every set on the other half of the design, which needs n_bits >= 2.")
        return BlockSettings(alpha=0.5, max_order=self.design.max_order, seed=int(self.seed), spex=self.design)
