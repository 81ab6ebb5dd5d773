"""The whole fit of one block of targets: datamodel, screen, proxies, selection, refit, gate, estimates.

The order of the steps, and what each may look at, is what keeps the numbers honest:

1. LASSO datamodel, cross-fitted over six folds; its residuals are out of fold (linear/cross_fitted.py).
2. An exhaustive screen of pairs on those residuals, sums kept per fold; step 3 with pairs alone; triples and the larger
   sets of proxies fitted on either half of the masks, on the residuals that leaves (candidate_search.py, triples.py).
3. For every fold, sets are chosen and refitted on the other folds alone, at several levels of strictness; the
   level is chosen without the fold it is used on (selection.py). So every mask gets predictions from a datamodel
   and from a spectrum that have not seen it: the gate compares them.
4. Effects and interactions are one-step estimates with the residuals of step 3; the interval of a reported set
   allows for its having been reported (estimates.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.fourier.spectrum import Spectrum
from attribution.interactions.candidate_search import find_larger, find_pairs
from attribution.interactions.candidates import Candidates, joined
from attribution.interactions.estimates import Reported, main_effects, report
from attribution.interactions.refit import Design
from attribution.interactions.selection import Selection, may_enter, select_all
from attribution.interactions.setup import BlockSettings, BlockSetup
from attribution.linear.cross_fitted import LinearFit, fit_linear
from attribution.masks.inputs import CheckedData
from attribution.masks.mixed_alphas import AlphaMixture
from attribution.statistics.empirical_bayes import EffectPrior
from attribution.statistics.false_discovery import LEVEL, fit_q_values
from attribution.statistics.p_values import gate_p_values, two_sided_p, z_of
from attribution.statistics.z_histogram import Z_STEP, Stratum, ZHistograms
from attribution.types import Array

__all__ = ["BlockFit", "BlockSettings", "fit_block"]


@dataclass(frozen=True)
class BlockFit:
    """Everything a block's tables and the estimator are made of; n players, t targets.

    linear: the datamodel, over `players` (all of them up to max_dense_players). spectra: t Spectrum. main (t, n),
    main_stderr, main_shrunken: one-step main effects F({i}). predicted (m, t): the spectra's cross-fitted
    predictions. gate_p (t,). level (t,): 0 for no sets, else 1 + index into the levels. reported: t Reported.
    z_histograms: |z| histograms for the campaign-wide q-values. residuals (m, t): of the datamodel, out of fold.
    mixture: what several alphas mean for outputs and units.
    """

    linear: LinearFit
    players: NDArray[np.int64]
    spectra: list[Spectrum]
    main: Array
    main_stderr: Array
    main_shrunken: Array
    predicted: Array
    gate_p: Array
    level: NDArray[np.int64]
    reported: list[Reported]
    z_histograms: ZHistograms
    residuals: Array
    mixture: AlphaMixture

    def predict(self, masks: NDArray[np.bool_], alphas: Array | None = None) -> Array:
        """(m, n) masks drawn at `alphas` (m,), by default all at the fit's alpha -> (m, t), by the spectra."""
        if alphas is None or not self.mixture.several:
            return np.column_stack([spectrum.evaluate(masks) for spectrum in self.spectra])
        result = np.empty((len(masks), len(self.spectra)))
        for alpha in np.unique(alphas):
            rows = alphas == alpha
            offset = self.mixture.offset(float(alpha)) - self.mixture.offset(self.spectra[0].alpha)
            for target, spectrum in enumerate(self.spectra):
                result[rows, target] = self.mixture.spectrum_at(spectrum, float(alpha)).evaluate(masks[rows])
            result[rows] += offset
        return result


def fit_block(data: CheckedData, settings: BlockSettings) -> BlockFit:
    """Fit a block of targets; data from checks.check_data. See the module's docstring."""
    setup = BlockSetup(data, settings)
    y = setup.data.outputs
    device = settings.booster.device
    linear = fit_linear(setup.phi, y, setup.folds, weight=data.weight, allowed=setup.allowed, device=device)
    z_histograms = ZHistograms()
    candidates, chosen = search(setup, linear, z_histograms)
    predicted = np.column_stack([selection.predicted for selection in chosen])
    gate_p = gate_p_values(y, linear.predicted, predicted, data.weight, data.groups)
    residual = y - predicted
    fold_main = np.stack([selection.fold_main for selection in chosen], axis=1)
    main, main_stderr = main_effects(setup, residual, fold_main)
    z_main = _ratio(main, main_stderr)
    z_histograms.add_tests(Stratum(1), z_of(two_sided_p(z_main)))
    shrunken = EffectPrior.fit(z_histograms.counts[Stratum(1)], Z_STEP).shrink(np.nan_to_num(z_main))[0] * main_stderr
    significant = fit_q_values([z_histograms], "BH")[1].reached_at(LEVEL)
    reported = [
        report(setup, residual[:, target], candidates[target], chosen[target], z_histograms, significant)
        for target in range(setup.n_targets)
    ]
    return BlockFit(
        linear=linear,
        players=setup.players,
        spectra=[_spectrum(setup, *found) for found in zip(range(setup.n_targets), candidates, chosen, strict=True)],
        main=main,
        main_stderr=main_stderr,
        main_shrunken=shrunken,
        predicted=data.outputs - residual,
        gate_p=gate_p,
        level=np.array([selection.level for selection in chosen], dtype=np.int64),
        reported=reported,
        z_histograms=z_histograms,
        residuals=y - linear.predicted,
        mixture=setup.mixture,
    )


def search(
    setup: BlockSetup, linear: LinearFit, z_histograms: ZHistograms
) -> tuple[list[Candidates], list[Selection]]:
    """Every target's candidates and which of them enter its spectrum. All that is looked at is counted into
    `z_histograms`.

    Larger sets are looked for on what the pairs leave: where pairs explain much, the residuals are smaller and triples
    that the datamodel's would hide stand out."""
    y, targets = setup.data.outputs, range(setup.n_targets)
    residual = y - linear.predicted
    design = Design.of(setup.phi, setup.data.weight, setup.folds)
    main_z = _ratio(*main_effects(setup, residual, linear.fold_coef))[:, setup.players]
    pairs = find_pairs(setup, residual, main_z, z_histograms)
    chosen = select_all(setup, design, linear, pairs, targets)
    left = y - np.column_stack([selection.predicted for selection in chosen])
    larger = find_larger(setup, left, pairs, z_histograms)
    candidates = [joined([own, *more]) for own, more in zip(pairs, larger, strict=True)]
    again = [target for target in targets if any(may_enter(part) for part in larger[target])]
    anew = dict(zip(again, select_all(setup, design, linear, [candidates[t] for t in again], again), strict=True))
    return candidates, [
        anew.get(target) or chosen[target].widened(len(candidates[target].members)) for target in targets
    ]


def _ratio(effects: Array, stderrs: Array) -> Array:
    """z of effects, NaN where one cannot be told."""
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
