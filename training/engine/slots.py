"""Slot-aligned batches: the full training set's order is cut into slots, and absent examples have weight 0.

Packed batches (batches.py) leave absent examples out and close up, so that one more example shifts every later batch.
Slot-aligned batches do not shift: step b of a seed always holds the same slots, whichever of them are present. A batch
has batch_size / nominal_alpha slots, so that a model still trains on recipe.batch_size examples a step on average.

An absent example has weight 0 in the loss. Batch normalisation takes its means and variances, batch by batch and
running, over the present examples only. The loss of a step is the sum over present examples divided by
recipe.batch_size, a constant: an example contributes the same gradient whichever others are present. A step without any
present example moves a model by momentum and weight decay alone and leaves its running statistics unchanged.

When to use it: where the differences of two masks with one seed must be as small as possible and models are cheap.
Measured on six certified pairs, 32 base masks (benchmarks/decisions.md): common seeds narrow an interaction's standard
deviation to .64 of that with separate seeds, packed batches to .74, which is 27% fewer base masks. But a model costs
twice the time, because absent slots are computed too, so packed batches give more for the same time. They are the
default.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from training.engine.batches import Draws, model_draws
from training.recipe import Recipe


def n_slots(recipe: Recipe) -> int:
    """Return the number of slots of one batch: batch_size / nominal_alpha, rounded."""
    return max(recipe.batch_size, round(recipe.batch_size / recipe.nominal_alpha))


def slot_draws(seed: int, n_train: int, n_draws: int) -> Draws:
    """Return the slots of a seed in order: the draws of the full training set, whichever examples are present."""
    return model_draws(seed, np.ones(n_train, dtype=bool), n_draws)


class PresentBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over present examples only; in evaluation it is nn.BatchNorm2d.

    `present`, (batch, K) of 1.0 or 0.0, is set before every forward pass of training. The K * channels channels lie
    model by model.
    """

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
        """Update running statistics as nn.BatchNorm2d does (unbiased variance), where an example was present."""
        if self.running_mean is None or self.running_var is None:
            return
        share = torch.where(count > 0, self.momentum or 0.0, 0.0).to(mean.dtype)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / (count - 1).clamp(min=1.0), share)


class Slots:
    """Which examples of each slot-aligned batch are present, applied to the loss and to the normalisation.

    Parameters
    ----------
    model : nn.Module
        A network of K models; its nn.BatchNorm2d layers are replaced in place.
    recipe : Recipe
        Gives the batch size.
    rows : (steps, n_slots, K) int64 tensor
        Examples of the training set in every slot.
    present : (K, n_train) bool array
        The examples each model is trained on.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, rows: Tensor, present: np.ndarray) -> None:
        parameter = next(model.parameters())
        models = torch.arange(len(present), device=parameter.device)
        there = torch.as_tensor(present, device=parameter.device).to(parameter.dtype)
        self.weights = there[models, rows]
        self.batch_size = recipe.batch_size
        self.norms = _replace_norms(model)

    def begin(self, step: int) -> None:
        """Give every normalisation the present examples of a step."""
        for norm in self.norms:
            norm.present = self.weights[step]

    def loss(self, step: int, losses: Tensor) -> Tensor:
        """Return (K,) losses from (K, n_slots): the sum over the present examples, divided by batch_size."""
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
