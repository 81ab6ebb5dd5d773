"""From the bins of a SPEX design to the sets in them: hard and soft decoding, and peeling.

Per group and delay the outputs have a Walsh-Hadamard transform over l, whose value at bin j is the sum over all sets k
with M_c' k = j of F(k) (-1)^<d, k>. Every set is in one bin of each group; its signs over the delays name it.

What is done differently from the published code: a set that one group's bin proposes is tested on the bins of the other
groups, which the proposal has not seen, with weights by the spread that is left in each bin. So proposals can be
liberal (soft decoding tries the least reliable signs both ways) and false sets stay few.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2
from scipy.stats import t as t_distribution

from attribution.fourier.member_sets import Members
from attribution.spex.design import N_GROUPS, SpexDesign
from attribution.types import Array

MAX_ROUNDS = 100
FALSE_SETS = 0.05  # expected number of false sets that a target's decoding accepts
_FLIPS = ((8, 1), (8, 2), (6, 3))  # soft decoding: all ways to flip k of the w least reliable signs, as (w, k)
_ROUNDING = 1e-7  # of a target's bins, relative to their root mean square: smaller values are rounding
_EMPTY = 0.1  # share of bins that hold noise alone, even close to capacity
_ROWS = 1 << 16  # syndromes decoded at a time


@dataclass(frozen=True)
class _Pool:
    """Sets that some bin has proposed and that are not decided.

    target: (q,); members: (q, t) padded with n_players; proposed_by: (q, 3) bool, groups whose bins proposed it."""

    target: NDArray[np.int64]
    members: NDArray[np.int32]
    proposed_by: NDArray[np.bool_]


def walsh_hadamard(values: Array) -> Array:
    """Return the Walsh-Hadamard transform along the first axis, of length 2^b, divided by that length.

    Examples
    --------
    >>> walsh_hadamard(np.array([3.0, 1.0, 3.0, 1.0])).tolist()
    [2.0, 1.0, 0.0, 0.0]
    """
    result = np.array(values, dtype=np.float64)
    length = len(result)
    half = 1
    while half < length:
        pairs = result.reshape(length // (2 * half), 2, half, *result.shape[1:])
        pairs[:] = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1)
        half *= 2
    return result / length


def bins_of(design: SpexDesign, outputs: Array) -> Array:
    """Transform the outputs of a design.

    Parameters
    ----------
    design : SpexDesign
    outputs : (n_masks, t) float64

    Returns
    -------
    (t, 3, 2^n_bits, n_delays) float64
    """
    shaped = outputs.reshape(1 << design.n_bits, N_GROUPS, design.n_delays, -1)
    return np.ascontiguousarray(np.moveaxis(walsh_hadamard(shaped), (3, 1, 0, 2), (0, 1, 2, 3)))


def decode(
    design: SpexDesign, bins: Array, *, soft: bool = True, shift: NDArray[np.bool_] | None = None
) -> list[dict[Members, float]]:
    """Find the sets in the bins of every target.

    Parameters
    ----------
    design : SpexDesign
    bins : (t, 3, 2^n_bits, n_delays) float64
        From `bins_of`; not changed.
    soft : bool
        Try the least reliable signs both ways as well.
    shift : (3, n_players) bool, optional
        What was added to every mask of a group: the second half of a design is the first, shifted by its last
        directions.

    Returns
    -------
    list of {members: F(S)}
        One for each target, in this package's sign convention (presence is positive).
    """
    bins = bins.copy()
    n_targets, _, n_bins, _ = bins.shape
    directions = design.directions()
    patterns = _patterns(design.n_delays, soft)
    negligible = _ROUNDING * np.sqrt(np.mean(bins**2, axis=(1, 2, 3)))  # (t,)
    found: list[dict[Members, float]] = [{} for _ in range(n_targets)]
    pool = _Pool(np.zeros(0, np.int64), np.zeros((0, design.max_order), np.int32), np.zeros((0, N_GROUPS), bool))
    active = np.ones((n_targets, N_GROUPS, n_bins), bool)
    n_sets = sum(comb(design.n_players, order) for order in range(design.max_order + 1))
    for _ in range(MAX_ROUNDS):
        active &= np.abs(bins).max(axis=3) > negligible[:, None, None]
        rows = np.argwhere(active)
        pool = _merged(pool, _proposals(design, bins, rows, directions, patterns))
        active[:] = False
        if not len(pool.target):
            break
        signs, places = _signs_and_bins(design, directions, pool.members, shift)
        value, accepted, strength = _tested(bins, pool, signs, places, negligible, n_sets)
        chosen = _best_of_each_bin(pool.target, places, accepted, strength, n_bins)
        if not len(chosen):
            break
        for group in range(N_GROUPS):
            at = (pool.target[chosen], group, places[chosen, group])  # every bin at most once
            bins[at] -= value[chosen, None] * signs[chosen, group]
            active[at] = True
        for position in chosen.tolist():
            members = tuple(int(i) for i in pool.members[position] if i < design.n_players)
            of_target = found[pool.target[position]]
            of_target[members] = of_target.get(members, 0.0) + float(value[position])
        keep = np.ones(len(pool.target), bool)
        keep[chosen] = False
        pool = _Pool(pool.target[keep], pool.members[keep], pool.proposed_by[keep])
    return [
        {
            members: (-1.0) ** len(members) * value
            for members, value in sorted(of_target.items())
            if abs(value) > 10 * negligible[target]
        }
        for target, of_target in enumerate(found)
    ]


def _patterns(n_delays: int, soft: bool) -> list[tuple[int, ...]]:
    """Which of the signs, counted from the least reliable, are flipped; the first flips none."""
    found: list[tuple[int, ...]] = [()]
    for width, size in _FLIPS if soft else ():
        found += [flips for flips in combinations(range(min(width, n_delays)), size)]
    return found


def _proposals(
    design: SpexDesign, bins: Array, rows: NDArray[np.int64], directions: NDArray[np.int64], patterns: list
) -> _Pool:
    """Decode the signs of some bins (rows: target, group, bin); keep sets that belong into the bin they come from."""
    parts: list[tuple[NDArray[np.int64], NDArray[np.int32]]] = []
    step = max(1, _ROWS // len(patterns))
    padded = np.concatenate([directions, np.zeros((N_GROUPS, 1), np.int64)], axis=1)
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        values = bins[some[:, 0], some[:, 1], some[:, 2]]
        signs = values < 0
        order = np.argsort(np.abs(values), axis=1)
        tried = np.repeat(signs[:, None, :], len(patterns), axis=1)
        for number, flips in enumerate(patterns):
            for place in flips:
                tried[np.arange(len(some)), number, order[:, place]] ^= True
        bits = tried[:, :, 1:] ^ tried[:, :, :1]
        members, known = design.code.decode(bits.reshape(-1, design.code.n_checks))
        source = np.repeat(some, len(patterns), axis=0)
        hashed = np.bitwise_xor.reduce(padded[source[:, 1][:, None], members], axis=1)
        fits = known & (hashed == source[:, 2])
        parts.append((source[fits, :2], members[fits]))
    if not parts:
        return _Pool(np.zeros(0, np.int64), np.zeros((0, design.max_order), np.int32), np.zeros((0, N_GROUPS), bool))
    source, members = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    proposed_by = np.zeros((len(source), N_GROUPS), bool)
    proposed_by[np.arange(len(source)), source[:, 1]] = True
    return _Pool(source[:, 0], members, proposed_by)


def _merged(pool: _Pool, more: _Pool) -> _Pool:
    """Both pools, every (target, set) once."""
    target = np.concatenate([pool.target, more.target])
    members = np.concatenate([pool.members, more.members])
    proposed_by = np.concatenate([pool.proposed_by, more.proposed_by])
    keys, place = np.unique(np.column_stack([target, members]), axis=0, return_inverse=True)
    merged = np.zeros((len(keys), N_GROUPS), bool)
    np.logical_or.at(merged, place.ravel(), proposed_by)
    return _Pool(keys[:, 0], keys[:, 1:].astype(np.int32), merged)


def _signs_and_bins(
    design: SpexDesign, directions: NDArray[np.int64], members: NDArray[np.int32], shift: NDArray[np.bool_] | None
) -> tuple[Array, NDArray[np.int64]]:
    """Signs of sets over groups and delays, (q, 3, n_delays), and their bin in every group, (q, 3)."""
    odd = np.zeros((len(members), design.n_delays), np.int64)
    columns = np.concatenate([design.delays.T.astype(np.int64), np.zeros((1, design.n_delays), np.int64)])
    padded = np.concatenate([directions, np.zeros((N_GROUPS, 1), np.int64)], axis=1)
    places = np.zeros((len(members), N_GROUPS), np.int64)
    turned = np.zeros((len(members), N_GROUPS), np.int64)
    shifts = np.zeros((N_GROUPS, design.n_players + 1), np.int64)
    if shift is not None:
        shifts[:, :-1] = shift
    for position in range(members.shape[1]):
        odd ^= columns[members[:, position]]
        places ^= padded[:, members[:, position]].T
        turned ^= shifts[:, members[:, position]].T
    signs: Array = 1.0 - 2.0 * (odd[:, None, :] ^ turned[:, :, None]).astype(np.float64)
    return signs, places


def _tested(
    bins: Array, pool: _Pool, signs: Array, places: NDArray[np.int64], negligible: Array, n_sets: int
) -> tuple[Array, NDArray[np.bool_], Array]:
    """Estimate every set from its three bins: value (q,), whether it is accepted (q,), and its z (q,)."""
    groups = np.arange(N_GROUPS)
    values = bins[pool.target[:, None], groups, places]  # (q, 3, n_delays)
    n_delays = values.shape[2]
    single = (values * signs).mean(axis=2)  # (q, 3)
    left = values - single[:, :, None] * signs
    noise = np.quantile((bins**2).mean(axis=3), _EMPTY, axis=(1, 2)) * n_delays / chi2.ppf(_EMPTY, n_delays)  # (t,)
    least = np.maximum(noise, negligible**2)[pool.target, None]
    variance = np.maximum((left**2).sum(axis=2) / max(1, n_delays - 1), least)
    weight = n_delays / variance
    pooled = (weight * single).sum(axis=1) / weight.sum(axis=1)
    z = np.abs(pooled) * np.sqrt(weight.sum(axis=1))
    # The bin that proposed a set has signs that fit it; the other groups have not been asked.
    other_z = np.zeros(len(z))
    for group in range(N_GROUPS):
        rest = groups != group
        own = np.abs((weight * single)[:, rest].sum(axis=1)) / np.sqrt(weight[:, rest].sum(axis=1))
        other_z = np.where(pool.proposed_by[:, group], np.maximum(other_z, own), other_z)
    # Signs that were fitted to one bin make its own evidence that of the best of all sets; the others' is that of the
    # sets proposed for the target. Variances are estimated from the delays, hence Student's t.
    proposed = np.maximum(20.0, np.bincount(pool.target))[pool.target]
    needed = t_distribution.isf(FALSE_SETS / 2 / proposed, 2 * (n_delays - 1))
    needed_of_all = t_distribution.isf(FALSE_SETS / 2 / n_sets, N_GROUPS * (n_delays - 1))
    accepted = (other_z >= needed) | (z >= needed_of_all)
    accepted &= np.abs(pooled) > 10 * negligible[pool.target]
    return pooled, accepted, z


def _best_of_each_bin(
    target: NDArray[np.int64], places: NDArray[np.int64], accepted: NDArray[np.bool_], strength: Array, n_bins: int
) -> NDArray[np.int64]:
    """Positions of accepted sets that are the strongest accepted ones in all of their bins."""
    rows = np.flatnonzero(accepted)
    rank = np.empty(len(rows), np.int64)
    rank[np.argsort(-strength[rows], kind="stable")] = np.arange(len(rows))
    keys = (target[rows, None] * N_GROUPS + np.arange(N_GROUPS)) * n_bins + places[rows]
    best = np.full(int(keys.max()) + 1 if keys.size else 0, len(rows), np.int64)
    np.minimum.at(best, keys, rank[:, None])
    return rows[(best[keys] == rank[:, None]).all(axis=1)]
