"""The sparse refit: all main effects and a few member sets, jointly, under an L1 penalty.

Main effects keep the datamodel's penalty. A candidate set's penalty is the amount by which empirical Bayes shrinks
its one-step estimate (empirical_bayes.py): on an orthogonal design the refit then equals the posterior mean, on the
real one it also accounts for what the sets share with each other and with the main effects. A penalty common to all
columns was worse: it is chosen for the many small main effects and halves the few large interactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from attribution.linear.lasso import Moments, solve_l1
from attribution.types import Floating


@dataclass(frozen=True)
class Design:
    """What all targets' refits share: phi (m, n) float32, weight (m,) float32 or None, the rows of every fold, and
    per fold the weighted sums of phi and phi phi'."""

    phi: NDArray[np.float32]
    weight: NDArray[np.float32] | None
    rows: list[NDArray[np.int64]]
    total: list[float]
    x: list[Floating]
    xx: list[Floating]

    @staticmethod
    def of(phi: NDArray[np.float32], weight: Floating | None, folds: NDArray[np.int64]) -> Design:
        rows = [np.flatnonzero(folds == fold) for fold in range(int(folds.max()) + 1)]
        w = None if weight is None else weight.astype(np.float32)
        parts = [
            Moments.of(phi[r], np.zeros((len(r), 0), np.float32), None if w is None else w[r]) for r in rows
        ]
        return Design(phi, w, rows, [p.weight for p in parts], [p.x for p in parts], [p.xx for p in parts])


@dataclass(frozen=True)
class Fit:
    """One fit of a target, for several rows of penalties.

    without: the fold left out, or None. used: (c,) which candidate columns take part; penalties: (l, c) theirs,
    infinite to leave one out; main_penalty: (n,) of the main effects; start: (n,) main effects to start from. All in
    the outputs' units."""

    without: int | None
    used: NDArray[np.int64]
    penalties: Floating
    main_penalty: Floating
    start: Floating


@dataclass(frozen=True)
class Request:
    """A target's fits. columns: (m, c) float32, phi_S of every candidate; outputs: (m,)."""

    columns: NDArray[np.float32]
    outputs: NDArray[np.float64]
    fits: Sequence[Fit]


class Solver(Protocol):
    """A target's solutions."""

    def solve(self, fit: int, rows: NDArray[np.int64]) -> tuple[Floating, Floating, Floating]:
        """Of one fit at some rows of its penalties: main effects (l, n), sets (l, c), intercepts (l,)."""


class OneByOne:
    """Solves a fit when asked for it."""

    def __init__(self, design: Design, request: Request) -> None:
        self.request, self.refit = request, TargetRefit(design, request.columns, request.outputs)

    def solve(self, fit: int, rows: NDArray[np.int64]) -> tuple[Floating, Floating, Floating]:
        asked = self.request.fits[fit]
        return self.refit.solve(asked.without, asked.used, asked.penalties[rows], asked.main_penalty, asked.start)


@dataclass(frozen=True)
class Together:
    """What was solved with those of all other targets (refit_torch.py): main effects (k, l, n), intercepts (k, l), and
    sets, k of (l, c)."""

    main: Floating
    sets: Sequence[Floating]
    intercept: Floating

    def solve(self, fit: int, rows: NDArray[np.int64]) -> tuple[Floating, Floating, Floating]:
        return self.main[fit, rows], self.sets[fit][rows], self.intercept[fit, rows]


class TargetRefit:
    """Refits of one target on its candidate columns: without each fold, and on all rows.

    columns: (m, c) float32, phi_S of every candidate. outputs: (m,), already centred and scaled as `phi`'s
    coefficients are wanted.
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
        """Fit on all folds but `without` (None: on all), once per row of penalties.

        used: (c,) which candidate columns take part; penalties: (l, c) theirs, infinite to leave one out;
        main_penalty: (n,) of the main effects; start: (n,) main effects to start from. All in the outputs' units.
        Returns main effects (l, n), set coefficients (l, c), intercepts (l,).
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
        cut = (
            np.concatenate([np.repeat(main_penalty[None], len(penalties), axis=0), penalties], axis=1)
            / self.scale
        )
        begin = np.concatenate([start / self.scale, np.zeros(c)])
        coef = solve_l1(
            gram, covariance[None], cut[None], start=np.repeat(begin[None, None], len(penalties), axis=1)
        )[0].astype(np.float64)
        intercept = mean_y - coef @ mean
        return coef[:, :n] * self.scale, coef[:, n:] * self.scale, intercept * self.scale + self.centre


def _add(parts: list[Floating], folds: list[int]) -> Floating:
    result = parts[folds[0]].copy()
    for fold in folds[1:]:
        result += parts[fold]
    return result
