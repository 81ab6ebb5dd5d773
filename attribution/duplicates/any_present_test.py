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

from attribution.errors import AttributionError
from attribution.statistics.false_discovery import adjust
from attribution.types import Array

PRIOR_ROWS = 20.0  # what the variance of all masks counts for in that of the masks without any member


@dataclass(frozen=True)
class GroupTest:
    """One group's test over all outputs. effect: coefficient of "any member is present" on the output where it is most
    significant, and its standard error; q_value: over all groups and outputs, and over all groups in the direction of
    their main effects. For copies the effect is their whole one, and J of the group has the opposite sign."""

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


@dataclass(frozen=True)
class AnyPresent:
    """The coefficient of "any member is present" on t outputs, and its test: (t,) each; NaN and p = 1 where it cannot
    be told. p_above: one-sided, p_value: two-sided."""

    effect: Array
    stderr: Array
    z: Array
    p_above: Array
    p_value: Array


def any_present_fit(
    masks: NDArray[np.bool_],
    residuals: Array,
    players: Sequence[int],
    alpha: float,
    labels: NDArray[np.int64] | None = None,
) -> AnyPresent:
    """Regress residuals (m, t) on any_present_column, projected on 1 and the members' columns in these very masks.

    Few masks carry the coefficient of a large group, those without any member: n of them, in effect. Their own
    variance is told by n - 1 degrees of freedom; it is pooled with that of all masks, which counts for PRIOR_ROWS, and
    the test is Student's with both together. labels: (m,) rows that belong together; where sums over them vary more
    than rows do, the variance is larger by that ratio.
    """
    from scipy.stats import t as student

    column = any_present_column(masks, players, alpha)
    members = np.column_stack([np.ones(len(masks)), masks[:, list(players)]])
    column -= members @ np.linalg.lstsq(members, column, rcond=None)[0]
    squares = float(column @ column)
    if squares < 1e-6 * len(masks) * any_present_variance(len(players), alpha):
        nothing = np.full(residuals.shape[1], np.nan)
        return AnyPresent(nothing, nothing, nothing, np.ones_like(nothing), np.ones_like(nothing))
    effect = column @ residuals / squares
    errors = residuals - column[:, None] * effect
    rows = squares**2 / float((column**4).sum())
    carried = (column**2 @ errors**2) / squares
    degrees = PRIOR_ROWS + max(rows - 1.0, 0.0)
    variance = (PRIOR_ROWS * (errors**2).mean(axis=0) + rows * carried) / degrees
    if labels is not None and len(np.unique(labels)) < len(masks):
        sums = np.zeros((int(labels.max()) + 1, residuals.shape[1]))
        np.add.at(sums, labels, column[:, None] * errors)
        variance *= np.maximum(1.0, (sums**2).sum(axis=0) / np.maximum(carried * squares, 1e-300))
    stderr = np.sqrt(variance / squares)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = effect / stderr
    known = np.isfinite(z)
    above = np.where(known, student.sf(np.where(known, z, 0.0), degrees), 1.0)
    both = np.where(known, 2 * student.sf(np.abs(np.where(known, z, 0.0)), degrees), 1.0)
    return AnyPresent(effect, stderr, z, above, both)


def group_tests(
    masks: NDArray[np.bool_],
    residuals: Array,
    groups: Sequence[Sequence[int]],
    alpha: float,
    clusters: NDArray[np.int64] | None = None,
    main_z: Array | None = None,
) -> list[GroupTest]:
    """Test every group of two or more on every output, and in the direction of its members' main effects.

    residuals: (m, t), out of fold, of the datamodel (surrogate.main_effects). clusters: (m,) rows that belong
    together. main_z: (t, n), main effects in standard errors; None leaves the direction out. All groups and outputs are
    one family (Benjamini-Yekutieli), all groups in their directions another, each at half the level.
    Raises AttributionError for groups that are not two or more different players.
    """
    if not groups:
        return []
    sets = [tuple(int(player) for player in players) for players in groups]
    for players in sets:
        if not 2 <= len(players) == len(set(players)) or not 0 <= min(players) <= max(players) < masks.shape[1]:
            raise AttributionError(
                f"a group is two or more different players out of 0..{masks.shape[1] - 1}; got {list(players)}."
            )
    fits = [any_present_fit(masks, residuals, players, alpha, clusters) for players in sets]
    z = np.array([fit.z for fit in fits])
    q = adjust(np.array([fit.p_value for fit in fits]).ravel(), "BY").reshape(z.shape)
    best = np.nan_to_num(np.abs(z), nan=-1.0).argmax(axis=1)
    q_values = q[np.arange(len(sets)), best]
    if main_z is not None:
        scaled = residuals / np.maximum(residuals.std(axis=0), 1e-300)
        along = [
            any_present_fit(masks, (scaled @ direction_of(main_z, players))[:, None], players, alpha, clusters)
            for players in sets
        ]
        together = adjust(np.array([fit.p_value[0] for fit in along]), "BY")
        q_values = np.minimum(1.0, 2 * np.minimum(q_values, together))
    return [
        GroupTest(players, int(t), float(fit.effect[t]), float(fit.stderr[t]), float(q_value))
        for players, t, fit, q_value in zip(sets, best.tolist(), fits, q_values.tolist(), strict=True)
    ]


def direction_of(main_z: Array, players: Sequence[int]) -> Array:
    """Weights of the outputs, (t,), of length one or all 0: the members' mean main effect on each in standard errors,
    shrunken by its noise. Copies act alike on all outputs, and redundancy takes from what they do."""
    mean = main_z[:, list(players)].mean(axis=1)
    weights = mean * np.maximum(0.0, 1 - 1 / np.maximum(len(players) * mean**2, 1e-12))
    length = float(np.sqrt(weights @ weights))
    return np.asarray(weights / length if length > 0 else weights)


def detectable_cluster(n_masks: int, alpha: float, effect: float, residual_sd: float, z: float = 4.0) -> int:
    """Largest number of copies, up to 20, whose joint effect a group test would see at |z|; 1 when none.

    The coefficient's standard error is residual_sd / sqrt(n_masks Var(column)). At small alpha the variance first grows
    with the number of copies, so that a pair may hide where five show.
    """
    size = 1
    for k in range(2, 21):
        variance = any_present_variance(k, alpha)
        if variance > 0 and abs(effect) * math.sqrt(n_masks * variance) >= z * residual_sd:
            size = k
    return size
