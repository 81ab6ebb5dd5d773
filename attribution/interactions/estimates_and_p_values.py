"""One-step estimates of main effects and interactions, with errors and p-values that allow for the selection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.fourier.basis import basis, rows_of
from attribution.interactions.candidate_table import Candidates
from attribution.interactions.selection import Selection
from attribution.interactions.setup import BlockSetup
from attribution.masks.player_subset import player_blocks
from attribution.masks.weights import effective_groups
from attribution.screening.screen import set_columns
from attribution.statistics.p_values import clustered_mean, two_sided_p, z_of
from attribution.statistics.selective_intervals import conditional_estimate
from attribution.statistics.z_histogram import Stratum, ZHistograms
from attribution.types import Array


@dataclass(frozen=True, kw_only=True)
class Reported:
    """The reported sets of one target, strongest evidence first.

    Arrays have shape (c,) and are in units of the Fourier coefficient F(S).

    Attributes
    ----------
    members : list of tuple of int
        Players of each set.
    value, stderr : float64
        Centre and standard error of the interval given that the set was reported
        (statistics/selective_intervals.py).
    raw, raw_stderr : float64
        One-step estimate and its standard error, without regard to the selection.
    shrunken : float64
        Posterior mean of the one-step estimate.
    p_value : float64
        Two-sided, of the one-step estimate.
    in_spectrum : bool
        True if the set has a coefficient in the target's spectrum.
    by_heredity : bool
        True if smaller sets singled it out: a stratum of its own among the q-values.
    proposed_by, proposers : uint8
        Bit of the proposer by whose rule the set was tested, and bits of all that propose it (proposers.py).
    """

    members: list[tuple[int, ...]]
    value: Array
    stderr: Array
    raw: Array
    raw_stderr: Array
    shrunken: Array
    p_value: Array
    in_spectrum: NDArray[np.bool_]
    by_heredity: NDArray[np.bool_]
    proposed_by: NDArray[np.uint8]
    proposers: NDArray[np.uint8]

    @property
    def strata(self) -> list[Stratum]:
        """The stratum of each set among the q-values."""
        return [Stratum(len(own), bool(by)) for own, by in zip(self.members, self.by_heredity, strict=True)]


def one_step_main_effects(setup: BlockSetup, residual: Array, fold_main: Array) -> tuple[Array, Array]:
    """Estimate main effects F({i}) and their clustered standard errors.

    Parameters
    ----------
    setup : BlockSetup
    residual : (m, t) float64
        Cross-fitted residuals.
    fold_main : (N_FOLDS, t, n) float64
        Coefficients of the players in the fits that the residuals come from.

    Returns
    -------
    main, stderr : (t, n_all_players) float64
        NaN for a player that every mask or no mask includes.

    Notes
    -----
    F({i}) is estimated by the mean coefficient plus mean(phi_i r), and its variance is that of phi_i r. The residuals r
    are the datamodel's while candidates are searched, and the spectrum's for the effects that are reported.

    `attribution.linear.main_effects.main_effects` estimates the same effect for curation and the search for copies,
    which have no block's setup. Its numbers differ: its residuals are always the datamodel's, without weights and not
    centred; it averages b_i phi_i^2 over the rows where this function takes phi_i^2 = 1 and averages b_i over folds;
    its standard error includes the variation of b_i phi_i^2 and the factor g / (g - 1) for g row groups.
    """
    share = setup.fold_weight / setup.fold_weight.sum()
    total = float(setup.weight.sum())
    df = setup.weighted_df
    correction = 1.0 if df is None else ((df + 1) / df) ** 0.5
    centred = residual - np.average(residual, axis=0, weights=setup.weight)
    sums = setup.row_groups.sums(centred, 1)
    main = np.einsum("k,ktn->tn", share, fold_main) + (sums.T @ setup.row_groups.phi) / total
    if setup.row_groups.exact:
        stderr = np.sqrt((sums.T**2) @ (setup.row_groups.phi.astype(np.float64) ** 2)) / total * correction
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
    return _of_all_players(setup, sums, total, main, stderr, correction)


def _of_all_players(
    setup: BlockSetup, sums: Array, total: float, main: Array, stderr: Array, correction: float
) -> tuple[Array, Array]:
    """Add the players outside the joint fits, whose fitted coefficients are zero; computed in blocks of players.

    Groups that mix masks are clustered by mask here."""
    all_main = np.empty((setup.n_targets, setup.n_all_players))
    all_stderr = np.empty_like(all_main)
    sums32, squares32 = sums.T.astype(np.float32), (sums.T**2).astype(np.float32)
    for block in player_blocks(setup.n_all_players):
        phi = basis(setup.all_masks[setup.row_groups.first, block], rows_of(setup.row_alpha, setup.row_groups.first))
        all_main[:, block] = (sums32 @ phi) / total * setup.mixture.unit(1)
        all_stderr[:, block] = np.sqrt(squares32 @ (phi * phi)) / total * correction * setup.mixture.unit(1)
        constant = (phi == phi[:1]).all(axis=0)
        all_main[:, block][:, constant] = np.nan
        all_stderr[:, block][:, constant] = np.nan
    all_main[:, setup.players], all_stderr[:, setup.players] = main, stderr
    return all_main, all_stderr


def report(
    setup: BlockSetup,
    residual: Array,
    candidates: Candidates,
    selection: Selection,
    z_histograms: ZHistograms,
    significant: Mapping[Stratum, float],
) -> Reported:
    """Test one target's candidates and estimate those that are reported.

    Parameters
    ----------
    setup : BlockSetup
    residual : (m,) float64
        Cross-fitted residuals of the target's spectrum.
    candidates : Candidates
    selection : Selection
    z_histograms : ZHistograms
        Changed in place: a screened set's |z| in the screen is replaced by that of its final test, and sets that
        proxies proposed are added.
    significant : mapping of Stratum to float
        |z| from which the block's q-values are at most FDR_LEVEL. Readers who filter on q condition on passing it; from
        this |z| on, the interval is conditional on that.

    Returns
    -------
    Reported

    Notes
    -----
    A set of an exhaustive screen is tested on all masks, because its whole family is counted. A set that a proxy
    proposed is tested on the half on which it was not selected (on the second, if it was selected on both).
    """
    abs_z_screen = np.abs(candidates.z(setup.all_folds))
    tested = np.flatnonzero((abs_z_screen >= candidates.report_threshold) | ~candidates.tested_exhaustively)
    screened = candidates.tested_exhaustively[tested]
    raw, raw_stderr, df = _one_step(setup, residual, candidates, selection, tested)
    z = np.divide(raw, raw_stderr, out=np.zeros_like(raw), where=raw_stderr > 0)
    p_value = two_sided_p(z, df)
    if setup.weighted_df is not None:
        # Thresholds and conditional intervals are those of normal variables: with few effective masks, take the z of
        # the p-value, and the standard error that belongs to it.
        z = np.sign(z) * z_of(p_value)
        raw_stderr = np.divide(raw, z, out=raw_stderr, where=z != 0)
    orders = (candidates.members[tested] >= 0).sum(axis=1)
    by_heredity = candidates.by_heredity[tested]
    strata = [Stratum(int(order), bool(own)) for order, own in zip(orders, by_heredity, strict=True)]
    for stratum in sorted(set(strata)):
        now = (orders == stratum.order) & (by_heredity == stratum.by_heredity)
        z_histograms.add_tests(stratum, z_of(p_value[now & ~screened]))
        z_histograms.replace(stratum, abs_z_screen[tested][now & screened], z_of(p_value[now & screened]))
    # A screened set had to pass its threshold with the datamodel's residuals, which are larger than the spectrum's: in
    # units of its final standard error the threshold is higher by their ratio.
    screen_stderr = np.sqrt(candidates.squares[:, tested].sum(axis=0)) / float(setup.weight.sum())
    error_ratio = np.divide(
        screen_stderr, raw_stderr, out=np.ones_like(raw_stderr), where=screened & (raw_stderr > 0)
    )
    threshold = candidates.report_threshold[tested] * np.maximum(error_ratio, 1.0)
    reported = np.flatnonzero(np.abs(z) >= threshold)
    reported = reported[np.argsort(p_value[reported], kind="stable")]
    significant_z = np.array([significant.get(strata[position], np.inf) for position in reported])
    passed = np.where(
        z_of(p_value[reported]) >= significant_z, np.maximum(threshold[reported], significant_z), threshold[reported]
    )
    centre, error = conditional_estimate(z[reported], passed)
    unit = np.array([setup.mixture.unit(int(order)) for order in orders[reported]])
    posterior = np.abs(candidates.posterior_mean_z[-1, tested])
    shrunken = np.where(
        screened, posterior / np.maximum(abs_z_screen[tested], 1e-300) * raw, np.sign(raw) * posterior * screen_stderr
    )
    return Reported(
        members=[tuple(int(setup.players[i]) for i in row if i >= 0) for row in candidates.members[tested][reported]],
        value=centre * raw_stderr[reported] * unit,
        stderr=error * raw_stderr[reported] * unit,
        raw=raw[reported] * unit,
        raw_stderr=raw_stderr[reported] * unit,
        shrunken=shrunken[reported] * unit,
        p_value=p_value[reported],
        in_spectrum=selection.kept[tested][reported],
        by_heredity=by_heredity[reported],
        proposed_by=candidates.proposed_by[tested][reported],
        proposers=candidates.proposers[tested][reported],
    )


def _one_step(
    setup: BlockSetup, residual: Array, candidates: Candidates, selection: Selection, tested: NDArray[np.int64]
) -> tuple[Array, Array, Array]:
    """One-step estimates of some candidates, standard errors and degrees of freedom, on the masks of their test."""
    columns = set_columns(setup.phi, candidates.members[tested]).astype(np.float64)
    scores = columns * (residual - np.average(residual, weights=setup.weight))[:, None]
    screened = candidates.tested_exhaustively[tested]
    selected_on_first = candidates.selected_on_half[0, tested]
    estimate, stderr, df = np.zeros(len(tested)), np.zeros(len(tested)), np.ones(len(tested))
    for now, folds in (
        (screened, setup.all_folds),
        (~screened & selected_on_first, setup.all_folds[setup.half_of_fold]),
        (~screened & ~selected_on_first, setup.all_folds[~setup.half_of_fold]),
    ):
        if not now.any():
            continue
        rows = np.flatnonzero(np.isin(setup.folds, folds))
        share = setup.fold_weight[folds] / setup.fold_weight[folds].sum()
        mean, stderr[now] = clustered_mean(scores[np.ix_(rows, now)], setup.weight[rows], setup.data.groups[rows])
        df[now] = max(effective_groups(setup.weight[rows], setup.data.groups[rows]) - 1, 1)
        estimate[now] = mean + share @ selection.fold_sets[np.ix_(folds, tested[now])]
    return estimate, stderr, df
