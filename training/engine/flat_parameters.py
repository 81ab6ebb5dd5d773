"""The optimiser: stochastic gradient descent on all weights of K models in one buffer."""

from __future__ import annotations

import torch
from torch import nn

from training.recipe import Recipe


class FlatParameters:
    """All weights of a network in one buffer, so that an optimiser step takes few operations.

    Parameters
    ----------
    model : nn.Module
        Its parameters become views of the buffer.
    """

    def __init__(self, model: nn.Module) -> None:
        parameters = list(model.parameters())
        self.values = torch.cat([parameter.detach().flatten() for parameter in parameters])
        self.gradients = torch.zeros_like(self.values)
        self.momentum = torch.zeros_like(self.values)
        start = 0
        for parameter in parameters:
            stop = start + parameter.numel()
            parameter.data = self.values[start:stop].view(parameter.shape)
            parameter.grad = self.gradients[start:stop].view(parameter.shape)
            start = stop

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        self.gradients.zero_()

    def sgd_step(self, rate: float, recipe: Recipe, loss_scale: float = 1.0) -> None:
        """Take one step as torch.optim.SGD defines it: decay into the gradient, momentum, Nesterov if set.

        Parameters
        ----------
        rate : float
            Learning rate.
        recipe : Recipe
            Gives momentum, Nesterov and weight decay.
        loss_scale : float
            The factor of the loss whose gradients were computed.
        """
        if loss_scale != 1.0:
            self.gradients.mul_(1.0 / loss_scale)
        gradients = self.gradients.add_(self.values, alpha=recipe.weight_decay)
        self.momentum.mul_(recipe.momentum).add_(gradients)
        if recipe.nesterov:
            gradients.add_(self.momentum, alpha=recipe.momentum)
            self.values.sub_(gradients, alpha=rate)
        else:
            self.values.sub_(self.momentum, alpha=rate)
