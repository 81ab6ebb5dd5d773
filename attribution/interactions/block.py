"""The whole fit of one block of targets: datamodel, link, candidates, selection, refit, interaction test, estimates.

The order of the steps, and the masks that each may use, keep errors and tests valid:

1. LASSO datamodel, cross-fitted over six folds; its residuals are out of fold (linear/datamodel_fit.py).
2. Link: the curves that all pairs share (linear/link.py), from the residuals. What follows is about the rest, the
   specific part of interactions.
3. Candidates: an exhaustive screen of pairs on what datamodel and link leave, with sums kept per fold. Step 4 with the
   pairs alone. Triples on the residuals of that spectrum (triples.py). Beside them proxies, fitted on either half of
   the masks, propose sets of every order; those that no screen has tested become candidates too (proxy_proposals.py).
4. For every fold, sets are selected and refitted on the other folds alone, at several degrees of strictness. The
   strictness used on a fold is chosen without it (selection.py). So every mask has predictions by a datamodel and by a
   spectrum that were fitted without it, both with the link. The interaction test (the gate) compares them, the spectrum
   at a strictness that is not chosen.
5. Effects and interactions are one-step estimates with the residuals of step 4. The interval of a reported set is
   conditional on its having been reported (estimates_and_p_values.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.fourier.basis import basis
from attribution.fourier.spectrum import Spectrum
from attribution.interactions.candidate_search import find_larger, find_pairs
from attribution.interactions.candidate_table import Candidates, joined
from attribution.interactions.estimates_and_p_values import Reported, Saturation, one_step_main_effects, report
from attribution.interactions.proxy_proposals import propose
from attribution.interactions.refit import Design
from attribution.interactions.selection import Selection, may_enter, select_all
from attribution.interactions.setup import BlockSettings, BlockSetup
from attribution.interactions.spex_candidates import spex_candidates
from attribution.levels import FDR_LEVEL
from attribution.linear.datamodel_fit import LinearFit, fit_linear
from attribution.linear.link import LinkFit, fit_link, no_link
from attribution.masks.inputs import CheckedData
from attribution.masks.missing import parts_without_missing
from attribution.masks.mixed_alphas import AlphaMixture
from attribution.statistics.empirical_bayes import EffectPrior
from attribution.statistics.false_discovery import fit_q_values
from attribution.statistics.p_values import gate_p_values, interval_factor, two_sided_p, z_of
from attribution.statistics.z_histogram import Z_STEP, Stratum, TestFamilies, ZHistograms
from attribution.types import Array

__all__ = ["BlockFit", "BlockSettings", "fit_block"]


@dataclass(frozen=True, kw_only=True)
class BlockFit:
    """The fit of a block of t targets on m masks of n players.

    Attributes
    ----------
    linear : LinearFit
        The datamodel, over `players`.
    link : LinkFit
        The curves that all pairs of a target share: the saturation part of interactions.
    link_main : (t, n) float64
        The datamodel's coefficients, which the curves belong to.
    players : ndarray of int64
        Players of the joint fits: all of them up to `max_dense_players`.
    spectra : list of Spectrum
        One for each target: main effects and the specific parts of sets. Predictions add the link.
    main, main_stderr, main_shrunken : (t, n) float64
        One-step main effects F({i}), standard errors, and posterior means. With weights, standard errors are those
        for which +-1.96 of them is a 95% interval (`weighted_df` of BlockSetup).
    predicted : (m, t) float64
        Cross-fitted predictions by spectra and link.
    gate_p : (t,) float64
        P-value of the interaction test: whether specific sets predict beyond datamodel and link.
    strictness : (t,) int64
        0 for no sets, else 1 + index into `settings.max_p_null_grid`.
    reported : list of Reported
        Reported sets of each target.
    z_histograms : ZHistograms
        Histograms of |z| of everything tested, for q-values over a whole campaign.
    specific_histograms : ZHistograms
        The same of the tests of specific parts.
    residuals : (m, t) float64
        Out-of-fold residuals of the datamodel.
    link_residuals : (m, t) float64
        Out-of-fold residuals of datamodel and link.
    n_untestable : int
        Sets of the wanted orders that the masks cannot test, on each target (masks/rare_cells.py).
    mixture : AlphaMixture
        Offsets and units of outputs where masks have several alphas.
    """

    linear: LinearFit
    link: LinkFit
    link_main: Array
    players: NDArray[np.int64]
    spectra: list[Spectrum]
    main: Array
    main_stderr: Array
    main_shrunken: Array
    predicted: Array
    gate_p: Array
    strictness: NDArray[np.int64]
    reported: list[Reported]
    z_histograms: ZHistograms
    specific_histograms: ZHistograms
    residuals: Array
    link_residuals: Array
    n_untestable: int
    mixture: AlphaMixture

    def predict(self, masks: NDArray[np.bool_], alphas: Array | None = None) -> Array:
        """Evaluate spectra and link on masks.

        Parameters
        ----------
        masks : (m, n) bool
        alphas : (m,) float64, optional
            Inclusion probability of each mask; the fit's alpha if omitted.

        Returns
        -------
        (m, t) float64
        """
        if alphas is None or not self.mixture.several:
            by_sets = np.column_stack([spectrum.evaluate(masks) for spectrum in self.spectra])
            return by_sets + self.saturated(masks, self.spectra[0].alpha) * self.mixture.unit(2)
        result = np.empty((len(masks), len(self.spectra)))
        for alpha in np.unique(alphas):
            rows = alphas == alpha
            offset = self.mixture.offset(float(alpha)) - self.mixture.offset(self.spectra[0].alpha)
            for target, spectrum in enumerate(self.spectra):
                result[rows, target] = self.mixture.spectrum_at(spectrum, float(alpha)).evaluate(masks[rows])
            result[rows] += offset + self.saturated(masks[rows], float(alpha))
        return result

    def saturated(self, masks: NDArray[np.bool_], alpha: float) -> Array:
        """Return the link's part of the output, (m, t), at masks of one alpha."""
        used = np.flatnonzero(self.link_main.any(axis=0))
        return self.link.evaluate(basis(masks[:, used], alpha), self.link_main[:, used])


def fit_with_missing(data: CheckedData, where: NDArray[np.bool_], settings: BlockSettings) -> BlockFit:
    """Fit targets that lack outputs on some masks, each on the masks it has.

    Parameters
    ----------
    data : CheckedData
        Missing outputs filled (masks/missing.py).
    where : (m, t) bool
        Where outputs were missing.
    settings : BlockSettings

    Returns
    -------
    BlockFit
        Predictions and residuals are NaN where outputs were missing. `linear` and `players` are those of the first
        part of the targets only.

    Raises
    ------
    AttributionError
        If masks have several alphas, or a target too few masks.
    """
    if data.alphas is not None:
        raise AttributionError("missing='drop' takes one alpha for all masks. Leave rows with missing outputs out.")
    shape = data.outputs.shape
    predicted, residuals, link_residuals = (np.full(shape, np.nan) for _ in range(3))
    fits: dict[int, tuple[BlockFit, int]] = {}
    parts = []
    for targets, rows, part in parts_without_missing(data, where):
        fitted = fit_block(part, settings)
        parts.append(fitted)
        predicted[np.ix_(rows, targets)], residuals[np.ix_(rows, targets)] = fitted.predicted, fitted.residuals
        link_residuals[np.ix_(rows, targets)] = fitted.link_residuals
        fits |= {int(target): (fitted, at) for at, target in enumerate(targets)}
    ordered = [fits[target] for target in range(shape[1])]
    total, specific = ZHistograms(), ZHistograms()
    for fitted in parts:
        total, specific = total + fitted.z_histograms, specific + fitted.specific_histograms
    links = [fitted.link.at(slice(at, at + 1)) for fitted, at in ordered]

    def stacked(name: str) -> Array:
        return np.stack([np.asarray(getattr(fitted, name)[at]) for fitted, at in ordered])

    return replace(
        parts[0],
        spectra=[fitted.spectra[at] for fitted, at in ordered],
        reported=[fitted.reported[at] for fitted, at in ordered],
        link=LinkFit(
            curvature=np.concatenate([link.curvature for link in links]),
            stderr=np.concatenate([link.stderr for link in links]),
            raw=np.concatenate([link.raw for link in links]),
            raw_stderr=np.concatenate([link.raw_stderr for link in links]),
            fold_curvature=np.concatenate([link.fold_curvature for link in links], axis=1),
            predicted=residuals - link_residuals,
        ),
        link_main=stacked("link_main"),
        main=stacked("main"),
        main_stderr=stacked("main_stderr"),
        main_shrunken=stacked("main_shrunken"),
        gate_p=stacked("gate_p"),
        strictness=stacked("strictness").astype(np.int64),
        predicted=predicted,
        residuals=residuals,
        link_residuals=link_residuals,
        z_histograms=total,
        specific_histograms=specific,
    )


def fit_block(data: CheckedData, settings: BlockSettings) -> BlockFit:
    """Fit a block of targets.

    Parameters
    ----------
    data : CheckedData
        From `attribution.masks.inputs.check_data`.
    settings : BlockSettings

    Returns
    -------
    BlockFit

    Raises
    ------
    AttributionError
        For outputs whose spread float32 cannot represent, or a device that does not exist.

    Notes
    -----
    The module's docstring lists the steps.
    """
    setup = BlockSetup(data, settings)
    y = setup.data.outputs
    device = settings.booster.device
    linear = fit_linear(setup.phi, y, setup.folds, weight=data.weight, allowed=setup.allowed, device=device)
    families = TestFamilies()
    link = no_link(linear, len(y))
    if settings.spex is None:  # a design's masks repeat too few products of players for a curve of all pairs
        link = fit_link(
            setup.phi, y, linear, setup.folds,
            weight=data.weight, groups=data.groups, prior=settings.link_prior,
        )  # fmt: skip
    candidates, chosen = search(setup, linear, link, families)
    predicted = np.column_stack([selection.predicted for selection in chosen]) + link.predicted
    judged = np.column_stack([selection.judged for selection in chosen]) + link.predicted
    gate_p = gate_p_values(y, linear.predicted + link.predicted, judged, data.weight, data.groups)
    residual = y - predicted
    fold_main = np.stack([selection.fold_main for selection in chosen], axis=1)
    main, main_stderr = one_step_main_effects(setup, residual, fold_main)
    z_main = _ratio(main, main_stderr)
    families.interaction.add_tests(Stratum(1), z_of(two_sided_p(z_main, setup.weighted_df)))
    prior = EffectPrior.fit(families.interaction.counts[Stratum(1)], Z_STEP)
    shrunken = prior.shrink(np.nan_to_num(z_main))[0] * main_stderr
    significant = fit_q_values([families.interaction], "BH")[1].reached_at(FDR_LEVEL)
    errors = main_stderr[:, setup.players] / setup.mixture.unit(1)
    reported = [
        report(
            setup, residual[:, target], candidates[target], chosen[target], families, significant,
            Saturation(link, linear, np.nan_to_num(errors), target),
        )
        for target in range(setup.n_targets)
    ]  # fmt: skip
    return BlockFit(
        linear=linear,
        link=link,
        link_main=_of_all_players(setup, linear.coef),
        players=setup.players,
        spectra=[_spectrum(setup, *found) for found in zip(range(setup.n_targets), candidates, chosen, strict=True)],
        main=main,
        main_stderr=main_stderr * interval_factor(setup.weighted_df),
        main_shrunken=shrunken,
        predicted=data.outputs - residual,
        gate_p=gate_p,
        strictness=np.array([selection.strictness for selection in chosen], dtype=np.int64),
        reported=reported,
        z_histograms=families.interaction,
        specific_histograms=families.of_specific_parts(),
        residuals=y - linear.predicted,
        link_residuals=y - linear.predicted - link.predicted,
        n_untestable=setup.n_untestable,
        mixture=setup.mixture,
    )


def search(
    setup: BlockSetup, linear: LinearFit, link: LinkFit, families: TestFamilies
) -> tuple[list[Candidates], list[Selection]]:
    """Find every target's candidates and select those of its spectrum.

    Parameters
    ----------
    setup : BlockSetup
    linear : LinearFit
        The datamodel of the same masks and outputs.
    link : LinkFit
        What all pairs share: candidates are what deviates from it.
    families : TestFamilies
        Every set tested is counted here.

    Returns
    -------
    candidates : list of Candidates
    selections : list of Selection
        One of each for every target. Predictions of the selections lack the link.

    Notes
    -----
    Larger sets are searched in the residuals that the pairs leave. They are smaller where pairs explain much, so that
    more triples stand out.
    """
    y, targets = setup.data.outputs - link.predicted, range(setup.n_targets)
    residual = y - linear.predicted
    design = Design.of(setup.phi, setup.data.weight, setup.folds)
    if setup.settings.spex is not None:
        decoded = spex_candidates(setup, setup.settings.spex, residual)
        return decoded, select_all(setup, design, linear, y, decoded, targets)
    main_z = _ratio(*one_step_main_effects(setup, residual, linear.fold_coef))[:, setup.players]
    pairs = find_pairs(setup, residual, main_z, link, linear.coef, families)
    chosen = select_all(setup, design, linear, y, pairs, targets)
    left = y - np.column_stack([selection.predicted for selection in chosen])
    larger = find_larger(setup, left, pairs, propose(setup), families.interaction)
    candidates = [joined([own, *more]) for own, more in zip(pairs, larger, strict=True)]
    to_refit = [target for target in targets if any(may_enter(part) for part in larger[target])]
    second = select_all(setup, design, linear, y, [candidates[target] for target in to_refit], to_refit)
    refitted = dict(zip(to_refit, second, strict=True))
    return candidates, [
        refitted.get(target) or chosen[target].widened(len(candidates[target].members)) for target in targets
    ]


def _of_all_players(setup: BlockSetup, coef: Array) -> Array:
    """Coefficients of the joint fit's players as those of all players, (t, n_all_players); 0 outside the joint fit."""
    result = np.zeros((len(coef), setup.n_all_players))
    result[:, setup.players] = coef
    return result


def _ratio(effects: Array, stderrs: Array) -> Array:
    """z-scores; NaN where the standard error is zero."""
    return np.divide(effects, stderrs, out=np.full_like(effects, np.nan), where=stderrs > 0)


def _spectrum(setup: BlockSetup, target: int, candidates: Candidates, selection: Selection) -> Spectrum:
    mixture = setup.mixture
    terms: dict[tuple[int, ...], float] = {(): selection.intercept + float(mixture.offset(setup.alpha)[target])}
    for place in np.flatnonzero(selection.main):
        terms[(int(setup.players[place]),)] = float(selection.main[place]) * mixture.unit(1)
    for position in np.flatnonzero(selection.kept):
        members = tuple(int(setup.players[i]) for i in candidates.members[position] if i >= 0)
        terms[members] = float(selection.sets[position]) * mixture.unit(len(members))
    return Spectrum(terms, setup.n_all_players, setup.alpha)
