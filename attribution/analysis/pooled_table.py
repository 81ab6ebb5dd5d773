"""The campaign's table of member sets pooled over targets: one row per set, one family of q-values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.analysis.block_tables import BlockAnalysis
from attribution.analysis.pooled_tests import PooledTests, TargetPool
from attribution.analysis.target_ids import is_single
from attribution.fourier.basis import Alpha, basis, rows_of
from attribution.fourier.kinds import kind_of
from attribution.interactions.proposers import PROPOSERS
from attribution.levels import FDR_LEVEL
from attribution.masks.row_groups import make_row_groups
from attribution.statistics.false_discovery import Method, QValues
from attribution.statistics.p_values import z_of
from attribution.statistics.z_histogram import Stratum, ZHistograms
from attribution.types import Array

Columns = dict[str, Any]

MAX_POOLED_PLAYERS = 2000  # all pairs of up to this many players are pooled; of more, those of largest main effects
KEPT_LEVEL = 0.25  # sets whose pooled q is no larger are stored, and all that pass on some target


class CampaignPool:
    """The pooled tests of all explained targets of a campaign; pooled targets (negative ids) take no part.

    blocks: in the order of the targets, q-values assigned. masks: (m, n), the fit masks they were made from.
    """

    def __init__(
        self,
        blocks: Sequence[BlockAnalysis],
        masks: NDArray[np.bool_],
        *,
        alpha: Alpha,
        groups: NDArray[np.int64] | None = None,
        max_players: int = MAX_POOLED_PLAYERS,
    ) -> None:
        from attribution.masks.inputs import check_groups

        single = [block.targets >= 0 for block in blocks]
        self.targets = np.concatenate([b.targets[own] for b, own in zip(blocks, single, strict=True)])
        residuals = np.concatenate(
            [b.residuals[:, own] for b, own in zip(blocks, single, strict=True)], axis=1
        ).astype(np.float64)
        n_players = masks.shape[1]
        effects, errors = (
            np.concatenate(
                [
                    np.asarray(b.effects[name]).reshape(len(own), n_players)[own]
                    for b, own in zip(blocks, single, strict=True)
                ]
            )
            for name in ("effect", "stderr")
        )
        self.effects, self.errors = effects, errors
        with np.errstate(divide="ignore", invalid="ignore"):
            main_z = np.where(errors > 0, effects / errors, 0.0)
        self.players = np.arange(n_players)
        if n_players > max_players:
            strength = np.nan_to_num(main_z**2).sum(axis=0)
            self.players = np.sort(np.argsort(-strength, kind="stable")[:max_players])
        row_groups = make_row_groups(
            masks[:, self.players], check_groups(groups, masks), None, alpha, identity=masks
        )
        self.masks, self.first, self.alpha = masks, row_groups.first, alpha
        self._sums = {parity: row_groups.sums(residuals, parity) for parity in (0, 1)}
        self._main_z = main_z
        self.pool = TargetPool(row_groups.phi, self._sums[0], self._sums[1], main_z[:, self.players])

    def pairs(self, players: range) -> PooledTests:
        """Tests of all pairs whose first member is at one of these places of `self.players`: a unit of work."""
        found = PooledTests.joined([self.pool.pairs_of(player) for player in players])
        return PooledTests(
            self.players[found.members], found.direction, found.largest, found.target, found.p_value
        )

    def of_sets(self, members: NDArray[np.int64]) -> PooledTests:
        """Tests of given sets of one order, by players of the campaign."""
        used, local = np.unique(members, return_inverse=True)
        phi = basis(self.masks[np.ix_(self.first, used)], rows_of(self.alpha, self.first))
        pool = TargetPool(phi, self._sums[0], self._sums[1], self._main_z[:, used])
        found = pool.of_sets(np.asarray(local).reshape(members.shape))
        return PooledTests(members, found.direction, found.largest, found.target, found.p_value)


def pool_sets(
    blocks: Sequence[BlockAnalysis],
    masks: NDArray[np.bool_],
    *,
    alpha: Alpha,
    groups: NDArray[np.int64] | None = None,
    method: Method = "BH",
    max_players: int = MAX_POOLED_PLAYERS,
    higher_is_better: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Columns:
    """Test every member set over all targets together.

    Parameters
    ----------
    blocks
        In the order of the targets, q-values assigned.
    masks
        (m, n) bool, the fit masks.
    alpha
        One number or (m,), the masks' inclusion probability.
    groups
        (m,) int labels of rows that no split may divide.
    method
        "BH" or "BY".
    max_players
        Players of which all pairs are tested: those of the largest main effects.
    higher_is_better
        False turns the signs when kinds are named.
    progress
        Called with the number of players whose pairs are done.

    Returns
    -------
    dict
        Columns of the table `sets`, strongest evidence first. No rows with fewer than two targets.

    Notes
    -----
    Larger sets, and pairs of other players, are tested where some target's analysis reported them. Those it tested and
    did not report count with p = 1, so that the false discovery rate is over all that were tested.
    """
    pool = CampaignPool(blocks, masks, alpha=alpha, groups=groups, max_players=max_players)
    if len(pool.targets) < 2:
        return _columns([], pool, np.zeros(0), {}, {}, {}, higher_is_better)
    reported = _reported(blocks)
    z_histograms = ZHistograms()
    kept: list[PooledTests] = []
    screened = len(pool.players)
    step = max(1, screened // 16)
    for first in range(0, screened, step):
        last = min(first + step, screened)
        found = pool.pairs(range(first, last))
        z_histograms.add_tests(Stratum(2), z_of(found.p_value))
        # Nothing above this reaches KEPT_LEVEL unless a share of all pairs passes; reported pairs are kept anyway.
        stays = (found.p_value <= 0.02) | np.array([tuple(pair) in reported for pair in found.members.tolist()], bool)
        kept.append(found.take(stays))
        if progress is not None:
            progress(last)
    strata = [Stratum(2)] * len(kept)
    inside = set(pool.players.tolist())
    stratum_of = _strata(blocks)
    for stratum in sorted({stratum_of[members] for members in reported}, key=lambda own: (own.by_heredity, own.order)):
        order = stratum.order
        others = [s for s in reported if stratum_of[s] == stratum and (order > 2 or not set(s) <= inside)]
        n_considered = min(
            comb(masks.shape[1], order) - (comb(screened, 2) if order == 2 else 0),
            sum(block.z_histograms.n_tests(stratum) for block in blocks),
        )
        if not others:
            continue
        found = pool.of_sets(np.array(sorted(others), dtype=np.int64))
        z_histograms.add_tests(stratum, z_of(found.p_value))
        z_histograms.add_tests(stratum, np.zeros(max(0, n_considered - len(others))))
        kept.append(found)
        strata.append(stratum)
    rule = QValues.fit(z_histograms.counts, method)
    q_values = [rule.of(part.p_value, stratum) for part, stratum in zip(kept, strata, strict=True)]
    alone = {members: sum(q <= FDR_LEVEL for q, _ in rows) for members, rows in reported.items()}
    kinds = {members: dict(rows_kinds) for members, rows_kinds in _kinds(blocks).items()}
    return _columns(kept, pool, np.concatenate(q_values), alone, kinds, _proposers(blocks), higher_is_better)


def _reported(blocks: Sequence[BlockAnalysis]) -> dict[tuple[int, ...], list[tuple[float, int]]]:
    """Member set -> (q-value, target) of every individual target that reports it."""
    found: dict[tuple[int, ...], list[tuple[float, int]]] = {}
    for block in blocks:
        table = block.interactions
        q_values = table.get("q_value", np.ones(len(table["members"])))
        for members, q, target in zip(table["members"], q_values, table["target"], strict=True):
            if is_single(target):
                found.setdefault(tuple(members), []).append((float(q), int(target)))
    return found


def _strata(blocks: Sequence[BlockAnalysis]) -> dict[tuple[int, ...], Stratum]:
    """Member set -> its stratum: that of sets by heredity where that is so on some target."""
    found: dict[tuple[int, ...], Stratum] = {}
    for block in blocks:
        for members, stratum in zip(map(tuple, block.interactions["members"]), block.strata, strict=True):
            found[members] = max(found.get(members, stratum), stratum)
    return found


def _kinds(blocks: Sequence[BlockAnalysis]) -> dict[tuple[int, ...], list[tuple[int, str]]]:
    found: dict[tuple[int, ...], list[tuple[int, str]]] = {}
    for block in blocks:
        table = block.interactions
        for members, target, kind in zip(table["members"], table["target"], table["kind"], strict=True):
            found.setdefault(tuple(members), []).append((int(target), kind))
    return found


def _proposers(blocks: Sequence[BlockAnalysis]) -> dict[tuple[int, ...], set[str]]:
    """Member set -> who proposes it on some target, pooled targets left out."""
    found: dict[tuple[int, ...], set[str]] = {}
    for block in blocks:
        table = block.interactions
        columns = (table[name] for name in ("members", "target", "proposed_by", "also_proposed_by"))
        for members, target, first, others in zip(*columns, strict=True):
            if is_single(target):
                found.setdefault(tuple(members), set()).update((first, *others))
    return found


def _columns(
    parts: list[PooledTests],
    pool: CampaignPool,
    q_values: Array,
    alone: dict[tuple[int, ...], int],
    kinds: dict[tuple[int, ...], dict[int, str]],
    proposers: dict[tuple[int, ...], set[str]],
    higher_is_better: bool,
) -> Columns:
    rows: list[tuple[Any, ...]] = []
    place = 0
    for part in parts:
        for at, members in enumerate(map(tuple, part.members.tolist())):
            q = float(q_values[place])
            place += 1
            if q > KEPT_LEVEL and not alone.get(members, 0):
                continue
            row = int(part.target[at])
            target = int(pool.targets[row])
            # Pairs that no target reports still have a sign each: J = I at order two.
            kind = kinds.get(members, {}).get(target) or kind_of(
                [float(pool.effects[row, i]) for i in members],
                [float(np.nan_to_num(pool.errors[row, i])) for i in members],
                float(part.largest[at]) if len(members) == 2 else float("nan"),
                higher_is_better,
            )
            rows.append(
                (q, float(part.p_value[at]), members, float(part.direction[at]), float(part.largest[at]), target, kind)
            )
    rows.sort(key=lambda row: (row[0], row[1], row[2]))
    return {
        "members": [list(row[2]) for row in rows],
        "order": np.array([len(row[2]) for row in rows], dtype=np.int8),
        "statistic": np.array([row[3] for row in rows], dtype=np.float64),
        "largest_z": np.array([row[4] for row in rows], dtype=np.float64),
        "p_value": np.array([row[1] for row in rows], dtype=np.float64),
        "q_value": np.array([row[0] for row in rows], dtype=np.float64),
        "n_tested": np.full(len(rows), len(pool.targets), dtype=np.int32),
        "n_targets": np.array([alone.get(row[2], 0) for row in rows], dtype=np.int32),
        "strongest_target": np.array([row[5] for row in rows], dtype=np.int32),
        "kind": [row[6] for row in rows],
        # A pair that no target reports was found by the pooled screen of all pairs alone.
        "proposed_by": [[name for name in PROPOSERS if name in proposers.get(row[2], {"screen"})] for row in rows],
    }
