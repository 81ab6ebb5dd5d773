"""Slot-aligned batches: the full training set's order is cut into slots, and absent examples weigh nothing.

Packed batches (batches.py) leave absent examples out and close up, so that one more example shifts every
later batch. Here nothing shifts: step b of a seed always holds the same slots, whoever of them is present. So that a
member still sees recipe.batch_size examples a step on average, a batch has batch_size / nominal_alpha slots.

What absent means, in full: an absent example has weight 0 in the loss, and batch normalisation takes its means and
variances, batch by batch and running, over the present examples only. The loss of a step is the sum over present
examples divided by recipe.batch_size, a constant: an example contributes the same gradient whoever else is there. A
step in which nobody is present moves a member by momentum and weight decay alone and leaves its running statistics.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from training.engine.batches import Draws, member_draws
from training.recipe import Recipe


def n_slots(recipe: Recipe) -> int:
    """Slots of one batch: batch_size / nominal_alpha, rounded."""
    return max(recipe.batch_size, round(recipe.batch_size / recipe.nominal_alpha))


def slot_draws(seed: int, n_train: int, n_draws: int) -> Draws:
    """The slots of a seed in order: what the full training set would be shown, whatever is present."""
    return member_draws(seed, np.ones(n_train, dtype=bool), n_draws)


class PresentBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over present examples only. `present`: (batch, K) 1.0 or 0.0, set before every forward
    pass of training; channels are member by member, K * channels in all. In evaluation it is nn.BatchNorm2d."""

    present: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        batch, channels, height, width = x.shape
        ensemble_size = self.present.shape[1]
        weight = self.present.repeat_interleave(channels // ensemble_size, dim=1).view(batch, channels, 1, 1)
        count = weight.sum(dim=(0, 2, 3)) * (height * width)
        known = count.clamp(min=1.0)
        mean = (x * weight).sum(dim=(0, 2, 3)) / known
        apart = x - mean.view(1, -1, 1, 1)
        variance = (apart.square() * weight).sum(dim=(0, 2, 3)) / known
        self._remember(mean.detach(), variance.detach(), count)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return apart * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Running statistics as nn.BatchNorm2d keeps them (unbiased variance), where anybody was present."""
        if self.running_mean is None or self.running_var is None:
            return
        share = torch.where(count > 0, self.momentum or 0.0, 0.0).to(mean.dtype)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / (count - 1).clamp(min=1.0), share)


class Slots:
    """What the training loop needs of slot-aligned batches: who of each batch is present, in loss and statistics."""

    def __init__(self, model: nn.Module, recipe: Recipe, rows: Tensor, present: np.ndarray) -> None:
        """rows: (steps, n_slots, K) of the training set; present: (K, n_train) bool. Changes the model's layers."""
        parameter = next(model.parameters())
        members = torch.arange(len(present), device=parameter.device)
        there = torch.as_tensor(present, device=parameter.device).to(parameter.dtype)
        self.weights = there[members, rows]
        self.batch_size = recipe.batch_size
        self.norms = _replace_norms(model)

    def begin(self, step: int) -> None:
        """Tell every normalisation who is present in this step."""
        for norm in self.norms:
            norm.present = self.weights[step]

    def loss(self, step: int, losses: Tensor) -> Tensor:
        """(K, n_slots) losses to (K,): the sum over the present examples / batch_size."""
        return (losses * self.weights[step].T).sum(dim=1) / self.batch_size


def _replace_norms(model: nn.Module) -> list[PresentBatchNorm]:
    """Put a PresentBatchNorm in place of every BatchNorm2d, with the same parameters and running statistics."""
    found: list[PresentBatchNorm] = []
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                if not isinstance(child, PresentBatchNorm):
                    norm = PresentBatchNorm(child.num_features, eps=child.eps, momentum=child.momentum)
                    norm.weight, norm.bias = child.weight, child.bias
                    norm.running_mean, norm.running_var = child.running_mean, child.running_var
                    norm.train(child.training)
                    setattr(parent, name, norm)
                    child = norm
                found.append(child)
    return found
