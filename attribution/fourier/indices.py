"""Interaction indices of one spectrum, in closed form through its Moebius coefficients.

With M(T) the Moebius coefficients (f(x) = sum_T M(T) prod_{i in T} x_i), every index here is a fixed weight on M(T),
given |T|, |S| and the highest order, summed over T >= S. The work is proportional to the size of the Moebius form:
nothing is enumerated over players. All functions return {sorted member set: value}.

Shapley-type indices are anchored at the empty training set and average over all training set sizes, which a campaign
at one alpha hardly covers; the headline number is therefore I(S) (`banzhaf_interactions`).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import comb

from attribution.checks import check_alpha
from attribution.errors import SpectrumError
from attribution.fourier.member_sets import Members, Terms
from attribution.fourier.spectrum import Spectrum

# Bernoulli numbers B_0 .. B_16 with B_1 = -1/2, as k-SII uses them.
_BERNOULLI = (
    1.0, -1 / 2, 1 / 6, 0.0, -1 / 30, 0.0, 1 / 42, 0.0, -1 / 30, 0.0, 5 / 66, 0.0, -691 / 2730, 0.0, 7 / 6,
    0.0, -3617 / 510,
)  # fmt: skip


def banzhaf_interactions(spectrum: Spectrum, max_order: int, alpha: float | None = None) -> Terms:
    """Compute the p-weighted Banzhaf interactions I(S) = F(S) / sigma^|S|.

    Parameters
    ----------
    spectrum : Spectrum
        Function of masks.
    max_order : int
        Largest number of members, at least 1.
    alpha : float or None
        Inclusion probability to average at; None for the spectrum's own.

    Returns
    -------
    {member set: float}
        I(S) for 1 <= |S| <= max_order.

    Raises
    ------
    SpectrumError
        If max_order is not an integer of at least 1.
    AttributionError
        If alpha lies outside (0, 1).

    Notes
    -----
    I(S) is the discrete derivative over S averaged over Bernoulli(alpha) masks. At alpha = 1/2 it is the Banzhaf
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
    """Compute the Moebius coefficients M(S).

    Parameters
    ----------
    spectrum : Spectrum
        Function of masks.
    max_order : int
        Largest number of members, at least 1.

    Returns
    -------
    {member set: float}
        M(S) for |S| <= max_order; the empty set holds f(empty training set).

    Raises
    ------
    SpectrumError
        If max_order is not an integer of at least 1.
    """
    _check_order(max_order)
    return {members: value for members, value in spectrum.moebius().items() if len(members) <= max_order}


def shapley_values(spectrum: Spectrum) -> Terms:
    """Compute the Shapley values sum_{T with i} M(T) / |T|.

    Parameters
    ----------
    spectrum : Spectrum
        Function of masks.

    Returns
    -------
    {(player,): float}
        Values of the players that have terms.
    """
    return _spread(spectrum.moebius(), 1, 1, lambda larger, own: 1.0 / larger)


def shapley_interactions(spectrum: Spectrum, max_order: int) -> Terms:
    """Compute the Shapley interaction index (Grabisch and Roubens, 1999).

    Parameters
    ----------
    spectrum : Spectrum
        Function of masks.
    max_order : int
        Largest number of members, at least 1.

    Returns
    -------
    {member set: float}
        SII(S) = sum_{T >= S} M(T) / (|T| - |S| + 1) for 1 <= |S| <= max_order.

    Raises
    ------
    SpectrumError
        If max_order is not an integer of at least 1.
    """
    _check_order(max_order)
    return _spread(spectrum.moebius(), 1, max_order, lambda larger, own: 1.0 / (larger - own + 1))


def k_shapley_interactions(spectrum: Spectrum, max_order: int) -> Terms:
    """Compute k-SII, Shapley interactions that add up to f(all) - f(none) (Bordt and von Luxburg, 2023).

    Parameters
    ----------
    spectrum : Spectrum
        Function of masks.
    max_order : int
        Largest number of members, k, at least 1.

    Returns
    -------
    {member set: float}
        k-SII(S) for 1 <= |S| <= max_order; the empty set holds f(empty training set).

    Raises
    ------
    SpectrumError
        If max_order is not an integer of at least 1, or exceeds 17.

    Notes
    -----
    k-SII(S) = sum_{T >= S, |T| <= k} B_(|T| - |S|) SII(T) with the Bernoulli numbers, B_1 = -1/2.
    """
    _check_order(max_order)
    if max_order > len(_BERNOULLI):
        raise SpectrumError(f"k-SII is computed up to order {len(_BERNOULLI)}; got max_order={max_order}.")
    moebius = spectrum.moebius()
    sii = _spread(moebius, 1, max_order, lambda larger, own: 1.0 / (larger - own + 1))
    return {
        (): moebius.get((), 0.0),
        **_spread(sii, 1, max_order, lambda larger, own: _BERNOULLI[larger - own]),
    }


def shapley_taylor_interactions(spectrum: Spectrum, max_order: int) -> Terms:
    """Compute the Shapley-Taylor interaction index (Sundararajan, Dhamdhere and Agarwal, 2020).

    Parameters
    ----------
    spectrum : Spectrum
        Function of masks.
    max_order : int
        Largest number of members, k, at least 1.

    Returns
    -------
    {member set: float}
        STII(S) for |S| <= max_order; the empty set holds f(empty training set).

    Raises
    ------
    SpectrumError
        If max_order is not an integer of at least 1.

    Notes
    -----
    Below order k it is M(S); at order k it is sum_{T >= S} M(T) / C(|T|, k).
    """
    _check_order(max_order)
    moebius = spectrum.moebius()
    lower = {members: value for members, value in moebius.items() if len(members) < max_order}
    top = _spread(moebius, max_order, max_order, lambda larger, own: 1.0 / comb(larger, own))
    return {**lower, **top}


def faith_banzhaf(spectrum: Spectrum, max_order: int, alpha: float = 0.5) -> Terms:
    """Compute Faith-Banzhaf: the monomials of the best order-k fit of f under Bernoulli(alpha) masks.

    Parameters
    ----------
    spectrum : Spectrum
        Function of masks.
    max_order : int
        Order k of the fit, at least 1.
    alpha : float
        Inclusion probability of the masks.

    Returns
    -------
    {member set: float}
        Coefficients for |S| <= max_order; the empty set holds the fit's constant.

    Raises
    ------
    SpectrumError
        If max_order is not an integer of at least 1.
    AttributionError
        If alpha lies outside (0, 1).

    Notes
    -----
    The phi_S are orthonormal, so the least-squares fit is the spectrum without its terms above order k, written as
    monomials. At alpha = 1/2 this is the index of Tsai, Yeh and Ravikumar (2023).
    """
    _check_order(max_order)
    at = spectrum if check_alpha(alpha) == spectrum.alpha else spectrum.at_alpha(alpha)
    return at.truncate(max_order).moebius()


def faith_shapley(spectrum: Spectrum, max_order: int) -> Terms:
    """Compute Faith-Shapley (Tsai, Yeh and Ravikumar, 2023).

    Parameters
    ----------
    spectrum : Spectrum
        Function of masks.
    max_order : int
        Largest number of members, k, at least 1.

    Returns
    -------
    {member set: float}
        Coefficients for |S| <= max_order; the empty set holds f(empty training set).

    Raises
    ------
    SpectrumError
        If max_order is not an integer of at least 1.

    Notes
    -----
    It is the order-k fit of f under Shapley-kernel weights that is exact on the empty and the full training set:
    M(S) + (-1)^(k-s) s/(k+s) C(k,s) sum_{T > S, |T| > k} C(|T|-1, k) / C(|T|+k-1, k+s) M(T), s = |S|.
    """
    _check_order(max_order)

    def weight(larger: int, own: int) -> float:
        if larger <= max_order:
            return 1.0 if larger == own else 0.0
        sign = -1.0 if (max_order - own) % 2 else 1.0
        share = comb(max_order, own) * comb(larger - 1, max_order) / comb(larger + max_order - 1, max_order + own)
        return sign * own / (max_order + own) * share

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
    """Compute the index of a name.

    Parameters
    ----------
    spectrum : Spectrum
        Function of masks.
    index : str
        A key of INDICES.
    max_order : int
        Largest number of members, at least 1.

    Returns
    -------
    {member set: float}
        Values of the index.

    Raises
    ------
    SpectrumError
        If there is no such index, or max_order is invalid.

    Examples
    --------
    >>> spectrum = Spectrum.from_terms({(0,): 1.0, (0, 1): 0.25}, n_players=2, alpha=0.5)
    >>> interaction_index(spectrum, "banzhaf", 2)
    {(0,): 2.0, (0, 1): 1.0}
    """
    if index not in INDICES:
        raise SpectrumError(f"there is no index {index!r}. Choose one of: {', '.join(INDICES)}.")
    return INDICES[index](spectrum, max_order)


def _spread(source: Terms, min_order: int, max_order: int, weight: Callable[[int, int], float]) -> Terms:
    """Compute {S: sum_{T >= S} weight(|T|, |S|) source[T]} for min_order <= |S| <= max_order, sparsely."""
    weights: dict[tuple[int, int], float] = {}
    result: dict[Members, float] = {}
    for members, value in source.items():
        larger = len(members)
        for own in range(min_order, min(max_order, larger) + 1):
            if (larger, own) not in weights:
                weights[larger, own] = weight(larger, own)
            share = value * weights[larger, own]
            if share == 0.0:
                continue
            for subset in combinations(members, own):
                result[subset] = result.get(subset, 0.0) + share
    return result


def _check_order(max_order: int) -> None:
    """Raise SpectrumError unless max_order is an integer of at least 1."""
    if isinstance(max_order, bool) or not isinstance(max_order, int) or max_order < 1:
        raise SpectrumError(f"max_order must be an integer of at least 1; got {max_order!r}.")
