"""Orders in which players leave or come, tried on the game: each one's smallest flip, deletion, insertion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from attribution.curation.surrogate import State, Surrogate

# Margins of (mask, target) pairs: (m, n_players) bool and (m,) int to (m,) float.
Margins = Callable[[np.ndarray, np.ndarray], np.ndarray]
N_RESAMPLES = 2000


@dataclass(frozen=True)
class Order:
    """Players of one target, ordered by some rule.

    Attributes
    ----------
    target : int
    by : str
        Name of the rule.
    removal, insertion : tuple of int
        All players, those that should leave (come) first.
    """

    target: int
    by: str
    removal: tuple[int, ...]
    insertion: tuple[int, ...]


@dataclass(frozen=True)
class Tried:
    """What an order does, evaluated.

    Attributes
    ----------
    order : Order
    deletion, insertion : (n_players + 1,) float64
        Margin after 0, 1, 2, … players have left, or come.
    removed : tuple of int
        A removal that turns the prediction over and needs all its members; all players where none does.
    flipped : bool
    margin_after : float
        After that removal.
    n_tried : int
        Masks evaluated to find it.
    """

    order: Order
    deletion: np.ndarray
    insertion: np.ndarray
    removed: tuple[int, ...]
    flipped: bool
    margin_after: float
    n_tried: int


def greedy(surrogate: Surrogate, *, insert: bool = False) -> tuple[int, ...]:
    """Order players so that each step lowers (with `insert` raises) the predicted margin the most.

    Parameters
    ----------
    surrogate : Surrogate
        Of one target.
    insert : bool
        Start from no player and put them in, instead of removing them from all.

    Returns
    -------
    tuple of int
        All players.
    """
    n_players = surrogate.n_players
    state = State(surrogate, np.full(n_players, not insert))
    left = np.ones(n_players, bool)
    order: list[int] = []
    for _ in range(n_players):
        gains = np.where(left, state.gains() if not insert else -state.gains(), np.inf)
        player = int(gains.argmin())
        state.flip(player)
        left[player] = False
        order.append(player)
    return tuple(order)


def by_scores(target: int, by: str, scores: np.ndarray) -> Order:
    """Order players by a score each, the largest first, for removal and for insertion."""
    order = tuple(np.argsort(-np.asarray(scores), kind="stable").tolist())
    return Order(target, by, order, order)


def by_surrogate(target: int, by: str, surrogate: Surrogate) -> Order:
    """Order players by a surrogate: greedily from all for removal, from none for insertion."""
    return Order(target, by, greedy(surrogate), greedy(surrogate, insert=True))


def try_orders(orders: list[Order], margins: Margins, n_players: int) -> list[Tried]:
    """Evaluate every order, all of them together.

    Parameters
    ----------
    orders : list of Order
    margins : callable
        See `Margins`.
    n_players : int

    Returns
    -------
    list of Tried
        Removals grow in their order until the margin falls below zero; then players are put back one by one, the first
        removed first, where the margin stays below zero without them. Every step is evaluated.
    """
    targets = np.array([order.target for order in orders])
    each = np.repeat(targets, n_players + 1)
    deletion = margins(np.concatenate([_prefixes(order.removal, False) for order in orders]), each)
    insertion = margins(np.concatenate([_prefixes(order.insertion, True) for order in orders]), each)
    deletion, insertion = (found.reshape(len(orders), -1).astype(np.float64) for found in (deletion, insertion))
    removed: list[list[int]] = []
    for order, curve in zip(orders, deletion, strict=True):
        below = np.flatnonzero(curve < 0)
        removed.append(list(order.removal[: int(below[0])] if len(below) else order.removal))
    flipped: np.ndarray = np.any(deletion < 0, axis=1)
    after = np.array([curve[len(gone)] for curve, gone in zip(deletion, removed, strict=True)])
    n_tried = np.full(len(orders), n_players + 1)
    candidates = [list(gone[:-1]) if flip else [] for gone, flip in zip(removed, flipped, strict=True)]
    for step in range(max(map(len, candidates), default=0)):
        at = [number for number, named in enumerate(candidates) if step < len(named)]
        masks = np.ones((len(at), n_players), bool)
        for row, number in enumerate(at):
            masks[row, [player for player in removed[number] if player != candidates[number][step]]] = False
        found = margins(masks, targets[at])
        for row, number in enumerate(at):
            n_tried[number] += 1
            if found[row] < 0:
                removed[number].remove(candidates[number][step])
                after[number] = found[row]
    return [
        Tried(order, deletion[i], insertion[i], tuple(removed[i]), bool(flipped[i]), float(after[i]), int(n_tried[i]))
        for i, order in enumerate(orders)
    ]


def compare(values: Mapping[str, np.ndarray], with_name: str, seed: int = 0) -> dict[str, tuple[float, float, float]]:
    """Compare columns of paired values with one of them.

    Parameters
    ----------
    values : {str: (n,) float}
        One value a target.
    with_name : str
        Which column the others are compared with.
    seed : int
        Of the resamples.

    Returns
    -------
    dict of str to (difference, low, high)
        Mean difference from that column with a 95% interval over targets (paired bootstrap); NaN for fewer than two.
    """
    base = values[with_name]
    rows = np.random.default_rng(seed).integers(0, max(1, len(base)), (N_RESAMPLES, len(base)))
    found = {}
    for name, column in values.items():
        apart = column - base
        if len(apart) < 2:
            found[name] = (float(apart.mean()) if len(apart) else np.nan, np.nan, np.nan)
            continue
        low, high = np.quantile(apart[rows].mean(axis=1), [0.025, 0.975])
        found[name] = (float(apart.mean()), float(low), float(high))
    return found


def _prefixes(order: tuple[int, ...], insert: bool) -> np.ndarray:
    """(n + 1, n) bool: masks after 0, 1, 2, … players of the order have left, or come."""
    masks = np.full((len(order) + 1, len(order)), not insert)
    for number, player in enumerate(order):
        masks[number + 1 :, player] = insert
    return masks
