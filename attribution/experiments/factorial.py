"""Factorial retraining experiments on a member set: contrasts of the 2^k cells and their intervals.

Cell c of a base mask R holds R's other players and those members j of S whose bit is set in c (bit j is the j-th of
the sorted members), so cell 0 is R without S and cell 2^k - 1 is R with all of S. All cells of one base share their
training seed; a base is the unit of replication and of every interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.fourier.kinds import Kind, kind_of
from attribution.types import Array

MAX_ORDER = 6  # 64 cells a base mask: beyond it an experiment costs more than the campaign it came from


def n_cells(order: int) -> int:
    """Models of one base mask, 2^order. Raises AttributionError for orders no experiment is made for."""
    if not 2 <= order <= MAX_ORDER:
        raise AttributionError(
            f"an interaction to certify has 2 to {MAX_ORDER} members; got {order}. Name as many players, e.g. 17,204."
        )
    return 1 << order


def factorial_masks(base_masks: NDArray[np.bool_], members: Sequence[int]) -> NDArray[np.bool_]:
    """The cells of every base mask: (r, n) bool -> (r * 2^k, n) bool, base by base, cells in their order.

    members: sorted, distinct players. Whether the base masks include them does not matter.
    Raises AttributionError for members out of range or repeated.
    """
    chosen = [int(player) for player in members]
    if sorted(set(chosen)) != chosen or chosen[0] < 0 or chosen[-1] >= base_masks.shape[1]:
        raise AttributionError(
            f"members must be sorted, distinct players in 0..{base_masks.shape[1] - 1}; got {chosen}."
        )
    cells = n_cells(len(chosen))
    masks = np.repeat(np.asarray(base_masks, dtype=np.bool_), cells, axis=0)
    cell = np.tile(np.arange(cells), len(base_masks))
    for place, player in enumerate(chosen):
        masks[:, player] = (cell >> place) & 1 == 1
    return masks


def interaction_contrast(outputs: Array) -> Array:
    """Delta_S f at each base: (..., 2^k) outputs of the cells -> (...,). Its mean over Bernoulli bases is I(S).

    Delta_S f(R) = sum_{T <= S} (-1)^{|S| - |T|} f(R + T); for a pair f(ij) - f(i) - f(j) + f(0).
    """
    order = _order(outputs)
    signs = np.array([(-1.0) ** (order - cell.bit_count()) for cell in range(1 << order)])
    return np.asarray(outputs, dtype=np.float64) @ signs


def surplus_contrast(outputs: Array) -> Array:
    """Joint surplus at each base: f(S) - f(0) - sum_i (f(i) - f(0)), (..., 2^k) -> (...,). METHOD.md's J."""
    values = np.asarray(outputs, dtype=np.float64)
    order = _order(values)
    empty = values[..., 0]
    alone = sum((values[..., 1 << place] - empty for place in range(order)), np.zeros_like(empty))
    return values[..., -1] - empty - alone


def main_effect_contrasts(outputs: Array, alpha: float) -> Array:
    """Effect of each member at each base, over Bernoulli(alpha) draws of the others: (..., 2^k) -> (..., k)."""
    values = np.asarray(outputs, dtype=np.float64)
    order = _order(values)
    cells = np.arange(1 << order)
    columns = []
    for place in range(order):
        without = cells[(cells >> place) & 1 == 0]
        others = np.array([int(cell).bit_count() for cell in without])
        weight = alpha**others * (1 - alpha) ** (order - 1 - others)
        columns.append((values[..., without | (1 << place)] - values[..., without]) @ weight)
    return np.stack(columns, axis=-1)


def _order(outputs: Array) -> int:
    cells = np.shape(outputs)[-1]
    order = int(cells).bit_length() - 1
    if cells != 1 << order or order < 2:
        raise AttributionError(f"the last axis holds the 2^k cells of two or more members; got {cells} of them.")
    return order


@dataclass(frozen=True)
class Interval:
    """Mean over independent units with its t-interval. n units; sd of one unit; low, high at confidence 1 - level.

    With fewer than two units nothing is known: stderr, low and high are NaN.
    """

    mean: float
    stderr: float
    low: float
    high: float
    n: int
    sd: float
    level: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def t_interval(values: Array, level: float = 0.05) -> Interval:
    """Student's interval of the mean of values (n,); NaN values (lost units) are left out."""
    from scipy.stats import t as student

    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    n = len(known)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, math.nan, 0, math.nan, level)
    mean = float(known.mean())
    if n == 1:
        return Interval(mean, math.nan, math.nan, math.nan, 1, math.nan, level)
    sd = float(known.std(ddof=1))
    stderr = sd / math.sqrt(n)
    half = float(student.ppf(1 - level / 2, n - 1)) * stderr
    return Interval(mean, stderr, mean - half, mean + half, n, sd, level)


@dataclass(frozen=True)
class SetMeasurement:
    """What an experiment measured of one set: I(S) at 95% and at the family's level, J(S), the members' own effects.

    n_lost: bases left out because a cell diverged. kind: by METHOD.md's table, from what was measured.
    pairing: sd of Delta over the sd it would have with cells trained independently on their own bases; below 1 the
    common seeds and base masks narrowed the interval.
    """

    interaction: Interval
    adjusted: Interval
    surplus: Interval
    main_effects: tuple[Interval, ...]
    kind: Kind
    n_lost: int
    pairing: float


def measure(outputs: Array, alpha: float, level: float = 0.05, higher_is_better: bool = True) -> SetMeasurement:
    """Evaluate an experiment: outputs (r, 2^k), one row a base mask, NaN where a model has no number.

    level: of the adjusted interval (see certification.adjusted_level); the others are at 5%.
    Raises AttributionError for a shape that is no factorial.
    """
    values = np.asarray(outputs, dtype=np.float64)
    if values.ndim != 2:
        raise AttributionError(f"outputs must have shape (n_bases, 2^k); got {values.shape}.")
    whole = np.isfinite(values).all(axis=1)
    kept = values[whole]
    delta = interaction_contrast(kept)
    main = main_effect_contrasts(kept, alpha)
    effects = tuple(t_interval(main[:, place]) for place in range(main.shape[1]))
    surplus = t_interval(surplus_contrast(kept))
    return SetMeasurement(
        interaction=t_interval(delta),
        adjusted=t_interval(delta, level),
        surplus=surplus,
        main_effects=effects,
        kind=_kind(effects, surplus, higher_is_better),
        n_lost=int((~whole).sum()),
        pairing=_pairing(kept, delta),
    )


def _kind(effects: Sequence[Interval], surplus: Interval, higher_is_better: bool) -> Kind:
    if surplus.n < 2 or surplus.low <= 0 <= surplus.high:
        return "uncertain"
    return kind_of(
        [effect.mean for effect in effects], [effect.stderr for effect in effects], surplus.mean, higher_is_better
    )


def _pairing(values: Array, delta: Array) -> float:
    if len(values) < 2:
        return math.nan
    independent = float(values.var(axis=0, ddof=1).sum())
    return math.sqrt(float(delta.var(ddof=1)) / independent) if independent > 0 else math.nan
