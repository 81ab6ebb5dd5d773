"""Small residual networks, written as K members trained as one network; K = 1 is the ordinary one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.engine.layers import MemberConv, MemberLinear, PlainResidual, Residual, conv_norm, uniform_bound
from training.errors import TrainingInputError
from training.randomness import uniforms, word_rows
from training.recipe import Recipe

SMALLEST_IMAGE = {"resnet": 4, "resnet9": 12}  # pixels a side that survive the network's reductions
N_STAGES = 3


class SmallResNet(nn.Module):
    """A 3x3 stem, three stages of residual blocks (each stage halves the image and doubles the width), a
    mean, logits.

    Width 8 and one block per stage on 8x8 grey images: 19,074 parameters with ten classes.
    """

    def __init__(self, ensemble_size: int, recipe: Recipe, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.stem = conv_norm(ensemble_size, in_channels, recipe.width)
        blocks: list[nn.Module] = []
        channels = recipe.width
        for stage in range(N_STAGES):
            for block in range(recipe.blocks):
                width = recipe.width * 2**stage
                blocks.append(Residual(ensemble_size, channels, width, stride=2 if stage and not block else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.head = MemberLinear(ensemble_size, channels, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, K * in_channels, height, width) to logits (K, batch, n_classes)."""
        features = self.blocks(F.relu_(self.stem(x)))
        return self.head(features.mean(dim=(2, 3)))


class ResNet9(nn.Module):
    """The ResNet-9 variant that Datamodels trains (Ilyas et al. 2022; after KakaoBrain's torchskeleton).

    Widths are multiples of `recipe.width` (64 there): w, 2w, a residual pair at 2w, 4w, a residual pair at
    4w, 2w; a global maximum, and logits without bias scaled by 0.2.
    """

    def __init__(self, ensemble_size: int, recipe: Recipe, in_channels: int, n_classes: int) -> None:
        super().__init__()
        width = recipe.width
        self.stem = conv_norm(ensemble_size, in_channels, width)
        self.down = conv_norm(ensemble_size, width, 2 * width, size=5, stride=2, padding=2)
        self.first_pair = PlainResidual(ensemble_size, 2 * width)
        self.widen = conv_norm(ensemble_size, 2 * width, 4 * width)
        self.second_pair = PlainResidual(ensemble_size, 4 * width)
        self.narrow = conv_norm(ensemble_size, 4 * width, 2 * width, padding=0)
        self.head = MemberLinear(ensemble_size, 2 * width, n_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, K * in_channels, height, width) to logits (K, batch, n_classes)."""
        x = F.relu_(self.down(F.relu_(self.stem(x))))
        x = F.relu_(self.widen(self.first_pair(x)))
        x = self.second_pair(F.max_pool2d(x, 2))
        x = F.relu_(self.narrow(x))
        return self.head(x.amax(dim=(2, 3))) * 0.2


def build_model(recipe: Recipe, ensemble_size: int, image_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """The recipe's network for K members; image_shape is (height, width, channels). Weights are not set yet.

    Raises TrainingInputError when the images are too small for the architecture or there are fewer than two
    classes.
    """
    height, width, channels = image_shape
    smallest = SMALLEST_IMAGE[recipe.architecture]
    if min(height, width) < smallest:
        raise TrainingInputError(
            f"architecture {recipe.architecture!r} needs images of at least {smallest}x{smallest} pixels; "
            f"got {height}x{width}. Choose architecture 'resnet' or larger images."
        )
    if n_classes < 2:
        raise TrainingInputError(f"a margin needs at least two classes; got {n_classes}. Keep two or more classes.")
    network = {"resnet": SmallResNet, "resnet9": ResNet9}[recipe.architecture]
    return network(ensemble_size, recipe, channels, n_classes)


def initialise(model: nn.Module, seeds: list[int]) -> None:
    """Set every member's weights from its own training seed: a function of the seed, not of K or of its
    place.

    Weights are uniform within `training.engine.layers.uniform_bound`, one Philox word each, in the order of the
    layers; normalisation starts at scale 1 and shift 0, biases at 0.
    """
    layers = [module for module in model.modules() if isinstance(module, (MemberConv, MemberLinear))]
    ensemble_size = len(seeds)
    sizes = [layer.weight.numel() // ensemble_size for layer in layers]
    drawn = np.stack([word_rows("initialisation", seed, 0, 1, sum(sizes))[0] for seed in seeds])
    symmetric = torch.from_numpy(2.0 * uniforms(drawn) - 1.0)
    with torch.no_grad():
        for layer, part in zip(layers, symmetric.split(sizes, dim=1), strict=True):
            layer.weight.copy_(part.mul(uniform_bound(layer)).reshape(layer.weight.shape))
            if isinstance(layer, MemberLinear) and layer.bias is not None:
                layer.bias.zero_()
