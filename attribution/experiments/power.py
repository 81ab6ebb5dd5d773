"""Base masks that a factorial experiment needs, from power and a budget of models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attribution.errors import AttributionError
from attribution.experiments.factorial import Interval, n_cells
from attribution.experiments.sets_to_try import Candidate


def adjusted_level(level: float, n_sets: int) -> float:
    """Level of each of n_sets intervals that together hold with probability 1 - level (Bonferroni)."""
    if n_sets < 1:
        raise AttributionError(f"at least one set is needed; got {n_sets}.")
    return level / n_sets


def bases_for_power(predicted: float, sd: float, level: float = 0.05, power: float = 0.8) -> int:
    """Base masks that show I(S) = predicted with the given power: ((z_{1-level/2} + z_power) sd / |I|)^2.

    sd: standard deviation of Delta over base masks. At level .05 and power .8 this is METHOD.md's (5.6 sigma/|I|)^2
    with sigma = sd / 2, the noise of a single cell of a pair. Raises AttributionError without a prediction.
    """
    from scipy.special import ndtri

    if not (math.isfinite(predicted) and predicted != 0 and math.isfinite(sd) and sd >= 0):
        raise AttributionError(
            f"power needs a prediction other than 0 and a standard deviation; got {predicted} and {sd}. "
            "Set certify.n_bases for a set without a prediction."
        )
    reach = float(ndtri(1 - level / 2) + ndtri(power))
    return max(2, math.ceil((reach * sd / abs(predicted)) ** 2))


def expected_sd(output_sd: float, r2_linear: float, order: int) -> float:
    """A first guess of the sd of Delta before any cell is trained: 2^k cells, each with what a linear fit leaves over.

    output_sd: of the target over the fit masks; r2_linear: the datamodel's held-out R^2 (NaN counts as 0).
    """
    left = 1.0 - min(max(r2_linear, 0.0), 0.95) if math.isfinite(r2_linear) else 1.0
    return output_sd * math.sqrt(left * n_cells(order))


@dataclass(frozen=True)
class BasesPlan:
    """Base masks of every set, and the models they cost. capped: sets that got fewer than power asked for."""

    n_bases: tuple[int, ...]
    n_models: int
    capped: tuple[bool, ...]


def plan_bases(
    candidates: Sequence[Candidate],
    wanted: Sequence[int],
    *,
    smallest: int,
    largest: int,
    max_models: int,
) -> BasesPlan:
    """Base masks of every set: what power asks for, within [smallest, largest], within a budget of models in all.

    When the budget does not suffice, the largest allowances are cut first, to one common ceiling: the sets that need
    most are the weakest. Raises AttributionError when the budget does not give every set `smallest` bases.
    """
    cells = np.array([n_cells(candidate.order) for candidate in candidates], dtype=np.int64)
    asked = np.clip(np.asarray(wanted, dtype=np.int64), smallest, largest)
    if int((cells * smallest).sum()) > max_models:
        raise AttributionError(
            f"{len(candidates)} sets with {smallest} base masks each need {int((cells * smallest).sum())} models; "
            f"certify.max_models is {max_models}. Raise it, or lower certify.top or certify.min_bases."
        )
    ceiling = largest
    while int((cells * np.minimum(asked, ceiling)).sum()) > max_models:
        ceiling -= 1
    given = np.minimum(asked, ceiling)
    capped = tuple(bool(g < w) for g, w in zip(given, wanted, strict=True))
    return BasesPlan(tuple(int(g) for g in given), int((cells * given).sum()), capped)


def more_bases(candidate: Candidate, measured: Interval, level: float, power: float, *, largest: int) -> int:
    """Base masks to add once the sd of Delta is known: only widths are looked at, never where the interval lies.

    Stein's two-stage rule: what power asks for with the measured sd, less what exists, never more than `largest`.
    """
    if measured.n < 2 or not math.isfinite(candidate.predicted) or candidate.predicted == 0:
        return 0
    return max(0, min(bases_for_power(candidate.predicted, measured.sd, level, power), largest) - measured.n)
