"""Start and early stopping of boosting, shared by booster.py and booster_torch.py."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Start:
    """Residuals of every target's mean, in units of its own spread so that float32 suffices for any output.

    Arrays are target-major.

    Attributes
    ----------
    residual : (t, m) float32
        Residuals of the rows fitted on.
    held_residual : (t, h) float64
        Residuals of the validation rows.
    weight : (m,) float32 or None
        Weights of the rows fitted on, with mean 1.
    held_weight : (h,) float64
        Weights of the validation rows, with sum 1.
    total : float
        Sum of the weights of the rows fitted on.
    bias, scale : (t,) float64
        Mean and standard deviation of each target on the rows fitted on.

    Examples
    --------
    >>> start = Start(np.array([[1.0], [3.0], [2.0]]), np.array([False, False, True]), None)
    >>> start.bias.tolist(), start.residual.tolist(), start.held_residual.tolist()
    ([2.0], [[-1.0, 1.0]], [[0.0]])
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
    """Track how many trees each target keeps.

    A target stops `patience` rounds after its best round, independently of the others. Without validation rows, or
    with patience 0, no target stops and each keeps n_rounds trees.

    Attributes
    ----------
    used : bool
        Whether targets can stop.
    n_trees : (t,) int64
        Number of trees up to each target's best round so far.
    going : (t,) bool
        Targets that have not stopped.
    error : (n_rounds, t) float64
        Validation error after each round in squared units of the outputs; NaN once a target has stopped.
    n_rounds : int
        Number of rounds recorded.

    Examples
    --------
    >>> start = Start(np.array([[1.0], [3.0], [1.0]]), np.array([False, False, True]), None)
    >>> stopping = EarlyStopping(start, n_rounds=10, patience=2)
    >>> for error in (0.5, 0.6, 0.7):
    ...     stopping.record(np.array([0]), np.array([error]))
    >>> stopping.n_trees.tolist(), stopping.going.tolist()
    ([1], [False])
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
        self.n_rounds = 0

    def record(self, targets: NDArray[np.int64], error: NDArray[np.float64]) -> None:
        """Record one round: targets (k,) and their validation error (k,), in squared units of their spread."""
        going = self.going[targets]
        targets, error = targets[going], error[going]
        if len(targets) == 0:
            return
        self.error[self.n_rounds, targets] = error * self.unit[targets]
        self.n_rounds += 1
        better = error < self.best[targets]
        self.best[targets[better]] = error[better]
        self.n_trees[targets[better]] = self.n_rounds
        self.going[targets] = self.n_rounds - self.n_trees[targets] < self.patience
