"""The whole fit of one block of targets: datamodel, screen, proxies, selection, refit, gate, estimates.

The order of the steps, and what each may look at, is what keeps the numbers honest:

1. LASSO datamodel, cross-fitted over six folds; its residuals are out of fold.
2. Exhaustive pair screen on those residuals, sums kept per fold. Larger sets come from proxies fitted on either
   half of the masks.
3. For every fold, sets are chosen and refitted on the other folds alone, at several levels of strictness; the
   level is chosen without the fold it is used on. So every mask gets predictions from a datamodel and from a
   spectrum that have not seen it: the gate compares them.
4. Effects and interactions are one-step estimates with the residuals of step 3. A set's value comes from the
   half (or halves) that did not select it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attribution.booster import BoosterSettings
from attribution.checks import CheckedData
from attribution.clusters import Clusters, basis, make_clusters
from attribution.crossfit import N_FOLDS, LinearFit, assign_folds, fit_linear
from attribution.proxy import Backend, fit_proxy
from attribution.refit import Design, TargetRefit
from attribution.screen import N_Z_BINS, Z_STEP, add_to_histogram, screen_pairs, set_columns, set_statistics
from attribution.shrinkage import EffectPrior
from attribution.significance import Considered, QValues, clustered_mean, gate_p_values, two_sided_p, z_of
from attribution.spectrum import Spectrum

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BlockSettings:
    """Settings of a fit. levels: largest probability of being nil at which a set may enter the spectrum; one of
    them, or none at all, is chosen per target by cross-fitting. max_screen_players: the pair screen is exhaustive
    up to this many players, beyond it looks at those of largest main effects. n_proxy_sets: larger sets taken
    from each half's proxy, per target."""

    alpha: float
    max_order: int = 3
    seed: int = 0
    backend: Backend = "booster"
    levels: tuple[float, ...] = (0.1, 0.5, 0.9)
    max_screen_players: int = 2000
    n_proxy_sets: int = 40
    booster: BoosterSettings = field(default_factory=BoosterSettings)


@dataclass(frozen=True)
class Reported:
    """Sets of one target that either half selected. members: list of tuples; the others (c,), in units of F.

    value, stderr: by the halves that did not select the set. overall, overall_stderr: by all masks.
    shrunken: posterior mean of `overall`. p_value: METHOD.md's test. kept: in the target's spectrum."""

    members: list[tuple[int, ...]]
    value: Array
    stderr: Array
    overall: Array
    overall_stderr: Array
    shrunken: Array
    p_value: Array
    kept: NDArray[np.bool_]


@dataclass(frozen=True)
class BlockFit:
    """Everything a block's tables and the estimator are made of; n players, t targets.

    linear: the datamodel. spectra: t Spectrum. main (t, n), main_stderr, main_shrunken: one-step main effects F({i}).
    predicted (m, t): the spectra's cross-fitted predictions. gate_p (t,). level (t,): index into (none, *levels).
    reported: t Reported. considered: |z| histograms for the campaign-wide q-values.
    """

    linear: LinearFit
    spectra: list[Spectrum]
    main: Array
    main_stderr: Array
    main_shrunken: Array
    predicted: Array
    gate_p: Array
    level: NDArray[np.int64]
    reported: list[Reported]
    considered: Considered


@dataclass
class _Candidates:
    """Sets of one target under consideration. members (c, order) padded with -1; sums, squares (k, c); proposed
    (2, c): which half put it forward (pairs of the screen: both); pair: from the screen."""

    members: NDArray[np.int64]
    sums: Array
    squares: Array
    proposed: NDArray[np.bool_]
    pair: NDArray[np.bool_]

    def z(self, folds: NDArray[np.int64]) -> Array:
        squares = self.squares[folds].sum(axis=0)
        return self.sums[folds].sum(axis=0) / np.sqrt(np.maximum(squares, 1e-300))


def fit_block(data: CheckedData, settings: BlockSettings) -> BlockFit:
    """Fit a block of targets. See the module's docstring; data from checks.check_data."""
    return _BlockFit(data, settings).run()


class _BlockFit:
    def __init__(self, data: CheckedData, settings: BlockSettings) -> None:
        self.data, self.settings = data, settings
        self.alpha = settings.alpha
        self.phi = basis(data.masks, settings.alpha)
        self.n_masks, self.n_players = data.masks.shape
        self.n_targets = data.outputs.shape[1]
        self.folds = assign_folds(data.groups, N_FOLDS, settings.seed)
        self.weight = np.ones(self.n_masks) if data.weight is None else data.weight
        self.fold_weight = np.bincount(self.folds, self.weight, minlength=N_FOLDS)
        self.half_of_fold = np.arange(N_FOLDS) % 2 == 1
        self.clusters: Clusters = make_clusters(data.masks, data.groups, data.weight, settings.alpha)
        fold_of_group = np.zeros(int(data.groups.max()) + 1, dtype=np.int64)
        fold_of_group[data.groups] = self.folds
        self.cluster_folds = fold_of_group[self.clusters.group]
        self.every = np.arange(N_FOLDS)

    def run(self) -> BlockFit:
        y = self.data.outputs
        linear = fit_linear(self.phi, y, self.folds, weight=self.data.weight)
        residual = y - linear.predicted
        considered = Considered()
        candidates, prior, list_z = self._candidates(residual, considered)
        design = Design.of(self.phi, self.data.weight, self.folds)
        predicted = linear.predicted.copy()
        fold_main = linear.fold_coef.copy()
        level = np.zeros(self.n_targets, dtype=np.int64)
        spectra: list[Spectrum] = []
        kept: list[NDArray[np.bool_]] = []
        fold_sets: list[Array] = []
        for target in range(self.n_targets):
            terms_main, intercept = linear.coef[target], linear.intercept[target]
            chosen = _select(self, design, linear, prior, candidates[target], target)
            kept.append(chosen.kept)
            fold_sets.append(chosen.fold_sets)
            if chosen.refitted:
                predicted[:, target] = chosen.predicted
                fold_main[:, target] = chosen.fold_main
                level[target] = chosen.level
                if chosen.level:
                    terms_main, intercept = chosen.main, chosen.intercept
            spectra.append(self._spectrum(terms_main, intercept, candidates[target], chosen))
        gate_p = gate_p_values(y, linear.predicted, predicted, self.data.weight, self.data.groups)
        out = y - predicted
        main, main_stderr = self._main_effects(out, fold_main)
        add_to_histogram(considered.main_effects, z_of(two_sided_p(main / main_stderr)))
        reported = [
            self._report(
                out[:, target], candidates[target], fold_sets[target], kept[target], prior, list_z, considered
            )
            for target in range(self.n_targets)
        ]
        main_prior = EffectPrior.fit(considered.main_effects, Z_STEP)
        z_main = np.where(main_stderr > 0, main / np.where(main_stderr > 0, main_stderr, 1.0), 0.0)
        shrunken = np.where(
            np.isfinite(main), main_prior.shrink(np.nan_to_num(z_main))[0] * main_stderr, np.nan
        )
        return BlockFit(
            linear, spectra, main, main_stderr, shrunken, predicted, gate_p, level, reported, considered
        )

    # Step 2 ---------------------------------------------------------------------------------------------------

    def _candidates(
        self, residual: Array, considered: Considered
    ) -> tuple[list[_Candidates], EffectPrior, float]:
        """Pairs of the screen and larger sets of the halves' proxies, the prior of effects, and the listing cut."""
        players = self._screened_players(residual)
        n_pairs = len(players) * (len(players) - 1) // 2
        found: list[list[_Candidates]] = [[] for _ in range(self.n_targets)]
        counts = np.zeros(N_Z_BINS, dtype=np.int64)
        keep_z, usual_z = _tail(10.0, n_pairs), _tail(5.0, n_pairs)
        if self.settings.max_order >= 2 and n_pairs:
            clusters = self.clusters
            if len(players) < self.n_players:
                clusters = Clusters(
                    np.ascontiguousarray(clusters.phi[:, players]), clusters.group, clusters.row_cluster,
                    clusters.row_sign, clusters.row_weight, clusters.exact,
                )  # fmt: skip
            hits = screen_pairs(
                clusters, self.cluster_folds, self.clusters.sums(residual, 2), self.half_of_fold, keep_z, counts,
                unit_variance=self.alpha == 0.5,
            )  # fmt: skip
            for target, hit in enumerate(hits):
                everyone = np.ones((2, len(hit.members)), dtype=bool)
                found[target].append(
                    _Candidates(players[hit.members], hit.sums, hit.squares, everyone, everyone[0])
                )
        prior = EffectPrior.fit(counts, Z_STEP)
        considered.interactions += counts
        # Whatever may pass the false discovery rate must be listed: if |z| >= c on all masks, then |z| >= c/sqrt(2)
        # on one half at least.
        passing = QValues.fit(counts, "BH").q <= 0.1
        z_passing = float(np.argmax(passing)) * Z_STEP if passing.any() else np.inf
        list_z = float(np.clip(z_passing / np.sqrt(2.0), keep_z, usual_z))
        if self.settings.max_order >= 3 and self.n_players >= 3:
            for target, larger in enumerate(self._larger_sets(residual)):
                if larger is not None:
                    found[target].append(larger)
        return [self._joined(parts) for parts in found], prior, list_z

    def _screened_players(self, residual: Array) -> NDArray[np.int64]:
        limit = self.settings.max_screen_players
        if self.n_players <= limit:
            return np.arange(self.n_players)
        score = np.zeros(self.n_players)
        y = self.data.outputs - self.data.outputs.mean(axis=0)
        sums = self.clusters.sums(y / np.maximum(y.std(axis=0), 1e-300), 1)
        score = (np.abs(self.clusters.phi.T @ sums.astype(np.float32)) ** 2).max(axis=1)
        return np.sort(np.argsort(-score, kind="stable")[:limit])

    def _larger_sets(self, residual: Array) -> list[_Candidates | None]:
        """Sets of three and more from the proxies of both halves."""
        settings = self.settings
        y = self.data.outputs
        proposals: list[list[list[tuple[int, ...]]]] = []
        for half in (False, True):
            rows = np.flatnonzero(self.half_of_fold[self.folds] == half)
            validation = self.folds[rows] == self.folds[rows].max()
            proxy = fit_proxy(
                self.data.masks[rows], y[rows], settings.booster, backend=settings.backend, validation=validation,
                sample_weight=None if self.data.weight is None else self.weight[rows],
            )  # fmt: skip
            proposals.append(
                [
                    proxy.largest_sets(target, self.alpha, 3, settings.max_order, settings.n_proxy_sets)
                    for target in range(self.n_targets)
                ]
            )
        by_parity = {parity: self.clusters.sums(residual, parity) for parity in (0, 1)}
        result: list[_Candidates | None] = []
        for target in range(self.n_targets):
            first, second = set(proposals[0][target]), set(proposals[1][target])
            parts = []
            for order in range(3, settings.max_order + 1):
                sets = sorted(members for members in first | second if len(members) == order)
                if not sets:
                    continue
                hit = set_statistics(
                    self.clusters,
                    self.cluster_folds,
                    N_FOLDS,
                    np.array(sets),
                    by_parity[order % 2][:, target],
                )
                proposed = np.array([[members in half for members in sets] for half in (first, second)])
                parts.append(
                    _Candidates(hit.members, hit.sums, hit.squares, proposed, np.zeros(len(sets), bool))
                )
            result.append(self._joined(parts) if parts else None)
        return result

    def _joined(self, parts: list[_Candidates]) -> _Candidates:
        width = max([2, *(part.members.shape[1] for part in parts)])
        if not parts:
            nothing = np.zeros((N_FOLDS, 0))
            return _Candidates(
                np.zeros((0, width), np.int64), nothing, nothing, np.zeros((2, 0), bool), np.zeros(0, bool)
            )
        return _Candidates(
            np.concatenate(
                [
                    np.pad(part.members, ((0, 0), (0, width - part.members.shape[1])), constant_values=-1)
                    for part in parts
                ]
            ),
            np.concatenate([part.sums for part in parts], axis=1),
            np.concatenate([part.squares for part in parts], axis=1),
            np.concatenate([part.proposed for part in parts], axis=1),
            np.concatenate([part.pair for part in parts]),
        )

    # Step 4 ---------------------------------------------------------------------------------------------------

    def _main_effects(self, residual: Array, fold_main: Array) -> tuple[Array, Array]:
        """One-step main effects and clustered standard errors, (t, n) each; NaN for a constant player."""
        share = self.fold_weight / self.fold_weight.sum()
        fitted = np.einsum("k,ktn->tn", share, fold_main)
        total = float(self.weight.sum())
        centred = residual - np.average(residual, axis=0, weights=self.weight)
        sums = self.clusters.sums(centred, 1)
        correction = (sums.T @ self.clusters.phi) / total
        if self.clusters.exact:
            stderr = np.sqrt((sums.T**2) @ (self.clusters.phi.astype(np.float64) ** 2)) / total
        else:
            stderr = np.empty_like(correction)
            for target in range(self.n_targets):
                stderr[target] = clustered_mean(
                    self.phi * centred[:, [target]], self.data.weight, self.data.groups
                )[1]
        main = fitted + correction
        if self.data.fixed_size:
            # The common shift is not identified; the minimum-norm convention is a mean of zero.
            main = main - main.mean(axis=1, keepdims=True)
        unknown = (self.phi == self.phi[:1]).all(axis=0)
        main[:, unknown] = np.nan
        stderr[:, unknown] = np.nan
        return main, stderr

    def _report(
        self,
        residual: Array,
        candidates: _Candidates,
        fold_sets: Array,
        kept: NDArray[np.bool_],
        prior: EffectPrior,
        list_z: float,
        considered: Considered,
    ) -> Reported:
        """Values, errors and p-values of the sets that a half selected; the rest goes into the histogram."""
        half_folds = [self.every[~self.half_of_fold], self.every[self.half_of_fold]]
        selected = np.array(
            [(np.abs(candidates.z(half_folds[h])) >= list_z) & candidates.proposed[h] for h in (0, 1)]
        ).reshape(2, -1)
        listed = np.flatnonzero(selected.any(axis=0) | kept)
        larger = np.flatnonzero(~candidates.pair)
        wanted = np.union1d(listed, larger)
        members, chosen = candidates.members[wanted], selected[:, wanted]
        columns = set_columns(self.phi, members).astype(np.float64)
        scores = columns * (residual - np.average(residual, weights=self.weight))[:, None]
        estimates = np.empty((3, len(wanted)))
        stderrs = np.empty((3, len(wanted)))
        for part in range(3):  # either half, and all masks
            folds = self.every if part == 2 else half_folds[part]
            rows = np.flatnonzero(np.isin(self.folds, folds))
            share = self.fold_weight[folds] / self.fold_weight[folds].sum()
            mean, stderrs[part] = clustered_mean(scores[rows], self.weight[rows], self.data.groups[rows])
            estimates[part] = mean + share @ fold_sets[folds][:, wanted]
        z = estimates / np.where(stderrs > 0, stderrs, np.inf)
        p_half, p_all = two_sided_p(z[:2]), two_sided_p(z[2])
        # A half that did not put the set forward may test it; a pair is always tested, on all masks.
        proposed = candidates.proposed[:, wanted]
        from_other = np.where(proposed, p_half[::-1], np.inf)
        p_larger = np.minimum(from_other.min(axis=0) * proposed.sum(axis=0), 1.0)
        pair = candidates.pair[wanted]
        p_value = np.where(pair, p_all, p_larger)
        # Both halves selected: all masks. One did: the other half. Neither (only kept): all masks.
        both = chosen[0] == chosen[1]
        value = np.where(both, estimates[2], np.where(chosen[0], estimates[1], estimates[0]))
        stderr = np.where(both, stderrs[2], np.where(chosen[0], stderrs[1], stderrs[0]))
        is_listed = np.isin(wanted, listed)
        add_to_histogram(considered.interactions, z_of(p_value[~pair]))
        swapped = pair & is_listed
        considered.move(np.abs(candidates.z(self.every)[wanted][swapped]), z_of(p_value[swapped]))
        show = np.flatnonzero(is_listed)
        order = show[np.argsort(p_value[show], kind="stable")]
        shrunken = prior.shrink(z[2])[0] * stderrs[2]
        return Reported(
            [tuple(int(i) for i in row if i >= 0) for row in members[order]],
            value[order], stderr[order], estimates[2, order], stderrs[2, order], shrunken[order], p_value[order],
            kept[wanted][order],
        )  # fmt: skip

    def _spectrum(
        self, main: Array, intercept: float, candidates: _Candidates, chosen: _Selection
    ) -> Spectrum:
        terms: dict[tuple[int, ...], float] = {(): float(intercept)}
        for player in np.flatnonzero(main):
            terms[(int(player),)] = float(main[player])
        for position in np.flatnonzero(chosen.kept):
            members = tuple(int(i) for i in candidates.members[position] if i >= 0)
            terms[members] = float(chosen.sets[position])
        return Spectrum(terms, self.n_players, self.alpha)


@dataclass(frozen=True)
class _Selection:
    """One target's choice. kept (c,) bool, sets (c,) their coefficients, main (n,), intercept: on all masks; level: the
    chosen index into (none, *levels). predicted (m,), fold_main (k, n), fold_sets (k, c): cross-fitted."""

    refitted: bool
    level: int
    kept: NDArray[np.bool_]
    sets: Array
    main: Array
    intercept: float
    predicted: Array
    fold_main: Array
    fold_sets: Array


def _select(
    block: _BlockFit,
    design: Design,
    linear: LinearFit,
    prior: EffectPrior,
    candidates: _Candidates,
    target: int,
) -> _Selection:
    """Choose and refit one target's sets: on the other folds for every fold, then on all masks (step 3)."""
    levels = np.array(block.settings.levels)
    n_sets = len(candidates.members)
    n_masks = block.n_masks
    y = block.data.outputs[:, target]
    proposals = [_eligible(block, prior, candidates, fold, levels) for fold in (*range(N_FOLDS), None)]
    nothing = _Selection(
        False, 0, np.zeros(n_sets, bool), np.zeros(n_sets), linear.coef[target], float(linear.intercept[target]),
        np.zeros(0), np.zeros((N_FOLDS, 0)), np.zeros((N_FOLDS, n_sets)),
    )  # fmt: skip
    if not any(len(used) for used, _ in proposals):
        return nothing
    somewhere = np.unique(np.concatenate([used for used, _ in proposals]))
    columns = set_columns(block.phi, candidates.members[somewhere])
    refit = TargetRefit(design, columns, y)
    predicted = np.repeat(linear.predicted[:, [target]], len(levels) + 1, axis=1)
    fold_main = np.repeat(linear.fold_coef[:, target][:, None], len(levels) + 1, axis=1)
    fold_sets = np.zeros((N_FOLDS, len(levels) + 1, n_sets))
    error = np.empty((N_FOLDS, len(levels) + 1))
    for fold in range(N_FOLDS):
        rows = design.rows[fold]
        used, penalties = proposals[fold]
        if len(used):
            local = np.searchsorted(somewhere, used)
            main, sets, intercept = refit.solve(
                fold,
                local,
                penalties,
                float(linear.fold_penalty[fold, target]),
                linear.fold_coef[fold, target],
            )
            fold_main[fold, 1:] = main
            fold_sets[fold, 1:, used] = sets.T
            predicted[rows, 1:] = block.phi[rows] @ main.T + columns[rows][:, local] @ sets.T + intercept
        squared = (y[rows, None] - predicted[rows]) ** 2
        error[fold] = block.weight[rows] @ squared
    # The level used on a fold is chosen on the others, in favour of fewer sets where they tie.
    choice = np.array([np.delete(error, fold, axis=0).sum(axis=0).argmin() for fold in range(N_FOLDS)])
    level = int(error.sum(axis=0).argmin())
    used, penalties = proposals[-1]
    kept, final = np.zeros(n_sets, bool), np.zeros(n_sets)
    main_all, intercept_all = linear.coef[target], float(linear.intercept[target])
    if level and len(used):
        local = np.searchsorted(somewhere, used)
        main, sets, intercept = refit.solve(
            None, local, penalties[[level - 1]], float(linear.penalty[target]), linear.coef[target]
        )
        final[used] = sets[0]
        kept = final != 0
        main_all, intercept_all = main[0], float(intercept[0])
    return _Selection(
        True, level, kept, final, main_all, intercept_all,
        predicted[np.arange(n_masks), choice[block.folds]],
        fold_main[block.every, choice], fold_sets[block.every, choice],
    )  # fmt: skip


def _eligible(
    block: _BlockFit, prior: EffectPrior, candidates: _Candidates, without: int | None, levels: Array
) -> tuple[NDArray[np.int64], Array]:
    """Candidates that may enter at some level, seen without one fold: their positions, and penalties (l, used)."""
    folds = block.every if without is None else np.delete(block.every, without)
    share = block.fold_weight[folds].sum() / block.fold_weight.sum()
    z = candidates.z(folds)
    mean, nil = prior.scaled(share).shrink(z)
    if without is None:
        open_to = candidates.proposed.any(axis=0)
    else:
        # A set put forward by the half that holds the fold has seen it.
        open_to = candidates.proposed[0 if block.half_of_fold[without] else 1]
    used = np.flatnonzero(open_to & (nil <= levels.max()))
    estimate = candidates.sums[folds][:, used].sum(axis=0) / block.fold_weight[folds].sum()
    shrink = np.abs(estimate) * (1.0 - np.abs(mean[used]) / np.maximum(np.abs(z[used]), 1e-300))
    return used, np.where(nil[used][None, :] <= levels[:, None], shrink[None, :], np.inf)


def _tail(expected: float, n_tests: int) -> float:
    """The |z| that `expected` of n_tests nil effects exceed by chance; 0 where all may."""
    from scipy.special import ndtri

    return float(max(0.0, -ndtri(min(0.5, expected / 2.0 / max(n_tests, 1)))))
