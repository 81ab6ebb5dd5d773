"""Trees over mask bits, and the exact Fourier spectrum of a sum of them.

A split tests whether a player is absent or present. A leaf below the players P (present) and A (absent) is therefore
value * prod_{i in P} x_i * prod_{i in A} (1 - x_i), and x_i = p + sigma phi_i gives its spectrum. `Forest.to_spectrum`
adds up all leaves of all trees at once; the tests compare it with the recursion of docs/METHOD.md, node by node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.checks import check_alpha, check_masks
from attribution.errors import SpectrumError
from attribution.fourier.member_sets import Terms
from attribution.fourier.spectrum import Spectrum

LEAF = -1
_MAX_PATH = 20  # players above a leaf: 2^20 terms for a single leaf; a choice


@dataclass(frozen=True)
class Forest:
    """A sum of trees over mask bits, plus a constant; the nodes of all trees in flat arrays.

    Attributes
    ----------
    player : (n_nodes,) int64
        Player that a node splits on, -1 for a leaf.
    absent, present : (n_nodes,) int64
        Child node for masks without and with that player (not used for leaves).
    value : (n_nodes,) float64
        Output of a leaf (not used for other nodes).
    roots : (n_trees,) int64
        Root node of each tree.
    bias : float
        Constant, added once.

    Raises
    ------
    SpectrumError
        If lengths differ, a child or root is out of range, or a leaf value is not finite.

    Notes
    -----
    A player may occur again further down its own path; the branch that contradicts the first split is then unreachable.

    Examples
    --------
    >>> split_on_2 = Forest([2, -1, -1], [1, 0, 0], [2, 0, 0], [0.0, 1.0, 3.0], [0])
    >>> dict(split_on_2.to_spectrum(n_players=4, alpha=0.5).terms)
    {(): 2.0, (2,): 1.0}
    """

    player: NDArray[np.int64]
    absent: NDArray[np.int64]
    present: NDArray[np.int64]
    value: NDArray[np.float64]
    roots: NDArray[np.int64]
    bias: float = 0.0

    def __post_init__(self) -> None:
        for name in ("player", "absent", "present", "roots"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.int64))
        object.__setattr__(self, "value", np.asarray(self.value, dtype=np.float64))
        n_nodes = len(self.player)
        if not len(self.absent) == len(self.present) == len(self.value) == n_nodes:
            raise SpectrumError("player, absent, present and value must have one entry per node, all alike.")
        inner = self.player >= 0
        children = np.concatenate([self.absent[inner], self.present[inner], self.roots])
        if len(children) and not (0 <= children.min() and children.max() < n_nodes):
            raise SpectrumError(f"a child or root lies outside the {n_nodes} nodes given.")
        if not (np.isfinite(self.value[~inner]).all() and math.isfinite(self.bias)):
            raise SpectrumError("a leaf value or the bias is not finite.")

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return len(self.roots)

    def evaluate(self, masks: NDArray[np.bool_], n_players: int) -> NDArray[np.float64]:
        """Evaluate the sum of all trees at masks: (m, n_players) bool -> (m,) float64."""
        rows = check_masks(masks, n_players, allow_empty=True)
        result = np.full(len(rows), self.bias)
        everyone = np.arange(len(rows))
        for root in self.roots:
            node = np.full(len(rows), root)
            while (inner := self.player[node] >= 0).any():
                going = node[inner]
                bit = rows[everyone[inner], self.player[going]]
                node[inner] = np.where(bit, self.present[going], self.absent[going])
            result += self.value[node]
        return result

    def to_spectrum(self, n_players: int, alpha: float) -> Spectrum:
        """Return the exact spectrum of the sum of trees at `alpha`.

        Raises
        ------
        SpectrumError
            If a player is out of range, or a leaf lies below more than 20 players.
        """
        _check_players(self.player, n_players)
        players, present, values = leaf_paths(self)
        return paths_to_spectrum(players, present, values, n_players, alpha, bias=self.bias)


def leaf_paths(forest: Forest) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float64]]:
    """List every reachable leaf of a forest as a signed set of players.

    Parameters
    ----------
    forest : Forest
        The trees.

    Returns
    -------
    players : (n_leaves, depth) int64
        Players above each leaf, distinct within a row, padded with -1.
    present : (n_leaves, depth) bool
        Whether the leaf needs that player present.
    values : (n_leaves,) float64
        Leaf values.

    Raises
    ------
    SpectrumError
        If a node is its own descendant.
    """
    node = forest.roots
    players = np.empty((len(node), 0), dtype=np.int64)
    present = np.empty((len(node), 0), dtype=np.bool_)
    found: list[tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float64]]] = []
    for _ in range(len(forest.player) + 1):
        split = forest.player[node]
        leaf = split < 0
        found.append((players[leaf], present[leaf], forest.value[node[leaf]]))
        if leaf.all():
            break
        node, players, present, split = node[~leaf], players[~leaf], present[~leaf], split[~leaf]
        above = players == split[:, None]
        repeated = above.any(axis=1)
        side_above = (above & present).any(axis=1)
        to_absent, to_present = ~(repeated & side_above), ~(repeated & ~side_above)
        # A player that was split on further up adds nothing to the path.
        added = np.where(repeated, -1, split)
        node = np.concatenate([forest.absent[node[to_absent]], forest.present[node[to_present]]])
        players = np.concatenate(
            [np.column_stack([players[go], added[go]]) for go in (to_absent, to_present)]
        )
        sides = [np.zeros(to_absent.sum(), dtype=np.bool_), added[to_present] >= 0]
        present = np.concatenate(
            [
                np.column_stack([present[go], side])
                for go, side in zip((to_absent, to_present), sides, strict=True)
            ]
        )
    else:
        raise SpectrumError("a tree contains a cycle: some node is its own descendant.")
    depth = max(part[0].shape[1] for part in found)
    return (
        np.concatenate(
            [np.pad(part[0], ((0, 0), (0, depth - part[0].shape[1])), constant_values=-1) for part in found]
        ),
        np.concatenate([np.pad(part[1], ((0, 0), (0, depth - part[1].shape[1]))) for part in found]),
        np.concatenate([part[2] for part in found]),
    )


def paths_to_spectrum(
    players: NDArray[np.int64],
    present: NDArray[np.bool_],
    values: NDArray[np.float64],
    n_players: int,
    alpha: float,
    bias: float = 0.0,
) -> Spectrum:
    """Compute the spectrum of a sum of leaves.

    Parameters
    ----------
    players, present, values, n_players, alpha, bias :
        As in path_terms.

    Returns
    -------
    Spectrum
        The spectrum of the sum.

    Raises
    ------
    SpectrumError
        If a leaf lies below more than 20 players, or a player is out of range.
    """
    constant, by_order = path_terms(players, present, values, n_players, alpha, bias)
    terms: Terms = {(): constant}
    for members, sums in by_order.values():
        terms.update(zip(map(tuple, members.tolist()), sums.tolist(), strict=True))
    return Spectrum(terms, n_players, check_alpha(alpha))


def path_terms(
    players: NDArray[np.int64],
    present: NDArray[np.bool_],
    values: NDArray[np.float64],
    n_players: int,
    alpha: float,
    bias: float = 0.0,
) -> tuple[float, dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]]]:
    """Compute the spectrum of a sum of leaves, as arrays.

    Parameters
    ----------
    players : (n_leaves, depth) int64
        Players above each leaf, distinct within a row, -1 where a row is shorter.
    present : (n_leaves, depth) bool
        Whether the leaf needs that player present.
    values : (n_leaves,) float64
        Leaf values.
    n_players : int
        Number of players.
    alpha : float
        Inclusion probability of the basis.
    bias : float
        Constant, added once.

    Returns
    -------
    float
        Coefficient of the empty set.
    dict of int to ((k, order) int64, (k,) float64)
        Member sets and coefficients by order.

    Raises
    ------
    SpectrumError
        If a leaf lies below more than 20 players, or a player is out of range.

    Notes
    -----
    The function is sum_leaf value * prod_{present} x_i * prod_{absent} (1 - x_i). A leaf below d players contributes to
    2^d sets T: value times, for each player outside T, the probability of its side (p or 1 - p), and for each player
    inside, +sigma (present) or -sigma (absent).
    """
    p = check_alpha(alpha)
    sigma = math.sqrt(p * (1 - p))
    players = np.asarray(players, dtype=np.int64)
    _check_players(players, n_players)
    # Sort each row so that a subset of its columns is a sorted member set; -1 goes to the end.
    order = np.argsort(np.where(players < 0, n_players, players), axis=1, kind="stable")
    players = np.take_along_axis(players, order, axis=1)
    present = np.take_along_axis(np.asarray(present, dtype=np.bool_), order, axis=1)
    lengths = (players >= 0).sum(axis=1)
    longest = int(lengths.max(initial=0))
    if longest > _MAX_PATH:
        raise SpectrumError(
            f"a leaf lies under {longest} different players, which makes 2^{longest} terms; the limit is "
            f"{_MAX_PATH}. Fit shallower trees (max_depth)."
        )
    constant = bias
    keys: list[list[NDArray[np.int64]]] = [[] for _ in range(longest + 1)]
    shares: list[list[NDArray[np.float64]]] = [[] for _ in range(longest + 1)]
    for length in range(longest + 1):
        rows = lengths == length
        if not rows.any():
            continue
        path, side, value = players[rows, :length], present[rows, :length], np.asarray(values)[rows]
        outside, inside = np.where(side, p, 1 - p), np.where(side, sigma, -sigma)
        for subset in range(1 << length):
            chosen = [position for position in range(length) if subset >> position & 1]
            share = value.astype(np.float64, copy=True)
            for position in range(length):
                share *= inside[:, position] if subset >> position & 1 else outside[:, position]
            if chosen:
                keys[len(chosen)].append(path[:, chosen])
                shares[len(chosen)].append(share)
            else:
                constant += float(share.sum())
    return constant, {
        size: _sum_by_members(np.concatenate(keys[size]), np.concatenate(shares[size]), n_players)
        for size in range(1, longest + 1)
    }


def forest_from_levels(
    players: NDArray[np.int64], leaf_values: NDArray[np.float64], bias: float = 0.0
) -> Forest:
    """Make a forest of complete trees of one depth, as level-wise boosters store them.

    Parameters
    ----------
    players : (n_trees, 2^depth - 1) int64
        Splits in heap order (node k has the children 2k + 1, absent, and 2k + 2, present); -1 for a node that was not
        split, whose masks all go to its absent side.
    leaf_values : (n_trees, 2^depth) float64
        Leaf values from the all-absent leaf to the all-present one.
    bias : float
        Constant, added once.

    Returns
    -------
    Forest
        The same trees.

    Raises
    ------
    SpectrumError
        If the shapes are other ones.
    """
    players = np.atleast_2d(np.asarray(players, dtype=np.int64))
    leaf_values = np.atleast_2d(np.asarray(leaf_values, dtype=np.float64))
    n_trees, n_inner = players.shape
    n_leaves = n_inner + 1
    if n_leaves & n_inner or leaf_values.shape != (n_trees, n_leaves):
        raise SpectrumError(
            "complete trees need players (n_trees, 2^depth - 1) and leaf_values (n_trees, 2^depth); got "
            f"{players.shape} and {leaf_values.shape}."
        )
    n_heap = n_inner + n_leaves
    player = np.concatenate([players, np.full((n_trees, n_leaves), LEAF)], axis=1)
    # Node at which masks that reach a heap position continue: past unsplit nodes, to their absent side.
    real = np.tile(np.arange(n_heap), (n_trees, 1))
    for node in range(n_inner - 1, -1, -1):
        real[:, node] = np.where(players[:, node] >= 0, node, real[:, 2 * node + 1])
    starts = np.arange(n_trees)[:, None] * n_heap
    real += starts
    children = np.zeros((2, n_trees, n_heap), dtype=np.int64)
    children[0, :, :n_inner] = real[:, 1 : n_heap - 1 : 2]
    children[1, :, :n_inner] = real[:, 2:n_heap:2]
    value = np.concatenate([np.zeros((n_trees, n_inner)), leaf_values], axis=1)
    # No mask reaches an unsplit node any more; as a leaf it needs no children.
    return Forest(
        player.ravel(), children[0].ravel(), children[1].ravel(), value.ravel(), real[:, 0].copy(), bias
    )


def _sum_by_members(
    members: NDArray[np.int64], shares: NDArray[np.float64], n_players: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Add up shares (k,) over equal rows of members (k, order): distinct rows, and their sums."""
    rows: NDArray[np.int64]
    bits = max(1, int(n_players - 1).bit_length())
    if bits * members.shape[1] <= 63:
        packed = members[:, 0].copy()
        for position in range(1, members.shape[1]):
            packed = (packed << bits) | members[:, position]
        distinct, inverse = np.unique(packed, return_inverse=True)
        low = (1 << bits) - 1
        shifts = bits * np.arange(members.shape[1] - 1, -1, -1)
        rows = (distinct[:, None] >> shifts[None, :]) & low
    else:
        rows, inverse = np.unique(members, axis=0, return_inverse=True)
    sums = np.bincount(np.ravel(inverse), weights=shares, minlength=len(rows))
    return rows, np.asarray(sums, dtype=np.float64)


def _check_players(players: NDArray[np.int64], n_players: int) -> None:
    """Raise SpectrumError if a player is out of range."""
    highest = int(np.max(players, initial=-1))
    if highest >= n_players:
        raise SpectrumError(f"a tree splits on player {highest}, but there are only {n_players} players.")
