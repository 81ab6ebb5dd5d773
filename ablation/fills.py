"""What replaces a region that is left out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ablation.errors import AblationError

FILLS = ("mean", "grey", "black", "blur", "noise")


def make_fill(fill: Any, images: Tensor, *, seed: int = 0) -> Tensor:
    """Return the images that fill regions left out.

    Parameters
    ----------
    fill : str or array
        mean: the mean of each channel over the image. grey, black: the middle and the lowest of the values that the
        images have, channel by channel. blur: a Gaussian blur, an eighth of the shorter side wide. noise: uniform
        between the lowest and the highest value. An array: another image, (channels, height, width), or one for each
        image.
    images : (n_images, channels, height, width) float32
    seed : int
        Of the noise.

    Returns
    -------
    (n_images, channels, height, width) float32

    Raises
    ------
    AblationError
        For an unknown fill, one of another size, or one that equals an image.
    """
    if isinstance(fill, str):
        if fill not in FILLS:
            raise AblationError(f"fill must be one of {', '.join(FILLS)}, or another image; got {fill!r}.")
        made = _named(fill, images, seed)
    else:
        made = torch.as_tensor(fill, dtype=torch.float32).to(images.device)
        if made.shape not in (images.shape, images.shape[1:]):
            raise AblationError(
                f"a fill image must have shape {tuple(images.shape[1:])} or {tuple(images.shape)}; got "
                f"{tuple(made.shape)}."
            )
        if not bool(torch.isfinite(made).all()):
            raise AblationError("the fill holds values that are not finite.")
        made = made.expand_as(images)
    same = (made == images).flatten(1).all(1)
    if bool(same.any()):
        raise AblationError(
            f"the fill equals image {int(same.nonzero()[0])} in every pixel, so nothing would be ablated. Use another "
            "fill, or leave the image out."
        )
    return made.contiguous()


def _named(fill: str, images: Tensor, seed: int) -> Tensor:
    low = images.amin(dim=(0, 2, 3), keepdim=True)
    high = images.amax(dim=(0, 2, 3), keepdim=True)
    if fill == "mean":
        return images.mean(dim=(2, 3), keepdim=True).expand_as(images)
    if fill == "grey":
        return ((low + high) / 2).expand_as(images)
    if fill == "black":
        return low.expand_as(images)
    if fill == "noise":
        generator = torch.Generator().manual_seed(seed)
        return low + (high - low) * torch.rand(images.shape, generator=generator).to(images.device)
    return _blurred(images)


def _blurred(images: Tensor) -> Tensor:
    """A separable Gaussian blur with reflected borders."""
    n_images, channels, height, width = images.shape
    sigma = max(0.5, min(height, width) / 8)
    radius = min(max(1, round(3 * sigma)), height - 1, width - 1)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32, device=images.device)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights = weights / weights.sum()
    flat = images.reshape(n_images * channels, 1, height, width)
    flat = torch.nn.functional.pad(flat, (radius, radius, radius, radius), mode="reflect")
    flat = torch.nn.functional.conv2d(flat, weights[None, None, None, :])
    return torch.nn.functional.conv2d(flat, weights[None, None, :, None]).reshape(images.shape)
