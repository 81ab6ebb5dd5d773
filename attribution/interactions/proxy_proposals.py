"""Sets that the proxies propose: selected on one half of the masks, tested and weighed on the other.

A proxy is fitted to the outputs on either half. Its trees hold sets of up to as many members as they are deep, and
their spectrum is exact, so the largest coefficients of every order are proposals, at `max_order` and beyond it. A
proposal that a screen or the sieve has tested with its whole family needs no second test: it is only noted there. The
others form a family of their own that contains nothing but proposals. A coefficient of the trees is large by selection
on their own half, so the test, the prior and the weight of a proposal use the other half alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.interactions.candidate_table import MIN_REPORTED_Z, Candidates
from attribution.interactions.proposers import bit_of
from attribution.interactions.setup import N_FOLDS, BlockSetup
from attribution.proxy.fit import fit_proxy
from attribution.screening.screen import set_statistics
from attribution.screening.screened_sets import ScreenedSets
from attribution.statistics.empirical_bayes import EffectPrior
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP, add_to_histogram
from attribution.types import Array

Members = tuple[int, ...]


@dataclass(frozen=True)
class ProxyProposals:
    """Member sets that the proxies of the two halves propose.

    Attributes
    ----------
    of_half : tuple of two lists of sets of tuple of int
        For either half of the masks and each target, its proposals.
    """

    of_half: tuple[list[set[Members]], list[set[Members]]]

    def name_in(self, candidates: Candidates, target: int) -> None:
        """Note, in place, which candidates of a target a proxy proposes as well."""
        either = self.of_half[0][target] | self.of_half[1][target]
        rows = [tuple(i for i in row if i >= 0) in either for row in candidates.members.tolist()]
        candidates.name("proxy", np.array(rows, dtype=bool))


def propose(setup: BlockSetup) -> ProxyProposals | None:
    """Fit a proxy on either half of the masks and take its largest sets of every order.

    Parameters
    ----------
    setup : BlockSetup

    Returns
    -------
    ProxyProposals or None
        None if the settings ask for no proposals (`n_proxy_sets` = 0, or `max_proxy_order` < 2).
    """
    settings = setup.settings
    largest = min(settings.proxy_order, setup.n_players)
    if settings.n_proxy_sets == 0 or largest < 2:
        return None
    halves = []
    for half in (False, True):
        rows = np.flatnonzero(setup.half_of_fold[setup.folds] == half)
        validation = setup.folds[rows] == setup.folds[rows].max()
        proxy = fit_proxy(
            setup.data.masks[rows], setup.data.outputs[rows], settings.proposer, backend=settings.backend,
            validation=validation, sample_weight=None if setup.data.weight is None else setup.weight[rows],
        )  # fmt: skip
        halves.append(
            [
                set(proxy.largest_sets_of_orders(target, setup.alpha, range(2, largest + 1), settings.n_proxy_sets))
                for target in range(setup.n_targets)
            ]
        )
    return ProxyProposals((halves[0], halves[1]))


def proxy_candidates(
    setup: BlockSetup,
    residual: Array,
    proposals: ProxyProposals,
    is_new: Callable[[NDArray[np.int64], int], NDArray[np.bool_]],
) -> list[list[Candidates]]:
    """Make candidates of the proposals that no exhaustive family has tested.

    Parameters
    ----------
    setup : BlockSetup
    residual : (m, t) float64
        Out-of-fold residuals of the spectrum of main effects and pairs.
    proposals : ProxyProposals
    is_new : callable
        Given sets of one order (c, order) and a target, which of them no family has tested: (c,) bool.

    Returns
    -------
    list of lists of Candidates
        For each target, parts of one order each.

    Notes
    -----
    Sets of one order share a prior over all targets, fitted to their z on the half that did not propose them.
    """
    by_parity = {parity: setup.row_groups.sums(residual, parity) for parity in (0, 1)}
    parts: dict[int, list[tuple[int, ScreenedSets, NDArray[np.bool_]]]] = {}
    for target in range(setup.n_targets):
        first, second = proposals.of_half[0][target], proposals.of_half[1][target]
        for order in sorted({len(members) for members in first | second}):
            sets = np.array(sorted(s for s in first | second if len(s) == order), dtype=np.int64)
            sets = sets[is_new(sets, target)]
            if len(sets) == 0:
                continue
            statistics = set_statistics(
                setup.row_groups, setup.fold_of_row_group, N_FOLDS, sets, by_parity[order % 2][:, target]
            )
            on_half = np.array([[tuple(s) in half for s in sets.tolist()] for half in (first, second)])
            parts.setdefault(order, []).append((target, statistics, on_half))
    found: list[list[Candidates]] = [[] for _ in range(setup.n_targets)]
    for own in parts.values():
        counts = np.zeros(N_Z_BINS, dtype=np.int64)
        for _, statistics, on_half in own:
            add_to_histogram(counts, np.abs(_z_of_test(setup, statistics, on_half[0])))
        prior = EffectPrior.fit(counts, Z_STEP)
        for target, statistics, on_half in own:
            found[target].append(_with_prior(setup, statistics, on_half, prior))
    return found


def _z_of_test(setup: BlockSetup, sets: ScreenedSets, selected_on_first: NDArray[np.bool_]) -> Array:
    """z on the half on which a set was not selected; on the second, if it was selected on both."""
    second = setup.half_of_fold
    sums = np.where(selected_on_first, sets.sums[second].sum(axis=0), sets.sums[~second].sum(axis=0))
    squares = np.where(selected_on_first, sets.squares[second].sum(axis=0), sets.squares[~second].sum(axis=0))
    return np.asarray(sums / np.sqrt(np.maximum(squares, 1e-300)))


def _with_prior(
    setup: BlockSetup, sets: ScreenedSets, on_half: NDArray[np.bool_], prior: EffectPrior
) -> Candidates:
    """Make candidates whose posteriors come from masks that did not select them.

    In the fit without a fold, the proposals of the other half count, weighed on the fold's own half without the fold.
    Posterior means are scaled to the z of all masks of the fit, from which the penalties are derived (selection.py)."""
    n_sets = len(sets.members)
    posterior_mean_z, p_null = np.zeros((N_FOLDS + 1, n_sets)), np.ones((N_FOLDS + 1, n_sets))
    weight_of_test = float(setup.fold_weight[setup.half_of_fold].sum())
    for row in range(N_FOLDS + 1):
        without = setup.all_folds if row == N_FOLDS else np.delete(setup.all_folds, row)
        all_squares, all_weight = sets.squares[without].sum(axis=0), setup.fold_weight[without].sum()
        if row == N_FOLDS:
            parts = [(on_half[0], setup.half_of_fold), (~on_half[0], ~setup.half_of_fold)]
        else:
            own_half = setup.half_of_fold == setup.half_of_fold[row]
            parts = [(np.ones(n_sets, bool), own_half & (setup.all_folds != row))]
        for own, folds in parts:
            squares, weight = sets.squares[folds].sum(axis=0)[own], float(setup.fold_weight[folds].sum())
            z = sets.sums[folds].sum(axis=0)[own] / np.sqrt(np.maximum(squares, 1e-300))
            mean, p_null[row, own] = prior.scaled(weight / weight_of_test).shrink(z)
            stderr_ratio = np.sqrt(squares / np.maximum(all_squares[own], 1e-300)) * (all_weight / weight)
            posterior_mean_z[row, own] = mean * stderr_ratio
    return Candidates(
        members=sets.members,
        sums=sets.sums,
        squares=sets.squares,
        selected_on_half=on_half,
        tested_exhaustively=np.zeros(n_sets, dtype=bool),
        posterior_mean_z=posterior_mean_z,
        p_null=p_null,
        report_threshold=np.full(n_sets, MIN_REPORTED_Z),
        by_heredity=np.zeros(n_sets, dtype=bool),
        proposed_by=np.full(n_sets, bit_of("proxy")),
        proposers=np.full(n_sets, bit_of("proxy")),
    )
