"""The mean of the weights over the last steps, as the network that is recorded.

Near its end, stochastic gradient descent circles around a solution, and where a run stops on the circle is seed
noise. The mean over the circle is nearer to the solution (Polyak & Juditsky 1992; Izmailov et al. 2018, stochastic
weight averaging). On small ResNets it raised the noise ceiling at the same accuracy (benchmarks/README.md).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.recipe import Recipe


class WeightAverage:
    """Mean of the weights over the last `recipe.average_last` share of the steps, at least over the last step.

    Parameters
    ----------
    recipe : Recipe
        Gives the share.
    n_steps : int
        Steps of the whole training.

    Examples
    --------
    >>> from training import Recipe
    >>> average = WeightAverage(Recipe(average_last=0.5), n_steps=4)
    >>> for step, weight in enumerate([9.0, 9.0, 1.0, 2.0]):
    ...     average.add(step, torch.tensor([weight]))
    >>> weights = torch.zeros(1)
    >>> average.into(weights)
    >>> weights
    tensor([1.5000])
    """

    def __init__(self, recipe: Recipe, n_steps: int) -> None:
        self.n_steps = n_steps
        self.first = min(n_steps - 1, n_steps - round(recipe.average_last * n_steps))
        self.sum: Tensor | None = None

    def add(self, step: int, weights: Tensor) -> None:
        """Add the weights after step number `step`, all models in one vector."""
        if step == self.first:
            self.sum = weights.clone()
        elif self.sum is not None:
            self.sum.add_(weights)

    def into(self, weights: Tensor) -> None:
        """Overwrite the weights by their mean."""
        if self.sum is not None:
            weights.copy_(self.sum.div_(self.n_steps - self.first))


@torch.no_grad()
def renew_statistics(model: nn.Module, n_batches: int, forward: Callable[[int], object]) -> None:
    """Recompute the running means and variances of batch normalisation for the present weights.

    Running statistics belong to the weights they were collected with, and averaged weights have none yet.

    Parameters
    ----------
    model : nn.Module
        A network in training mode; its statistics are overwritten.
    n_batches : int
        Batches to collect from, all with the same weight (momentum 1/(b + 1)).
    forward : callable
        `forward(b)` runs batch b.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    for batch in range(n_batches):
        for layer in layers:
            layer.momentum = 1.0 / (batch + 1)
        forward(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
