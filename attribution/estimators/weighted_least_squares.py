"""Weighted least squares on masks that exist already, under the Banzhaf, KernelSHAP or LIME kernel."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from attribution.checks import check_choice, check_number
from attribution.errors import AttributionError, AttributionWarning
from attribution.estimators.base import LinearMaskModel, one_alpha
from attribution.masks.inputs import check_data
from attribution.types import Array

KERNELS = ("bernoulli", "shapley", "lime")


class WeightedLeastSquares(LinearMaskModel):
    """Fit the best linear function of the mask under a kernel over masks, by importance weights.

    Parameters
    ----------
    alpha : float
        Probability with which a mask includes a player, in (0, 1).
    kernel : {"bernoulli", "shapley", "lime"}
        Kernel k(x) over masks; see Notes.
    width : float
        Width of the LIME kernel.

    Attributes
    ----------
    coef_ : ndarray of shape (n_targets, n_players)
        Coefficient of each player under the kernel.
    intercept_ : ndarray of shape (n_targets,)
        Output at the empty mask.
    effective_masks_ : float
        (sum w)^2 / sum w^2 of the weights.
    covered_ : float
        Share of the kernel on mask sizes from the smallest to the largest seen; for KernelSHAP without both ends.
    identifies_ : str
        What the coefficients estimate, in words.
    rank_deficient_ : bool
        True if the coefficients are not unique; they are then those of least norm.
    fixed_size_ : bool
        True if every mask includes equally many players. The common shift of the coefficients is then not identified,
        and their mean is zero.
    single_ : bool
        True if `outputs` was a vector; `predict` then returns a vector.
    n_features_in_ : int
        Number of players.
    feature_names_in_ : ndarray of str, shape (n_players,)
        Column names of the masks; only if they were a data frame with names.

    Notes
    -----
    The masks were drawn with q(x) = alpha^s (1 - alpha)^(n - s), s players present. Weights k(x) / q(x) make their
    regression that under the kernel k:

    - "bernoulli": k = q. Estimates the alpha-weighted Banzhaf values (Kernel Banzhaf, Liu et al. 2024).
    - "shapley": k = (n - 1) / (C(n, s) s (n - s)), KernelSHAP (Lundberg and Lee 2017). The empty and the full mask have
      infinite weight and hold exactly. Estimates the Shapley values if both are among the masks; without them, only
      differences between players, with an extrapolated mean.
    - "lime": k = q exp(-d^2 / (2 width^2)) with the cosine distance d = 1 - sqrt(s / n) from the full mask (Ribeiro et
      al. 2016). Estimates the best linear fit near the full training set, as far as the masks reach.

    All of this holds in expectation. Masks of about alpha n players carry no information on other sizes, and kernels
    that weigh those leave few effective masks. A warning is raised if a tenth of the kernel lies outside the sizes
    seen, or if there are fewer effective masks than players.

    **When to use it.** To compare with KernelSHAP or LIME on masks that exist already.

    **When not to use it.** For predictions: nothing is penalised, so `Datamodel` predicts better. No flow uses this
    class.

    Examples
    --------
    >>> import numpy as np
    >>> from attribution.estimators import WeightedLeastSquares
    >>> rng = np.random.default_rng(0)
    >>> masks = rng.random((400, 10)) < 0.5
    >>> model = WeightedLeastSquares().fit(masks, masks @ np.arange(10.0))
    >>> model.coef_[0, [0, 3, 9]].round(6) + 0.0
    array([0., 3., 9.])
    >>> model.identifies_
    'alpha-weighted Banzhaf values'
    """

    def __init__(self, alpha: float = 0.5, kernel: str = "bernoulli", width: float = 0.25) -> None:
        self.alpha = alpha
        self.kernel = kernel
        self.width = width

    def fit(self, masks: Any, outputs: Any, groups: Any = None, sample_weight: Any = None) -> WeightedLeastSquares:
        """Fit to the outputs of models trained on masks.

        Parameters
        ----------
        masks : array_like of bool, shape (n_masks, n_players)
            True where a player is in the training set.
        outputs : array_like of float, shape (n_masks,) or (n_masks, n_targets)
            One column for each target.
        groups : array_like, shape (n_masks,), optional
            Checked, but without effect: nothing is chosen by splits.
        sample_weight : array_like of float, shape (n_masks,), optional
            Positive weights of the rows, multiplied with the kernel's.

        Returns
        -------
        WeightedLeastSquares
            The fitted estimator.

        Raises
        ------
        AttributionError
            For invalid masks, outputs or settings, or no mask of positive weight.
        """
        data = check_data(masks, outputs, one_alpha(self.alpha), groups=groups, sample_weight=sample_weight)
        check_choice("kernel", self.kernel, KERNELS)
        check_number("width", self.width, 0, math.inf)
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
