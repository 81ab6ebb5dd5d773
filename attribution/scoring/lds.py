"""Linear datamodeling score of attribution matrices, beside the score that seed noise allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from attribution.checks import check_masks
from attribution.containers import as_array
from attribution.errors import AttributionError
from attribution.scoring.bootstrap import N_RESAMPLES, Estimate, mean_over_targets, percentile, recentred, row_weights
from attribution.statistics.faithfulness import MIN_REPLICATED, lds
from attribution.types import Array, Masks

TARGETS_AT_ONCE = 256  # bounds the memory of the resamples


@dataclass(frozen=True)
class LdsScore:
    """The score of one attribution matrix.

    Parameters
    ----------
    mean : Estimate
        Mean LDS over targets; the interval is over masks and targets together.
    of_ceiling : Estimate
        Its share of the mean ceiling; NaN where no mask was evaluated twice.
    per_target : (t,) float64
        LDS of each target; NaN where the outputs do not vary.
    """

    mean: Estimate
    of_ceiling: Estimate
    per_target: Array


@dataclass(frozen=True)
class LdsComparison:
    """The paired difference of two scores: first less second, on the same resamples of masks and targets."""

    first: str
    second: str
    difference: Estimate


@dataclass(frozen=True)
class LdsReport:
    """Scores of several attribution matrices on the same masks and targets.

    Parameters
    ----------
    scores : dict of LdsScore
        By name, in the order given.
    ceiling : Estimate
        Mean over targets of the LDS that a perfect function of the mask would reach on single runs.
    pairs : tuple of LdsComparison
        Every pair of matrices. The intervals hold for each pair by itself.
    n_masks, n_replicated, n_targets : int
        Held-out masks, those evaluated twice, and targets with outputs that vary.
    """

    scores: Mapping[str, LdsScore]
    ceiling: Estimate
    pairs: tuple[LdsComparison, ...]
    n_masks: int
    n_replicated: int
    n_targets: int


def score_lds(
    masks: Masks,
    outputs: Array,
    attributions: Mapping[str, Array],
    replicates: Array | None = None,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> LdsReport:
    """Judge attribution matrices by how well their sums over a mask rank the outputs.

    Parameters
    ----------
    masks : (h, n) bool
        Masks that no attribution was fitted on.
    outputs : (h, t) float64
        Outputs of single runs on them.
    attributions : mapping of (n, t) float64
        By name. The prediction of a mask is the sum of the attributions of the players it includes.
    replicates : (h, t) float64, optional
        Outputs of a second run, NaN where there is none: for the ceiling.
    n_resamples : int
        Resamples of masks and targets.
    seed : int
        Of the resamples; the same ones for every matrix, so that differences are paired.

    Returns
    -------
    LdsReport

    Raises
    ------
    AttributionError
        For shapes that do not fit, or values that are not finite.

    Notes
    -----
    LDS is the Spearman correlation over masks, per target (Park et al. 2023, TRAK, section 2). Resamples weight the
    ranks of the whole sample, which leaves out the reranking of each resample.

    A perfect function of the mask correlates with a single run by sqrt(r), r the intraclass correlation of two runs
    (`noise_ceiling`); of normal variables, Spearman's correlation is then (6 / pi) arcsin(sqrt(r) / 2).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> masks = rng.random((200, 10)) < 0.5
    >>> weights = rng.normal(size=(10, 3))
    >>> report = score_lds(masks, masks @ weights, {"true": weights, "reversed": -weights})
    >>> [round(score.mean.value, 3) for score in report.scores.values()]
    [1.0, -1.0]
    """
    masks, outputs = check_masks(masks), as_array(outputs, "outputs")  # masked and missing entries are NaN
    attributions = {name: as_array(values, f"attribution {name!r}") for name, values in attributions.items()}
    replicates = None if replicates is None else as_array(replicates, "replicates")
    h, n = masks.shape
    t = _check(masks, outputs, attributions, replicates)
    of_masks, of_targets = row_weights(h, seed, 0, n_resamples), row_weights(t, seed, 1, n_resamples)
    names = list(attributions)
    values = {name: np.empty(t) for name in names}
    drawn = {name: np.empty((n_resamples, t)) for name in names}
    ceiling, ceiling_drawn = np.full(t, np.nan), np.full((n_resamples, t), np.nan)
    included = masks.astype(np.float64)
    n_replicated = 0
    for start in range(0, t, TARGETS_AT_ONCE):
        part = slice(start, start + TARGETS_AT_ONCE)
        ranks = _ranks(outputs[:, part])
        for name in names:
            predicted = included @ attributions[name][:, part]
            values[name][part] = lds(outputs[:, part], predicted)
            drawn[name][:, part] = _correlation(of_masks, ranks, _ranks(predicted))
        if replicates is not None:
            both = np.isfinite(replicates[:, part]).all(axis=1)
            n_replicated = int(both.sum())
            if n_replicated >= MIN_REPLICATED:
                first, second = outputs[both, part], replicates[both, part]
                one = np.full((1, n_replicated), 1.0 / n_replicated)
                ceiling[part] = _ceiling(one, first, second)[0]
                ceiling_drawn[:, part] = _ceiling(of_masks[:, both], first, second)
    varies = np.isfinite(np.stack(list(values.values()))).all(axis=0)
    weights = of_targets * varies
    mean_ceiling = float(np.nanmean(ceiling)) if np.isfinite(ceiling).any() else float("nan")
    of_ceiling = mean_over_targets(ceiling_drawn, weights)
    means = {name: float(values[name][varies].mean()) if varies.any() else float("nan") for name in names}
    resampled = {name: mean_over_targets(drawn[name], weights) for name in names}
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = {name: recentred(means[name] / mean_ceiling, resampled[name] / of_ceiling) for name in names}
    return LdsReport(
        scores={name: LdsScore(percentile(means[name], resampled[name]), shares[name], values[name]) for name in names},
        ceiling=recentred(mean_ceiling, of_ceiling),
        pairs=tuple(
            LdsComparison(a, b, percentile(means[a] - means[b], resampled[a] - resampled[b]))
            for a, b in combinations(names, 2)
        ),
        n_masks=h,
        n_replicated=n_replicated,
        n_targets=int(varies.sum()),
    )


def _check(masks: Masks, outputs: Array, attributions: Mapping[str, Array], replicates: Array | None) -> int:
    if outputs.ndim != 2 or len(outputs) != len(masks):
        raise AttributionError(f"outputs must have a row for each of {len(masks)} masks; got {outputs.shape}.")
    if len(masks) < 3:
        raise AttributionError(f"a rank correlation needs at least 3 held-out masks; got {len(masks)}.")
    if not np.isfinite(outputs).all():
        raise AttributionError("outputs hold values that are not finite. Leave those masks out.")
    t = outputs.shape[1]
    for name, values in attributions.items():
        if values.shape != (masks.shape[1], t):
            raise AttributionError(
                f"attribution {name!r} has shape {values.shape}; it needs one row for each of {masks.shape[1]} players "
                f"and one column for each of {t} targets."
            )
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0]
            raise AttributionError(
                f"attribution {name!r} is not finite, first at player {row}, target {column}. Leave those targets out."
            )
    if not attributions:
        raise AttributionError("there is nothing to score: give at least one attribution matrix.")
    if replicates is not None and replicates.shape != outputs.shape:
        raise AttributionError(f"replicates must match the outputs, {outputs.shape}; got {replicates.shape}.")
    return t


def _ranks(values: Array) -> Array:
    from scipy.stats import rankdata

    found: Array = rankdata(values, axis=0)
    return found - found.mean(axis=0)


def _correlation(weights: Array, a: Array, b: Array) -> Array:
    """Weighted correlation of each column, (n_resamples, t): NaN where `a` does not vary, 0 where `b` does not."""
    mean_a, mean_b = weights @ a, weights @ b
    covariance = weights @ (a * b) - mean_a * mean_b
    spread = (weights @ a**2 - mean_a**2) * (weights @ b**2 - mean_b**2)
    found = np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0)
    return np.where((a**2).sum(axis=0) > 0, found, np.nan)


def _ceiling(weights: Array, first: Array, second: Array) -> Array:
    """LDS of a perfect function of the mask, (n_resamples, t), from two runs of the same masks."""
    total = weights.sum(axis=1, keepdims=True)
    weights = weights / np.where(total > 0, total, 1.0)
    n = first.shape[0]
    mean = (first + second) / 2
    centre = weights @ mean
    between = 2 * (weights @ mean**2 - centre**2) * n / (n - 1)
    within = weights @ ((first - second) ** 2) / 2
    whole = between + within
    reliability = np.clip(np.where(whole > 0, (between - within) / np.where(whole > 0, whole, 1.0), np.nan), 0.0, 1.0)
    return np.where(total > 0, 6 / np.pi * np.arcsin(np.sqrt(reliability) / 2), np.nan)
