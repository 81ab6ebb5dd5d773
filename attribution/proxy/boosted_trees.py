"""Gradient-boosted trees: their settings and the fitted model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.types import Float32

_MAX_DEPTH = 8


@dataclass(frozen=True)
class BoosterSettings:
    """How the trees are grown; the names are LightGBM's where it has them.

    n_rounds: largest number of trees per target. patience: rounds without a better validation error after which
    a target stops (0: never; then no validation masks are used). device: "cpu" (NumPy), or a torch device such as
    "cuda", where the whole block then does its large products too. It is never chosen for you: rounding differs
    between devices, and with it the last digits of a result.
    """

    max_depth: int = 3
    learning_rate: float = 0.05
    n_rounds: int = 400
    min_child_samples: int = 20
    l2: float = 0.0
    patience: int = 40
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not 1 <= self.max_depth <= _MAX_DEPTH:
            raise AttributionError(f"max_depth must lie in 1..{_MAX_DEPTH}; got {self.max_depth}.")
        if not 0.0 < self.learning_rate <= 1.0:
            raise AttributionError(f"learning_rate must lie in (0, 1]; got {self.learning_rate}.")
        if self.n_rounds < 1 or self.min_child_samples < 1 or self.l2 < 0 or self.patience < 0:
            raise AttributionError(
                "n_rounds and min_child_samples must be at least 1, l2 and patience at least 0; got "
                f"{self.n_rounds}, {self.min_child_samples}, {self.l2}, {self.patience}."
            )


@dataclass(frozen=True)
class BoostedTrees:
    """Complete trees of one depth for every target, in heap order (children of k: 2k+1 absent, 2k+2 present).

    players: (n_rounds, n_targets, 2^depth - 1) int32, -1 where a node was not split (its masks go to the absent
    side). leaves: (n_rounds, n_targets, 2^depth) float32, shrinkage applied. bias: (n_targets,) float64.
    n_trees: (n_targets,) int, how many rounds each target uses; later ones are no part of its model.
    validation_error: (n_rounds, n_targets) float64 mean squared error, NaN where none was measured.
    """

    players: NDArray[np.int32]
    leaves: Float32
    bias: NDArray[np.float64]
    n_trees: NDArray[np.int64]
    n_players: int
    validation_error: NDArray[np.float64] = field(repr=False)

    @property
    def depth(self) -> int:
        return int(self.leaves.shape[2]).bit_length() - 1

    def predict(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The trees' sum at each mask: (m, n_players) bool -> (m, n_targets) float64."""
        columns = split_columns(masks)
        n_rounds, n_targets, _ = self.players.shape
        result = np.repeat(self.bias[:, None], columns.shape[1], axis=1)
        offset = (np.arange(n_targets) << self.depth)[:, None]
        for round_index in range(n_rounds):
            use = np.flatnonzero(self.n_trees > round_index)
            if len(use) == 0:
                break
            leaf = leaf_of(columns, self.players[round_index, use])
            result[use] += self.leaves[round_index].ravel()[leaf + offset[use]]
        return result.T


def split_columns(masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(m, n) bool -> (n + 1, m) uint8: one row per player, and a row of zeros for "not split"."""
    columns = np.zeros((masks.shape[1] + 1, masks.shape[0]), dtype=np.uint8)
    columns[:-1] = masks.T
    return columns


def leaf_of(columns: NDArray[np.uint8], players: NDArray[np.int64] | NDArray[np.int32]) -> NDArray[np.int64]:
    """The leaf of every mask: columns (n + 1, m), players (t, 2^depth - 1) -> (t, m) int64."""
    n_inner = players.shape[1]
    rows = columns[players]  # -1 and n_players both read the row of zeros
    node = rows[:, 0].astype(np.int64)
    level_start, depth = 1, (n_inner + 1).bit_length() - 1
    for _ in range(1, depth):
        n_nodes = level_start + 1
        bit = np.take_along_axis(rows[:, level_start : level_start + n_nodes], node[:, None, :], axis=1)[:, 0]
        node = 2 * node + bit
        level_start += n_nodes
    return node
