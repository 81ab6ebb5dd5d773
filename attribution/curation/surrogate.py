"""The surrogate a decision is optimised over: main effects and member sets in Banzhaf units, with standard errors.

f(x) = c + sum_i b_i (x_i - p) + sum_S w_S prod_{i in S} (x_i - p), the p-biased Fourier expansion written in the units
of I(S) (METHOD.md). It is measured on training sets of about p N players; `State` says what it predicts elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.types import Array


def utilities(outputs: Array, target_classes: NDArray[np.int64], n_classes: int) -> Array:
    """What a training set is worth: mean probability of the correct class over all targets, then per class.

    outputs: (m, t) margins. sigmoid(margin_lse) is the probability of the correct class exactly; of margin_max it is a
    smooth 0/1. Returns (m, 1 + n_classes): bounded, so that no single target dominates. NaN for a class of no target.
    """
    probability = 1.0 / (1.0 + np.exp(-np.asarray(outputs, dtype=np.float64)))
    columns = [probability.mean(axis=1)]
    for label in range(n_classes):
        own = np.asarray(target_classes) == label
        columns.append(probability[:, own].mean(axis=1) if own.any() else np.full(len(probability), np.nan))
    return np.column_stack(columns)


def utility_slopes(outputs: Array) -> Array:
    """Change of the utility by a unit of each target's output, (m, t) -> (t,): mean p (1 - p) / t."""
    probability = 1.0 / (1.0 + np.exp(-np.asarray(outputs, dtype=np.float64)))
    return (probability * (1.0 - probability)).mean(axis=0) / outputs.shape[1]


def shrink_normal(effect: Array, stderr: Array) -> Array:
    """Posterior means under a normal prior about the effects' mean, its variance by moments; shapes as given.

    The effects of all players on one utility are a dense family: most are small and real, so a normal prior serves.
    """
    centre = float(effect.mean())
    spread = max(0.0, float(np.mean((effect - centre) ** 2 - stderr**2)))
    total = spread + stderr**2
    return centre + (effect - centre) * np.divide(spread, total, out=np.zeros_like(total), where=total > 0)


@dataclass(frozen=True)
class Surrogate:
    """A sparse function of the mask with standard errors; see the module's docstring.

    constant: mean over Bernoulli(alpha) masks. main, main_stderr: (n,). sets: member tuples of two or more; weights,
    weight_stderrs: (c,) of each.
    """

    alpha: float
    constant: float
    main: Array
    main_stderr: Array
    sets: tuple[tuple[int, ...], ...] = ()
    weights: Array = field(default_factory=lambda: np.zeros(0))
    weight_stderrs: Array = field(default_factory=lambda: np.zeros(0))

    @property
    def n_players(self) -> int:
        return len(self.main)

    def predict(self, masks: NDArray[np.bool_]) -> Array:
        """(m, n) bool -> (m,)."""
        centred = np.asarray(masks, dtype=np.float64) - self.alpha
        result = self.constant + centred @ self.main
        for members, weight in zip(self.sets, self.weights, strict=True):
            result += weight * centred[:, list(members)].prod(axis=1)
        return result

    def without_sets(self) -> Surrogate:
        """The main effects alone."""
        return Surrogate(self.alpha, self.constant, self.main, self.main_stderr)


def pooled_sets(
    interactions: Mapping[str, Sequence[Any]],
    slopes: Mapping[int, float],
    level: float,
    *,
    orders: Sequence[int] = (2, 3),
) -> tuple[tuple[tuple[int, ...], ...], Array, Array]:
    """Member sets of a utility, added up from the targets they act on: (sets, weights, standard errors).

    interactions: columns of the interactions table; rows of individual targets behind an open gate with q <= level
    count, each with its shrunken I(S) times the target's slope. The errors of one set's targets are added up, not
    their squares: tests of one set on several targets share their masks and seeds.
    """
    total: dict[tuple[int, ...], list[float]] = {}
    for row, target in enumerate(interactions["target"]):
        members = tuple(interactions["members"][row])
        used = target in slopes and interactions["gate_open"][row] and interactions["q_value"][row] <= level
        if not used or len(members) not in orders:
            continue
        pooled = total.setdefault(members, [0.0, 0.0])
        pooled[0] += slopes[target] * float(interactions["shrunken"][row])
        pooled[1] += slopes[target] * float(interactions["stderr"][row])
    sets = tuple(sorted(total))
    return sets, np.array([total[s][0] for s in sets]), np.array([total[s][1] for s in sets])


class State:
    """A mask under a surrogate: value, variance of the change from the full set, and what each flip would do.

    variance: sum of squared standard errors of everything that differs from the full training set; its root times a
    confidence is what a lower bound takes off.
    """

    def __init__(self, surrogate: Surrogate, present: NDArray[np.bool_] | None = None) -> None:
        self.surrogate = surrogate
        n, p = surrogate.n_players, surrogate.alpha
        self.present = np.ones(n, dtype=bool) if present is None else np.array(present, dtype=bool)
        if self.present.shape != (n,):
            raise AttributionError(f"a mask of {n} players is needed; got shape {self.present.shape}.")
        self._member = np.array([i for s in surrogate.sets for i in s], dtype=np.int64)
        self._set = np.array([c for c, s in enumerate(surrogate.sets) for _ in s], dtype=np.int64)
        self._first = np.flatnonzero(np.diff(self._set, prepend=-1))  # one place of every set
        self._others = [[j for j in s if j != i] for s in surrogate.sets for i in s]
        self._full = np.array([(1 - p) ** len(s) for s in surrogate.sets])
        self._of_player: dict[int, list[int]] = {}
        for place, player in enumerate(self._member.tolist()):
            self._of_player.setdefault(player, []).append(place)
        self._without = np.array([self._product(place) for place in range(len(self._member))])

    def _product(self, place: int) -> float:
        return float(np.prod(self.present[self._others[place]] - self.surrogate.alpha))

    def _products(self) -> Array:
        """(c,): prod_{i in S} (x_i - p) of every set."""
        return self._without[self._first] * (self.present[self._member[self._first]] - self.surrogate.alpha)

    @property
    def value(self) -> float:
        held = self.surrogate
        linear = held.constant + float((self.present - held.alpha) @ held.main)
        return linear + (float(self._products() @ held.weights) if held.sets else 0.0)

    @property
    def variance(self) -> float:
        held = self.surrogate
        changed = float((held.main_stderr[~self.present] ** 2).sum())
        if held.sets:
            changed += float(((held.weight_stderrs * (self._products() - self._full)) ** 2).sum())
        return changed

    def gains(self) -> Array:
        """(n,): change of the value by flipping each player."""
        held = self.surrogate
        slope = held.main.copy()
        np.add.at(slope, self._member, held.weights[self._set] * self._without)
        return np.where(self.present, -slope, slope)

    def gains_of(self, players: NDArray[np.int64]) -> Array:
        """Those of some players."""
        return self.gains()[players]

    def variance_gains(self) -> Array:
        """(n,): change of the variance by flipping each player."""
        held, p = self.surrogate, self.surrogate.alpha
        change = np.where(self.present, held.main_stderr**2, -(held.main_stderr**2))
        if len(self._member):
            here = self.present[self._member]
            now, then = (np.where(here == side, 1 - p, -p) * self._without for side in (True, False))
            full = self._full[self._set]
            part = held.weight_stderrs[self._set] ** 2 * ((then - full) ** 2 - (now - full) ** 2)
            np.add.at(change, self._member, part)
        return change

    def flip(self, player: int) -> None:
        """Drop a player that is present, or bring back one that is not."""
        self.present[player] = ~self.present[player]
        for place in self._of_player.get(player, ()):
            for other in self._others[place]:
                for touched in self._of_player[other]:
                    if self._set[touched] == self._set[place]:
                        self._without[touched] = self._product(touched)
