"""The campaign's table of member sets pooled over targets: one row per set, one family of q-values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    specific: whether the residuals lack the saturation part, so that the tests are of specific parts.
    """

    def __init__(
        self,
        blocks: Sequence[BlockAnalysis],
        masks: NDArray[np.bool_],
        *,
        alpha: Alpha,
        groups: NDArray[np.int64] | None = None,
        max_players: int = MAX_POOLED_PLAYERS,
        specific: bool = False,
    ) -> None:
        from attribution.masks.inputs import check_groups

        single = [block.targets >= 0 for block in blocks]
        self.targets = np.concatenate([b.targets[own] for b, own in zip(blocks, single, strict=True)])
        residuals = np.concatenate(
            [
                (b.link_residuals if specific else b.residuals)[:, own]
                for b, own in zip(blocks, single, strict=True)
            ],
            axis=1,
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
    pool, specific = (
        CampaignPool(blocks, masks, alpha=alpha, groups=groups, max_players=max_players, specific=own)
        for own in (False, True)
    )
    if len(pool.targets) < 2:
        return _columns([], pool, {}, {}, {}, higher_is_better)
    reported, stratum_of = _reported(blocks), _strata(blocks)
    found = [_test_all(own, blocks, reported, stratum_of, method, progress) for own in (specific, pool)]
    alone = {members: sum(q <= FDR_LEVEL for q, _ in rows) for members, rows in reported.items()}
    kept = {members for part in found for members in part.kept} | {m for m, count in alone.items() if count}
    rows: list[_Row] = []
    for stratum in sorted({stratum_of.get(members, Stratum(2)) for members in kept}):
        sets = sorted(members for members in kept if stratum_of.get(members, Stratum(2)) == stratum)
        # A pair of screened players is one of the family of all pairs, whatever singled it out on some target.
        inside = np.isin(np.array(sets), pool.players).all(axis=1) & (stratum.order == 2)
        tests = [own.of_sets(np.array(sets, dtype=np.int64)) for own in (specific, pool)]
        q_values = [
            np.where(inside, part.rule.of(own.p_value, Stratum(2)), part.rule.of(own.p_value, stratum))
            for part, own in zip(found, tests, strict=True)
        ]
        rows += [_Row(members, tests[0], tests[1], at, float(q_values[0][at]), float(q_values[1][at]))
                 for at, members in enumerate(sets)]  # fmt: skip
    kinds = {members: dict(rows_kinds) for members, rows_kinds in _kinds(blocks).items()}
    return _columns(rows, specific, alone, kinds, _proposers(blocks), higher_is_better)


@dataclass(frozen=True)
class _Family:
    """The rule of one family of pooled tests, and the sets that pass KEPT_LEVEL in it."""

    rule: QValues
    kept: list[tuple[int, ...]]


@dataclass(frozen=True)
class _Row:
    """One set: its tests (at one position) of the specific part and of the whole interaction, and their q-values."""

    members: tuple[int, ...]
    specific: PooledTests
    whole: PooledTests
    at: int
    specific_q: float
    q: float


def _test_all(
    pool: CampaignPool,
    blocks: Sequence[BlockAnalysis],
    reported: dict[tuple[int, ...], list[tuple[float, int]]],
    stratum_of: dict[tuple[int, ...], Stratum],
    method: Method,
    progress: Callable[[int], None] | None,
) -> _Family:
    """Test all pairs of the screened players, and every other set that some target reports."""
    z_histograms = ZHistograms()
    tested: list[tuple[Stratum, PooledTests]] = []
    screened, n_players = len(pool.players), pool.masks.shape[1]
    step = max(1, screened // 16)
    for first in range(0, screened, step):
        last = min(first + step, screened)
        found = pool.pairs(range(first, last))
        z_histograms.add_tests(Stratum(2), z_of(found.p_value))
        # Nothing above this reaches KEPT_LEVEL unless a share of all pairs passes.
        tested.append((Stratum(2), found.take(found.p_value <= 0.02)))
        if progress is not None:
            progress(last)
    inside = set(pool.players.tolist())
    for stratum in sorted({stratum_of[members] for members in reported}, key=lambda own: (own.by_heredity, own.order)):
        order = stratum.order
        others = [s for s in reported if stratum_of[s] == stratum and (order > 2 or not set(s) <= inside)]
        n_considered = min(
            comb(n_players, order) - (comb(screened, 2) if order == 2 else 0),
            sum(block.z_histograms.n_tests(stratum) for block in blocks),
        )
        if not others:
            continue
        found = pool.of_sets(np.array(sorted(others), dtype=np.int64))
        z_histograms.add_tests(stratum, z_of(found.p_value))
        z_histograms.add_tests(stratum, np.zeros(max(0, n_considered - len(others))))
        tested.append((stratum, found))
    rule = QValues.fit(z_histograms.counts, method)
    kept = [
        tuple(members)
        for stratum, part in tested
        for members in part.members[rule.of(part.p_value, stratum) <= KEPT_LEVEL].tolist()
    ]
    return _Family(rule, kept)


def _reported(blocks: Sequence[BlockAnalysis]) -> dict[tuple[int, ...], list[tuple[float, int]]]:
    """Member set -> (q-value of the specific part, target) of every individual target that reports it."""
    found: dict[tuple[int, ...], list[tuple[float, int]]] = {}
    for block in blocks:
        table = block.interactions
        q_values = table.get("specific_q_value", np.ones(len(table["members"])))
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
    rows: list[_Row],
    pool: CampaignPool,
    alone: dict[tuple[int, ...], int],
    kinds: dict[tuple[int, ...], dict[int, str]],
    proposers: dict[tuple[int, ...], set[str]],
    higher_is_better: bool,
) -> Columns:
    """The table's columns, strongest evidence of a specific part first."""
    rows = sorted(rows, key=lambda row: (row.specific_q, row.specific.p_value[row.at], row.members))

    def of_specific(name: str) -> Array:
        return np.array([getattr(row.specific, name)[row.at] for row in rows], dtype=np.float64)

    largest = of_specific("largest")
    targets = [int(pool.targets[row.specific.target[row.at]]) for row in rows]
    return {
        "members": [list(row.members) for row in rows],
        "order": np.array([len(row.members) for row in rows], dtype=np.int8),
        "statistic": of_specific("direction"),
        "largest_z": largest,
        "p_value": np.array([row.whole.p_value[row.at] for row in rows], dtype=np.float64),
        "q_value": np.array([row.q for row in rows], dtype=np.float64),
        "specific_p_value": of_specific("p_value"),
        "specific_q_value": np.array([row.specific_q for row in rows], dtype=np.float64),
        "n_tested": np.full(len(rows), len(pool.targets), dtype=np.int32),
        "n_targets": np.array([alone.get(row.members, 0) for row in rows], dtype=np.int32),
        "strongest_target": np.array(targets, dtype=np.int32),
        "kind": [
            kinds.get(row.members, {}).get(target) or _kind(row, float(z), pool, higher_is_better)
            for row, target, z in zip(rows, targets, largest, strict=True)
        ],
        # A pair that no target reports was found by the pooled screen of all pairs alone.
        "proposed_by": [
            [name for name in PROPOSERS if name in proposers.get(row.members, {"screen"})] for row in rows
        ],
    }


def _kind(row: _Row, largest_z: float, pool: CampaignPool, higher_is_better: bool) -> str:
    """The kind of a set that its strongest target does not report: by its sign there, where it is a pair (J = I)."""
    target = int(row.specific.target[row.at])
    return kind_of(
        [float(pool.effects[target, i]) for i in row.members],
        [float(np.nan_to_num(pool.errors[target, i])) for i in row.members],
        largest_z if len(row.members) == 2 else float("nan"),
        higher_is_better,
    )
