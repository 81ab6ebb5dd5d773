"""Gradient-boosted trees over mask bits, for all targets of a block together.

All targets share one mask matrix X and masks are bits, so the sums that a histogram booster needs are one matrix
product: (residuals of all targets and nodes) @ X. Trees are grown level by level to a fixed depth, one tree per target
and round, by the second-order gain for squared error that LightGBM and XGBoost use:

    gain = S_L^2/(n_L + lambda) + S_R^2/(n_R + lambda) - S^2/(n + lambda)

Only present children are summed; absent = parent - present. Counts of the first two levels come from the Gram matrix
X^T X, counts of the third from a cache of vectors X^T (x_i x_j), because the same pairs of players recur from round to
round. Nearly all the arithmetic is therefore the product for the residual sums. The same trees on a GPU:
booster_torch.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.proxy.boosted_trees import (
    COMPACT_BELOW,
    SMALLEST_GAIN,
    BoostedTrees,
    BoosterSettings,
    leaf_of,
    split_columns,
)
from attribution.proxy.early_stopping import EarlyStopping, Start
from attribution.types import Float32

_PAIR_STORE_BYTES = 256 * 2**20  # of the cache of pair counts; a choice


def fit_booster(
    masks: NDArray[np.bool_],
    outputs: NDArray[np.floating],
    settings: BoosterSettings,
    *,
    validation: NDArray[np.bool_] | None = None,
    sample_weight: NDArray[np.floating] | None = None,
) -> BoostedTrees:
    """Fit one boosted model per target.

    Parameters
    ----------
    masks : (m, n) bool
        Masks of all players.
    outputs : (m, t) float
        Outputs of all targets.
    settings : BoosterSettings
        How the trees are grown.
    validation : (m,) bool or None
        Rows held out for early stopping: each target keeps the trees up to its best round on them. None: every target
        keeps all n_estimators trees.
    sample_weight : (m,) float or None
        Positive weights, scaled to mean 1; min_child_samples then counts weight.

    Returns
    -------
    BoostedTrees
        The trees of all targets.

    Raises
    ------
    AttributionError
        If every row is held out, or the device does not exist.
    """
    held = np.zeros(len(masks), dtype=bool) if validation is None else np.asarray(validation, dtype=bool)
    if held.all():
        raise AttributionError("every mask is a validation mask; leave some to fit on.")
    if settings.device != "cpu":
        from attribution.proxy.booster_torch import fit_on_device

        return fit_on_device(masks, outputs, held, sample_weight, settings)
    return _Fit(masks, outputs, held, sample_weight, settings).run()


class _Fit:
    """The arrays of one fit that persist over its rounds, target-major: (t, m) and (t, n)."""

    def __init__(
        self,
        masks: NDArray[np.bool_],
        outputs: NDArray[np.floating],
        held: NDArray[np.bool_],
        sample_weight: NDArray[np.floating] | None,
        settings: BoosterSettings,
    ) -> None:
        self.settings = settings
        self.n_players = masks.shape[1]
        self.X = np.ascontiguousarray(masks[~held], dtype=np.float32)
        self.columns, self.held_columns = split_columns(masks[~held]), split_columns(masks[held])
        self.start = Start(outputs, held, sample_weight)
        self.weight, self.total = self.start.weight, self.start.total
        self.residual, self.held_residual = self.start.residual, self.start.held_residual
        weighted = self.X if self.weight is None else self.X * self.weight[:, None]
        # (n + 1, n): the last row belongs to "not split", whose present side is empty.
        self.gram = np.zeros((self.n_players + 1, self.n_players), dtype=np.float32)
        self.gram[:-1] = weighted.T @ self.X
        self.counts = self.gram.diagonal().copy()
        self.pairs = _PairCounts(self.columns, self.X, self.weight)

    def run(self) -> BoostedTrees:
        """Grow trees until every target has stopped, or n_estimators rounds are done."""
        settings = self.settings
        n_targets = len(self.residual)
        depth = settings.max_depth
        players = np.full((settings.n_estimators, n_targets, 2**depth - 1), -1, dtype=np.int32)
        leaves = np.zeros((settings.n_estimators, n_targets, 2**depth), dtype=np.float32)
        active = np.arange(n_targets)
        stopping = EarlyStopping(self.start, settings.n_estimators, settings.early_stopping_rounds)
        n_grown = 0
        for round_index in range(settings.n_estimators):
            grown_players, grown_leaves = self._grow()
            players[round_index, active] = np.where(grown_players == self.n_players, -1, grown_players)
            leaves[round_index, active] = grown_leaves * self.start.scale[active, None]
            n_grown = round_index + 1
            if not stopping.used:
                continue
            leaf = leaf_of(self.held_columns, grown_players)
            self.held_residual -= np.take_along_axis(grown_leaves, leaf, axis=1)
            stopping.record(active, (self.held_residual**2) @ self.start.held_weight)
            going = stopping.going[active]
            if not going.any():
                break
            # Compacting copies all arrays, so it waits until it saves a tenth of the work.
            if going.mean() < COMPACT_BELOW:
                active = active[going]
                self.residual = np.ascontiguousarray(self.residual[going])
                self.held_residual = self.held_residual[going]
        return BoostedTrees(
            players=players[:n_grown],
            leaves=leaves[:n_grown],
            bias=self.start.bias,
            n_trees=stopping.n_trees,
            n_players=self.n_players,
            validation_error=stopping.error[:n_grown],
        )

    def _grow(self) -> tuple[NDArray[np.int64], Float32]:
        """Grow one tree per target on the current residuals and subtract it from them."""
        depth, n_targets = self.settings.max_depth, len(self.residual)
        residual = self.residual if self.weight is None else self.residual * self.weight
        players = np.empty((n_targets, 2**depth - 1), dtype=np.int64)
        # Per node of the level: its (weighted) residuals, 0 outside it; residual sums and counts per player.
        parts = residual[:, None, :]
        sums = (residual @ self.X)[:, None, :]
        counts = np.broadcast_to(self.counts, (n_targets, 1, self.n_players))
        sum_total = residual.sum(axis=1, dtype=np.float64).astype(np.float32)[:, None]
        count_total = np.full((n_targets, 1), self.total, dtype=np.float32)
        for level in range(depth):
            n_nodes = 2**level
            chosen = self._best_splits(sums, counts, sum_total, count_total)
            players[:, n_nodes - 1 : 2 * n_nodes - 1] = chosen
            present_sum, present_count = _at(sums, chosen), _at(counts, chosen)
            sum_total = _interleave(sum_total - present_sum, present_sum)
            count_total = _interleave(count_total - present_count, present_count)
            if level == depth - 1:
                break
            present_parts = parts * self.columns[chosen]
            present_sums = (present_parts.reshape(n_targets * n_nodes, -1) @ self.X).reshape(sums.shape)
            present_counts = self._present_counts(players, level)
            sums = _interleave(sums - present_sums, present_sums)
            counts = _interleave(counts - present_counts, present_counts)
            parts = _interleave(parts - present_parts, present_parts)
        rate = np.float32(self.settings.learning_rate)
        safe = np.maximum(count_total, np.float32(1e-12)) + np.float32(self.settings.reg_lambda)
        leaves = np.where(count_total > 0, rate * sum_total / safe, np.float32(0)).astype(np.float32)
        self.residual -= np.take_along_axis(leaves, leaf_of(self.columns, players), axis=1)
        return players, leaves

    def _best_splits(
        self, sums: Float32, counts: Float32, sum_total: Float32, count_total: Float32
    ) -> NDArray[np.int64]:
        """Choose the player of largest gain for every node (t, nodes), or n_players where no split is allowed."""
        penalty, least = np.float32(self.settings.reg_lambda), np.float32(self.settings.min_child_samples)
        total = count_total[:, :, None]
        rest = total - counts
        allowed = (counts >= least) & (rest >= least)
        if penalty == 0:
            # S_L^2/n_L + S_R^2/n_R - S^2/n in one squared difference: fewer passes, and no cancellation.
            mean = (sum_total / np.maximum(count_total, np.float32(1e-12)))[:, :, None]
            gain: Float32 = (sums - mean * counts).astype(np.float32, copy=False)
            gain *= gain
            gain /= np.maximum(counts * rest, np.float32(1e-12))
        else:
            gain = sums**2 / (counts + penalty) + (sum_total[:, :, None] - sums) ** 2 / (rest + penalty)
            gain -= (sum_total**2 / (count_total + penalty))[:, :, None]
        gain[~allowed] = -1.0
        chosen = np.asarray(gain.argmax(axis=2), dtype=np.int64)
        return np.where(_at(gain, chosen) > SMALLEST_GAIN, chosen, np.int64(self.n_players))

    def _present_counts(self, players: NDArray[np.int64], level: int) -> Float32:
        """Count masks per player inside the present child of every node of a level: (t, 2^level, n)."""
        if level == 0:
            return self.gram[players[:, 0]][:, None, :]
        first = players[:, 0]
        if level == 1:
            both = self.pairs.get(first, players[:, 2])
            other = self.gram[players[:, 1]] - self.pairs.get(first, players[:, 1])
            return np.stack([other, both], axis=1)
        # Deeper levels: the node's own masks, summed by one more product.
        n_targets, n_nodes = len(players), 2**level
        heap = np.zeros((n_targets, self.columns.shape[1]), dtype=np.int64)
        for _ in range(level):
            heap = 2 * heap + 1 + self._bit(players, heap)
        present = self._bit(players, heap).astype(np.float32)
        if self.weight is not None:
            present *= self.weight
        inside = np.zeros((n_targets, n_nodes, self.columns.shape[1]), dtype=np.float32)
        np.put_along_axis(inside, (heap - (n_nodes - 1))[:, None, :], present[:, None, :], axis=1)
        return (inside.reshape(n_targets * n_nodes, -1) @ self.X).reshape(n_targets, n_nodes, -1)

    def _bit(self, players: NDArray[np.int64], heap: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Look up the side that each mask takes at its node `heap`: (t, m)."""
        split = np.take_along_axis(players, heap, axis=1)
        return self.columns[split, np.arange(self.columns.shape[1])]


class _PairCounts:
    """A cache of the vectors X^T (w x_i x_j) by pair of players, computed at their first use."""

    def __init__(self, columns: NDArray[np.uint8], X: Float32, weight: Float32 | None) -> None:
        self.columns, self.X, self.weight = columns, X, weight
        self.n_players = X.shape[1]
        self.capacity = max(4096, _PAIR_STORE_BYTES // (4 * self.n_players))
        self.rows: dict[int, int] = {}
        self.store = np.zeros((0, self.n_players), dtype=np.float32)
        self.used = 0

    def get(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> Float32:
        """Return the vectors of pairs: first (c,), second (c,) -> (c, n)."""
        low, high = np.minimum(first, second), np.maximum(first, second)
        keys = (low * (self.n_players + 1) + high).tolist()
        missing = sorted({key for key in keys if key not in self.rows})
        if missing:
            if self.used + len(missing) > self.capacity:
                self.rows.clear()
                self.used = 0
                missing = sorted(set(keys))
            self._add(missing)
        return self.store[[self.rows[key] for key in keys]]

    def _add(self, keys: list[int]) -> None:
        """Compute the vectors of new pairs and store them."""
        pair = np.array(keys)
        both = self.columns[pair // (self.n_players + 1)] & self.columns[pair % (self.n_players + 1)]
        inside = both.astype(np.float32)
        if self.weight is not None:
            inside *= self.weight
        need = self.used + len(keys)
        if need > len(self.store):
            grown = np.empty((max(need, 2 * len(self.store), 512), self.n_players), dtype=np.float32)
            grown[: self.used] = self.store[: self.used]
            self.store = grown
        self.store[self.used : need] = inside @ self.X
        for position, key in enumerate(keys):
            self.rows[key] = self.used + position
        self.used = need


def _at(values: Float32, chosen: NDArray[np.int64]) -> Float32:
    """Pick values (t, nodes, n) at chosen (t, nodes); 0 where chosen is n ("not split")."""
    n_players = values.shape[2]
    picked = np.take_along_axis(values, np.minimum(chosen, n_players - 1)[:, :, None], axis=2)[:, :, 0]
    return np.where(chosen < n_players, picked, np.float32(0))


def _interleave(absent: Float32, present: Float32) -> Float32:
    """Arrange the children of all nodes in order: (t, nodes, ...) twice -> (t, 2 nodes, ...)."""
    return np.stack([absent, present], axis=2).reshape(absent.shape[0], -1, *absent.shape[2:])
