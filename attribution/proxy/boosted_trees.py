"""Gradient-boosted trees: their settings and the fitted model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attribution.checks import check_integer, check_number
from attribution.errors import AttributionError
from attribution.types import Float32

_MAX_DEPTH = 8  # a choice: 256 leaves, and sets of up to 8 members
SMALLEST_GAIN = 1e-10  # in squared units of the target's spread; a smaller gain is rounding error
COMPACT_BELOW = 0.9  # share of targets still growing below which stopped ones are dropped; a choice


@dataclass(frozen=True, kw_only=True)
class BoosterSettings:
    """Settings of the boosted trees, named as in LightGBM's scikit-learn interface.

    Attributes
    ----------
    max_depth : int
        Depth of every tree, 1 to 8. Trees are grown level by level to this depth.
    learning_rate : float
        Shrinkage of each tree, in (0, 1].
    n_estimators : int
        Largest number of trees per target.
    min_child_samples : int
        Smallest number of masks in a child (sum of weights, if rows have weights).
    reg_lambda : float
        L2 penalty of leaf values.
    early_stopping_rounds : int
        Rounds without a lower validation error after which a target stops; 0 uses no validation masks.
    device : str
        "cpu" (NumPy), or a torch device such as "cuda", on which the whole block then computes its large products
        too. The device is never chosen automatically: rounding differs between devices, and so do the last digits
        of a result.

    Raises
    ------
    AttributionError
        If a value is outside its range.

    Notes
    -----
    min_child_samples has LightGBM's default. The other defaults are a choice: trees of depth 3 hold sets of up to three
    members, the default largest order, and small steps are stopped early.

    Examples
    --------
    >>> BoosterSettings(max_depth=2, n_estimators=100).learning_rate
    0.05
    """

    max_depth: int = 3
    learning_rate: float = 0.05
    n_estimators: int = 400
    min_child_samples: int = 20
    reg_lambda: float = 0.0
    early_stopping_rounds: int = 40
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_integer("max_depth", self.max_depth, 1, _MAX_DEPTH)
        check_number("learning_rate", self.learning_rate, 0, 1, includes="]")
        for name, least in (("n_estimators", 1), ("min_child_samples", 1), ("early_stopping_rounds", 0)):
            check_integer(name, getattr(self, name), least)
        if not isinstance(self.device, str):
            raise AttributionError(f"device must be 'cpu' or the name of a torch device; got {self.device!r}.")
        check_number("reg_lambda", self.reg_lambda, 0, math.inf, includes="[")


@dataclass(frozen=True, kw_only=True)
class BoostedTrees:
    """Complete trees of one depth for every target, in heap order (children of k: 2k+1 absent, 2k+2 present).

    Attributes
    ----------
    players : (n_rounds, n_targets, 2^depth - 1) int32
        Player that each inner node splits on; -1 where it was not split (its masks go to the absent side).
    leaves : (n_rounds, n_targets, 2^depth) float32
        Leaf values, shrinkage applied, in the outputs' units.
    bias : (n_targets,) float64
        Constant of each target.
    n_trees : (n_targets,) int64
        Number of rounds that each target uses; later rounds are not part of its model.
    n_players : int
        Number of players.
    validation_error : (n_rounds, n_targets) float64
        Mean squared error on the validation masks after each round, NaN where it was not measured.

    Examples
    --------
    One tree that splits on player 1:

    >>> trees = BoostedTrees(
    ...     players=np.array([[[1]]], dtype=np.int32),
    ...     leaves=np.array([[[-0.5, 0.5]]], dtype=np.float32),
    ...     bias=np.array([2.0]),
    ...     n_trees=np.array([1]),
    ...     n_players=2,
    ...     validation_error=np.full((1, 1), np.nan),
    ... )
    >>> trees.predict(np.array([[True, False], [False, True]])).tolist()
    [[1.5], [2.5]]
    """

    players: NDArray[np.int32]
    leaves: Float32
    bias: NDArray[np.float64]
    n_trees: NDArray[np.int64]
    n_players: int
    validation_error: NDArray[np.float64] = field(repr=False)

    @property
    def depth(self) -> int:
        """Depth of every tree."""
        return int(self.leaves.shape[2]).bit_length() - 1

    def predict(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Predict every target: masks (m, n_players) bool -> (m, n_targets) float64."""
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
    """Transpose masks to one row per player, and a row of zeros for "not split".

    Parameters
    ----------
    masks : (m, n) bool
        Masks.

    Returns
    -------
    (n + 1, m) uint8
        Columns to split on.
    """
    columns = np.zeros((masks.shape[1] + 1, masks.shape[0]), dtype=np.uint8)
    columns[:-1] = masks.T
    return columns


def leaf_of(columns: NDArray[np.uint8], players: NDArray[np.int64] | NDArray[np.int32]) -> NDArray[np.int64]:
    """Find the leaf of every mask in complete trees.

    Parameters
    ----------
    columns : (n + 1, m) uint8
        Masks, from split_columns.
    players : (t, 2^depth - 1) int
        Splits of t trees in heap order; -1 or n where a node was not split.

    Returns
    -------
    (t, m) int64
        Number of each mask's leaf, 0 (all absent) to 2^depth - 1.
    """
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
