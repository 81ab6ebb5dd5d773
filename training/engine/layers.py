"""Layers of K models at once. Activations are (batch, K * channels, height, width), model by model.

A convolution with K groups never mixes models, batch normalisation works channel by channel, and the last layer has a
weight matrix of each model's own, so model k computes what it would compute alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def grouped_convolution(x: Tensor, weight: Tensor, stride: int, padding: int, ensemble_size: int) -> Tensor:
    """Convolve all K models as one convolution with K groups."""
    return F.conv2d(x, weight, stride=stride, padding=padding, groups=ensemble_size)


class EnsembleConv(nn.Module):
    """Convolution of K models without bias; weights (K * out_channels, in_channels, size, size).

    Parameters
    ----------
    ensemble_size : int
        Networks trained together (K).
    in_channels, out_channels : int
        Channels of one model.
    size, stride, padding : int
        Pixels.

    Notes
    -----
    `convolve` computes it; `training.engine.modes.make_forward` replaces it in the mode `batched`.

    Examples
    --------
    >>> EnsembleConv(ensemble_size=3, in_channels=1, out_channels=4).weight.shape
    torch.Size([12, 1, 3, 3])
    """

    convolve: Callable[[Tensor, Tensor, int, int, int], Tensor]

    def __init__(
        self,
        ensemble_size: int,
        in_channels: int,
        out_channels: int,
        size: int = 3,
        stride: int = 1,
        padding: int = 1,
    ) -> None:
        super().__init__()
        self.ensemble_size, self.stride, self.padding = ensemble_size, stride, padding
        self.fan_in = in_channels * size * size
        self.convolve = grouped_convolution
        self.weight = nn.Parameter(torch.empty(ensemble_size * out_channels, in_channels, size, size))

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.weight, self.stride, self.padding, self.ensemble_size)


class EnsembleLinear(nn.Module):
    """Last layer of K models: (batch, K * features) to logits (K, batch, n_classes).

    Parameters
    ----------
    ensemble_size : int
        Networks trained together (K).
    features, n_classes : int
        Inputs and outputs of one model.
    bias : bool
        Whether a bias is added.

    Notes
    -----
    It is a 1x1 grouped convolution, because the rounding of a batched matrix product depends on a model's place among
    the K and that of the convolution does not.

    Examples
    --------
    >>> EnsembleLinear(ensemble_size=3, features=4, n_classes=2)(torch.zeros(5, 12)).shape
    torch.Size([3, 5, 2])
    """

    def __init__(self, ensemble_size: int, features: int, n_classes: int, bias: bool = True) -> None:
        super().__init__()
        self.ensemble_size, self.fan_in = ensemble_size, features
        self.weight = nn.Parameter(torch.empty(ensemble_size * n_classes, features, 1, 1))
        self.bias = nn.Parameter(torch.empty(ensemble_size * n_classes)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        logits = F.conv2d(x[:, :, None, None], self.weight, self.bias, groups=self.ensemble_size)
        return logits.view(len(x), self.ensemble_size, -1).transpose(0, 1)


def conv_norm(
    ensemble_size: int, in_channels: int, out_channels: int, size: int = 3, stride: int = 1, padding: int = 1
) -> nn.Sequential:
    """Return a convolution followed by batch normalisation, which works per channel and hence per model."""
    return nn.Sequential(
        EnsembleConv(ensemble_size, in_channels, out_channels, size, stride, padding),
        nn.BatchNorm2d(ensemble_size * out_channels),
    )


class Residual(nn.Module):
    """Basic block of He et al. 2016: two 3x3 convolutions and a shortcut without parameters.

    Where the block halves the image and widens, the shortcut averages 2x2 pixels and fills the new channels
    with zeros (their option A, averaging instead of dropping pixels).
    """

    def __init__(self, ensemble_size: int, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.ensemble_size, self.stride, self.new_channels = ensemble_size, stride, out_channels - in_channels
        self.first = conv_norm(ensemble_size, in_channels, out_channels, stride=stride)
        self.second = conv_norm(ensemble_size, out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(F.relu_(self.first(x)))
        return F.relu_(inner + self.shortcut(x))

    def shortcut(self, x: Tensor) -> Tensor:
        if self.stride != 1:
            x = F.avg_pool2d(x, self.stride, ceil_mode=True)
        if self.new_channels:
            batch, channels, height, width = x.shape
            by_member = x.view(batch, self.ensemble_size, channels // self.ensemble_size, height, width)
            x = F.pad(by_member, (0, 0, 0, 0, 0, self.new_channels)).view(batch, -1, height, width)
        return x


class PlainResidual(nn.Module):
    """x + two convolutions at one width, each followed by normalisation and ReLU (ResNet-9's block)."""

    def __init__(self, ensemble_size: int, channels: int) -> None:
        super().__init__()
        self.first = conv_norm(ensemble_size, channels, channels)
        self.second = conv_norm(ensemble_size, channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu_(self.second(F.relu_(self.first(x))))


def uniform_bound(module: nn.Module) -> float:
    """Return the half-width of the uniform distribution of a layer's initial weights; 0 for layers without one.

    Convolutions: He et al. 2015 for ReLU, variance 2 / fan_in. The last layer: variance 1 / (3 fan_in),
    torch's own default for linear layers.
    """
    if isinstance(module, EnsembleConv):
        return math.sqrt(6.0 / module.fan_in)
    if isinstance(module, EnsembleLinear):
        return math.sqrt(1.0 / module.fan_in)
    return 0.0
