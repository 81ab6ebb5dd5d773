"""Banzhaf values by maximum sample reuse: every mask serves every player."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.estimators.base import LinearMaskModel, one_alpha
from attribution.masks.inputs import check_data
from attribution.masks.player_subset import player_blocks
from attribution.masks.weights import effective_groups, weighted_df
from attribution.statistics.p_values import interval_factor
from attribution.types import Array


class SampleReuseBanzhaf(LinearMaskModel):
    """Estimate Banzhaf values by maximum sample reuse: mean output with a player minus mean output without it.

    Parameters
    ----------
    alpha : float
        Probability with which a mask includes a player, in (0, 1).

    Attributes
    ----------
    coef_ : ndarray of shape (n_targets, n_players)
        Change of the output when the player is included, averaged over masks (Banzhaf units). NaN for a
        player that every mask or no mask includes.
    intercept_ : ndarray of shape (n_targets,)
        Output at the empty mask.
    stderr_ : ndarray of shape (n_targets, n_players)
        Standard errors of `coef_`, clustered by groups of rows. With weights, those for which +-1.96 of them is a
        95% interval (Student's t with one degree of freedom less than there are effective masks).
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
    Under independent masks of any alpha the difference is unbiased for the alpha-weighted Banzhaf value
    I({i}) = E[f(x + i) - f(x - i)] (Wang and Jia 2023, Data Banzhaf, section 4, at alpha = 1/2). For masks of a fixed
    size the difference is n / (n - 1) times the value minus the values' mean; the factor is taken out.

    **When to use it.** For a quick ranking of players: nothing is fitted or tuned.

    **When not to use it.** For predictions. Each value carries the sampling noise of all other players' effects, about
    2 sd(y) / sqrt(n_masks) at alpha = 1/2, and nothing is shrunken, so a penalised fit predicts better unless masks
    outnumber players many times. No flow uses this class.

    Examples
    --------
    >>> import numpy as np
    >>> from attribution.estimators import SampleReuseBanzhaf
    >>> rng = np.random.default_rng(0)
    >>> masks = rng.random((500, 8)) < 0.5
    >>> model = SampleReuseBanzhaf().fit(masks, 3.0 * masks[:, 2] + rng.normal(size=500))
    >>> int(model.coef_[0].argmax())
    2
    >>> bool(abs(model.coef_[0, 2] - 3.0) < 3 * model.stderr_[0, 2])
    True
    """

    def __init__(self, alpha: float = 0.5) -> None:
        self.alpha = alpha

    def fit(self, masks: Any, outputs: Any, groups: Any = None, sample_weight: Any = None) -> SampleReuseBanzhaf:
        """Fit to the outputs of models trained on masks.

        Parameters
        ----------
        masks : array_like of bool, shape (n_masks, n_players)
            True where a player is in the training set.
        outputs : array_like of float, shape (n_masks,) or (n_masks, n_targets)
            One column for each target.
        groups : array_like, shape (n_masks,), optional
            Labels of rows that are not independent.
        sample_weight : array_like of float, shape (n_masks,), optional
            Positive weights of the rows.

        Returns
        -------
        SampleReuseBanzhaf
            The fitted estimator.

        Raises
        ------
        AttributionError
            For invalid masks, outputs or settings.
        """
        data = check_data(masks, outputs, one_alpha(self.alpha), groups=groups, sample_weight=sample_weight)
        n_masks, n_players = data.masks.shape
        unequal = data.weight is not None
        weight = np.ones(n_masks) if data.weight is None else data.weight
        mean = weight @ data.outputs / weight.sum()
        y = data.outputs - mean
        coef = np.empty((y.shape[1], n_players))
        stderr = np.empty_like(coef)
        for block in player_blocks(n_players):
            present = data.masks[:, block].astype(np.float64)
            coef[:, block], stderr[:, block] = _differences(present, y, weight, data.groups, unequal)
        if data.fixed_size:
            # With a constant number of players, every difference contains minus the mean effect of the others.
            coef = (coef - np.nanmean(coef, axis=1, keepdims=True)) * ((n_players - 1) / n_players)
            stderr *= (n_players - 1) / n_players
        included = weight @ data.masks / weight.sum()
        self._keep(data, coef, mean - np.nan_to_num(coef) @ included)
        self.stderr_: Array = stderr * interval_factor(weighted_df(data.weight, data.groups))
        return self


def _differences(
    present: Array, y: Array, weight: Array, groups: NDArray[np.int64], unequal: bool
) -> tuple[Array, Array]:
    """Differences of weighted means and their clustered standard errors, (t, n) each; NaN where a side is empty.

    The error sums, by group, each row's share in the difference: w x (y - mean_1) / W_1 - w (1 - x) (y - mean_0) / W_0.
    With unequal weights the mean leaves out the row itself (jackknife, MacKinnon and White 1985): rows of large weight
    draw it to themselves.
    """
    with_it = weight @ present
    without = weight.sum() - with_it
    empty = (with_it <= 0) | (without <= 1e-9 * weight.sum())
    with_it, without = np.where(empty, np.nan, with_it), np.where(empty, np.nan, without)
    weighted = y * weight[:, None]
    mean_1 = (weighted.T @ present) / with_it
    mean_0 = (weighted.sum(axis=0)[:, None] - weighted.T @ present) / without
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    n_groups = len(starts)
    effective = effective_groups(weight, groups)
    stderr = np.empty_like(mean_1)
    share_1, share_0 = present * (weight[:, None] / with_it), (1.0 - present) * (weight[:, None] / without)
    for target in range(y.shape[1]):
        column = y[:, [target]]
        share = share_1 * (column - mean_1[target]) - share_0 * (column - mean_0[target])
        if unequal:
            share /= 1.0 - share_1 - share_0
        if n_groups < len(groups):
            share = np.add.reduceat(share[order], starts, axis=0)
        stderr[target] = np.sqrt((share**2).sum(axis=0) * (effective / max(effective - 1, 1)))
    return mean_1 - mean_0, stderr
