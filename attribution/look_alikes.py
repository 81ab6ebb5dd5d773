"""Groups of examples that look alike: does it matter to the models that there are several of them?

Of k copies at alpha = 1/2 each has the main effect 2^{1-k} of the group's effect and a pair the interaction -2^{2-k}
of it: from k = 5 on a cluster is invisible pair by pair. What looks alike is therefore merged and tested as a group,
by one coefficient: that of "any member is present", beside the members' own main effects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.significance import adjust, clustered_mean, two_sided_p

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GroupTest:
    """One group's test over all outputs. effect: coefficient of "any member is present" on the output where it is most
    significant, and its standard error; q_value: over all groups and outputs. For copies it is the copies' whole
    effect, and J of the group has the opposite sign."""

    players: tuple[int, ...]
    output: int
    effect: float
    stderr: float
    q_value: float


def any_present_column(masks: NDArray[np.bool_], players: Sequence[int], alpha: float) -> Array:
    """1[any member present] less its projection on 1 and the members' own columns under Bernoulli(alpha): (m,).

    With k members and q = 1 - alpha the indicator's mean is 1 - q^k and its coefficient on x_i is q^{k-1}.
    """
    present = masks[:, list(players)].astype(np.float64)
    k, absent = present.shape[1], 1 - alpha
    fitted = 1 - absent**k + (present - alpha).sum(axis=1) * absent ** (k - 1)
    return np.asarray(present.any(axis=1).astype(np.float64) - fitted)


def any_present_variance(k: int, alpha: float) -> float:
    """Variance of any_present_column under Bernoulli(alpha): q^k (1 - q^k) - k alpha q q^{2 (k - 1)}, q = 1 - alpha."""
    absent = 1 - alpha
    return float(absent**k * (1 - absent**k) - k * alpha * absent ** (2 * k - 1))


def group_tests(
    masks: NDArray[np.bool_],
    residuals: Array,
    groups: Sequence[Sequence[int]],
    alpha: float,
    clusters: NDArray[np.int64] | None = None,
) -> list[GroupTest]:
    """Test every group of two or more on every output.

    residuals: (m, t), out of fold, of the datamodel (surrogate.main_effects). clusters: (m,) rows that belong
    together. The estimate is mean(column r) / Var(column), its family all groups and outputs (Benjamini-Yekutieli).
    """
    labels = np.arange(len(masks), dtype=np.int64) if clusters is None else clusters
    effects, errors = [], []
    for players in groups:
        column = any_present_column(masks, players, alpha) / any_present_variance(len(players), alpha)
        value, stderr = clustered_mean(column[:, None] * residuals, None, labels)
        effects.append(value)
        errors.append(stderr)
    if not effects:
        return []
    effect, stderr = np.array(effects), np.array(errors)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = effect / stderr
    q = adjust(two_sided_p(z).ravel(), "BY").reshape(z.shape)
    best = np.nan_to_num(np.abs(z), nan=-1.0).argmax(axis=1)
    return [
        GroupTest(tuple(int(p) for p in players), int(t), float(effect[g, t]), float(stderr[g, t]), float(q[g, t]))
        for g, (players, t) in enumerate(zip(groups, best.tolist(), strict=True))
    ]


def detectable_cluster(n_masks: int, alpha: float, effect: float, residual_sd: float, z: float = 4.0) -> int:
    """Largest number of copies whose joint effect a group test would see at |z|; 1 when not even a pair's.

    The coefficient's standard error is residual_sd / sqrt(n_masks Var(column)).
    """
    size = 1
    for k in range(2, 21):
        variance = any_present_variance(k, alpha)
        if variance <= 0 or abs(effect) * math.sqrt(n_masks * variance) < z * residual_sd:
            break
        size = k
    return size
