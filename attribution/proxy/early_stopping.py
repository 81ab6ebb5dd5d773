"""What the boosters of booster.py and booster_torch.py share: where boosting starts, and when a target stops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Start:
    """Where boosting starts: residuals of every target's mean, in units of its own spread, so that float32 is fine
    for any output. Target-major: residual (t, m) float32 of the rows fitted on, held_residual (t, h) float64.

    weight: (m,) float32 of mean 1, or None; held_weight: (h,) of sum 1; total: the sum of weights. bias, scale: (t,).
    """

    def __init__(
        self,
        outputs: NDArray[np.floating],
        held: NDArray[np.bool_],
        sample_weight: NDArray[np.floating] | None,
    ) -> None:
        rows = ~held
        weight = np.ones(len(held)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        weight = weight / weight[rows].mean()
        self.weight = None if sample_weight is None else weight[rows].astype(np.float32)
        y = np.asarray(outputs, dtype=np.float64)
        self.bias = np.average(y[rows], axis=0, weights=weight[rows])
        scale = np.sqrt(np.average((y[rows] - self.bias) ** 2, axis=0, weights=weight[rows]))
        self.scale = np.where(scale > 0, scale, 1.0)
        self.residual = np.ascontiguousarray(((y[rows] - self.bias) / self.scale).T, dtype=np.float32)
        self.held_residual = ((y[held] - self.bias) / self.scale).T.copy()
        self.held_weight = weight[held] / weight[held].sum() if held.any() else weight[held]
        self.total = float(weight[rows].sum())


class EarlyStopping:
    """How many trees each target keeps. It stops `patience` rounds after its best one, whatever its neighbours do.

    n_trees: (t,). going: (t,) bool. error: (rounds seen, t), NaN from where a target has stopped. Without held-out
    masks or patience nothing stops, and every target keeps n_rounds trees.
    """

    def __init__(self, start: Start, n_rounds: int, patience: int) -> None:
        n_targets = len(start.residual)
        self.used = patience > 0 and start.held_residual.shape[1] > 0
        self.patience = patience
        self.n_trees = np.full(n_targets, 0 if self.used else n_rounds, dtype=np.int64)
        self.going = np.ones(n_targets, dtype=bool)
        self.best = (start.held_residual**2) @ start.held_weight
        self.unit = start.scale**2
        self.error = np.full((n_rounds, n_targets), np.nan)
        self.n_rounds = 0  # after which all had stopped

    def see(self, targets: NDArray[np.int64], error: NDArray[np.float64]) -> None:
        """One more round: the held-out error of some targets, in units of their spread."""
        seen = self.going[targets]
        targets, error = targets[seen], error[seen]
        if len(targets) == 0:
            return
        self.error[self.n_rounds, targets] = error * self.unit[targets]
        self.n_rounds += 1
        better = error < self.best[targets]
        self.best[targets[better]] = error[better]
        self.n_trees[targets[better]] = self.n_rounds
        self.going[targets] = self.n_rounds - self.n_trees[targets] < self.patience
