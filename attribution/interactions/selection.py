"""Which candidates enter a target's spectrum: refits at several levels of strictness, one chosen by cross-fitting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attribution.interactions.candidates import Candidates
from attribution.interactions.refit import Design, Fit, OneByOne, Request, Solver
from attribution.interactions.refit_torch import solve_on_device
from attribution.interactions.setup import N_FOLDS, BlockSetup
from attribution.linear.cross_fitted import LinearFit
from attribution.screening.screen import set_columns
from attribution.types import Array


@dataclass(frozen=True)
class Selection:
    """One target's choice. level: 0 for no sets, else 1 + index into settings.levels. kept (c,) bool and sets (c,)
    their coefficients, main (n,), intercept: of the fit on all masks. predicted (m,), fold_main (k, n),
    fold_sets (k, c): cross-fitted, each fold's level chosen on the others."""

    level: int
    kept: NDArray[np.bool_]
    sets: Array
    main: Array
    intercept: float
    predicted: Array
    fold_main: Array
    fold_sets: Array

    def widened(self, n_sets: int) -> Selection:
        """The same choice among more candidates, which follow those it was made from and stay outside."""
        more = n_sets - len(self.kept)
        return replace(
            self, kept=np.pad(self.kept, (0, more)), sets=np.pad(self.sets, (0, more)),
            fold_sets=np.pad(self.fold_sets, ((0, 0), (0, more))),
        )  # fmt: skip


def may_enter(candidates: Candidates) -> bool:
    """Whether any candidate is rather real than nil in some fit, and so may be worth another refit."""
    return bool((candidates.nil <= 0.5).any())


def select_all(
    setup: BlockSetup, design: Design, linear: LinearFit, candidates: Sequence[Candidates], targets: Sequence[int]
) -> list[Selection]:
    """The choice of several targets, whose refits a device solves together."""
    device = setup.settings.booster.device
    if device == "cpu":
        return [select(setup, design, linear, own, target) for own, target in zip(candidates, targets, strict=True)]
    plans = [_plan(setup, linear, own, target) for own, target in zip(candidates, targets, strict=True)]
    solved = solve_on_device(device, design, [plan.request for plan in plans if plan is not None])
    return [
        _choose(setup, linear, own, target, plan, None if plan is None else next(solved))
        for own, target, plan in zip(candidates, targets, plans, strict=True)
    ]


def select(
    setup: BlockSetup, design: Design, linear: LinearFit, candidates: Candidates, target: int
) -> Selection:
    """Choose and refit one target's sets: on the other folds for every fold, then on all masks."""
    plan = _plan(setup, linear, candidates, target)
    return _choose(
        setup, linear, candidates, target, plan, None if plan is None else OneByOne(design, plan.request)
    )


@dataclass(frozen=True)
class _Plan:
    """somewhere: (c,) candidates that may enter in some fit; request: those fits, without each fold and (last) on all
    masks, at every level."""

    somewhere: NDArray[np.int64]
    request: Request


def _plan(setup: BlockSetup, linear: LinearFit, candidates: Candidates, target: int) -> _Plan | None:
    """A target's fits; None where no candidate may enter any."""
    levels = np.array(setup.settings.levels)
    proposals = [_eligible(setup, candidates, fold, levels) for fold in (*range(N_FOLDS), None)]
    if not any(len(used) for used, _ in proposals):
        return None
    somewhere = np.unique(np.concatenate([used for used, _ in proposals]))
    penalties = [*linear.fold_penalty[:, target], linear.penalty[target]]
    starts = [*linear.fold_coef[:, target], linear.coef[target]]
    fits = [
        Fit(
            fold if fold < N_FOLDS else None, np.searchsorted(somewhere, used), of_sets,
            _main_penalty(setup, fold, penalties[fold]), starts[fold],
        )
        for fold, (used, of_sets) in enumerate(proposals)
    ]  # fmt: skip
    return _Plan(
        somewhere, Request(set_columns(setup.phi, candidates.members[somewhere]), setup.data.outputs[:, target], fits)
    )


def _choose(
    setup: BlockSetup, linear: LinearFit, candidates: Candidates, target: int, plan: _Plan | None, solver: Solver | None
) -> Selection:
    n_sets, n_levels = len(candidates.members), len(setup.settings.levels)
    every_main, every_intercept = linear.coef[target], float(linear.intercept[target])
    if plan is None or solver is None:
        return Selection(
            0, np.zeros(n_sets, bool), np.zeros(n_sets), every_main, every_intercept,
            linear.predicted[:, target], linear.fold_coef[:, target], np.zeros((N_FOLDS, n_sets)),
        )  # fmt: skip
    columns, y = plan.request.columns, plan.request.outputs
    predicted = np.repeat(linear.predicted[:, [target]], n_levels + 1, axis=1)
    fold_main = np.repeat(linear.fold_coef[:, target][:, None], n_levels + 1, axis=1)
    fold_sets = np.zeros((N_FOLDS, n_levels + 1, n_sets))
    error = np.empty((N_FOLDS, n_levels + 1))
    for fold in range(N_FOLDS):
        rows = np.flatnonzero(setup.folds == fold)
        fit = plan.request.fits[fold]
        if len(fit.used):
            main, sets, intercept = solver.solve(fold, np.arange(n_levels))
            # A level that lets nothing in is the datamodel itself, not a second solution of it.
            some = np.flatnonzero(np.isfinite(fit.penalties).any(axis=1))
            fold_main[fold, 1 + some] = main[some]
            fold_sets[fold][np.ix_(1 + some, plan.somewhere[fit.used])] = sets[some]
            fitted = setup.phi[rows] @ main[some].T + columns[rows][:, fit.used] @ sets[some].T + intercept[some]
            predicted[np.ix_(rows, 1 + some)] = fitted
        error[fold] = setup.weight[rows] @ (y[rows, None] - predicted[rows]) ** 2
    # The level used on a fold is chosen on the others, in favour of fewer sets where they tie.
    choice = np.array([np.delete(error, fold, axis=0).sum(axis=0).argmin() for fold in range(N_FOLDS)])
    level = int(error.sum(axis=0).argmin())
    kept, final = np.zeros(n_sets, bool), np.zeros(n_sets)
    fit = plan.request.fits[-1]
    if level and np.isfinite(fit.penalties[level - 1]).any():
        main, sets, intercept = solver.solve(N_FOLDS, np.array([level - 1]))
        final[plan.somewhere[fit.used]] = sets[0]
        kept = final != 0
        every_main, every_intercept = main[0], float(intercept[0])
    return Selection(
        level, kept, final, every_main, every_intercept,
        predicted[np.arange(setup.n_masks), choice[setup.folds]],
        fold_main[setup.every, choice], fold_sets[setup.every, choice],
    )  # fmt: skip


def _main_penalty(setup: BlockSetup, fit: int, penalty: float) -> Array:
    """The datamodel's penalty for every main effect, infinite for players this fit may not use: (n,)."""
    if setup.allowed is None:
        return np.full(setup.n_players, float(penalty))
    return np.where(setup.allowed[fit], float(penalty), np.inf)


def _eligible(
    setup: BlockSetup, candidates: Candidates, without: int | None, levels: Array
) -> tuple[NDArray[np.int64], Array]:
    """Candidates that may enter at some level, seen without one fold: their positions, and penalties (l, used).

    A set's penalty is what empirical Bayes takes off its estimate; infinite where the level keeps it out."""
    if without is None:
        folds, row, open_to = setup.every, N_FOLDS, candidates.proposed.any(axis=0)
    else:
        folds, row = np.delete(setup.every, without), without
        # A set put forward by the half that holds the fold has seen it.
        open_to = candidates.proposed[0 if setup.half_of_fold[without] else 1]
    nil = candidates.nil[row]
    used = np.flatnonzero(open_to & (nil <= levels.max()))
    estimate = candidates.sums[folds][:, used].sum(axis=0) / setup.fold_weight[folds].sum()
    z = np.abs(candidates.z(folds)[used])
    shrink = np.abs(estimate) * (1.0 - np.abs(candidates.mean[row, used]) / np.maximum(z, 1e-300))
    return used, np.where(nil[used][None, :] <= levels[:, None], shrink[None, :], np.inf)
