"""One-step estimates of effects and interactions, with errors and p-values that selection does not spoil."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.fourier.basis import basis, rows_of
from attribution.interactions.candidates import Candidates
from attribution.interactions.selection import Selection
from attribution.interactions.setup import BlockSetup
from attribution.masks.player_subset import player_blocks
from attribution.screening.screen import set_columns
from attribution.statistics.p_values import clustered_mean, two_sided_p, z_of
from attribution.statistics.selective_intervals import conditional_estimate
from attribution.statistics.z_histogram import Stratum, ZHistograms
from attribution.types import Array


@dataclass(frozen=True)
class Reported:
    """Sets of one target whose test came out large, strongest evidence first. The arrays (c,) are in units of F.

    value, stderr: centre and standard error of the interval that allows for having been reported
    (selective_intervals.py). raw, raw_stderr: the one-step estimate. shrunken: its posterior mean. p_value: two-sided,
    of the raw estimate. kept: in the target's spectrum. by_heredity: singled out by smaller
    sets, and so of their stratum among the q-values (statistics/false_discovery.py)."""

    members: list[tuple[int, ...]]
    value: Array
    stderr: Array
    raw: Array
    raw_stderr: Array
    shrunken: Array
    p_value: Array
    kept: NDArray[np.bool_]
    by_heredity: NDArray[np.bool_]

    @property
    def strata(self) -> list[Stratum]:
        """The stratum of each set among the q-values."""
        return [Stratum(len(own), bool(by)) for own, by in zip(self.members, self.by_heredity, strict=True)]


def main_effects(setup: BlockSetup, residual: Array, fold_main: Array) -> tuple[Array, Array]:
    """One-step main effects F({i}) and their clustered standard errors, (t, n) each; NaN for a constant player.

    residual: (m, t), cross-fitted; fold_main: (k, t, n), the coefficients they were made with."""
    share = setup.fold_weight / setup.fold_weight.sum()
    total = float(setup.weight.sum())
    centred = residual - np.average(residual, axis=0, weights=setup.weight)
    sums = setup.row_groups.sums(centred, 1)
    main = np.einsum("k,ktn->tn", share, fold_main) + (sums.T @ setup.row_groups.phi) / total
    if setup.row_groups.exact:
        stderr = np.sqrt((sums.T**2) @ (setup.row_groups.phi.astype(np.float64) ** 2)) / total
    else:
        stderr = np.stack(
            [
                clustered_mean(setup.phi * centred[:, [target]], setup.data.weight, setup.data.groups)[1]
                for target in range(setup.n_targets)
            ]
        )
    main, stderr = main * setup.mixture.unit(1), stderr * setup.mixture.unit(1)
    if setup.data.fixed_size:
        # The common shift is not identified; the minimum-norm convention is a mean of zero.
        main = main - main.mean(axis=1, keepdims=True)
    unknown = (setup.phi == setup.phi[:1]).all(axis=0)
    main[:, unknown] = np.nan
    stderr[:, unknown] = np.nan
    if len(setup.players) == setup.n_all_players:
        return main, stderr
    return _with_the_others(setup, sums, total, main, stderr)


def _with_the_others(
    setup: BlockSetup, sums: Array, total: float, main: Array, stderr: Array
) -> tuple[Array, Array]:
    """The same for all players: those outside the joint fits have fitted effects of zero, and blocks of them are
    enough at a time. Groups of different masks are then taken as their masks."""
    every = np.empty((setup.n_targets, setup.n_all_players))
    every_stderr = np.empty_like(every)
    few, few_squares = sums.T.astype(np.float32), (sums.T**2).astype(np.float32)
    for block in player_blocks(setup.n_all_players):
        phi = basis(setup.all_masks[setup.row_groups.first, block], rows_of(setup.row_alpha, setup.row_groups.first))
        every[:, block] = (few @ phi) / total * setup.mixture.unit(1)
        every_stderr[:, block] = np.sqrt(few_squares @ (phi * phi)) / total * setup.mixture.unit(1)
        constant = (phi == phi[:1]).all(axis=0)
        every[:, block][:, constant] = np.nan
        every_stderr[:, block][:, constant] = np.nan
    every[:, setup.players], every_stderr[:, setup.players] = main, stderr
    return every, every_stderr


def report(
    setup: BlockSetup,
    residual: Array,
    candidates: Candidates,
    selection: Selection,
    z_histograms: ZHistograms,
    significant: Mapping[Stratum, float],
) -> Reported:
    """Values, errors and p-values of one target's sets that are reported.

    residual: (m,), cross-fitted by the spectrum. significant: {stratum: |z| from which the block's q-values are at most
    LEVEL}; whoever reads only such sets has selected by it, so beyond it the interval allows for that.

    A screened set is tested on all masks: its whole family is counted.
    A set that a proxy put forward is tested by the half that did not (by the second, where both did).
    In `z_histograms` a screened set's |z| of the screen is replaced by that of its final test, and proposed sets are
    added."""
    z_screen = np.abs(candidates.z(setup.every))
    wanted = np.flatnonzero((z_screen >= candidates.cut) | ~candidates.screened)
    columns = set_columns(setup.phi, candidates.members[wanted]).astype(np.float64)
    scores = columns * (residual - np.average(residual, weights=setup.weight))[:, None]
    screened, cut = candidates.screened[wanted], candidates.cut[wanted]
    first_half = ~setup.half_of_fold
    by_second = candidates.proposed[0, wanted]
    raw, raw_stderr, df = np.zeros(len(wanted)), np.zeros(len(wanted)), np.ones(len(wanted))
    for now, folds in (
        (screened, setup.every),
        (~screened & by_second, setup.every[~first_half]),
        (~screened & ~by_second, setup.every[first_half]),
    ):
        if not now.any():
            continue
        rows = np.flatnonzero(np.isin(setup.folds, folds))
        share = setup.fold_weight[folds] / setup.fold_weight[folds].sum()
        mean, raw_stderr[now] = clustered_mean(
            scores[np.ix_(rows, now)], setup.weight[rows], setup.data.groups[rows]
        )
        df[now] = max(len(np.unique(setup.data.groups[rows])) - 1, 1)
        raw[now] = mean + share @ selection.fold_sets[np.ix_(folds, wanted[now])]
    z = np.divide(raw, raw_stderr, out=np.zeros_like(raw), where=raw_stderr > 0)
    p_value = two_sided_p(z, df)
    orders = (candidates.members[wanted] >= 0).sum(axis=1)
    by_heredity = candidates.by_heredity[wanted]
    strata = [Stratum(int(order), bool(own)) for order, own in zip(orders, by_heredity, strict=True)]
    for stratum in sorted(set(strata)):
        now = (orders == stratum.order) & (by_heredity == stratum.by_heredity)
        z_histograms.add_tests(stratum, z_of(p_value[now & ~screened]))
        z_histograms.replace(stratum, z_screen[wanted][now & screened], z_of(p_value[now & screened]))
    # A screened set had to pass the cut with the datamodel's residuals, which are larger than the spectrum's: in
    # units of its final error the cut lies higher by as much.
    screen_stderr = np.sqrt(candidates.squares[:, wanted].sum(axis=0)) / float(setup.weight.sum())
    looser = np.divide(
        screen_stderr, raw_stderr, out=np.ones_like(raw_stderr), where=screened & (raw_stderr > 0)
    )
    cut = cut * np.maximum(looser, 1.0)
    shown = np.flatnonzero(np.abs(z) >= cut)
    shown = shown[np.argsort(p_value[shown], kind="stable")]
    firm = np.array([significant.get(strata[position], np.inf) for position in shown])
    chosen_from = np.where(z_of(p_value[shown]) >= firm, np.maximum(cut[shown], firm), cut[shown])
    centre, error = conditional_estimate(z[shown], chosen_from)
    unit = np.array([setup.mixture.unit(int(order)) for order in orders[shown]])
    shrink = np.abs(candidates.mean[-1, wanted]) / np.maximum(z_screen[wanted], 1e-300)
    return Reported(
        [tuple(int(setup.players[i]) for i in row if i >= 0) for row in candidates.members[wanted][shown]],
        centre * raw_stderr[shown] * unit, error * raw_stderr[shown] * unit, raw[shown] * unit,
        raw_stderr[shown] * unit,
        (shrink * raw)[shown] * unit, p_value[shown], selection.kept[wanted][shown], by_heredity[shown],
    )  # fmt: skip
