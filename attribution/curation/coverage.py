"""What a training set covers: targets expected to be right, under diminishing returns, instead of a mean of margins.

A surrogate of the mean utility cannot see diversity: it adds up what each player is worth beside a random half of the
others, so twenty examples of what is easy look better than one of what nobody else teaches. Two things are different
here, both measured on the campaign (benchmarks/decisions.md, "Curation"):

- Every target keeps its own linear predictor eta_t = sum_i b_ti (x_i - p), and its output is a concave function of it:
  g_t(eta) = (1 - exp(-2 k_t eta)) / (2 k_t). Its curvature at 0 is -2 k_t, hence the pair {i, j} has the interaction
  -2 k_t b_ti b_tj: players that push a target the same way are a little redundant, those that push it apart draw a
  boundary. One curvature k in units of each eta's spread is fitted to all targets at once. Pairs that deviate from
  this and were found on their own (q <= level) replace the law's value by theirs.
- What is maximised is the mean over targets of Phi(output / (SOFTNESS noise sd)), an expected correctness: a target
  that is right beyond doubt gains nothing, one that is about to be lost gains most. At SOFTNESS 1 it is the chance that
  one training gets the target right; targets stand for examples nobody has seen, which lie beside them, so the step is
  taken twice as wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.fourier.basis import basis
from attribution.masks.folds import N_FOLDS, assign_folds
from attribution.statistics.listing import listing_q
from attribution.types import Array

SOFTNESS = 2.0
PENALTIES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # of the ridge, in numbers of masks
LEAST_CURVATURE = 1e-4  # in units of eta's spread; below it a straight line
STEEPEST = 30.0  # of the exponent 2 k eta: nothing is learnt from what lies beyond it
AT_ONCE = 2**22  # numbers of one temporary array


@dataclass(frozen=True)
class Coverage:
    """Every target's output as a function of the mask; see the module's docstring.

    alpha: of the masks. constant: (t,) mean output. main: (t, n) Banzhaf units. curvature: (t,) k_t, 0 for none.
    offset: (t,) mean of g_t over the masks it was fitted on. noise: (t,) sd of what it does not predict. sets, targets,
    weights: member sets that deviate from the law, the target each acts on, and by how much (Banzhaf units).
    main_stderr: (n,) of the players on the mean expected correctness, for lower bounds.
    """

    alpha: float
    constant: Array
    main: Array
    curvature: Array
    offset: Array
    noise: Array
    main_stderr: Array
    sets: tuple[tuple[int, ...], ...] = ()
    targets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    weights: Array = field(default_factory=lambda: np.zeros(0))

    @property
    def n_players(self) -> int:
        return self.main.shape[1]

    def outputs(self, eta: Array, extra: Array) -> Array:
        """(..., t) linear predictors and what sets add -> predicted outputs."""
        return self.constant + concave(eta, self.curvature) - self.offset + extra

    def correctness(self, eta: Array, extra: Array, softness: float = SOFTNESS) -> Array:
        """(..., t) -> (...): mean over targets of Phi(output / (softness noise))."""
        from scipy.special import ndtr

        return np.asarray(ndtr(self.outputs(eta, extra) / (softness * self.noise)).mean(axis=-1))

    def extra(self, centred: Array) -> Array:
        """(..., n) masks less alpha -> (..., t): what the deviating sets add to every target."""
        total = np.zeros((*centred.shape[:-1], len(self.constant)))
        for members, target, weight in zip(self.sets, self.targets, self.weights, strict=True):
            total[..., target] += weight * centred[..., list(members)].prod(axis=-1)
        return total

    def predict(self, masks: NDArray[np.bool_], softness: float = 1.0) -> Array:
        """(m, n) bool -> (m,): expected share of targets that are right; with SOFTNESS, what is maximised."""
        centred = np.asarray(masks, dtype=np.float64) - self.alpha
        return self.correctness(centred @ self.main.T, self.extra(centred), softness)


def concave(eta: Array, curvature: Array) -> Array:
    """(1 - exp(-2 k eta)) / (2 k), elementwise; eta itself where k is 0. It rises everywhere, ever more slowly."""
    bent = np.where(curvature > 0, curvature, 1.0)
    return np.where(curvature > 0, -np.expm1(-2 * bent * eta.clip(-STEEPEST / bent, None)) / (2 * bent), eta)


def fit_coverage(
    masks: NDArray[np.bool_],
    outputs: Array,
    alpha: float,
    main_stderr: Array,
    *,
    groups: NDArray[np.int64] | None = None,
    interactions: Mapping[str, Sequence[Any]] | None = None,
    level: float = 0.1,
    seed: int = 0,
) -> Coverage:
    """Fit every target's predictor and the one curvature to all of them.

    masks (m, n); outputs (m, t) of the targets, all finite. groups: (m,) rows no fold may divide. interactions: columns
    of the interactions table; pairs and larger sets of individual targets with an open gate and q <= level are taken
    over, less what the law says of them. Ridge regression, its penalty the one of least out-of-fold error over all
    targets; the curvature is the median over targets of the regression of out-of-fold residuals on eta^2, never convex.
    Raises AttributionError for outputs that are not finite.
    """
    values = np.asarray(outputs, dtype=np.float64)
    if not np.isfinite(values).all():
        raise AttributionError("coverage needs a finite output of every mask on every target. Leave such rows out.")
    labels = np.arange(len(masks), dtype=np.int64) if groups is None else np.unique(groups, return_inverse=True)[1]
    phi = basis(masks, alpha).astype(np.float64)
    folds = assign_folds(labels, N_FOLDS, seed)
    parts = [_Ridge(phi[folds != fold], values[folds != fold]) for fold in range(N_FOLDS)]
    held_out = [np.flatnonzero(folds == fold) for fold in range(N_FOLDS)]

    def error(penalty: float) -> float:
        found = (part.predict(phi[rows], penalty) - values[rows] for part, rows in zip(parts, held_out, strict=True))
        return sum(float((apart**2).sum()) for apart in found)

    penalty = min(PENALTIES, key=error)
    predicted = np.empty_like(values)
    for part, rows in zip(parts, held_out, strict=True):
        predicted[rows] = part.predict(phi[rows], penalty)
    constant = values.mean(axis=0)
    sigma = (alpha * (1 - alpha)) ** 0.5
    main = _Ridge(phi, values).coefficients(penalty).T / sigma
    curvature = _curvature(predicted - constant, values - predicted)
    centred = np.asarray(masks, dtype=np.float64) - alpha
    offset = concave(centred @ main.T, curvature).mean(axis=0)
    left = (values - concave(predicted - constant, curvature)).std(axis=0)
    noise = np.maximum(left, 1e-6 * max(1.0, float(np.abs(values).max())))
    sets, targets, weights = _deviating(interactions, main, curvature, level) if interactions else ((), [], [])
    return Coverage(
        alpha, constant, main, curvature, offset, noise, main_stderr, sets,
        np.array(targets, dtype=np.int64), np.array(weights, dtype=np.float64),
    )  # fmt: skip


class _Ridge:
    """Ridge regression of all targets on one design, for several penalties (in numbers of masks)."""

    def __init__(self, phi: Array, values: Array) -> None:
        self.centre, self.mean, self.size = phi.mean(axis=0), values.mean(axis=0), len(phi)
        left, self.singular, self.right = np.linalg.svd(phi - self.centre, full_matrices=False)
        self.projected = left.T @ (values - self.mean)

    def coefficients(self, penalty: float) -> Array:
        """(n, t)."""
        shrunken = self.singular / (self.singular**2 + penalty * self.size)
        return np.asarray(self.right.T @ (shrunken[:, None] * self.projected))

    def predict(self, phi: Array, penalty: float) -> Array:
        return np.asarray(self.mean + (phi - self.centre) @ self.coefficients(penalty))


def _curvature(eta: Array, residual: Array) -> Array:
    """(m, t) out of fold -> (t,): k_t = kappa / sd(eta_t), kappa the median over targets, 0 where eta is constant."""
    spread = eta.std(axis=0)
    moving = spread > 0
    if not moving.any():
        return np.zeros(len(spread))
    square = eta[:, moving] ** 2
    square -= square.mean(axis=0)
    slope = (square * residual[:, moving]).sum(axis=0) / np.maximum((square**2).sum(axis=0), 1e-300)
    kappa = max(0.0, -float(np.median(slope * spread[moving])))
    kappa = kappa if kappa > LEAST_CURVATURE else 0.0
    return np.divide(kappa, spread, out=np.zeros_like(spread), where=moving)


def _deviating(
    rows: Mapping[str, Sequence[Any]], main: Array, curvature: Array, level: float
) -> tuple[tuple[tuple[int, ...], ...], list[int], list[float]]:
    """Sets the campaign reports, each with its shrunken I(S) less the law's (pairs: -2 k b_i b_j; larger sets: 0)."""
    sets, targets, weights = [], [], []
    q_values = listing_q(rows)
    for row, target in enumerate(rows["target"]):
        if target >= 0 and rows["gate_open"][row] and q_values[row] <= level:
            members = tuple(int(player) for player in rows["members"][row])
            law = -2 * curvature[target] * main[target, list(members)].prod() if len(members) == 2 else 0.0
            sets.append(members)
            targets.append(int(target))
            weights.append(float(rows["shrunken"][row]) - float(law))
    return tuple(sets), targets, weights


class CoverageState:
    """A mask under a Coverage, with what each flip would do; the interface of surrogate.State."""

    def __init__(self, surrogate: Coverage, present: NDArray[np.bool_] | None = None) -> None:
        self.surrogate = surrogate
        n = surrogate.n_players
        self.present = np.ones(n, dtype=bool) if present is None else np.array(present, dtype=bool)
        self._of_player: dict[int, list[int]] = {}
        for number, members in enumerate(surrogate.sets):
            for player in members:
                self._of_player.setdefault(player, []).append(number)
        self._renew()

    def _renew(self) -> None:
        centred = self.present - self.surrogate.alpha
        self.eta = self.surrogate.main @ centred
        self._extra = self.surrogate.extra(centred)

    @property
    def value(self) -> float:
        return float(self.surrogate.correctness(self.eta, self._extra))

    @property
    def variance(self) -> float:
        """Of the change from the full set: squared standard errors of the players that are gone, added up."""
        return float((self.surrogate.main_stderr[~self.present] ** 2).sum())

    def gains(self) -> Array:
        """(n,): change of the value by flipping each player."""
        return self.gains_of(np.arange(self.surrogate.n_players))

    def gains_of(self, players: NDArray[np.int64]) -> Array:
        """Change of the value by flipping each of some players alone; exact."""
        held, before = self.surrogate, self.value
        step = np.where(self.present[players], -1.0, 1.0)
        found = np.empty(len(players))
        size = max(1, AT_ONCE // max(1, len(held.constant)))
        for start in range(0, len(players), size):
            part = slice(start, start + size)
            chosen = players[part]
            extra = np.repeat(self._extra[None], len(chosen), axis=0)
            for row, player in enumerate(chosen.tolist()):
                for number in self._of_player.get(player, ()):
                    extra[row, held.targets[number]] += step[part][row] * self._slope(number, player)
            eta = self.eta + step[part, None] * held.main[:, chosen].T
            found[part] = held.correctness(eta, extra) - before
        return found

    def _slope(self, number: int, player: int) -> float:
        """What the set adds to its target for each unit of x_player."""
        others = [other for other in self.surrogate.sets[number] if other != player]
        return float(self.surrogate.weights[number] * np.prod(self.present[others] - self.surrogate.alpha))

    def variance_gains(self) -> Array:
        """(n,): change of the variance by flipping each player."""
        squared = self.surrogate.main_stderr**2
        return np.where(self.present, squared, -squared)

    def flip(self, player: int) -> None:
        """Drop a player that is present, or bring back one that is not."""
        step = -1.0 if self.present[player] else 1.0
        for number in self._of_player.get(player, ()):
            self._extra[self.surrogate.targets[number]] += step * self._slope(number, player)
        self.eta = self.eta + step * self.surrogate.main[:, player]
        self.present[player] = ~self.present[player]
