"""The mean of the weights over the last steps, as the network that is recorded.

Near its end, stochastic gradient descent circles around a solution, and where a run stops on the circle is seed
noise. The mean over the circle is nearer to the solution (Polyak & Juditsky 1992; Izmailov et al. 2018, stochastic
weight averaging). On small ResNets it raised the noise ceiling and accuracy stayed (benchmarks/README.md).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.recipe import Recipe


class WeightAverage:
    """Sums the weights of the last `recipe.average_last` share of n_steps; always of the last step at least."""

    def __init__(self, recipe: Recipe, n_steps: int) -> None:
        self.n_steps = n_steps
        self.first = min(n_steps - 1, n_steps - round(recipe.average_last * n_steps))
        self.sum: Tensor | None = None

    def add(self, step: int, weights: Tensor) -> None:
        """Weights after step number `step`, all members in one vector."""
        if step == self.first:
            self.sum = weights.clone()
        elif self.sum is not None:
            self.sum.add_(weights)

    def into(self, weights: Tensor) -> None:
        """Put the mean in the place of the weights."""
        if self.sum is not None:
            weights.copy_(self.sum.div_(self.n_steps - self.first))


@torch.no_grad()
def renew_statistics(model: nn.Module, n_batches: int, forward: Callable[[int], object]) -> None:
    """Running means and variances of batch normalisation for the weights as they are now.

    They belong to weights, and the mean's own have never been seen. forward(b) runs batch b of n_batches in training
    mode; every batch counts alike (momentum 1/(b + 1)).
    """
    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    for batch in range(n_batches):
        for layer in layers:
            layer.momentum = 1.0 / (batch + 1)
        forward(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
