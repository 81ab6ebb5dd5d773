"""The sparse p-biased Fourier spectrum of a function of masks, and its exact transforms.

With p = alpha, sigma = sqrt(p (1 - p)) and phi_i(x) = (x_i - p) / sigma, the products phi_S are orthonormal under
Bernoulli(p) masks and f = sum_S F(S) phi_S (O'Donnell, Analysis of Boolean Functions, ch. 8). Presence is positive: an
example that helps has F({i}) > 0. At p = 1/2, F(S) is (-1)^|S| times the coefficient of the SPEX papers, whose basis is
(-1)^|S & x|.

No array here is dense in the number of players, except per-player results (`shapley`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from attribution.checks import check_alpha, check_masks
from attribution.errors import SpectrumError
from attribution.fourier.member_sets import Members, Terms, check_members, checked_terms, subsets, substitute
from attribution.types import Array, Masks

_BLOCK_CELLS = 1 << 22  # float64 cells of one block of phi, 32 MiB; a choice


class Spectrum:
    """A function of masks as a sparse set of (member set, Fourier coefficient) at one alpha.

    Build one with `from_terms` or `from_moebius`. Spectra are immutable: no method changes the object. They can be
    added, subtracted, scaled and compared.

    Parameters
    ----------
    terms : {tuple of int: float}
        Coefficients F(S) by sorted member set, not validated. Use `from_terms` for input that is not known to be valid.
    n_players : int
        Number of players.
    alpha : float
        Inclusion probability p that the basis belongs to.

    Examples
    --------
    >>> spectrum = Spectrum.from_terms({(): 0.1, (3,): 1.0, (3, 7): -0.5}, n_players=20, alpha=0.5)
    >>> spectrum
    Spectrum(3 terms, n_players=20, alpha=0.5, degree=2)
    >>> spectrum.banzhaf((3, 7))
    -2.0
    >>> spectrum.joint_surplus((3, 7))
    -2.0
    >>> masks = np.zeros((2, 20), dtype=bool)
    >>> masks[1, 3] = True
    >>> spectrum.evaluate(masks).tolist()
    [-1.4, 1.6]
    """

    __slots__ = ("_alpha", "_arrays", "_n_players", "_terms")

    def __init__(self, terms: Terms, n_players: int, alpha: float) -> None:
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
        """Make a spectrum from its Fourier coefficients.

        Parameters
        ----------
        terms : {member set: float}, or pairs of the two
            Coefficients F(S); members in any order.
        n_players : int
            Number of players, at least 0.
        alpha : float
            Inclusion probability of the basis, in (0, 1).

        Raises
        ------
        SpectrumError
            If a player is out of range or appears twice in a set, a set is given twice, or a coefficient is not finite.
        AttributionError
            If alpha lies outside (0, 1).
        """
        return cls(checked_terms(terms, n_players), n_players, check_alpha(alpha))

    @classmethod
    def from_moebius(
        cls,
        moebius: Mapping[Members, float] | Iterable[tuple[Members, float]],
        n_players: int,
        alpha: float,
    ) -> Spectrum:
        """Make the spectrum of f(x) = sum_S M(S) prod_{i in S} x_i, exactly, by x_i = sigma phi_i + p.

        Parameters and errors are those of `from_terms`, with Moebius coefficients M(S).
        """
        p = check_alpha(alpha)
        checked = checked_terms(moebius, n_players)
        return cls(substitute(checked, math.sqrt(p * (1 - p)), p), n_players, p)

    @property
    def terms(self) -> Mapping[Members, float]:
        """Read-only {sorted member set: Fourier coefficient}."""
        return MappingProxyType(self._terms)

    @property
    def n_players(self) -> int:
        """Number of players."""
        return self._n_players

    @property
    def alpha(self) -> float:
        """Inclusion probability that the basis belongs to."""
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
        """Return F(S), 0.0 for a set that the spectrum does not hold."""
        return self._terms.get(check_members(members, self._n_players), 0.0)

    def banzhaf(self, members: Iterable[int]) -> float:
        """Return the Banzhaf interaction I(S) = F(S) / sigma^|S|.

        It is the discrete derivative over S, averaged over Bernoulli(alpha) masks.
        """
        key = check_members(members, self._n_players)
        return self._terms.get(key, 0.0) / self.sigma ** len(key)

    def moebius(self) -> Terms:
        """Return the Moebius coefficients M(S) of f(x) = sum_S M(S) prod_{i in S} x_i.

        Raises
        ------
        SpectrumError
            If the expansion, 2^|S| contributions per term, is larger than MAX_EXPANSION.

        Notes
        -----
        M(T) = sum_{S >= T} F(S) sigma^(-|S|) (-p)^(|S| - |T|).
        """
        return substitute(self._terms, 1.0 / self.sigma, -self._alpha / self.sigma)

    def joint_surplus(self, members: Iterable[int]) -> float:
        """Return the joint surplus J(S): the members' joint effect beyond the sum of their single effects.

        Raises
        ------
        SpectrumError
            If there are fewer than two members.

        Notes
        -----
        J(S) = sum_{T <= S, |T| >= 2} sum_{T <= U <= S} F(U) sigma^(-|U|) (-p)^(|U| - |T|) (docs/METHOD.md). The inner
        weights depend on u = |U| alone and add up to (1-p)^u - (-p)^u - u (-p)^(u-1).
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

    def shapley(self) -> Array:
        """Return the Shapley values, (n_players,), anchored at the empty and the full training set.

        Notes
        -----
        sum_{S with i} M(S) / |S|, the average over q in (0, 1) of the discrete derivative of i under Bernoulli(q)
        masks. In Fourier terms sum_{S with i} F(S) sigma^(-s) ((1-p)^s - (-p)^s) / s with s = |S|: no expansion.
        """
        values = np.zeros(self._n_players)
        p, sigma = self._alpha, self.sigma
        for order, (members, coefficients) in self.by_order().items():
            if order == 0:
                continue
            weight = ((1 - p) ** order - (-p) ** order) / (order * sigma**order)
            np.add.at(values, members.ravel(), np.repeat(coefficients * weight, order))
        return values

    def evaluate(self, masks: Masks) -> Array:
        """Evaluate f at masks.

        Parameters
        ----------
        masks : (m, n_players) bool, or 0 and 1
            Masks; m may be 0.

        Returns
        -------
        (m,) float64
            f at each mask. Blocks of rows over the players with terms bound the memory for any n_players.

        Raises
        ------
        AttributionError
            If masks have another shape or other values.
        """
        rows = check_masks(masks, self._n_players, allow_empty=True)
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
        """Return the terms as {order: (members (k, order) int64, coefficients (k,) float64)}; do not modify them."""
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
        """Mean of f under Bernoulli(alpha) masks: the coefficient of the empty set."""
        return self._terms.get((), 0.0)

    def variance(self) -> float:
        """Return Var[f] under Bernoulli(alpha) masks: the squared coefficients without the constant's (Parseval)."""
        return math.fsum(value * value for members, value in self._terms.items() if members)

    def energy(self) -> float:
        """Return E[f^2] under Bernoulli(alpha) masks: the sum of all squared coefficients (Parseval)."""
        return math.fsum(value * value for value in self._terms.values())

    def energy_by_order(self) -> dict[int, float]:
        """Return {order: sum of squared coefficients of that order}."""
        return {order: float(values @ values) for order, (_, values) in self.by_order().items()}

    def at_alpha(self, alpha: float) -> Spectrum:
        """Return the spectrum of the same function in the basis of another alpha, exactly.

        Notes
        -----
        Substitutes phi_i(p) = (sigma_q / sigma_p) phi_i(q) + (q - p) / sigma_p. This equals the change through the
        Moebius form, without its extrapolation to the empty training set.
        """
        q = check_alpha(alpha)
        slope = math.sqrt(q * (1 - q)) / self.sigma
        return Spectrum(substitute(self._terms, slope, (q - self._alpha) / self.sigma), self._n_players, q)

    def truncate(self, max_order: int) -> Spectrum:
        """Return the spectrum without the terms of more than max_order members."""
        return self._with({held: value for held, value in self._terms.items() if len(held) <= max_order})

    def top(self, count: int, *, keep_main_effects: bool = False) -> Spectrum:
        """Return the constant and the `count` terms of largest |F(S)|.

        With keep_main_effects all main effects stay and `count` interactions are kept. Ties go to the smaller set, then
        to the lexicographically first.
        """
        free = 1 if keep_main_effects else 0
        contenders = sorted(
            (held for held in self._terms if len(held) > free),
            key=lambda held: (-abs(self._terms[held]), len(held), held),
        )
        kept = {held: value for held, value in self._terms.items() if len(held) <= free}
        kept.update({held: self._terms[held] for held in contenders[: max(0, count)]})
        return self._with(kept)

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
