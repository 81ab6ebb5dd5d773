"""Weighted least squares on masks that exist already: Banzhaf, KernelSHAP and LIME kernels on one footing."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from attribution.errors import AttributionError, AttributionWarning
from attribution.estimators.base import LinearMaskModel, one_alpha
from attribution.masks.inputs import check_data
from attribution.types import Array

KERNELS = ("bernoulli", "shapley", "lime")


class WeightedLeastSquares(LinearMaskModel):
    """The best linear fit under a kernel over masks, by importance weights from the masks' own distribution.

    The masks were drawn with q(x) = alpha^s (1 - alpha)^(n - s), s players present. Weights k(x) / q(x) make their
    regression the one under the kernel k:

    - "bernoulli": k = q, weights 1. Identifies the alpha-weighted Banzhaf values (Kernel Banzhaf, Liu et al. 2024).
    - "shapley": KernelSHAP (Lundberg and Lee 2017), k = (n - 1) / (C(n, s) s (n - s)); the empty and the full mask,
      of infinite weight, hold exactly. Identifies the Shapley values where both of them are among the masks; without
      them only the differences between players, their mean being what the fit extrapolates to.
    - "lime": LIME (Ribeiro et al. 2016) around the full mask, k = q exp(-d^2 / (2 width^2)), d = 1 - sqrt(s / n)
      the cosine distance. Identifies the best linear fit near the full training set, as far as the masks reach.

    All of it in expectation: masks of about alpha n players say nothing about sizes nobody trained, and weights that
    live there leave few effective masks. A warning says when a tenth of the kernel lies on sizes outside those seen,
    or effective masks are fewer than players.

    Attributes after fit, beside LinearMaskModel's: effective_masks_, (sum w)^2 / sum w^2 of the kernel's weights;
    covered_, the share of the kernel on sizes from the smallest to the largest seen (KernelSHAP's without both ends);
    identifies_, in words; rank_deficient_: the fit is the one of least norm.
    """

    def __init__(self, alpha: float = 0.5, kernel: str = "bernoulli", width: float = 0.25) -> None:
        self.alpha = alpha
        self.kernel = kernel
        self.width = width

    def fit(self, masks: Any, outputs: Any, groups: Any = None, sample_weight: Any = None) -> WeightedLeastSquares:
        """Fit to masks (m, n) bool and outputs (m,) or (m, t).

        groups are checked and not needed: nothing is chosen by splits. sample_weight: (m,) positive, multiplied
        with the kernel's. Raises AttributionError for bad input (checks.check_data), another kernel or width.
        """
        data = check_data(masks, outputs, one_alpha(self.alpha), groups=groups, sample_weight=sample_weight)
        if self.kernel not in KERNELS:
            raise AttributionError(f"kernel must be one of {', '.join(KERNELS)}; got {self.kernel!r}.")
        if not (isinstance(self.width, (int, float)) and 0 < self.width < math.inf):
            raise AttributionError(f"width must be a number above 0; got {self.width!r}.")
        n_players = data.masks.shape[1]
        if self.kernel == "shapley" and n_players < 2:
            raise AttributionError("the Shapley kernel needs at least 2 players.")
        sizes = data.masks.sum(axis=1)
        given = np.ones(len(sizes)) if data.weight is None else data.weight
        weight = given * self._kernel(sizes, n_players)
        ends = {
            name: np.average(data.outputs[sizes == size], axis=0, weights=given[sizes == size])
            for name, size in (("empty", 0), ("full", n_players))
            if self.kernel == "shapley" and (sizes == size).any()
        }
        if not (weight > 0).any():
            raise AttributionError("no mask has a positive weight under the kernel; widen it or train other masks.")
        self.effective_masks_ = float(weight.sum() ** 2 / (weight**2).sum())
        self.covered_ = self._coverage(sizes, n_players)
        if self.effective_masks_ < n_players or self.covered_ < 0.9:
            warnings.warn(
                f"the {self.kernel} kernel has {self.covered_:.0%} of its weight on the sizes of these masks "
                f"({sizes.min()} to {sizes.max()} of {n_players} players) and leaves {self.effective_masks_:.0f} "
                "effective masks; the rest is extrapolation. kernel='bernoulli' is what these masks identify.",
                AttributionWarning,
                stacklevel=2,
            )
        x = data.masks.astype(np.float64)
        coef, intercept, rank = _constrained(x, data.outputs, weight, ends.get("empty"), ends.get("full"))
        if data.fixed_size:
            # Only the sum's direction is free, and a shift of all coefficients is paid by the intercept.
            shift = coef.mean(axis=1)
            coef, intercept = coef - shift[:, None], intercept + shift * sizes[0]
        self._keep(data, coef, intercept)
        self.rank_deficient_ = rank < n_players
        self.identifies_ = self._identified(ends, data.fixed_size)
        return self

    def _log_kernel(self, sizes: NDArray[np.int64], n_players: int) -> Array:
        """log k / q of masks of the given sizes, up to a constant; -inf where KernelSHAP's k is infinite."""
        s = sizes.astype(np.float64)
        if self.kernel == "lime":
            return -((1.0 - np.sqrt(s / n_players)) ** 2) / (2.0 * self.width**2)
        if self.kernel == "bernoulli":
            return np.zeros(len(s))
        inner = (s > 0) & (s < n_players)
        safe = np.where(inner, s, 1.0)
        log_kernel = gammaln(safe + 1) + gammaln(n_players - safe + 1) - np.log(safe * (n_players - safe))
        return np.where(inner, log_kernel - _log_drawn(safe, n_players, self.alpha), -np.inf)

    def _kernel(self, sizes: NDArray[np.int64], n_players: int) -> Array:
        log = self._log_kernel(sizes, n_players)
        top = log.max()
        return np.exp(log - top) if np.isfinite(top) else np.zeros(len(sizes))

    def _coverage(self, sizes: NDArray[np.int64], n_players: int) -> float:
        if self.kernel == "bernoulli":
            return 1.0
        every = np.arange(n_players + 1)
        log_choices = gammaln(n_players + 1) - gammaln(every + 1) - gammaln(n_players - every + 1)
        log: Array = self._log_kernel(every, n_players) + _log_drawn(every, n_players, self.alpha) + log_choices
        mass = np.exp(log - log.max())
        return float(mass[sizes.min() : sizes.max() + 1].sum() / mass.sum())

    def _identified(self, ends: dict[str, Array], fixed_size: bool) -> str:
        if fixed_size:
            return "differences between players among masks of one size"
        if self.kernel == "shapley":
            return "Shapley values" if len(ends) == 2 else "differences of Shapley values"
        return {"bernoulli": "alpha-weighted Banzhaf values", "lime": "best linear fit near the full set"}[self.kernel]


def _log_drawn(sizes: NDArray[Any], n_players: int, alpha: float) -> Array:
    """log q of one mask of each size."""
    return np.asarray(sizes * math.log(alpha) + (n_players - sizes) * math.log1p(-alpha), dtype=np.float64)


def _constrained(
    x: Array, y: Array, weight: Array, empty: Array | None, full: Array | None
) -> tuple[Array, Array, int]:
    """Least squares of y (m, t) on x (m, n) with intercept, of least norm: coefficients (t, n), intercepts, rank.

    empty (t,): the intercept is that; full (t,): intercept plus the sum of the coefficients is that."""
    n = x.shape[1]
    root = np.sqrt(weight)[:, None]
    # Unknowns (c, b) with the known sums taken out: c = empty, and c + sum b = full along the constant vector.
    design = np.column_stack([np.ones(len(x)), x])
    constraints, values = [], []
    if empty is not None:
        constraints.append(np.concatenate([[1.0], np.zeros(n)]))
        values.append(empty)
    if full is not None:
        constraints.append(np.ones(n + 1))
        values.append(full)
    if constraints:
        a = np.array(constraints)
        particular = np.linalg.lstsq(a, np.array(values), rcond=None)[0]
        free = np.linalg.svd(a)[2][len(a) :].T  # the null space
        inner, _, rank, _ = np.linalg.lstsq(design @ free * root, (y - design @ particular) * root, rcond=None)
        solution = particular + free @ inner
        return solution[1:].T, solution[0], int(rank) + len(a) - 1
    mean_x, mean_y = (weight @ x) / weight.sum(), (weight @ y) / weight.sum()
    solution, _, rank, _ = np.linalg.lstsq((x - mean_x) * root, (y - mean_y) * root, rcond=None)
    return solution.T, mean_y - mean_x @ solution, int(rank)
