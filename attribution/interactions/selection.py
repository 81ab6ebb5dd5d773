"""Select the candidates of a target's spectrum: refits of several strictness, one of them chosen by cross-fitting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attribution.interactions.candidate_table import Candidates
from attribution.interactions.refit import Design, Fit, OnDemandSolver, Request, Solver
from attribution.interactions.refit_torch import solve_on_device
from attribution.interactions.setup import N_FOLDS, BlockSetup
from attribution.linear.datamodel_fit import LinearFit
from attribution.screening.screen import set_columns
from attribution.types import Array

# Players from which the refits of several targets are solved together on the CPU too: the Gram matrix of the players,
# which all targets share, no longer fits the cache and is then read once for all targets. Up to so many, the Gram
# matrices of all folds take no more memory than those of a single target's refit do. Choices.
_TOGETHER_FROM, _TOGETHER_TO = 400, 1500
_CPU_BYTES = 2**26  # of a block of targets; a choice that keeps the peak of memory where it was

# The gate judges sets that are more probably real than null, whatever strictness the data choose for the spectrum. Its
# test takes the folds for independent; but five sixths of their fits' masks are the same, and the errors by which the
# strictness of a fold is chosen come from fits that have seen the fold. Both made single sets of chance, let in where
# most may be null, look like predictions: some gate opened in one of nine null campaigns (benchmarks/attribution.md).
GATE_P_NULL = 0.5


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The sets of one target's spectrum, with the fit on all masks and the cross-fitted ones.

    Attributes
    ----------
    strictness : int
        0 for no sets, else 1 + index into `settings.max_p_null_grid`.
    kept : (c,) bool
        Candidates with a coefficient in the fit on all masks.
    sets : (c,) float64
        Coefficients of the candidates in the fit on all masks.
    main : (n,) float64
        Coefficients of the players in the fit on all masks.
    intercept : float
        Intercept of the fit on all masks.
    predicted : (m,) float64
        Cross-fitted predictions; the strictness used on a fold is chosen on the other folds.
    judged : (m,) float64
        Cross-fitted predictions at a strictness that was fixed beforehand (GATE_P_NULL), for the gate.
    fold_main : (N_FOLDS, n) float64
        Coefficients of the players in the cross-fitted fits.
    fold_sets : (N_FOLDS, c) float64
        Coefficients of the candidates in the cross-fitted fits.
    """

    strictness: int
    kept: NDArray[np.bool_]
    sets: Array
    main: Array
    intercept: float
    predicted: Array
    judged: Array
    fold_main: Array
    fold_sets: Array

    def widened(self, n_sets: int) -> Selection:
        """Append candidates that are not selected, up to n_sets in all."""
        more = n_sets - len(self.kept)
        return replace(
            self, kept=np.pad(self.kept, (0, more)), sets=np.pad(self.sets, (0, more)),
            fold_sets=np.pad(self.fold_sets, ((0, 0), (0, more))),
        )  # fmt: skip


def may_enter(candidates: Candidates) -> bool:
    """Return True if any candidate has P(null) <= 0.5 in at least one fit, so that a refit may pay."""
    return bool((candidates.p_null <= 0.5).any())


def select_all(
    setup: BlockSetup,
    design: Design,
    linear: LinearFit,
    outputs: Array,
    candidates: Sequence[Candidates],
    targets: Sequence[int],
) -> list[Selection]:
    """Select the sets of several targets. Their refits are solved together on a device, and where players are many.

    outputs: (m, t), less the link's part, which no step here fits. Predictions lack it too."""
    device = setup.settings.booster.device
    together = _TOGETHER_FROM <= setup.n_players <= _TOGETHER_TO and len(targets) > 1
    if device == "cpu" and not together:
        return [
            select(setup, design, linear, outputs[:, target], own, target)
            for own, target in zip(candidates, targets, strict=True)
        ]
    plans = [
        _plan(setup, linear, outputs[:, target], own, target) for own, target in zip(candidates, targets, strict=True)
    ]
    requests = [plan.request for plan in plans if plan is not None]
    solved = solve_on_device(device, design, requests, **({"block_bytes": _CPU_BYTES} if device == "cpu" else {}))
    return [
        _choose(setup, linear, own, target, plan, None if plan is None else next(solved))
        for own, target, plan in zip(candidates, targets, plans, strict=True)
    ]


def select(
    setup: BlockSetup, design: Design, linear: LinearFit, outputs: Array, candidates: Candidates, target: int
) -> Selection:
    """Select and refit one target's sets: without each fold, then on all masks."""
    plan = _plan(setup, linear, outputs, candidates, target)
    return _choose(
        setup, linear, candidates, target, plan, None if plan is None else OnDemandSolver(design, plan.request)
    )


@dataclass(frozen=True)
class _Plan:
    """The refits of one target: without each fold and (last) on all masks, at every strictness.

    eligible: (c,) positions of the candidates that may enter at least one of them."""

    eligible: NDArray[np.int64]
    request: Request


def _plan(setup: BlockSetup, linear: LinearFit, outputs: Array, candidates: Candidates, target: int) -> _Plan | None:
    """The fits to solve for one target; None if no candidate is eligible in any."""
    grid = np.array(setup.settings.max_p_null_grid)
    proposals = [_eligible(setup, candidates, fold, grid) for fold in (*range(N_FOLDS), None)]
    if not any(len(used) for used, _ in proposals):
        return None
    eligible = np.unique(np.concatenate([used for used, _ in proposals]))
    penalties = [*linear.fold_penalty[:, target], linear.penalty[target]]
    starts = [*linear.fold_coef[:, target], linear.coef[target]]
    fits = [
        Fit(
            fold if fold < N_FOLDS else None, np.searchsorted(eligible, used), of_sets,
            _main_penalty(setup, fold, penalties[fold]), starts[fold],
        )
        for fold, (used, of_sets) in enumerate(proposals)
    ]  # fmt: skip
    return _Plan(eligible, Request(set_columns(setup.phi, candidates.members[eligible]), outputs, fits))


def _choose(
    setup: BlockSetup, linear: LinearFit, candidates: Candidates, target: int, plan: _Plan | None, solver: Solver | None
) -> Selection:
    n_sets, n_grid = len(candidates.members), len(setup.settings.max_p_null_grid)
    main_of_all, intercept_of_all = linear.coef[target], float(linear.intercept[target])
    if plan is None or solver is None:
        return Selection(
            strictness=0,
            kept=np.zeros(n_sets, bool),
            sets=np.zeros(n_sets),
            main=main_of_all,
            intercept=intercept_of_all,
            predicted=linear.predicted[:, target],
            judged=linear.predicted[:, target],
            fold_main=linear.fold_coef[:, target],
            fold_sets=np.zeros((N_FOLDS, n_sets)),
        )
    columns, y = plan.request.columns, plan.request.outputs
    predicted = np.repeat(linear.predicted[:, [target]], n_grid + 1, axis=1)
    fold_main = np.repeat(linear.fold_coef[:, target][:, None], n_grid + 1, axis=1)
    fold_sets = np.zeros((N_FOLDS, n_grid + 1, n_sets))
    error = np.empty((N_FOLDS, n_grid + 1))
    for fold in range(N_FOLDS):
        rows = np.flatnonzero(setup.folds == fold)
        fit = plan.request.fits[fold]
        if len(fit.used):
            main, sets, intercept = solver.solve(fold, np.arange(n_grid))
            # A strictness that excludes every set is the datamodel itself, not a second solution of it.
            some = np.flatnonzero(np.isfinite(fit.penalties).any(axis=1))
            fold_main[fold, 1 + some] = main[some]
            fold_sets[fold][np.ix_(1 + some, plan.eligible[fit.used])] = sets[some]
            fitted = setup.phi[rows] @ main[some].T + columns[rows][:, fit.used] @ sets[some].T + intercept[some]
            predicted[np.ix_(rows, 1 + some)] = fitted
        error[fold] = setup.weight[rows] @ (y[rows, None] - predicted[rows]) ** 2
    # The strictness used on a fold is chosen on the others; ties go to fewer sets.
    choice = np.array([np.delete(error, fold, axis=0).sum(axis=0).argmin() for fold in range(N_FOLDS)])
    strictness = int(error.sum(axis=0).argmin())
    kept, final = np.zeros(n_sets, bool), np.zeros(n_sets)
    fit = plan.request.fits[-1]
    if strictness and np.isfinite(fit.penalties[strictness - 1]).any():
        main, sets, intercept = solver.solve(N_FOLDS, np.array([strictness - 1]))
        final[plan.eligible[fit.used]] = sets[0]
        kept = final != 0
        main_of_all, intercept_of_all = main[0], float(intercept[0])
    return Selection(
        strictness=strictness,
        kept=kept,
        sets=final,
        main=main_of_all,
        intercept=intercept_of_all,
        predicted=predicted[np.arange(setup.n_masks), choice[setup.folds]],
        judged=predicted[:, _of_gate(setup.settings.max_p_null_grid)],
        fold_main=fold_main[setup.all_folds, choice],
        fold_sets=fold_sets[setup.all_folds, choice],
    )


def _of_gate(grid: Sequence[float]) -> int:
    """The strictness of the gate: 1 + index of the loosest in the grid up to GATE_P_NULL, of the strictest if none."""
    allowed = [index for index, p_null in enumerate(grid) if p_null <= GATE_P_NULL]
    return 1 + (max(allowed, key=lambda index: grid[index]) if allowed else int(np.argmin(grid)))


def _main_penalty(setup: BlockSetup, fit: int, penalty: float) -> Array:
    """The datamodel's penalty for every main effect, infinite for players this fit may not use: (n,)."""
    if setup.allowed is None:
        return np.full(setup.n_players, float(penalty))
    return np.where(setup.allowed[fit], float(penalty), np.inf)


def _eligible(
    setup: BlockSetup, candidates: Candidates, without: int | None, grid: Array
) -> tuple[NDArray[np.int64], Array]:
    """Positions of the candidates that may enter a fit without one fold, and their penalties (grid, used).

    A set's penalty is the amount by which empirical Bayes shrinks its estimate; infinite where its P(null) exceeds the
    grid's."""
    if without is None:
        folds, row, allowed = setup.all_folds, N_FOLDS, candidates.selected_on_half.any(axis=0)
    else:
        folds, row = np.delete(setup.all_folds, without), without
        # A set selected on the half that holds the fold depends on it.
        allowed = candidates.selected_on_half[0 if setup.half_of_fold[without] else 1]
    p_null = candidates.p_null[row]
    used = np.flatnonzero(allowed & (p_null <= grid.max()))
    estimate = candidates.sums[folds][:, used].sum(axis=0) / setup.fold_weight[folds].sum()
    z = np.abs(candidates.z(folds)[used])
    # A proxy's set has its posterior from other masks than the estimate, which may then be the smaller of the two.
    kept = np.minimum(np.abs(candidates.posterior_mean_z[row, used]) / np.maximum(z, 1e-300), 1.0)
    shrink = np.abs(estimate) * (1.0 - kept)
    return used, np.where(p_null[used][None, :] <= grid[:, None], shrink[None, :], np.inf)
