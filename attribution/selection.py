"""Which candidates enter a target's spectrum: refits at several levels of strictness, one chosen by cross-fitting."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attribution.candidate_sets import Candidates
from attribution.crossfit import LinearFit
from attribution.refit import Design, TargetRefit
from attribution.screen import set_columns
from attribution.setup import N_FOLDS, BlockSetup

Array = NDArray[np.float64]


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


def may_enter(setup: BlockSetup, candidates: Candidates) -> bool:
    """Whether any candidate could enter the spectrum at some level of strictness."""
    return bool((candidates.nil <= max(setup.settings.levels)).any())


def select(
    setup: BlockSetup, design: Design, linear: LinearFit, candidates: Candidates, target: int
) -> Selection:
    """Choose and refit one target's sets: on the other folds for every fold, then on all masks."""
    levels = np.array(setup.settings.levels)
    n_sets = len(candidates.members)
    every_main, every_intercept = linear.coef[target], float(linear.intercept[target])
    proposals = [_eligible(setup, candidates, fold, levels) for fold in (*range(N_FOLDS), None)]
    if not any(len(used) for used, _ in proposals):
        return Selection(
            0, np.zeros(n_sets, bool), np.zeros(n_sets), every_main, every_intercept,
            linear.predicted[:, target], linear.fold_coef[:, target], np.zeros((N_FOLDS, n_sets)),
        )  # fmt: skip
    somewhere = np.unique(np.concatenate([used for used, _ in proposals]))
    columns = set_columns(setup.phi, candidates.members[somewhere])
    y = setup.data.outputs[:, target]
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
                _main_penalty(setup, fold, linear.fold_penalty[fold, target]),
                linear.fold_coef[fold, target],
            )
            # A level that lets nothing in is the datamodel itself, not a second solution of it.
            some = np.flatnonzero(np.isfinite(penalties).any(axis=1))
            fold_main[fold, 1 + some] = main[some]
            fold_sets[fold][np.ix_(1 + some, used)] = sets[some]
            fitted = setup.phi[rows] @ main[some].T + columns[rows][:, local] @ sets[some].T + intercept[some]
            predicted[np.ix_(rows, 1 + some)] = fitted
        error[fold] = setup.weight[rows] @ (y[rows, None] - predicted[rows]) ** 2
    # The level used on a fold is chosen on the others, in favour of fewer sets where they tie.
    choice = np.array([np.delete(error, fold, axis=0).sum(axis=0).argmin() for fold in range(N_FOLDS)])
    level = int(error.sum(axis=0).argmin())
    kept, final = np.zeros(n_sets, bool), np.zeros(n_sets)
    used, penalties = proposals[-1]
    if level and np.isfinite(penalties[level - 1]).any():
        local = np.searchsorted(somewhere, used)
        main, sets, intercept = refit.solve(
            None,
            local,
            penalties[[level - 1]],
            _main_penalty(setup, N_FOLDS, linear.penalty[target]),
            linear.coef[target],
        )
        final[used] = sets[0]
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
