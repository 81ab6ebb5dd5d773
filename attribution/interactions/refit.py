"""The sparse refit: all main effects and the candidate sets of a target jointly, under an L1 penalty.

Main effects keep the datamodel's penalty. A candidate's penalty is the amount by which empirical Bayes shrinks its
one-step estimate (statistics/empirical_bayes.py). On an orthogonal design the refit then equals the posterior mean; on
the real one it also accounts for the correlations of sets with each other and with main effects. A penalty common to
all columns was worse: it is chosen for the many small main effects and halves the few large interactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from attribution.linear.lasso import Moments, solve_l1
from attribution.types import Floating


@dataclass(frozen=True, kw_only=True)
class Design:
    """The part of the refits that all targets share.

    Attributes
    ----------
    phi : (m, n) float32
    weight : (m,) float32 or None
    rows : list of int64 arrays
        Rows of each fold.
    total : list of float
        Weight of each fold.
    x, xx : list of (n,) and (n, n) arrays
        Weighted sums over each fold of phi and phi phi'.
    """

    phi: NDArray[np.float32]
    weight: NDArray[np.float32] | None
    rows: list[NDArray[np.int64]]
    total: list[float]
    x: list[Floating]
    xx: list[Floating]

    @staticmethod
    def of(phi: NDArray[np.float32], weight: Floating | None, folds: NDArray[np.int64]) -> Design:
        """Sum up phi (m, n) and its products over the folds (m,)."""
        rows = [np.flatnonzero(folds == fold) for fold in range(int(folds.max()) + 1)]
        w = None if weight is None else weight.astype(np.float32)
        parts = [
            Moments.of(phi[r], np.zeros((len(r), 0), np.float32), None if w is None else w[r]) for r in rows
        ]
        return Design(
            phi=phi,
            weight=w,
            rows=rows,
            total=[p.weight for p in parts],
            x=[p.x for p in parts],
            xx=[p.xx for p in parts],
        )


@dataclass(frozen=True)
class Fit:
    """One fit of a target, for several rows of penalties. Penalties and coefficients are in the outputs' units.

    Attributes
    ----------
    without : int or None
        Fold left out; None to fit on all rows.
    used : (c,) int64
        Positions of the candidate columns in the fit.
    penalties : (l, c) float64
        Their penalties; infinite to leave a column out.
    main_penalty : (n,) float64
        Penalties of the main effects.
    start : (n,) float64
        Main effects to start from.
    """

    without: int | None
    used: NDArray[np.int64]
    penalties: Floating
    main_penalty: Floating
    start: Floating


@dataclass(frozen=True)
class Request:
    """The fits of one target; columns: (m, c) float32, phi_S of every candidate; outputs: (m,)."""

    columns: NDArray[np.float32]
    outputs: NDArray[np.float64]
    fits: Sequence[Fit]


class Solver(Protocol):
    """Gives the solutions of one target's fits."""

    def solve(self, fit: int, rows: NDArray[np.int64]) -> tuple[Floating, Floating, Floating]:
        """Return the solution of a fit at some rows of its penalties: main effects (l, n), sets (l, c), intercepts
        (l,)."""


class OnDemandSolver:
    """Solves each fit when its solution is requested, with NumPy."""

    def __init__(self, design: Design, request: Request) -> None:
        self.request, self.refit = request, TargetRefit(design, request.columns, request.outputs)

    def solve(self, fit: int, rows: NDArray[np.int64]) -> tuple[Floating, Floating, Floating]:
        own = self.request.fits[fit]
        return self.refit.solve(own.without, own.used, own.penalties[rows], own.main_penalty, own.start)


@dataclass(frozen=True)
class BatchSolutions:
    """Solutions of one target, computed together with those of other targets (refit_torch.py).

    main: (k, l, n) main effects; sets: k arrays (l, c); intercept: (k, l)."""

    main: Floating
    sets: Sequence[Floating]
    intercept: Floating

    def solve(self, fit: int, rows: NDArray[np.int64]) -> tuple[Floating, Floating, Floating]:
        return self.main[fit, rows], self.sets[fit][rows], self.intercept[fit, rows]


class TargetRefit:
    """Refits of one target on its candidate columns: without each fold, and on all rows.

    Parameters
    ----------
    design : Design
    columns : (m, c) float32
        phi_S of every candidate.
    outputs : (m,) float64
    """

    def __init__(self, design: Design, columns: NDArray[np.float32], outputs: NDArray[np.float64]) -> None:
        self.design, self.columns = design, columns
        self.centre = float(outputs.mean())
        self.scale = float(outputs.std()) or 1.0
        y = ((outputs - self.centre) / self.scale).astype(np.float32)
        w = design.weight
        weighted_y = y if w is None else y * w
        weighted = columns if w is None else columns * w[:, None]
        self.yx = [weighted_y[r] @ design.phi[r] for r in design.rows]
        self.yc = [weighted_y[r] @ columns[r] for r in design.rows]
        self.y = [float(weighted_y[r].sum()) for r in design.rows]
        self.c = [weighted[r].sum(axis=0) for r in design.rows]
        self.xc = [design.phi[r].T @ weighted[r] for r in design.rows]
        self.cc = [columns[r].T @ weighted[r] for r in design.rows]

    def solve(
        self,
        without: int | None,
        used: NDArray[np.int64],
        penalties: Floating,
        main_penalty: Floating,
        start: Floating,
    ) -> tuple[Floating, Floating, Floating]:
        """Fit once for every row of penalties.

        Parameters
        ----------
        without : int or None
            Fold left out; None to fit on all rows.
        used : (c,) int64
            Positions of the candidate columns in the fit.
        penalties : (l, c) float64
            Their penalties; infinite to leave a column out.
        main_penalty : (n,) float64
            Penalties of the main effects.
        start : (n,) float64
            Main effects to start from.

        Returns
        -------
        main : (l, n) float64
        sets : (l, c) float64
        intercept : (l,) float64
            All in the outputs' units.
        """
        design = self.design
        n, c = design.phi.shape[1], len(used)
        folds = [fold for fold in range(len(design.rows)) if fold != without]
        total = sum(design.total[f] for f in folds)
        gram = np.empty((n + c, n + c), dtype=np.float32)
        gram[:n, :n] = _add(design.xx, folds)
        gram[:n, n:] = _add(self.xc, folds)[:, used]
        gram[n:, :n] = gram[:n, n:].T
        gram[n:, n:] = _add(self.cc, folds)[np.ix_(used, used)]
        mean = np.concatenate([_add(design.x, folds), _add(self.c, folds)[used]]) / total
        mean_y = sum(self.y[f] for f in folds) / total
        gram /= np.float32(total)
        gram -= np.outer(mean, mean)
        covariance = (
            np.concatenate([_add(self.yx, folds), _add(self.yc, folds)[used]]) / total - mean_y * mean
        )
        scaled_penalties = (
            np.concatenate([np.repeat(main_penalty[None], len(penalties), axis=0), penalties], axis=1)
            / self.scale
        )
        begin = np.concatenate([start / self.scale, np.zeros(c)])
        coef = solve_l1(
            gram, covariance[None], scaled_penalties[None], start=np.repeat(begin[None, None], len(penalties), axis=1)
        )[0].astype(np.float64)
        intercept = mean_y - coef @ mean
        return coef[:, :n] * self.scale, coef[:, n:] * self.scale, intercept * self.scale + self.centre


def _add(parts: list[Floating], folds: list[int]) -> Floating:
    result = parts[folds[0]].copy()
    for fold in folds[1:]:
        result += parts[fold]
    return result
