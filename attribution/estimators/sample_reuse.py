"""Banzhaf values by maximum sample reuse: every mask serves every player."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.estimators.base import LinearMaskModel, one_alpha
from attribution.masks.inputs import check_data
from attribution.masks.player_subset import player_blocks
from attribution.types import Array


class SampleReuseBanzhaf(LinearMaskModel):
    """Mean output with a player minus mean output without it (Wang and Jia 2023, Data Banzhaf, section 4).

    Under independent masks of any alpha the difference is unbiased for the alpha-weighted Banzhaf value
    E[f(x + i) - f(x - i)], METHOD.md's I({i}); the paper has alpha = 1/2. Every value carries the sampling noise of
    all other players' effects, some 2 sd(y) / sqrt(n_masks) at alpha = 1/2, and nothing is shrunken: as a ranking it
    serves, as a predictor it loses to any penalised fit unless masks are many times the players.
    Fixed-size masks: the difference is n / (n - 1) times the value less the values' mean, which is taken out.

    Attributes after fit, beside LinearMaskModel's: coef_ is NaN for a player in no mask or in every mask; stderr_
    (t, n), standard errors clustered by what no split may divide.
    """

    def __init__(self, alpha: float = 0.5) -> None:
        self.alpha = alpha

    def fit(self, masks: Any, outputs: Any, groups: Any = None, sample_weight: Any = None) -> SampleReuseBanzhaf:
        """Fit to masks (m, n) bool and outputs (m,) or (m, t).

        groups: (m,) rows that are not independent; sample_weight: (m,) positive. Raises AttributionError for bad
        input (checks.check_data)."""
        data = check_data(masks, outputs, one_alpha(self.alpha), groups=groups, sample_weight=sample_weight)
        n_masks, n_players = data.masks.shape
        weight = np.ones(n_masks) if data.weight is None else data.weight
        mean = weight @ data.outputs / weight.sum()
        y = data.outputs - mean
        coef = np.empty((y.shape[1], n_players))
        stderr = np.empty_like(coef)
        for block in player_blocks(n_players):
            present = data.masks[:, block].astype(np.float64)
            coef[:, block], stderr[:, block] = _differences(present, y, weight, data.groups)
        if data.fixed_size:
            # What a sum that never varies cannot tell: every difference holds minus the others' mean effect.
            coef = (coef - np.nanmean(coef, axis=1, keepdims=True)) * ((n_players - 1) / n_players)
            stderr *= (n_players - 1) / n_players
        included = weight @ data.masks / weight.sum()
        self._keep(data, coef, mean - np.nan_to_num(coef) @ included)
        self.stderr_: Array = stderr
        return self


def _differences(present: Array, y: Array, weight: Array, groups: NDArray[np.int64]) -> tuple[Array, Array]:
    """Differences of weighted means and their clustered standard errors, (t, n) each; NaN where a side is empty.

    The error sums, by group, each row's share in the difference: w x (y - mean_1) / W_1 - w (1 - x) (y - mean_0) / W_0.
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
    stderr = np.empty_like(mean_1)
    share_1, share_0 = present * (weight[:, None] / with_it), (1.0 - present) * (weight[:, None] / without)
    for target in range(y.shape[1]):
        column = y[:, [target]]
        share = share_1 * (column - mean_1[target]) - share_0 * (column - mean_0[target])
        if n_groups < len(groups):
            share = np.add.reduceat(share[order], starts, axis=0)
        stderr[target] = np.sqrt((share**2).sum(axis=0) * (n_groups / max(n_groups - 1, 1)))
    return mean_1 - mean_0, stderr
