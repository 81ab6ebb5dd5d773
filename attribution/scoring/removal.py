"""Counterfactual removal: what an output loses when the players are removed that a method holds most important."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.scoring.bootstrap import N_RESAMPLES, Estimate, mean_over_targets, percentile, row_weights
from attribution.types import Array


@dataclass(frozen=True)
class RemovalReport:
    """Losses of several methods, in standard deviations of each target's output.

    Parameters
    ----------
    losses : dict of Estimate
        By method: mean over targets of (output after random removal) - (output after the method's removal). The
        interval is over targets, seeds and random sets together.
    pairs : tuple of (str, str, Estimate)
        First less second, paired.
    per_target : dict of (t,) float64
    """

    losses: Mapping[str, Estimate]
    pairs: tuple[tuple[str, str, Estimate], ...]
    per_target: Mapping[str, Array]


def most_important(attribution: Array, target: int, n_removed: int) -> NDArray[np.int64]:
    """Return the players with the largest attribution to a target, largest first; ties by number.

    Parameters
    ----------
    attribution : (n, t) float64
    target : int
    n_removed : int

    Returns
    -------
    (n_removed,) int64

    Raises
    ------
    AttributionError
        When as many players as there are would be removed.

    Examples
    --------
    >>> most_important(np.array([[0.1], [0.9], [0.5]]), 0, 2).tolist()
    [1, 2]
    """
    if not 1 <= n_removed < len(attribution):
        raise AttributionError(
            f"{n_removed} of {len(attribution)} players cannot be removed; give 1 or more, and fewer than there are."
        )
    return np.argsort(-attribution[:, target], kind="stable")[:n_removed].astype(np.int64)


def score_removal(
    removed: Mapping[str, Array], random: Array, spread: Array, *, seed: int = 0, n_resamples: int = N_RESAMPLES
) -> RemovalReport:
    """Compare the outputs after each method's removal with those after random removal of as many players.

    Parameters
    ----------
    removed : mapping of (t, s) float64
        By method: output of each target after its own removal, for s seeds; NaN where a run has none.
    random : (r, t) float64
        Outputs of all targets after r random removals.
    spread : (t,) float64
        Standard deviation of each target's output over the campaign's masks: the unit.
    seed : int
        Of the resamples, the same for every method.
    n_resamples : int

    Returns
    -------
    RemovalReport

    Raises
    ------
    AttributionError
        For shapes that do not fit.
    """
    t = len(spread)
    shapes = {name: values.shape for name, values in removed.items()}
    fits = len(set(shapes.values())) == 1 and next(iter(shapes.values()))[0] == t
    if random.ndim != 2 or random.shape[1] != t or not fits:
        raise AttributionError(f"removals need outputs of {t} targets each; got {shapes} and random {random.shape}.")
    n_seeds = next(iter(shapes.values()))[1]
    of_targets = row_weights(t, seed, 3, n_resamples)
    of_seeds, of_sets = row_weights(n_seeds, seed, 4, n_resamples), row_weights(len(random), seed, 5, n_resamples)
    unit = np.where(spread > 0, spread, np.nan)
    baseline, baseline_drawn = np.nanmean(random, axis=0), _weighted(of_sets, random)
    per_target = {name: (baseline - np.nanmean(values, axis=1)) / unit for name, values in removed.items()}
    drawn = {
        name: mean_over_targets((baseline_drawn - _weighted(of_seeds, values.T)) / unit, of_targets)
        for name, values in removed.items()
    }
    means = {name: float(np.nanmean(values)) for name, values in per_target.items()}
    return RemovalReport(
        {name: percentile(means[name], drawn[name]) for name in removed},
        tuple((a, b, percentile(means[a] - means[b], drawn[a] - drawn[b])) for a, b in combinations(removed, 2)),
        per_target,
    )


def _weighted(weights: Array, values: Array) -> Array:
    """Weighted mean of the rows of values (m, t), NaN left out: (n_resamples, t)."""
    known = np.isfinite(values)
    total = weights @ known.astype(np.float64)
    summed = weights @ np.where(known, values, 0.0)
    return np.where(total > 0, summed / np.where(total > 0, total, 1.0), np.nan)
