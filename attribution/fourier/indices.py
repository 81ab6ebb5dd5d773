"""Interaction indices of one spectrum, in closed form through its Möbius coefficients.

With M(T) the Möbius coefficients (f(x) = sum_T M(T) prod_{i in T} x_i), every index here is a fixed weight on
M(T), given |T|, |S| and the highest order asked for, summed over T >= S. The work is the size of the Möbius
form: nothing is enumerated over players. All functions return {sorted member set: value}.

Shapley-type indices are anchored at the empty training set and average over all training set sizes. A
campaign at one alpha saw next to nothing of either; that is why I(S) (`banzhaf_interactions`) is the
headline.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import comb

from attribution.fourier.member_sets import Members, SpectrumError, Terms, check_alpha
from attribution.fourier.spectrum import Spectrum

# Bernoulli numbers with B_1 = -1/2, as k-SII uses them; indices beyond order 16 are of no use to anybody.
_BERNOULLI = (
    1.0, -1 / 2, 1 / 6, 0.0, -1 / 30, 0.0, 1 / 42, 0.0, -1 / 30, 0.0, 5 / 66, 0.0, -691 / 2730, 0.0, 7 / 6,
    0.0, -3617 / 510,
)  # fmt: skip


def banzhaf_interactions(spectrum: Spectrum, max_order: int, alpha: float | None = None) -> Terms:
    """I(S) = F(S) / sigma^|S| for 1 <= |S| <= max_order, at `alpha` (the spectrum's own by default).

    The discrete derivative over S averaged over Bernoulli(alpha) masks. At alpha = 1/2 this is the Banzhaf
    interaction index of Grabisch and Roubens (1999), and for one member the Banzhaf value.
    """
    _check_order(max_order)
    at = spectrum if alpha is None or check_alpha(alpha) == spectrum.alpha else spectrum.at_alpha(alpha)
    return {
        members: value / at.sigma ** len(members)
        for members, value in at.terms.items()
        if 1 <= len(members) <= max_order
    }


def moebius_coefficients(spectrum: Spectrum, max_order: int) -> Terms:
    """M(S) for |S| <= max_order, the empty set included (M(empty) = f(empty training set))."""
    _check_order(max_order)
    return {members: value for members, value in spectrum.moebius().items() if len(members) <= max_order}


def shapley_values(spectrum: Spectrum) -> Terms:
    """Shapley values sum_{T with i} M(T) / |T| of the players that have terms, as {(i,): value}."""
    return _spread(spectrum.moebius(), 1, 1, lambda held, asked: 1.0 / held)


def shapley_interactions(spectrum: Spectrum, max_order: int) -> Terms:
    """SII(S) = sum_{T >= S} M(T) / (|T| - |S| + 1) for 1 <= |S| <= max_order (Grabisch and Roubens, 1999)."""
    _check_order(max_order)
    return _spread(spectrum.moebius(), 1, max_order, lambda held, asked: 1.0 / (held - asked + 1))


def k_shapley_interactions(spectrum: Spectrum, max_order: int) -> Terms:
    """k-SII: Shapley interactions made to add up to f(all) - f(none) (Bordt and von Luxburg, 2023).

    k-SII(S) = sum_{T >= S, |T| <= k} B_{|T| - |S|} SII(T) with the Bernoulli numbers, B_1 = -1/2; k =
    max_order. The empty set holds f(empty training set). Raises SpectrumError beyond order 17.
    """
    _check_order(max_order)
    if max_order > len(_BERNOULLI):
        raise SpectrumError(f"k-SII is computed up to order {len(_BERNOULLI)}; got max_order={max_order}.")
    moebius = spectrum.moebius()
    sii = _spread(moebius, 1, max_order, lambda held, asked: 1.0 / (held - asked + 1))
    return {
        (): moebius.get((), 0.0),
        **_spread(sii, 1, max_order, lambda held, asked: _BERNOULLI[held - asked]),
    }


def shapley_taylor_interactions(spectrum: Spectrum, max_order: int) -> Terms:
    """STII of order k = max_order (Sundararajan, Dhamdhere and Agarwal, 2020).

    Below the top order the Möbius coefficient itself; at the top sum_{T >= S} M(T) / C(|T|, k). The empty set
    holds f(empty training set).
    """
    _check_order(max_order)
    moebius = spectrum.moebius()
    lower = {members: value for members, value in moebius.items() if len(members) < max_order}
    top = _spread(moebius, max_order, max_order, lambda held, asked: 1.0 / comb(held, asked))
    return {**lower, **top}


def faith_banzhaf(spectrum: Spectrum, max_order: int, alpha: float = 0.5) -> Terms:
    """Faith-Banzhaf: the monomial coefficients of the best order-k fit of f under Bernoulli(alpha) masks.

    At alpha = 1/2 the index of Tsai, Yeh and Ravikumar (2023). The best fit in the least-squares
    sense is the spectrum without its terms above order k (the phi_S are orthonormal), written as monomials;
    that holds at every alpha, and another alpha than 1/2 gives the weighted kin of the index. The empty set
    holds the fit's own constant.
    """
    _check_order(max_order)
    at = spectrum if check_alpha(alpha) == spectrum.alpha else spectrum.at_alpha(alpha)
    return at.truncate(max_order).moebius()


def faith_shapley(spectrum: Spectrum, max_order: int) -> Terms:
    """Faith-Shapley of order k = max_order (Tsai, Yeh and Ravikumar, 2023).

    The order-k fit of f under Shapley-kernel weights that is exact on the empty and the full training set:
    M(S) + (-1)^{k-s} s/(k+s) C(k,s) sum_{T > S, |T| > k} C(|T|-1, k) / C(|T|+k-1, k+s) M(T), s = |S|. The
    empty set holds f(empty training set).
    """
    _check_order(max_order)

    def weight(held: int, asked: int) -> float:
        if held <= max_order:
            return 1.0 if held == asked else 0.0
        sign = -1.0 if (max_order - asked) % 2 else 1.0
        share = (
            comb(max_order, asked) * comb(held - 1, max_order) / comb(held + max_order - 1, max_order + asked)
        )
        return sign * asked / (max_order + asked) * share

    moebius = spectrum.moebius()
    return {(): moebius.get((), 0.0), **_spread(moebius, 1, max_order, weight)}


INDICES: dict[str, Callable[[Spectrum, int], Terms]] = {
    "banzhaf": banzhaf_interactions,
    "moebius": moebius_coefficients,
    "shapley": lambda spectrum, max_order: shapley_values(spectrum),
    "sii": shapley_interactions,
    "k-sii": k_shapley_interactions,
    "stii": shapley_taylor_interactions,
    "faith_banzhaf": faith_banzhaf,
    "faith_shapley": faith_shapley,
}


def interaction_index(spectrum: Spectrum, index: str, max_order: int) -> Terms:
    """The index of that name (a key of INDICES) up to max_order. Raises SpectrumError for another name."""
    if index not in INDICES:
        raise SpectrumError(f"there is no index {index!r}. Choose one of: {', '.join(INDICES)}.")
    return INDICES[index](spectrum, max_order)


def _spread(source: Terms, min_order: int, max_order: int, weight: Callable[[int, int], float]) -> Terms:
    """{S: sum_{T >= S} weight(|T|, |S|) source[T]} for min_order <= |S| <= max_order, sparsely."""
    weights: dict[tuple[int, int], float] = {}
    result: dict[Members, float] = {}
    for members, value in source.items():
        held = len(members)
        for asked in range(min_order, min(max_order, held) + 1):
            if (held, asked) not in weights:
                weights[held, asked] = weight(held, asked)
            share = value * weights[held, asked]
            if share == 0.0:
                continue
            for subset in combinations(members, asked):
                result[subset] = result.get(subset, 0.0) + share
    return result


def _check_order(max_order: int) -> None:
    if isinstance(max_order, bool) or not isinstance(max_order, int) or max_order < 1:
        raise SpectrumError(f"max_order must be an integer of at least 1; got {max_order!r}.")
