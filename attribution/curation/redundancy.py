"""Redundant clusters and protected sets, read from the interactions of all targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.statistics.listing import listing_q
from attribution.types import Array

PROTECTING = ("synergy", "boundary_synergy")


@dataclass
class Edge:
    """Player `covered` is replaceable by `by`: share of its own effect (without the other) that vanishes beside it.

    rows: of the interactions table; similar: whether they also look alike.
    """

    covered: int
    by: int
    share: float
    rows: list[int] = field(default_factory=list)
    similar: bool = False


@dataclass(frozen=True)
class Cluster:
    """Players that replace one another. kept: those that stay; stands_in: dropped player -> the edge that covers it."""

    players: tuple[int, ...]
    kept: tuple[int, ...]
    stands_in: dict[int, Edge]


def counted_rows(interactions: Mapping[str, Sequence[Any]], kinds: Sequence[str], level: float) -> list[int]:
    """Rows behind an open gate whose specific part has q <= level and one of the kinds."""
    return [
        row
        for row, (gate, q, kind) in enumerate(
            zip(interactions["gate_open"], listing_q(interactions), interactions["kind"], strict=True)
        )
        if gate and q <= level and kind in kinds
    ]


def replaceability(
    interactions: Mapping[str, Sequence[Any]],
    effects: Mapping[str, Sequence[Any]],
    alpha: float,
    level: float,
) -> list[Edge]:
    """Both directions of every redundant pair on individual targets.

    On a target where i has the main effect b and the pair the interaction I of the opposite sign, i alone (without j)
    does b - alpha I and beside j it does b + (1 - alpha) I: the part -I / (b - alpha I) of its own effect is j's as
    well, 1 for copies. Over targets: the sum of |I| over the targets where the pair is redundant, divided by the sum of
    |b - alpha I| over all explained targets where i has an effect (q <= level) or the pair an interaction.
    """
    rows = [
        row
        for row in counted_rows(interactions, ("redundancy",), level)
        if interactions["target"][row] >= 0 and len(interactions["members"][row]) == 2
    ]
    players = {player for row in rows for player in interactions["members"][row]}
    own = _own_effects(effects, players, level)
    by_pair: dict[tuple[int, int], list[int]] = {}
    for row in rows:
        i, j = interactions["members"][row]
        by_pair.setdefault((int(i), int(j)), []).append(row)
    edges = []
    for (i, j), found in by_pair.items():
        shared = {int(interactions["target"][row]): float(interactions["shrunken"][row]) for row in found}
        for covered, by, at in ((i, j, 0), (j, i, 1)):
            alone = dict(own.get(covered, {}))
            for row in found:
                alone.setdefault(int(interactions["target"][row]), float(interactions["main_effects"][row][at]))
            total = sum(abs(b - alpha * shared.get(target, 0.0)) for target, b in alone.items())
            taken = sum(abs(value) for value in shared.values())
            edges.append(Edge(covered, by, min(1.0, taken / total) if total > 0 else 0.0, found))
    return edges


def _own_effects(
    effects: Mapping[str, Sequence[Any]], players: set[int], level: float
) -> dict[int, dict[int, float]]:
    """Player -> target -> main effect, where it has one, on individual targets."""
    found: dict[int, dict[int, float]] = {}
    player, target = np.asarray(effects["player"]), np.asarray(effects["target"])
    q, value = np.asarray(effects["q_value"], dtype=np.float64), np.asarray(effects["effect"], dtype=np.float64)
    chosen = np.isin(player, list(players)) & (target >= 0) & (q <= level)
    for p, t, b in zip(player[chosen].tolist(), target[chosen].tolist(), value[chosen].tolist(), strict=True):
        found.setdefault(int(p), {})[int(t)] = float(b)
    return found


def look_alike_edges(groups: Sequence[Sequence[int]], player_classes: NDArray[np.int64]) -> list[Edge]:
    """Both directions of every pair that looks alike and has one class."""
    return [
        Edge(int(a), int(b), 1.0, similar=True)
        for group in groups
        for a in group
        for b in group
        if a != b and player_classes[a] == player_classes[b]
    ]


def same_class_copies(groups: Sequence[Sequence[int]], player_classes: NDArray[np.int64]) -> list[tuple[int, ...]]:
    """Groups of near-duplicates divided by label; those of two players or more."""
    found = []
    for group in groups:
        by_class: dict[int, list[int]] = {}
        for player in group:
            by_class.setdefault(int(player_classes[player]), []).append(int(player))
        found += [tuple(sorted(players)) for players in by_class.values() if len(players) > 1]
    return found


def keep_one_of_copies(
    keep: NDArray[np.bool_],
    copies: Sequence[Sequence[int]],
    player_classes: NDArray[np.int64],
    worth: Array,
    held: NDArray[np.bool_],
    unwanted: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Bring back the best copy of every group that a budget dropped whole, in exchange for a player of its class.

    Parameters
    ----------
    keep
        (n,) the budget's choice; its size does not change.
    copies
        Groups of near-duplicates of one class.
    player_classes, worth
        (n,) labels and what each player is worth.
    held
        (n,) players that must not leave.
    unwanted
        (n,) players that must not come back.

    Returns
    -------
    ndarray of bool
        (n,). A group stays dropped where no player of its class can leave.
    """
    keep = keep.copy()
    only = held.copy()  # the last of its group must not leave either
    for group in copies:
        kept = [player for player in group if keep[player]]
        if len(kept) == 1:
            only[kept[0]] = True
    for group in sorted(copies, key=lambda group: -max(worth[list(group)])):
        back = [player for player in group if not unwanted[player]]
        if keep[list(group)].any() or not back:
            continue
        best = max(back, key=lambda player: worth[player])
        spare = np.flatnonzero(keep & ~only & (player_classes == player_classes[best]))
        if len(spare):
            keep[spare[np.argmin(worth[spare])]] = False
            keep[best] = only[best] = True
    return keep


def clusters_of(
    edges: Sequence[Edge], worth: Array, least_share: float, copies: Sequence[Sequence[int]] = ()
) -> list[Cluster]:
    """Connected groups of players that replace one another, and who stays in each.

    Parameters
    ----------
    edges
        Those below least_share do not count.
    worth
        (n,) In descending order of worth a member stays unless one that stays already covers it; so of a chain
        a - b - c the middle may stand in for both ends, but no one is dropped for a player that is itself dropped.
    copies
        Groups of near-duplicates of one class. The best of each is never dropped for a player that is no copy of it,
        so that one picture of every group stays.

    Returns
    -------
    list of Cluster
    """
    best = {max(group, key=lambda player: (worth[player], -player)) for group in copies}
    edges = [edge for edge in edges if edge.similar or edge.covered not in best]
    covering: dict[int, dict[int, Edge]] = {}
    parent: dict[int, int] = {}

    def root(player: int) -> int:
        while parent.setdefault(player, player) != player:
            player = parent[player]
        return player

    for edge in edges:
        if edge.share < least_share:
            continue
        known = covering.setdefault(edge.covered, {}).get(edge.by)
        if known is None:
            covering[edge.covered][edge.by] = Edge(edge.covered, edge.by, edge.share, list(edge.rows), edge.similar)
        else:
            known.share = max(known.share, edge.share)
            known.similar |= edge.similar
            known.rows += [row for row in edge.rows if row not in known.rows]
        parent[root(edge.covered)] = root(edge.by)
    groups: dict[int, list[int]] = {}
    for player in sorted(parent):
        groups.setdefault(root(player), []).append(player)
    result = []
    for players in groups.values():
        kept: list[int] = []
        stands_in: dict[int, Edge] = {}
        for player in sorted(players, key=lambda p: (-worth[p], p)):
            by = [edge for other, edge in covering.get(player, {}).items() if other in kept]
            if by:
                stands_in[player] = max(by, key=lambda edge: (edge.share, -edge.by))
            else:
                kept.append(player)
        result.append(Cluster(tuple(players), tuple(sorted(kept)), stands_in))
    return result


def protected_sets(
    interactions: Mapping[str, Sequence[Any]], level: float, harmful: NDArray[np.bool_]
) -> dict[tuple[int, ...], list[int]]:
    """Synergistic member sets and the rows that show them.

    A boundary synergy with a member that is harmful beyond doubt protects nobody: a helper that counts for more beside
    a wrong label is that label's symptom.
    """
    found: dict[tuple[int, ...], list[int]] = {}
    for row in counted_rows(interactions, PROTECTING, level):
        members = tuple(int(player) for player in interactions["members"][row])
        if interactions["kind"][row] == "boundary_synergy" and harmful[list(members)].any():
            continue
        found.setdefault(members, []).append(row)
    return found


def bundles_of(sets: Sequence[Sequence[int]]) -> list[list[int]]:
    """Connected components of sets that share players: each goes or stays as a whole."""
    merged: list[set[int]] = []
    for members in sets:
        joined = set(members)
        apart = []
        for other in merged:
            if other & joined:
                joined |= other
            else:
                apart.append(other)
        merged = [*apart, joined]
    return sorted(sorted(bundle) for bundle in merged)
