"""The sparse p-biased Fourier spectrum of a function of masks, and its exact transforms.

With p = alpha, sigma = sqrt(p (1 - p)) and phi_i(x) = (x_i - p) / sigma, the products phi_S are orthonormal
under Bernoulli(p) masks and f = sum_S F(S) phi_S. Presence is positive: an example that helps has F({i}) > 0.
At p = 1/2 this is (-1)^|S| times the coefficient of the SPEX papers, whose basis is (-1)^|S & x|.

Nothing here is dense in the number of players except what is asked for per player (`shapley`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from attribution.fourier.member_sets import (
    Members,
    SpectrumError,
    Terms,
    check_alpha,
    check_masks,
    check_members,
    checked_terms,
    subsets,
    substitute,
)

_BLOCK_CELLS = 1 << 22


class Spectrum:
    """A function of masks as a sparse set of (member set, Fourier coefficient) at one alpha.

    Build one with `from_terms` or `from_moebius`. Spectra are values: no method changes the object.
    """

    __slots__ = ("_alpha", "_arrays", "_n_players", "_terms")

    def __init__(self, terms: Terms, n_players: int, alpha: float) -> None:
        # Trusted constructor: keys are sorted tuples in range, values finite floats. `from_terms` checks.
        self._terms = terms
        self._n_players = int(n_players)
        self._alpha = float(alpha)
        self._arrays: dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]] | None = None

    @classmethod
    def from_terms(
        cls,
        terms: Mapping[Members, float] | Iterable[tuple[Members, float]],
        n_players: int,
        alpha: float,
    ) -> Spectrum:
        """Make a spectrum from {member set: Fourier coefficient} (or pairs of the two).

        Member sets may be given in any order and are stored sorted. Raises SpectrumError for a player out of
        range or named twice in a set, a set given twice, a coefficient that is not finite, n_players < 0, or
        alpha outside (0, 1).
        """
        return cls(checked_terms(terms, n_players), n_players, check_alpha(alpha))

    @classmethod
    def from_moebius(
        cls,
        moebius: Mapping[Members, float] | Iterable[tuple[Members, float]],
        n_players: int,
        alpha: float,
    ) -> Spectrum:
        """Make the spectrum of f(x) = sum_S M(S) prod_{i in S} x_i, using x_i = sigma phi_i + p. Exact."""
        p = check_alpha(alpha)
        checked = checked_terms(moebius, n_players)
        return cls(substitute(checked, math.sqrt(p * (1 - p)), p), n_players, p)

    @property
    def terms(self) -> Mapping[Members, float]:
        """Read-only {sorted member set: Fourier coefficient}."""
        return MappingProxyType(self._terms)

    @property
    def n_players(self) -> int:
        return self._n_players

    @property
    def alpha(self) -> float:
        return self._alpha

    @property
    def sigma(self) -> float:
        """Standard deviation of one mask bit, sqrt(alpha (1 - alpha))."""
        return math.sqrt(self._alpha * (1.0 - self._alpha))

    @property
    def degree(self) -> int:
        """Size of the largest member set with a nonzero coefficient (0 for a constant)."""
        return max((len(members) for members, value in self._terms.items() if value != 0.0), default=0)

    def __len__(self) -> int:
        return len(self._terms)

    def __repr__(self) -> str:
        space = f"n_players={self.n_players}, alpha={self.alpha}"
        return f"Spectrum({len(self)} terms, {space}, degree={self.degree})"

    def coefficient(self, members: Iterable[int]) -> float:
        """F(S): the coefficient of the member set, 0.0 where the spectrum holds none."""
        return self._terms.get(check_members(members, self._n_players), 0.0)

    def banzhaf(self, members: Iterable[int]) -> float:
        """I(S) = F(S) / sigma^|S|: the discrete derivative over S, averaged over Bernoulli(alpha) masks."""
        key = check_members(members, self._n_players)
        return self._terms.get(key, 0.0) / self.sigma ** len(key)

    def moebius(self) -> Terms:
        """M(S) with f(x) = sum_S M(S) prod_{i in S} x_i; {member set: coefficient}.

        M(T) = sum_{S >= T} F(S) sigma^{-|S|} (-p)^{|S| - |T|}. Writes 2^|S| entries per term.
        """
        return substitute(self._terms, 1.0 / self.sigma, -self._alpha / self.sigma)

    def joint_surplus(self, members: Iterable[int]) -> float:
        """J(S): what the members do together beyond the sum of what each does alone, averaged over the rest.

        METHOD.md: J(S) = sum_{T <= S, |T| >= 2} sum_{T <= U <= S} F(U) sigma^{-|U|} (-p)^{|U| - |T|}. The
        inner weights depend on |U| alone, so with u = |U| they add up to (1-p)^u - (-p)^u - u (-p)^{u-1}.
        Raises SpectrumError for fewer than two members.
        """
        key = check_members(members, self._n_players)
        if len(key) < 2:
            raise SpectrumError(f"the joint surplus needs at least two members; got {key!r}.")
        p, sigma = self._alpha, self.sigma
        inside: Iterable[Members]
        if 1 << len(key) <= len(self._terms):
            inside = subsets(key, min_order=2)
        else:
            chosen = frozenset(key)
            inside = [held for held in self._terms if len(held) >= 2 and chosen.issuperset(held)]
        total = 0.0
        for subset in inside:
            value = self._terms.get(subset, 0.0)
            if value != 0.0:
                u = len(subset)
                total += value / sigma**u * ((1 - p) ** u - (-p) ** u - u * (-p) ** (u - 1))
        return total

    def shapley(self) -> NDArray[np.float64]:
        """Shapley values, (n_players,) float64, anchored at the empty and the full training set.

        sum_{S with i} M(S) / |S|, which is the average of E_q[discrete derivative of i] over q in (0, 1); in
        Fourier terms sum_{S with i} F(S) sigma^{-s} ((1-p)^s - (-p)^s) / s with s = |S|. No expansion needed.
        """
        values = np.zeros(self._n_players)
        p, sigma = self._alpha, self.sigma
        for order, (members, coefficients) in self.by_order().items():
            if order == 0:
                continue
            weight = ((1 - p) ** order - (-p) ** order) / (order * sigma**order)
            np.add.at(values, members.ravel(), np.repeat(coefficients * weight, order))
        return values

    def evaluate(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """f at each mask: (n_masks, n_players) bool -> (n_masks,) float64.

        Works in blocks of rows over the players that have terms, so memory stays bounded for any n_players.
        Raises SpectrumError unless masks are boolean (or 0/1) with n_players columns.
        """
        rows = check_masks(masks, self._n_players)
        result = np.full(len(rows), self._terms.get((), 0.0))
        arrays = {order: held for order, held in self.by_order().items() if order > 0}
        if not arrays:
            return result
        used = np.unique(np.concatenate([members.ravel() for members, _ in arrays.values()]))
        local = {order: np.searchsorted(used, members) for order, (members, _) in arrays.items()}
        main_effects = np.zeros(len(used))
        if 1 in local:
            main_effects[local[1][:, 0]] = arrays[1][1]
        block = int(max(1, min(1024, _BLOCK_CELLS // len(used))))
        for start in range(0, len(rows), block):
            stop = start + block
            # Players along the first axis: gathering a term's members then copies contiguous rows.
            phi = np.ascontiguousarray(rows[start:stop][:, used].T, dtype=np.float64)
            phi -= self._alpha
            phi /= self.sigma
            for order, columns in local.items():
                coefficients = arrays[order][1]
                if order == 1:
                    result[start:stop] += main_effects @ phi
                    continue
                step = int(max(1, _BLOCK_CELLS // phi.shape[1]))
                for first in range(0, len(columns), step):
                    some = columns[first : first + step]
                    product = phi[some[:, 0]]
                    for position in range(1, order):
                        product *= phi[some[:, position]]
                    result[start:stop] += coefficients[first : first + step] @ product
        return result

    def by_order(self) -> dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """The terms as {order: (members (k, order) int64, coefficients (k,) float64)}. Do not modify."""
        if self._arrays is None:
            grouped: dict[int, tuple[list[Members], list[float]]] = {}
            for members, value in self._terms.items():
                keys, values = grouped.setdefault(len(members), ([], []))
                keys.append(members)
                values.append(value)
            self._arrays = {
                order: (
                    np.array(keys, dtype=np.int64).reshape(len(keys), order),
                    np.array(values, dtype=np.float64),
                )
                for order, (keys, values) in sorted(grouped.items())
            }
        return self._arrays

    @property
    def mean(self) -> float:
        """E[f] under Bernoulli(alpha) masks: the coefficient of the empty set."""
        return self._terms.get((), 0.0)

    def variance(self) -> float:
        """Var[f] under Bernoulli(alpha) masks: all squared coefficients but the constant's (Parseval)."""
        return math.fsum(value * value for members, value in self._terms.items() if members)

    def energy(self) -> float:
        """E[f^2] under Bernoulli(alpha) masks: the sum of all squared coefficients (Parseval)."""
        return math.fsum(value * value for value in self._terms.values())

    def energy_by_order(self) -> dict[int, float]:
        """{order: sum of squared coefficients of that order}."""
        return {order: float(values @ values) for order, (_, values) in self.by_order().items()}

    def at_alpha(self, alpha: float) -> Spectrum:
        """The spectrum of the same function under Bernoulli(alpha) masks. Exact.

        Substitutes phi_i(p) = (sigma_q / sigma_p) phi_i(q) + (q - p) / sigma_p, which equals going through
        the Moebius form without first extrapolating to the empty training set.
        """
        q = check_alpha(alpha)
        slope = math.sqrt(q * (1 - q)) / self.sigma
        return Spectrum(substitute(self._terms, slope, (q - self._alpha) / self.sigma), self._n_players, q)

    def truncate(self, max_order: int) -> Spectrum:
        """Only the terms of at most max_order members."""
        return self._with({held: value for held, value in self._terms.items() if len(held) <= max_order})

    def restrict(self, players: Iterable[int]) -> Spectrum:
        """Only the terms whose members all lie in `players`: f averaged over all other players' bits."""
        kept = {int(player) for player in players}
        return self._with({held: value for held, value in self._terms.items() if kept.issuperset(held)})

    def top(self, count: int, *, keep_main_effects: bool = False) -> Spectrum:
        """The constant and the `count` largest |F(S)|; with keep_main_effects they stay in and interactions
        compete for `count` places. Ties go to the smaller, then lexicographically first set."""
        free = 1 if keep_main_effects else 0
        contenders = sorted(
            (held for held in self._terms if len(held) > free),
            key=lambda held: (-abs(self._terms[held]), len(held), held),
        )
        kept = {held: value for held, value in self._terms.items() if len(held) <= free}
        kept.update({held: self._terms[held] for held in contenders[: max(0, count)]})
        return self._with(kept)

    def prune(self, tolerance: float = 0.0) -> Spectrum:
        """Without the terms whose |F(S)| <= tolerance."""
        return self._with({held: value for held, value in self._terms.items() if abs(value) > tolerance})

    def _with(self, terms: Terms) -> Spectrum:
        return Spectrum(terms, self._n_players, self._alpha)

    def __add__(self, other: Spectrum) -> Spectrum:
        return self._combined(other, 1.0) if isinstance(other, Spectrum) else NotImplemented

    def __sub__(self, other: Spectrum) -> Spectrum:
        return self._combined(other, -1.0) if isinstance(other, Spectrum) else NotImplemented

    def __mul__(self, factor: float) -> Spectrum:
        if not isinstance(factor, (int, float, np.integer, np.floating)):
            return NotImplemented
        if not math.isfinite(float(factor)):
            raise SpectrumError(f"a spectrum can only be scaled by a finite number; got {factor!r}.")
        return self._with({held: value * float(factor) for held, value in self._terms.items()})

    __rmul__ = __mul__

    def __neg__(self) -> Spectrum:
        return self * -1.0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Spectrum):
            return NotImplemented
        same_space = (self._n_players, self._alpha) == (other._n_players, other._alpha)
        return same_space and self._terms == other._terms

    __hash__ = None  # type: ignore[assignment]

    def _combined(self, other: Spectrum, factor: float) -> Spectrum:
        if self._n_players != other._n_players or self._alpha != other._alpha:
            raise SpectrumError(
                f"cannot combine spectra over different spaces: {self!r} and {other!r}. "
                "Bring both to one alpha with spectrum.at_alpha(alpha)."
            )
        terms = dict(self._terms)
        for held, value in other._terms.items():
            terms[held] = terms.get(held, 0.0) + factor * value
        return self._with(terms)
