"""The ridge datamodel: every penalty's leave-one-group-out error in closed form, from one decomposition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.checks import check_choice, check_integer, check_numbers
from attribution.errors import AttributionError
from attribution.estimators.base import LinearMaskModel, one_alpha
from attribution.fourier.basis import basis
from attribution.linear.datamodel_fit import MAX_PENALTIES
from attribution.masks.inputs import check_data
from attribution.masks.player_subset import player_blocks
from attribution.types import Array

CRITERIA = ("loo", "gcv")


class RidgeDatamodel(LinearMaskModel):
    """Ridge regression of outputs on masks, with a penalty for each target by leave-one-group-out error.

    Parameters
    ----------
    alpha : float
        Probability with which a mask includes a player, in (0, 1).
    penalties : array_like of float, optional
        Penalties lambda to choose from; None for a grid of `n_penalties`.
    n_penalties : int
        Size of the grid: n_players times values from 1e-3 to 1e4, on a logarithmic scale.
    criterion : {"loo", "gcv"}
        Leave-one-group-out error, or generalised cross-validation (Golub, Heath and Wahba 1979). The latter leaves out
        single rows, so it is refused where rows form groups.

    Attributes
    ----------
    coef_ : ndarray of shape (n_targets, n_players)
        Change of the output when the player is included, averaged over masks (Banzhaf units).
    intercept_ : ndarray of shape (n_targets,)
        Output at the empty mask.
    penalty_ : ndarray of shape (n_targets,)
        Penalty lambda of each target.
    penalties_ : ndarray
        Penalties that were compared.
    criterion_ : ndarray of shape (n_targets, n_penalties)
        Mean squared error of each penalty by the criterion.
    cross_fitted_ : ndarray of shape (n_masks, n_targets)
        Predictions of the fit masks, each by the fit without the mask's group.
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
    The estimate minimises sum_r w_r (y_r - c - phi_r . b)^2 + lambda |b|^2 over b and c. The leave-one-group-out error
    needs no second fit: with the hat matrix H and residuals e, the residuals of group G by the fit without it are
    (I - H_GG)^-1 e_G; for single rows e / (1 - h), Allen's PRESS. For effects of equal size the best lambda is
    n_players (1 - R2) / R2. Memory is that of the smaller of n_masks and n_players, squared, in float64.

    **When to use it.** Where many players have small effects of similar size.

    **When not to use it.** Where few players matter, the LASSO of `Datamodel` predicts better. No flow uses this class.

    Examples
    --------
    >>> import numpy as np
    >>> from attribution.estimators import RidgeDatamodel
    >>> rng = np.random.default_rng(0)
    >>> masks = rng.random((300, 20)) < 0.5
    >>> effects = rng.normal(size=20)
    >>> model = RidgeDatamodel().fit(masks, masks @ effects + 0.5 * rng.normal(size=300))
    >>> bool(np.corrcoef(model.coef_[0], effects)[0, 1] > 0.99)
    True
    """

    def __init__(
        self, alpha: float = 0.5, penalties: Any = None, n_penalties: int = 29, criterion: str = "loo"
    ) -> None:
        self.alpha = alpha
        self.penalties = penalties
        self.n_penalties = n_penalties
        self.criterion = criterion

    def fit(self, masks: Any, outputs: Any, groups: Any = None, sample_weight: Any = None) -> RidgeDatamodel:
        """Fit to the outputs of models trained on masks.

        Parameters
        ----------
        masks : array_like of bool, shape (n_masks, n_players)
            True where a player is in the training set.
        outputs : array_like of float, shape (n_masks,) or (n_masks, n_targets)
            One column for each target.
        groups : array_like, shape (n_masks,), optional
            Labels of rows that must be left out together. Equal masks always are.
        sample_weight : array_like of float, shape (n_masks,), optional
            Positive weights of the rows.

        Returns
        -------
        RidgeDatamodel
            The fitted estimator.

        Raises
        ------
        AttributionError
            For invalid masks, outputs or settings, penalties that are not positive,
            or "gcv" with groups.
        """
        data = check_data(masks, outputs, one_alpha(self.alpha), groups=groups, sample_weight=sample_weight)
        check_choice("criterion", self.criterion, CRITERIA)
        single_rows = int(data.groups.max()) + 1 == len(data.groups)
        if self.criterion == "gcv" and not single_rows:
            raise AttributionError(
                "generalised cross-validation leaves out single rows, which groups (replicates of a mask are one) "
                "forbid. Use criterion='loo'."
            )
        n_masks, n_players = data.masks.shape
        self.penalties_ = self._penalties(n_players)
        weight = np.ones(n_masks) if data.weight is None else data.weight
        root = np.sqrt(weight)
        mean = weight @ data.outputs / weight.sum()
        y = (data.outputs - mean) * root[:, None]
        rows, values = _decompose(data.masks, self.alpha, root)
        projected = rows.T @ y
        constant = root / math.sqrt(weight.sum())  # the intercept's own column of the hat matrix's factor
        error = np.empty((y.shape[1], len(self.penalties_)))
        for at, penalty in enumerate(self.penalties_):
            kept = values / (values + penalty)
            residual = y - rows @ (kept[:, None] * projected)
            if self.criterion == "gcv":
                df_share = 1.0 - (1.0 + kept.sum()) / n_masks
                error[:, at] = (residual**2).mean(axis=0) / df_share**2
            else:
                left_out = _leave_out(rows, kept, constant, residual, data.groups)
                error[:, at] = (left_out**2).mean(axis=0)
        best = error.argmin(axis=1)
        kept = values[:, None] / (values[:, None] + self.penalties_[best])
        dual = np.where(values[:, None] > 0, 1.0 / np.maximum(values[:, None], 1e-300), 0.0) * kept * projected
        coef = np.zeros((y.shape[1], n_players))
        shift = np.zeros(y.shape[1])
        sigma = math.sqrt(self.alpha * (1 - self.alpha))
        spread = (rows @ dual) * root[:, None]  # b = Phi' spread, Phi centred
        spread -= weight[:, None] * (spread.sum(axis=0) / weight.sum())
        for block in player_blocks(n_players):
            phi = basis(data.masks[:, block], self.alpha).astype(np.float64)
            coef[:, block] = spread.T @ phi / sigma
            shift += coef[:, block] @ (weight @ data.masks[:, block] / weight.sum())
        self._keep(data, coef, mean - shift)
        self.penalty_ = self.penalties_[best]
        self.criterion_ = error
        self.cross_fitted_ = np.empty_like(y)
        for choice in np.unique(best):
            now = np.flatnonzero(best == choice)
            kept_now = values / (values + self.penalties_[choice])
            residual = y[:, now] - rows @ (kept_now[:, None] * projected[:, now])
            left_out = _leave_out(rows, kept_now, constant, residual, data.groups)
            self.cross_fitted_[:, now] = data.outputs[:, now] - left_out / root[:, None]
        return self

    def _penalties(self, n_players: int) -> Array:
        if self.penalties is None:
            return n_players * np.geomspace(1e-3, 1e4, check_integer("n_penalties", self.n_penalties, 1, MAX_PENALTIES))
        given = np.atleast_1d(check_numbers("penalties", self.penalties))
        if given.ndim != 1 or len(given) == 0 or not np.isfinite(given).all() or (given <= 0).any():
            raise AttributionError(
                f"penalties must be finite numbers above 0; got {self.penalties!r}. Leave them out for a grid."
            )
        return given


def _decompose(masks: NDArray[np.bool_], alpha: float, root: Array) -> tuple[Array, Array]:
    """Left singular vectors (m, r) and squared singular values (r,) of the centred basis with rows times `root`.

    They come from the Gram matrix of the shorter side; that of the masks is summed up over blocks of players."""
    n_masks, n_players = masks.shape
    weight = root**2
    if n_players <= n_masks:
        phi = basis(masks, alpha).astype(np.float64)
        phi -= weight @ phi / weight.sum()
        phi *= root[:, None]
        values, vectors = np.linalg.eigh(phi.T @ phi)
        used = values > 1e-10 * max(values.max(), 1e-300)
        return (phi @ vectors[:, used]) / np.sqrt(values[used]), values[used]
    gram = np.zeros((n_masks, n_masks))
    for block in player_blocks(n_players):
        phi = basis(masks[:, block], alpha).astype(np.float64)
        phi -= weight @ phi / weight.sum()
        phi *= root[:, None]
        gram += phi @ phi.T
    values, vectors = np.linalg.eigh(gram)
    used = values > 1e-10 * max(values.max(), 1e-300)
    return vectors[:, used], values[used]


def _leave_out(rows: Array, kept: Array, constant: Array, residual: Array, groups: NDArray[np.int64]) -> Array:
    """Residuals (m, t) by the fit without the row's group: (I - H_GG)^-1 e_G, H = rows kept rows' + constant's."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    sizes = np.diff(np.append(starts, len(groups)))
    result = np.empty_like(residual)
    for size in np.unique(sizes):
        members = order[starts[sizes == size][:, None] + np.arange(size)]  # (groups, size)
        if size == 1:
            alone = members[:, 0]
            leverage = (rows[alone] ** 2) @ kept + constant[alone] ** 2
            result[alone] = residual[alone] / np.maximum(1.0 - leverage, 1e-12)[:, None]
            continue
        for start in range(0, len(members), 256):
            part = members[start : start + 256]
            root = np.concatenate([rows[part] * np.sqrt(kept), constant[part][:, :, None]], axis=2)
            across, e = root.transpose(0, 2, 1), residual[part]
            if size <= root.shape[2]:
                result[part] = np.linalg.solve(np.eye(size) - root @ across, e)
            else:  # the same by Woodbury's identity, for groups larger than the rank
                inner = np.linalg.solve(np.eye(root.shape[2]) - across @ root, across @ e)
                result[part] = e + root @ inner
    return result
