"""Pooled tests: one p-value per member set over all targets, which allows for the dependence between targets.

Given the residuals r_t of the datamodel, the statistics z_t(S) = sum phi_S r_t / |r_t| of one set on all targets have,
over random masks, the covariance C_ts = sum r_t r_s / (|r_t| |r_s|): the residuals' own correlation, however
strong. Three functions of them are tested, the first two at a quarter of the level each, the third at half:

- the statistic on the target where it is largest. P(max |z| >= x) <= 1 - (1 - p(x))^T whatever C is (Sidak 1967);
- the same among the targets on which every member has a main effect (heredity.py), which are few;
- the direction main effects point in: sum w_t z_t / sqrt(w' C w), a standard normal variable, with
  w_t = -sign (min_i |u_i|)^2 where the members' main effects u_i (in standard errors) have one sign, else 0. Redundancy
  lowers a pair's interaction just there, and synergy raises it. Main effects are independent of the interactions' noise
  (their basis functions are orthogonal), so the weights may come from the same masks.

Sums of squares over targets lose: a set acts on few targets, and the others bring noise (docs/NEGATIVE_RESULTS.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.screening.heredity import HEREDITY_Z
from attribution.statistics.p_values import two_sided_p
from attribution.types import Array, Float32

# Pairs that reach this p by the correlation common to all sets are computed again with their own.
_AGAIN_BELOW = 0.01
_NO_DIRECTION = 1e-6


@dataclass(frozen=True)
class PooledTests:
    """Tests of c member sets of one order over T targets.

    Parameters
    ----------
    members
        (c, order) int64.
    direction
        (c,), the weighted sum of z over targets in standard errors: above 0 where the set lowers what its members do
        alone, 0 where their main effects never agree in sign.
    largest, target
        (c,), the z that is the strongest evidence, and the target it is on.
    p_value
        (c,), of the three tests together.
    """

    members: NDArray[np.int64]
    direction: Array
    largest: Array
    target: NDArray[np.int64]
    p_value: Array

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> PooledTests:
        return PooledTests(
            self.members[rows], self.direction[rows], self.largest[rows], self.target[rows], self.p_value[rows]
        )

    @staticmethod
    def joined(parts: list[PooledTests], order: int = 2) -> PooledTests:
        if not parts:
            nothing = np.zeros(0)
            return PooledTests(np.zeros((0, order), np.int64), nothing, nothing, np.zeros(0, np.int64), nothing)
        return PooledTests(
            np.concatenate([part.members for part in parts]),
            np.concatenate([part.direction for part in parts]),
            np.concatenate([part.largest for part in parts]),
            np.concatenate([part.target for part in parts]),
            np.concatenate([part.p_value for part in parts]),
        )


class TargetPool:
    """Masks, residuals and main effects that all pooled tests of a campaign share.

    Parameters
    ----------
    phi
        (u, n) float32, the basis at one mask per row group.
    even, odd
        (u, T), the datamodel's residuals, out of fold, summed per row group for even and for odd orders
        (`RowGroups.sums`).
    main_z
        (T, n), main effects in standard errors. NaN counts as 0.
    """

    def __init__(self, phi: Float32, even: Array, odd: Array, main_z: Array) -> None:
        self.phi = phi
        self.sums = {0: _scaled(even), 1: _scaled(odd)}
        self.main_z = np.ascontiguousarray(np.nan_to_num(main_z).T, dtype=np.float32)  # players first
        self.roots = {parity: _root(sums) for parity, sums in self.sums.items()}

    @property
    def n_targets(self) -> int:
        return int(self.main_z.shape[1])

    @property
    def n_players(self) -> int:
        return int(self.phi.shape[1])

    def pairs_of(self, player: int) -> PooledTests:
        """All pairs of a player with later ones: m n T multiplications."""
        later = np.arange(player + 1, self.n_players)
        z = self.phi[:, player + 1 :].T @ (self.sums[0] * self.phi[:, [player]])
        mine, theirs = self.main_z[player], self.main_z[player + 1 :]
        weight = np.minimum(np.abs(mine), np.abs(theirs))
        by_heredity = weight >= HEREDITY_Z
        weight *= weight
        weight *= -np.sign(mine) * (mine * theirs > 0)
        members = np.column_stack([np.full(len(later), player), later])
        tests = self._tested(members, z, weight, by_heredity, ((weight @ self.roots[0]) ** 2).sum(axis=1))
        again = np.flatnonzero(tests.p_value < _AGAIN_BELOW)
        if len(again) == 0:
            return tests
        exact = self.of_sets(members[again])
        direction, largest = tests.direction.copy(), tests.largest.copy()
        target, p_value = tests.target.copy(), tests.p_value.copy()
        direction[again], largest[again] = exact.direction, exact.largest
        target[again], p_value[again] = exact.target, exact.p_value
        return PooledTests(members, direction, largest, target, p_value)

    def of_sets(self, members: NDArray[np.int64]) -> PooledTests:
        """Given sets of one order, (c, order), each with the variance of its own products."""
        order = members.shape[1]
        sums = self.sums[order % 2]
        found = []
        for first in range(0, len(members), 256):
            part = members[first : first + 256]
            columns = self.phi[:, part[:, 0]].copy()
            for place in range(1, order):
                columns *= self.phi[:, part[:, place]]
            # Self-normalised: sum phi_S r / sqrt(sum phi_S^2 r^2); at alpha = 1/2 the squares are 1.
            z = (columns.T @ sums) / np.sqrt(np.maximum((columns**2).T @ sums**2, 1e-30))
            weight, by_heredity = self._weight(part)
            spread = ((columns * (sums @ weight.T)) ** 2).sum(axis=0)
            raw = (weight * (columns.T @ sums)).sum(axis=1)
            found.append(self._tested(part, z, weight, by_heredity, spread, raw))
        return PooledTests.joined(found, order)

    def _weight(self, members: NDArray[np.int64]) -> tuple[Float32, NDArray[np.bool_]]:
        own = self.main_z[members]  # (c, order, T)
        alike = (own > 0).all(axis=1) | (own < 0).all(axis=1)
        smallest = np.abs(own).min(axis=1)
        # Of an odd number of copies the interaction has the sign of the main effects, of an even number the other.
        turn = 1.0 if members.shape[1] % 2 else -1.0
        weight = np.asarray(smallest**2 * alike * (turn * np.sign(own[:, 0])), dtype=np.float32)
        return weight, smallest >= HEREDITY_Z

    def _tested(
        self,
        members: NDArray[np.int64],
        z: Float32,
        weight: Float32,
        by_heredity: NDArray[np.bool_],
        spread: Float32,
        raw: Float32 | None = None,
    ) -> PooledTests:
        size = np.abs(z)
        anywhere, among_heredity = size.argmax(axis=1), np.where(by_heredity, size, -1).argmax(axis=1)
        rows = np.arange(len(z))
        p_anywhere = _largest_of(size[rows, anywhere], np.full(len(z), self.n_targets))
        p_heredity = _largest_of(size[rows, among_heredity], by_heredity.sum(axis=1))
        target = np.where(p_heredity < p_anywhere, among_heredity, anywhere)
        together = (weight * z).sum(axis=1) if raw is None else raw
        known = spread > _NO_DIRECTION
        direction = np.where(known, together / np.sqrt(np.where(known, spread, 1.0)), 0.0).astype(np.float64)
        p_value = np.minimum(4.0 * np.minimum(p_heredity, p_anywhere), 2.0 * two_sided_p(direction))
        return PooledTests(
            members, direction, z[rows, target].astype(np.float64), target.astype(np.int64), np.minimum(p_value, 1.0)
        )


def _largest_of(z: Float32, count: NDArray[np.int64]) -> Array:
    """p of the largest |z| of `count` null effects, however dependent; 1 of none."""
    p = np.minimum(two_sided_p(z.astype(np.float64)), 1 - 1e-16)
    return np.where(count > 0, -np.expm1(count * np.log1p(-p)), 1.0)


def _scaled(sums: Array) -> Float32:
    """Columns of length one; zero columns stay zero."""
    length = np.sqrt((sums**2).sum(axis=0))
    return np.ascontiguousarray(sums / np.where(length > 0, length, 1.0), dtype=np.float32)


def _root(sums: Float32) -> Float32:
    """L with L L' = C, the correlation of the targets' residuals: (T, T)."""
    values, vectors = np.linalg.eigh(sums.T.astype(np.float64) @ sums.astype(np.float64))
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), dtype=np.float32)
