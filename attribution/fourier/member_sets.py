"""Member sets as sorted tuples of players, their validation, and the change of basis of a set of terms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from attribution.errors import SpectrumError

Members = tuple[int, ...]
Terms = dict[Members, float]

# Largest number of contributions to a change of basis (2^|S| per term). A choice: at some 200 bytes for a dictionary's
# entry they fit into 7 GB.
MAX_EXPANSION = 1 << 25


def check_members(members: Any, n_players: int) -> Members:
    """Validate a member set.

    Parameters
    ----------
    members : iterable of int
        Players of the set, in any order.
    n_players : int
        Number of players; members must lie in 0..n_players - 1.

    Returns
    -------
    tuple of int
        The members, ascending.

    Raises
    ------
    SpectrumError
        If members are not integers, repeat, or lie out of range.
    """
    try:
        given = tuple(members)
    except TypeError as error:
        raise SpectrumError(f"a member set must be a tuple of players; got {members!r}.") from error
    for player in given:
        if isinstance(player, (bool, np.bool_)) or not isinstance(player, (int, np.integer)):
            raise SpectrumError(f"members must be integers; got {given!r}. Give player numbers, e.g. (3, 7).")
    key = tuple(sorted(int(player) for player in given))
    if len(set(key)) != len(key):
        raise SpectrumError(f"a player appears twice in the member set {given!r}. Name each player once.")
    if key and (key[0] < 0 or key[-1] >= n_players):
        raise SpectrumError(
            f"the member set {given!r} names a player outside 0..{n_players - 1}. "
            "Check n_players, or renumber the members."
        )
    return key


def subsets(members: Members, min_order: int = 0, max_order: int | None = None) -> Iterator[Members]:
    """Yield the subsets of a member set by increasing size.

    Parameters
    ----------
    members : tuple of int
        The set.
    min_order : int
        Smallest number of members.
    max_order : int or None
        Largest number of members; None for all.

    Yields
    ------
    tuple of int
        A subset, members in the given order.
    """
    last = len(members) if max_order is None else min(max_order, len(members))
    for order in range(min_order, last + 1):
        yield from combinations(members, order)


def substitute(terms: Mapping[Members, float], slope: float, offset: float) -> Terms:
    """Rewrite a polynomial in z, where every variable y_i = slope * z_i + offset.

    Parameters
    ----------
    terms : {member set: float}
        Coefficients c(S) of sum_S c(S) prod_{i in S} y_i.
    slope, offset : float
        The substitution, the same for all players.

    Returns
    -------
    {member set: float}
        Coefficients d(T) of the products of z.

    Raises
    ------
    SpectrumError
        If the result would need more than MAX_EXPANSION contributions.

    Notes
    -----
    d(T) = slope^|T| sum_{S >= T} c(S) offset^(|S| - |T|). Every change of basis in this package (monomials to phi and
    back, one alpha to another) is such a substitution.
    """
    if offset == 0.0:
        return {members: value * slope ** len(members) for members, value in terms.items()}
    contributions = sum(1 << len(members) for members in terms)
    if contributions > MAX_EXPANSION:
        raise SpectrumError(
            f"rewriting this spectrum expands into {contributions} contributions (limit {MAX_EXPANSION}). "
            "Drop its largest member sets first: spectrum.truncate(max_order)."
        )
    result: Terms = {}
    for members, value in terms.items():
        order = len(members)
        for size in range(order + 1):
            share = value * slope**size * offset ** (order - size)
            for subset in combinations(members, size):
                result[subset] = result.get(subset, 0.0) + share
    return result


def checked_terms(terms: Mapping[Members, float] | Iterable[tuple[Members, float]], n_players: int) -> Terms:
    """Validate terms and sort their member sets.

    Parameters
    ----------
    terms : {member set: float}, or pairs of the two
        Coefficients by member set; members in any order.
    n_players : int
        Number of players, at least 0.

    Returns
    -------
    {tuple of int: float}
        The same terms, members ascending.

    Raises
    ------
    SpectrumError
        If a set is invalid or given twice, a coefficient is not a finite number, or n_players is not an integer >= 0.
    """
    if isinstance(n_players, bool) or not isinstance(n_players, (int, np.integer)) or n_players < 0:
        raise SpectrumError(f"n_players must be an integer of at least 0; got {n_players!r}.")
    checked: Terms = {}
    for members, value in terms.items() if isinstance(terms, Mapping) else terms:
        key = check_members(members, int(n_players))
        if key in checked:
            raise SpectrumError(f"the member set {key!r} is given twice. Add its coefficients up first.")
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise SpectrumError(f"the coefficient of {key!r} must be a number; got {value!r}.") from error
        if not math.isfinite(number):
            raise SpectrumError(f"the coefficient of {key!r} is not finite: {value!r}. Leave diverged fits out.")
        checked[key] = number
    return checked
