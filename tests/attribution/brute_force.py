"""Every quantity of the spectrum from its definition, over all 2^n masks: slow, short, independent of the
package.

`values` is always (2^n,) float64, f at the mask whose bits are those of the row number, player 0 lowest.
"""

from __future__ import annotations

from itertools import combinations
from math import comb, factorial

import numpy as np
from numpy.typing import NDArray

from tests.games import all_masks, mask_probabilities

Members = tuple[int, ...]
Values = NDArray[np.float64]


def sets_up_to(n_players: int, max_order: int, min_order: int = 0) -> list[Members]:
    return [s for order in range(min_order, max_order + 1) for s in combinations(range(n_players), order)]


def row(members: Members) -> int:
    return sum(1 << player for player in members)


def fourier(values: Values, n_players: int, alpha: float, members: Members) -> float:
    """E[f phi_S]."""
    masks = all_masks(n_players)
    phi = ((masks - alpha) / np.sqrt(alpha * (1 - alpha)))[:, list(members)].prod(axis=1)
    return float((mask_probabilities(masks, alpha) * values * phi).sum())


def derivative(values: Values, members: Members, rest: int) -> float:
    """Delta_S f at the coalition `rest` (a row number without the members)."""
    total = 0.0
    for order in range(len(members) + 1):
        for subset in combinations(members, order):
            total += (-1) ** (len(members) - order) * values[rest | row(subset)]
    return total


def rests(n_players: int, members: Members) -> list[int]:
    return [k for k in range(1 << n_players) if not k & row(members)]


def moebius(values: Values, members: Members) -> float:
    return derivative(values, members, 0)


def banzhaf(values: Values, n_players: int, alpha: float, members: Members) -> float:
    """E[Delta_S f] over Bernoulli(alpha) masks of the other players."""
    total = 0.0
    for rest in rests(n_players, members):
        size = rest.bit_count()
        others = n_players - len(members)
        total += alpha**size * (1 - alpha) ** (others - size) * derivative(values, members, rest)
    return total


def joint_surplus(values: Values, n_players: int, alpha: float, members: Members) -> float:
    """E[f(x+S) - f(x-S) - sum_i (f(x-S + i) - f(x-S))], the first line of the definition in docs/METHOD.md."""
    total = 0.0
    for rest in rests(n_players, members):
        size, others = rest.bit_count(), n_players - len(members)
        alone = sum(values[rest | 1 << player] - values[rest] for player in members)
        surplus = values[rest | row(members)] - values[rest] - alone
        total += alpha**size * (1 - alpha) ** (others - size) * surplus
    return total


def shapley(values: Values, n_players: int, player: int) -> float:
    total = 0.0
    for rest in rests(n_players, (player,)):
        size = rest.bit_count()
        weight = factorial(size) * factorial(n_players - size - 1) / factorial(n_players)
        total += weight * derivative(values, (player,), rest)
    return total


def shapley_interaction(values: Values, n_players: int, members: Members) -> float:
    """SII by its weights on coalition sizes (Grabisch and Roubens, 1999)."""
    others, total = n_players - len(members), 0.0
    for rest in rests(n_players, members):
        size = rest.bit_count()
        weight = factorial(size) * factorial(others - size) / factorial(others + 1)
        total += weight * derivative(values, members, rest)
    return total


def shapley_taylor(values: Values, n_players: int, members: Members, max_order: int) -> float:
    """STII by definition: Delta_S at the empty set below the top order, a weighted mean of it there."""
    if len(members) < max_order:
        return derivative(values, members, 0)
    return sum(
        max_order / n_players / comb(n_players - 1, rest.bit_count()) * derivative(values, members, rest)
        for rest in rests(n_players, members)
    )


def monomials(n_players: int, sets: list[Members]) -> NDArray[np.float64]:
    masks = all_masks(n_players)
    return np.stack([masks[:, list(s)].all(axis=1).astype(float) for s in sets], axis=1)


def faith_banzhaf(values: Values, n_players: int, max_order: int, alpha: float) -> dict[Members, float]:
    """Least squares of f on all monomials up to max_order under Bernoulli(alpha) weights."""
    sets = sets_up_to(n_players, max_order)
    root = np.sqrt(mask_probabilities(all_masks(n_players), alpha))
    solution = np.linalg.lstsq(monomials(n_players, sets) * root[:, None], values * root, rcond=None)[0]
    return dict(zip(sets, solution.tolist(), strict=True))


def faith_shapley(values: Values, n_players: int, max_order: int) -> dict[Members, float]:
    """Least squares under Shapley-kernel weights, exact on the empty and the full coalition (by KKT)."""
    sets = sets_up_to(n_players, max_order)
    design = monomials(n_players, sets)
    inner = np.arange(1, (1 << n_players) - 1)
    sizes = all_masks(n_players).sum(axis=1)[inner]
    weights = np.array([(n_players - 1) / (comb(n_players, s) * s * (n_players - s)) for s in sizes.tolist()])
    normal = design[inner].T @ (weights[:, None] * design[inner])
    ends = design[[0, -1]]
    system = np.block([[normal, ends.T], [ends, np.zeros((2, 2))]])
    right = np.concatenate([design[inner].T @ (weights * values[inner]), values[[0, -1]]])
    # lstsq: at max_order = n the kernel alone leaves the system singular, the constraints fix it.
    solution = np.linalg.lstsq(system, right, rcond=None)[0]
    return dict(zip(sets, solution[: len(sets)].tolist(), strict=True))
