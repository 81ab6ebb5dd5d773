"""The booster of booster.py in torch, for a GPU: the same trees, up to ties that rounding decides.

One level of all targets' trees is one matrix product: for every node, the residuals of its masks that have the chosen
player present, and the weights of these masks, times X. Counts thus need no cache of pairs, whose keys the host would
have to read. Within a round the host neither sends nor reads anything; every _ROUNDS_AT_ONCE rounds it fetches the
trees and validation errors together, drops targets that have stopped, and cuts off the trees grown past the best
round. Sums are float32 without TF32, so counts are exact (unweighted, below 2^24 masks); validation errors are float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attribution.device import exact_products, torch_device
from attribution.proxy.boosted_trees import COMPACT_BELOW, SMALLEST_GAIN, BoostedTrees, BoosterSettings
from attribution.proxy.early_stopping import EarlyStopping, Start

if TYPE_CHECKING:
    import torch

_ROUNDS_AT_ONCE = 16  # rounds between two checks of which targets have stopped; a choice
_BLOCK_BYTES = 2**30  # device memory of one block of targets, besides the masks; a choice


def fit_on_device(
    masks: NDArray[np.bool_],
    outputs: NDArray[np.floating],
    held: NDArray[np.bool_],
    sample_weight: NDArray[np.floating] | None,
    settings: BoosterSettings,
    *,
    block_bytes: int = _BLOCK_BYTES,
) -> BoostedTrees:
    """Fit as booster.fit_booster, on settings.device.

    Parameters
    ----------
    masks : (m, n) bool
        Masks of all players.
    outputs : (m, t) float
        Outputs of all targets.
    held : (m,) bool
        Validation rows.
    sample_weight : (m,) float or None
        Positive weights.
    settings : BoosterSettings
        How the trees are grown, and the device.
    block_bytes : int
        Device memory that a block of targets may take, in bytes; the masks take another 5 m n bytes.

    Returns
    -------
    BoostedTrees
        The trees of all targets.

    Raises
    ------
    AttributionError
        If the device does not exist.
    """
    shared = _Masks(masks, held, sample_weight, settings)
    at_once = max(1, block_bytes // shared.bytes_per_target(settings.max_depth))
    with exact_products():
        blocks = [
            _Block(shared, Start(outputs[:, first : first + at_once], held, sample_weight), settings).run()
            for first in range(0, outputs.shape[1], at_once)
        ]
    n_rounds = max(len(block.players) for block in blocks)
    return BoostedTrees(
        players=np.concatenate([_to_length(block.players, n_rounds, -1) for block in blocks], axis=1),
        leaves=np.concatenate([_to_length(block.leaves, n_rounds, 0.0) for block in blocks], axis=1),
        bias=np.concatenate([block.bias for block in blocks]),
        n_trees=np.concatenate([block.n_trees for block in blocks]),
        n_players=masks.shape[1],
        validation_error=np.concatenate(
            [_to_length(block.validation_error, n_rounds, np.nan) for block in blocks], axis=1
        ),
    )


class _Masks:
    """Arrays on the device that all blocks of targets share.

    X: (m, n) float32, the rows fitted on. columns: (n + 1, m + h) uint8, those rows and then the held-out ones, with a
    row of zeros for "not split". weight: (m,) float32 or None. counts: (n,) weight with each player present.
    """

    def __init__(
        self,
        masks: NDArray[np.bool_],
        held: NDArray[np.bool_],
        sample_weight: NDArray[np.floating] | None,
        settings: BoosterSettings,
    ) -> None:
        import torch

        self.device = torch_device(settings.device)
        self.n_masks, self.n_players = int((~held).sum()), masks.shape[1]
        rows = np.concatenate([np.flatnonzero(~held), np.flatnonzero(held)])
        ordered = torch.from_numpy(np.ascontiguousarray(masks[rows]).view(np.uint8)).to(self.device)
        self.columns = torch.zeros((self.n_players + 1, len(rows)), dtype=torch.uint8, device=self.device)
        self.columns[:-1] = ordered.T
        self.X = ordered[: self.n_masks].float()
        self.every = torch.arange(len(rows), device=self.device)
        weight = Start(np.zeros((len(held), 1)), held, sample_weight).weight
        self.weight = None if weight is None else torch.from_numpy(weight).to(self.device)
        self.ones = torch.ones(self.n_masks, device=self.device) if self.weight is None else self.weight
        with exact_products():
            self.counts = self.ones @ self.X

    def bytes_per_target(self, depth: int) -> int:
        """Estimate the device memory of a target while its widest level is split, in bytes."""
        n_nodes = 2 ** (depth - 1)
        per_node = 4 * (8 * self.n_players + 3 * self.n_masks)  # sums, counts, gains; residuals and weights
        return n_nodes * per_node + 40 * len(self.every)


class _Block:
    """Targets fitted together, with the arrays of booster._Fit as tensors."""

    def __init__(self, shared: _Masks, start: Start, settings: BoosterSettings) -> None:
        import torch

        self.shared, self.start, self.settings = shared, start, settings
        self.residual = torch.from_numpy(start.residual).to(shared.device)
        self.held_residual = torch.from_numpy(start.held_residual).to(shared.device)
        self.held_weight = torch.from_numpy(start.held_weight).to(shared.device)

    def run(self) -> BoostedTrees:
        """Grow trees until every target has stopped, or n_estimators rounds are done."""
        import torch

        settings, start = self.settings, self.start
        n_targets, depth = len(start.residual), settings.max_depth
        players = np.full((settings.n_estimators, n_targets, 2**depth - 1), -1, dtype=np.int32)
        leaves = np.zeros((settings.n_estimators, n_targets, 2**depth), dtype=np.float32)
        stopping = EarlyStopping(start, settings.n_estimators, settings.early_stopping_rounds)
        active = np.arange(n_targets)
        for first in range(0, settings.n_estimators, _ROUNDS_AT_ONCE):
            rounds = range(first, min(first + _ROUNDS_AT_ONCE, settings.n_estimators))
            grown = [self._round(stopping.used) for _ in rounds]
            some = slice(rounds.start, rounds.stop)
            players[some, active] = torch.stack([tree for tree, _, _ in grown]).cpu().numpy()
            values = torch.stack([leaf for _, leaf, _ in grown]).cpu().numpy()
            leaves[some, active] = values * start.scale[active, None]
            if not stopping.used:
                continue
            for error in torch.stack([error for _, _, error in grown]).cpu().numpy():
                stopping.record(active, error)
            going = stopping.going[active]
            if not going.any():
                break
            if going.mean() < COMPACT_BELOW:
                active = active[going]
                kept = torch.from_numpy(np.flatnonzero(going)).to(self.shared.device)
                self.residual, self.held_residual = self.residual[kept], self.held_residual[kept]
        n_grown = stopping.n_rounds if stopping.used else settings.n_estimators
        return BoostedTrees(
            players=players[:n_grown],
            leaves=leaves[:n_grown],
            bias=start.bias,
            n_trees=stopping.n_trees,
            n_players=self.shared.n_players,
            validation_error=stopping.error[:n_grown],
        )

    def _round(self, stops: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Grow one tree per target and subtract it from the residuals.

        Returns players (t, 2^depth - 1) int32, -1 for "not split"; leaves (t, 2^depth); validation error (t,).
        """
        import torch

        chosen, leaves, node = self._grow()
        n_masks = self.shared.n_masks
        self.residual -= leaves.gather(1, node[:, :n_masks])
        if stops:
            self.held_residual -= leaves.gather(1, node[:, n_masks:])
        players = torch.where(chosen == self.shared.n_players, -1, chosen).int()
        return players, leaves, (self.held_residual**2) @ self.held_weight

    def _grow(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Grow one tree per target on the current residuals: players, leaves, and each mask's leaf (t, m + h)."""
        import torch

        shared, depth = self.shared, self.settings.max_depth
        n_targets, n_masks = self.residual.shape
        residual = self.residual if shared.weight is None else self.residual * shared.weight
        weight = shared.ones.expand(n_targets, -1)
        sums = (residual @ shared.X)[:, None, :]
        counts = shared.counts.expand(n_targets, 1, -1)
        sum_total = residual.sum(dim=1, dtype=torch.float64).float()[:, None]
        count_total = torch.full_like(sum_total, self.start.total)
        node = torch.zeros((n_targets, len(shared.every)), dtype=torch.int64, device=shared.device)
        players = []
        for level in range(depth):
            chosen = self._best_splits(sums, counts, sum_total, count_total)
            players.append(chosen)
            present_sum, present_count = _at(sums, chosen), _at(counts, chosen)
            sum_total = _interleave(sum_total - present_sum, present_sum)
            count_total = _interleave(count_total - present_count, present_count)
            bit = shared.columns[chosen.gather(1, node), shared.every]
            if level < depth - 1:
                # Residuals and weights of every node's masks on its present side, in rows of one product.
                n_nodes = chosen.shape[1]
                present = torch.zeros((n_targets, 2, n_nodes, n_masks), device=shared.device)
                inside, place = bit[:, :n_masks].float(), node[:, None, :n_masks]
                present[:, 0].scatter_(1, place, (residual * inside)[:, None])
                present[:, 1].scatter_(1, place, (weight * inside)[:, None])
                product = (present.view(-1, n_masks) @ shared.X).view(n_targets, 2, n_nodes, -1)
                sums = _interleave(sums - product[:, 0], product[:, 0])
                counts = _interleave(counts - product[:, 1], product[:, 1])
            node = 2 * node + bit
        safe = count_total.clamp(min=1e-12) + self.settings.reg_lambda
        leaves = torch.where(count_total > 0, self.settings.learning_rate * sum_total / safe, 0.0)
        return torch.cat(players, dim=1), leaves, node

    def _best_splits(
        self, sums: torch.Tensor, counts: torch.Tensor, sum_total: torch.Tensor, count_total: torch.Tensor
    ) -> torch.Tensor:
        """Choose the player of largest gain for every node (t, nodes), or n_players where no split is allowed."""
        import torch

        penalty, least = self.settings.reg_lambda, self.settings.min_child_samples
        rest = count_total[:, :, None] - counts
        if penalty == 0:
            # As in booster.py: S_L^2/n_L + S_R^2/n_R - S^2/n in one squared difference.
            mean = (sum_total / count_total.clamp(min=1e-12))[:, :, None]
            gain = (sums - mean * counts).square_() / (counts * rest).clamp_(min=1e-12)
        else:
            gain = sums**2 / (counts + penalty) + (sum_total[:, :, None] - sums) ** 2 / (rest + penalty)
            gain -= (sum_total**2 / (count_total + penalty))[:, :, None]
        gain.masked_fill_((counts < least) | (rest < least), -1.0)
        largest, chosen = gain.max(dim=2)
        return torch.where(largest > SMALLEST_GAIN, chosen, self.shared.n_players)


def _at(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Pick values (t, nodes, n) at chosen (t, nodes); 0 where chosen is n ("not split")."""
    n_players = values.shape[2]
    picked = values.gather(2, chosen.clamp(max=n_players - 1)[:, :, None])[:, :, 0]
    return picked.masked_fill(chosen == n_players, 0.0)


def _interleave(absent: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Arrange the children of all nodes in order: (t, nodes, ...) twice -> (t, 2 nodes, ...)."""
    import torch

    return torch.stack([absent, present], dim=2).flatten(1, 2)


def _to_length(values: NDArray, n_rounds: int, filler: float) -> NDArray:
    """Pad the first axis to n_rounds."""
    padding = [(0, n_rounds - len(values))] + [(0, 0)] * (values.ndim - 1)
    return np.pad(values, padding, constant_values=filler)
