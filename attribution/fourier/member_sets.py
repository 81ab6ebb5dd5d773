"""Member sets: sorted tuples of players as keys, the checks of what users hand in, and change of basis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Members = tuple[int, ...]
Terms = dict[Members, float]

# A rewrite in another basis writes 2^|S| entries per term. Beyond this many the caller has asked for
# something that does not fit in memory, and hears so before it is tried.
MAX_EXPANSION = 1 << 25


class SpectrumError(ValueError):
    """A spectrum was given terms, players, masks or an alpha that do not make sense together."""


def check_alpha(alpha: float) -> float:
    """Return alpha as a float; raise SpectrumError unless it lies strictly between 0 and 1."""
    value = float(alpha)
    if not 0.0 < value < 1.0:
        raise SpectrumError(
            f"alpha must lie in (0, 1); got {alpha!r}. Give the probability that a mask includes a player."
        )
    return value


def check_members(members: Iterable[int], n_players: int) -> Members:
    """Return members as a sorted tuple of ints; raise SpectrumError on repeats or players out of range."""
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
    """Yield the subsets of `members` by increasing size, from min_order to max_order members."""
    last = len(members) if max_order is None else min(max_order, len(members))
    for order in range(min_order, last + 1):
        yield from combinations(members, order)


def substitute(terms: Mapping[Members, float], slope: float, offset: float) -> Terms:
    """Rewrite sum_S c(S) prod_S y_i in z, where y_i = slope * z_i + offset for every player.

    The new coefficient is d(T) = slope^|T| sum_{S >= T} c(S) offset^{|S| - |T|}. Every change of basis in
    this package (monomials to phi and back, one alpha to another) is such a substitution.

    Raises SpectrumError when the result would have more than MAX_EXPANSION contributions.
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


def check_masks(masks: NDArray[np.bool_], n_players: int) -> NDArray[np.bool_]:
    """Return masks as (n_masks, n_players) bool; raise SpectrumError for another shape or other values."""
    rows = np.asarray(masks)
    if rows.ndim != 2 or rows.shape[1] != n_players:
        raise SpectrumError(f"masks must have shape (n_masks, {n_players}); got {rows.shape}.")
    if rows.dtype != np.bool_:
        if not np.isin(rows, (0, 1)).all():
            raise SpectrumError("masks must be boolean (True = the player is in the training set).")
        rows = rows.astype(np.bool_)
    return rows


def checked_terms(terms: Mapping[Members, float] | Iterable[tuple[Members, float]], n_players: int) -> Terms:
    """Return {sorted member set: float}; raise SpectrumError for what no spectrum can hold."""
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
            raise SpectrumError(f"the coefficient of {key!r} is not finite: {value!r}.")
        checked[key] = number
    return checked
