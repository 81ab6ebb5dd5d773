"""Execution mode `vmap`: a network of one model, vectorised over the weights of K models by torch.func.vmap.

It trains packed batches only. Calibration tries it on GPUs; no timing of it is recorded in benchmarks/retraining.md. It
computes through another path than the grouped convolutions, which makes it a check of them.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class VmapNetwork:
    """Map images (batch, K * channels, height, width) to (K, batch, values) with the weights of a network of K models.

    Parameters
    ----------
    model : nn.Module
        Its parameters and running statistics lie model by model, so that those of one model are a slice. A copy of it
        with an ensemble size of 1 is the function that is vectorised.
    ensemble_size : int
        Networks trained together (K).
    """

    def __init__(self, model: nn.Module, ensemble_size: int) -> None:
        self.model, self.ensemble_size = model, ensemble_size
        self.single = copy.deepcopy(model).to("meta")
        for module in self.single.modules():
            if hasattr(module, "ensemble_size"):
                module.ensemble_size = 1  # type: ignore[assignment]
            if isinstance(module, nn.BatchNorm2d):
                module.num_features //= ensemble_size
                module.num_batches_tracked = None  # counts batches, of no use with a fixed momentum

    def __call__(self, images: Tensor) -> Tensor:
        ensemble_size = self.ensemble_size
        self.single.train(self.model.training)
        weights = {name: _by_model(found, ensemble_size) for name, found in self.model.named_parameters()}
        statistics = {
            name: _by_model(found, ensemble_size) for name, found in self.model.named_buffers() if found.ndim
        }
        batch, channels, height, width = images.shape
        own = images.view(batch, ensemble_size, channels // ensemble_size, height, width).transpose(0, 1)
        return torch.func.vmap(self._one)(weights, statistics, own).squeeze(1)

    def _one(self, weights: dict[str, Tensor], statistics: dict[str, Tensor], images: Tensor) -> Tensor:
        return torch.func.functional_call(self.single, (weights, statistics), (images,))


def _by_model(found: Tensor, ensemble_size: int) -> Tensor:
    return found.view(ensemble_size, found.shape[0] // ensemble_size, *found.shape[1:])
