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
from attribution.linear.datamodel_fit import LinearFit
from attribution.linear.link import LinkFit
from attribution.masks.player_subset import player_blocks
from attribution.masks.weights import effective_groups
from attribution.screening.screen import set_columns
from attribution.statistics.p_values import clustered_mean, two_sided_p, without_skewness, z_of
from attribution.statistics.selective_intervals import conditional_estimate
from attribution.statistics.z_histogram import Stratum, TestFamilies
from attribution.types import Array


@dataclass(frozen=True, kw_only=True)
class Reported:
    """The reported sets of one target, strongest evidence of a specific part first.

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
        Posterior mean of the one-step estimate: the saturation part and the posterior mean of the rest.
    p_value : float64
        Two-sided, of the one-step estimate.
    saturation, saturation_stderr : float64
        The part that the link gives the set (linear/link.py), and its standard error. 0 for sets of three and more.
    specific, specific_stderr : float64
        `value` - `saturation`: what belongs to these members, and its standard error.
    specific_p_value : float64
        Two-sided, of a specific part of 0.
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
    saturation: Array
    saturation_stderr: Array
    specific: Array
    specific_stderr: Array
    specific_p_value: Array
    in_spectrum: NDArray[np.bool_]
    by_heredity: NDArray[np.bool_]
    proposed_by: NDArray[np.uint8]
    proposers: NDArray[np.uint8]

    @property
    def strata(self) -> list[Stratum]:
        """The stratum of each set among the q-values."""
        return [Stratum(len(own), bool(by)) for own, by in zip(self.members, self.by_heredity, strict=True)]


@dataclass(frozen=True)
class Saturation:
    """The link of one target, as the part of interactions that it predicts; pairs: (c, 2) players of the joint fit.

    coef_stderr: (t, n) standard errors of the datamodel's coefficients."""

    link: LinkFit
    linear: LinearFit
    coef_stderr: Array
    target: int

    def of(self, members: NDArray[np.int64]) -> tuple[Array, Array]:
        """Return the coefficients that sets (c, order) have by saturation, and their variances: (c,) each."""
        pairs, is_pair = _pairs_among(members)
        coef, at = self.linear.coef, slice(self.target, self.target + 1)
        expected = self.link.at(at).pair_coefficient(coef[at], pairs)[0]
        variance = self.link.at(at).pair_variance(coef[at], self.coef_stderr[at], pairs)[0]
        return np.where(is_pair, expected, 0.0), np.where(is_pair, variance, 0.0)

    def of_folds(self, members: NDArray[np.int64]) -> Array:
        """Return the coefficients of sets in the fits without each fold: (k, c)."""
        pairs, is_pair = _pairs_among(members)
        at = slice(self.target, self.target + 1)
        found = self.link.at(at).fold_pair_coefficient(self.linear.fold_coef[:, at], pairs)[:, 0]
        return np.where(is_pair, found, 0.0)


def _pairs_among(members: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The first two members of every set, and which sets are pairs."""
    return members[:, :2], (members >= 0).sum(axis=1) == 2


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
    main, stderr = main * setup.mixture.unit(1), stderr * setup.mixture.unit(1) * setup.inflation
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
    families: TestFamilies,
    significant: Mapping[Stratum, float],
    saturation: Saturation,
) -> Reported:
    """Test one target's candidates and estimate those that are reported.

    Parameters
    ----------
    setup : BlockSetup
    residual : (m,) float64
        Cross-fitted residuals of the target's spectrum.
    candidates : Candidates
    selection : Selection
    families : TestFamilies
        Changed in place: a screened set's |z| in the screen is replaced by that of its final test, and sets that
        proxies proposed are added.
    significant : mapping of Stratum to float
        |z| from which the block's q-values are at most FDR_LEVEL. Readers who filter on q condition on passing it; from
        this |z| on, the interval is conditional on that.
    saturation : Saturation
        The link's part of the target's interactions.

    Returns
    -------
    Reported

    Notes
    -----
    A set of an exhaustive screen is tested on all masks, because its whole family is counted. A set that a proxy
    proposed is tested on the half on which it was not selected (on the second, if it was selected on both).

    I(S) = 0 and a specific part of 0 are two tests, each in a family of its own; a set is reported if it passes either.
    The estimate of I(S) does not depend on whether the link is right: what the link predicts of a fold is taken from
    that fold's outputs and added again. The specific part is I(S) less the link's part, with the errors of both.

    p-values allow for skewed outputs where players are mostly in or mostly out (`without_skewness`): what is averaged,
    phi_S r, is then skewed as well.
    """
    total_weight = float(setup.weight.sum())
    z_specific_screen = candidates.z(setup.all_folds)
    screen_error = np.sqrt(np.maximum(candidates.squares.sum(axis=0), 1e-300)) / total_weight
    abs_z_screen = np.abs(z_specific_screen + saturation.of(candidates.members)[0] / screen_error)
    largest = np.maximum(abs_z_screen, np.abs(z_specific_screen))
    tested = np.flatnonzero((largest >= candidates.report_threshold) | ~candidates.tested_exhaustively)
    screened = candidates.tested_exhaustively[tested]
    members = candidates.members[tested]
    raw, raw_stderr, df = _one_step(setup, residual, candidates, selection, tested, saturation.of_folds(members))
    raw_stderr = raw_stderr * inflation_of_sets(setup.inflation, members)
    z = np.divide(raw, raw_stderr, out=np.zeros_like(raw), where=raw_stderr > 0)
    orders = (members >= 0).sum(axis=1)
    skewness = _skewness_of_scores(setup, residual, orders, df)
    p_value = two_sided_p(without_skewness(z, skewness), df)
    by_link, by_link_variance = saturation.of(members)
    specific, specific_stderr = raw - by_link, np.sqrt(raw_stderr**2 + by_link_variance)
    z_specific = np.divide(specific, specific_stderr, out=np.zeros_like(raw), where=raw_stderr > 0)
    specific_p = two_sided_p(without_skewness(z_specific, skewness), df)
    if setup.weighted_df is not None:
        # Thresholds and conditional intervals are those of normal variables: with few effective masks, take the z of
        # the p-value, and the standard error that belongs to it.
        z, z_specific = np.sign(z) * z_of(p_value), np.sign(z_specific) * z_of(specific_p)
        raw_stderr = np.divide(raw, z, out=raw_stderr, where=z != 0)
        specific_stderr = np.divide(specific, z_specific, out=specific_stderr, where=z_specific != 0)
    by_heredity = candidates.by_heredity[tested]
    strata = [Stratum(int(order), bool(own)) for order, own in zip(orders, by_heredity, strict=True)]
    for stratum in sorted(set(strata)):
        now = (orders == stratum.order) & (by_heredity == stratum.by_heredity)
        families.interaction.add_tests(stratum, z_of(p_value[now & ~screened]))
        families.interaction.replace(stratum, abs_z_screen[tested][now & screened], z_of(p_value[now & screened]))
        if stratum.order == 2:
            before = np.abs(z_specific_screen)[tested][now & screened]
            families.specific.add_tests(stratum, z_of(specific_p[now & ~screened]))
            families.specific.replace(stratum, before, z_of(specific_p[now & screened]))
    # A screened set had to pass its threshold with the datamodel's residuals, which are larger than the spectrum's: in
    # units of its final standard error the threshold is higher by their ratio.
    error_ratio = np.divide(
        screen_error[tested], raw_stderr, out=np.ones_like(raw_stderr), where=screened & (raw_stderr > 0)
    )
    threshold = candidates.report_threshold[tested] * np.maximum(error_ratio, 1.0)
    reported = np.flatnonzero(np.maximum(np.abs(z), np.abs(z_specific)) >= threshold)
    reported = reported[np.lexsort((p_value[reported], specific_p[reported]))]
    significant_z = np.array([significant.get(strata[position], np.inf) for position in reported])
    passed = np.where(
        z_of(p_value[reported]) >= significant_z, np.maximum(threshold[reported], significant_z), threshold[reported]
    )
    centre, error = conditional_estimate(z[reported], passed)
    value, stderr = centre * raw_stderr[reported], error * raw_stderr[reported]
    # A set reported for its specific part alone is selected by that one.
    by_specific = np.abs(z[reported]) < threshold[reported]
    centre, error = conditional_estimate(z_specific[reported], threshold[reported])
    value = np.where(by_specific, by_link[reported] + centre * specific_stderr[reported], value)
    stderr = np.where(by_specific, error * raw_stderr[reported], stderr)
    unit = np.array([setup.mixture.unit(int(order)) for order in orders[reported]])
    posterior = np.abs(candidates.posterior_mean_z[-1, tested])
    of_screen = posterior / np.maximum(np.abs(z_specific_screen[tested]), 1e-300) * specific
    shrunken = by_link + np.where(screened, of_screen, np.sign(specific) * posterior * screen_error[tested])
    return Reported(
        members=[tuple(int(setup.players[i]) for i in row if i >= 0) for row in members[reported]],
        value=value * unit,
        stderr=stderr * unit,
        raw=raw[reported] * unit,
        raw_stderr=raw_stderr[reported] * unit,
        shrunken=shrunken[reported] * unit,
        p_value=p_value[reported],
        saturation=by_link[reported] * unit,
        saturation_stderr=np.sqrt(by_link_variance[reported]) * unit,
        specific=(value - by_link[reported]) * unit,
        specific_stderr=np.sqrt(stderr**2 + by_link_variance[reported]) * unit,
        specific_p_value=specific_p[reported],
        in_spectrum=selection.kept[tested][reported],
        by_heredity=by_heredity[reported],
        proposed_by=candidates.proposed_by[tested][reported],
        proposers=candidates.proposers[tested][reported],
    )


def _skewness_of_scores(setup: BlockSetup, residual: Array, orders: NDArray[np.int64], df: Array) -> Array:
    """Skewness of phi_S r over the root of the number of masks, if r does not depend on the mask: 0 at alpha = 1/2."""
    alpha = np.asarray(setup.row_alpha, dtype=np.float64)
    of_player = (1.0 - 2.0 * alpha) / np.sqrt(alpha * (1.0 - alpha))  # third moment of phi
    r = residual - np.average(residual, weights=setup.weight)
    second, third = (float(np.average(r**power, weights=setup.weight)) for power in (2, 3))
    by_order = {order: float(np.mean(of_player**order)) for order in np.unique(orders).tolist()}
    of_sets = np.array([by_order[order] for order in orders.tolist()], dtype=np.float64)
    return of_sets * third / max(second, 1e-300) ** 1.5 / np.sqrt(df + 1.0)


def inflation_of_sets(inflation: Array, members: NDArray[np.int64]) -> Array:
    """Compute the factor of the errors of sets: that of the member that is hardest to separate from another player.

    Parameters
    ----------
    inflation : (n,) float64
        Factor of each player.
    members : (c, order) int64
        Players of each set, padded with -1.

    Returns
    -------
    (c,) float64
    """
    return np.asarray(np.where(members >= 0, inflation[members], 1.0).max(axis=1, initial=1.0))


def _one_step(
    setup: BlockSetup,
    residual: Array,
    candidates: Candidates,
    selection: Selection,
    tested: NDArray[np.int64],
    by_link: Array,
) -> tuple[Array, Array, Array]:
    """One-step estimates of some candidates, standard errors and degrees of freedom, on the masks of their test.

    by_link: (N_FOLDS, tested), the coefficients they have by the link in the fits that the residuals come from."""
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
        fitted = selection.fold_sets[np.ix_(folds, tested[now])] + by_link[np.ix_(folds, np.flatnonzero(now))]
        estimate[now] = mean + share @ fitted
    return estimate, stderr, df
