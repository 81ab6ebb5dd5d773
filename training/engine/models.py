"""Small residual networks, written as K networks trained as one; K = 1 is the ordinary network.

To add one, write a subclass of `EnsembleNetwork` from the layers of `training.engine.layers` and give it a line in
`training.architectures`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.architectures import ARCHITECTURES
from training.engine.layers import EnsembleConv, EnsembleLinear, PlainResidual, Residual, conv_norm, uniform_bound
from training.errors import TrainingInputError
from training.randomness import uniforms, word_rows
from training.recipe import Recipe

N_STAGES = 3


class EnsembleNetwork(nn.Module, ABC):
    """K networks of one architecture in one module; what every line of `training.architectures` names.

    A subclass is constructed as `cls(ensemble_size, recipe, in_channels, n_classes)`. It builds its layers from
    `training.engine.layers`, because these keep the K networks apart and because `initialise` and the execution modes
    know them, and it normalises by `nn.BatchNorm2d` alone. Every layer holds the weights of network 0 first, then those
    of network 1, and so on.
    """

    def __init__(self, ensemble_size: int, recipe: Recipe, in_channels: int, n_classes: int) -> None:
        super().__init__()

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Map images (batch, K * in_channels, height, width) to what the last layer reads, (batch, K * width)."""

    @abstractmethod
    def classify(self, features: Tensor) -> Tensor:
        """Map features (batch, K * width) to logits (K, batch, n_classes)."""

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, K * in_channels, height, width) to logits (K, batch, n_classes)."""
        return self.classify(self.features(images))


class FeatureReader(nn.Module):
    """The features of a network in the shape of its logits, so that every execution mode can compute them."""

    def __init__(self, network: EnsembleNetwork, ensemble_size: int) -> None:
        super().__init__()
        self.network, self.ensemble_size = network, ensemble_size

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, K * in_channels, height, width) to features (K, batch, width)."""
        found = self.network.features(images)
        return found.view(len(found), self.ensemble_size, -1).transpose(0, 1)


class SmallResNet(EnsembleNetwork):
    """A 3x3 convolution, three stages of residual blocks, the mean over the image, logits.

    Each stage after the first halves the image and doubles the width. Width 8 and one block a stage on 8x8 grey
    images: 19,074 parameters with ten classes.
    """

    def __init__(self, ensemble_size: int, recipe: Recipe, in_channels: int, n_classes: int) -> None:
        super().__init__(ensemble_size, recipe, in_channels, n_classes)
        self.stem = conv_norm(ensemble_size, in_channels, recipe.width)
        blocks: list[nn.Module] = []
        channels = recipe.width
        for stage in range(N_STAGES):
            for block in range(recipe.blocks):
                width = recipe.width * 2**stage
                blocks.append(Residual(ensemble_size, channels, width, stride=2 if stage and not block else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.head = EnsembleLinear(ensemble_size, channels, n_classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the mean over the image of the last stage's channels."""
        return self.blocks(F.relu_(self.stem(images))).mean(dim=(2, 3))

    def classify(self, features: Tensor) -> Tensor:
        """Apply the last layer."""
        return self.head(features)


class ResNet9(EnsembleNetwork):
    """The ResNet-9 variant that Datamodels trains (Ilyas et al. 2022; after KakaoBrain's torchskeleton).

    Widths are multiples of `recipe.width` (64 there): w, 2w, a residual pair at 2w, 4w, a residual pair at
    4w, 2w; a global maximum, and logits without bias scaled by 0.2.
    """

    def __init__(self, ensemble_size: int, recipe: Recipe, in_channels: int, n_classes: int) -> None:
        super().__init__(ensemble_size, recipe, in_channels, n_classes)
        width = recipe.width
        self.stem = conv_norm(ensemble_size, in_channels, width)
        self.down = conv_norm(ensemble_size, width, 2 * width, size=5, stride=2, padding=2)
        self.first_pair = PlainResidual(ensemble_size, 2 * width)
        self.widen = conv_norm(ensemble_size, 2 * width, 4 * width)
        self.second_pair = PlainResidual(ensemble_size, 4 * width)
        self.narrow = conv_norm(ensemble_size, 4 * width, 2 * width, padding=0)
        self.head = EnsembleLinear(ensemble_size, 2 * width, n_classes, bias=False)

    def features(self, images: Tensor) -> Tensor:
        """Return the maximum over the image of the last convolution's channels."""
        x = F.relu_(self.down(F.relu_(self.stem(images))))
        x = F.relu_(self.widen(self.first_pair(x)))
        x = self.second_pair(F.max_pool2d(x, 2))
        return F.relu_(self.narrow(x)).amax(dim=(2, 3))

    def classify(self, features: Tensor) -> Tensor:
        """Apply the last layer and scale by 0.2."""
        return self.head(features) * 0.2


def build_model(
    recipe: Recipe, ensemble_size: int, image_shape: tuple[int, int, int], n_classes: int
) -> EnsembleNetwork:
    """Build the recipe's network for K models, its weights not yet set (`initialise`).

    Parameters
    ----------
    recipe : Recipe
        Names the architecture and its sizes.
    ensemble_size : int
        Networks trained together (K).
    image_shape : (int, int, int)
        Height and width in pixels, channels.
    n_classes : int
        Classes.

    Returns
    -------
    EnsembleNetwork
        On the CPU, in float32.

    Raises
    ------
    TrainingInputError
        When the images are too small for the architecture or there are fewer than two classes.
    """
    height, width, channels = image_shape
    architecture = ARCHITECTURES[recipe.architecture]
    smallest = architecture.smallest_image
    if min(height, width) < smallest:
        fitting = [name for name, one in ARCHITECTURES.items() if one.smallest_image <= min(height, width)]
        others = f"architecture {' or '.join(map(repr, fitting))} or " if fitting else ""
        raise TrainingInputError(
            f"architecture {recipe.architecture!r} needs images of at least {smallest}x{smallest} pixels; "
            f"got {height}x{width}. Choose {others}larger images."
        )
    if n_classes < 2:
        raise TrainingInputError(f"a margin needs at least two classes; got {n_classes}. Keep two or more classes.")
    network: EnsembleNetwork = architecture.load()(ensemble_size, recipe, channels, n_classes)
    return network


def initialise(model: nn.Module, seeds: list[int]) -> None:
    """Set every network's weights from its own training seed alone: neither K nor its place among the K matters.

    Parameters
    ----------
    model : nn.Module
        A network of K = `len(seeds)` models; changed in place.
    seeds : list of int
        One training seed a model.

    Notes
    -----
    Weights are uniform within `training.engine.layers.uniform_bound`, one Philox word each, in the order of the
    layers; normalisation starts at scale 1 and shift 0, biases at 0.
    """
    layers = [module for module in model.modules() if isinstance(module, (EnsembleConv, EnsembleLinear))]
    ensemble_size = len(seeds)
    sizes = [layer.weight.numel() // ensemble_size for layer in layers]
    drawn = np.stack([word_rows("initialisation", seed, 0, 1, sum(sizes))[0] for seed in seeds])
    symmetric = torch.from_numpy(2.0 * uniforms(drawn) - 1.0)
    with torch.no_grad():
        for layer, part in zip(layers, symmetric.split(sizes, dim=1), strict=True):
            layer.weight.copy_(part.mul(uniform_bound(layer)).reshape(layer.weight.shape))
            if isinstance(layer, EnsembleLinear) and layer.bias is not None:
                layer.bias.zero_()
