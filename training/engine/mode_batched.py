"""Execution mode `batched`: convolutions of K models as one batched matrix product over unfolded patches.

On the CPU it was measured on, it was slower than `grouped`: the product alone took 31 µs a model against 25 (8 to 8
channels, 8x8 pixels) and 203 against 84 (16x16), and unfolding took longer still (docs/NEGATIVE_RESULTS.md). Only the
gradients of strided convolutions were cheaper. Use it where a calibration on another CPU or on a GPU finds it faster.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def batched_convolution(x: Tensor, weight: Tensor, stride: int, padding: int, ensemble_size: int) -> Tensor:
    """Return what `F.conv2d(x, weight, groups=ensemble_size)` returns.

    Parameters
    ----------
    x : (batch, K * in, height, width) tensor
        Activations.
    weight : (K * out, in, size, size) tensor
        Weights of all K models.
    stride, padding : int
        Pixels.
    ensemble_size : int
        Networks trained together (K).

    Returns
    -------
    (batch, K * out, high, wide) tensor
        For model k: its patches (batch * high * wide, in * size * size) times its weights (in * size * size, out).
    """
    batch, _, height, width = x.shape
    out, channels, size, _ = weight.shape
    high, wide = ((side + 2 * padding - size) // stride + 1 for side in (height, width))
    padded = F.pad(x, (padding,) * 4).view(batch, ensemble_size, channels, height + 2 * padding, width + 2 * padding)
    shifted = [
        padded[..., down : down + stride * (high - 1) + 1 : stride, right : right + stride * (wide - 1) + 1 : stride]
        for down in range(size)
        for right in range(size)
    ]
    patches = torch.stack(shifted, dim=-1).permute(1, 0, 3, 4, 2, 5)  # (K, batch, high, wide, in, size * size)
    found = torch.bmm(
        patches.reshape(ensemble_size, batch * high * wide, channels * size * size),
        weight.view(ensemble_size, out // ensemble_size, channels * size * size).transpose(1, 2),
    )
    by_member = found.view(ensemble_size, batch, high, wide, out // ensemble_size).permute(1, 0, 4, 2, 3)
    return by_member.reshape(batch, out, high, wide)
