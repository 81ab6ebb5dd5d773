"""Batches of all members at once, gathered by index from images that stay resident as uint8.

What a member sees is decided by its training seed for the *full* training set and then restricted to the
examples present. Every (epoch, example) has one 64-bit word: the order of an epoch is the order of the words,
and the lowest bits say how the example is flipped, shifted and blanked in that epoch. Masks that share a seed
thus share order and augmentation; absent examples are left out and the batches close up ("packed").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.data.dataset import ImageSet
from training.randomness import word_rows
from training.recipe import Recipe

_FIELD_BITS = 10  # bits of a word that decide one shift or one cutout coordinate
_DISTINCT_EPOCHS = 8  # orders drawn, in multiples of the draws a full training set would need


@dataclass(frozen=True)
class Draws:
    """What a member sees: rows (n_draws,) int64 into the training set, words (n_draws,) uint64."""

    rows: np.ndarray
    words: np.ndarray


def member_draws(seed: int, present: np.ndarray, n_draws: int) -> Draws:
    """The examples a member sees, in order; present: (n_train,) bool with at least one True.

    Epoch after epoch of the present examples, as many as needed. A subset below an eighth of the training set
    runs out of distinct epochs and starts again from the first: the words drawn stay bounded however small it
    is.
    """
    examples = np.flatnonzero(present)
    distinct = _DISTINCT_EPOCHS * -(-n_draws // len(present))
    n_epochs = min(-(-n_draws // len(examples)), distinct)
    words = word_rows("order", seed, 0, n_epochs, len(present))[:, examples]
    order = np.argsort(words, axis=1, kind="stable")
    rows = examples[order].ravel()
    sorted_words = np.take_along_axis(words, order, axis=1).ravel()
    return Draws(np.resize(rows, n_draws), np.resize(sorted_words, n_draws))


class Batches:
    """Resident images of one set and the normalised batches cut from them.

    Pixels are standardised per channel by the mean and standard deviation of the whole training set, the same
    for every member.
    """

    def __init__(self, train: ImageSet, recipe: Recipe, device: torch.device, dtype: torch.dtype) -> None:
        self.recipe, self.device, self.dtype = recipe, device, dtype
        mean, std = channel_statistics(train.images)
        self.mean = torch.tensor(mean, dtype=dtype, device=device).view(-1, 1, 1)
        self.scale = torch.tensor(1.0 / std, dtype=dtype, device=device).view(-1, 1, 1)
        self.labels = torch.tensor(train.labels, dtype=torch.int64, device=device)
        self.size = (train.images.shape[1], train.images.shape[2])
        self.windows = self._windows(train.images, mean)

    def _windows(self, images: np.ndarray, mean: np.ndarray) -> Tensor:
        """All crops as views: (mirrored, n, shift_y, shift_x, channels, height, width) uint8."""
        padding = self.recipe.crop_padding
        resident = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        if padding:
            n, channels, height, width = resident.shape
            padded = np.empty((n, channels, height + 2 * padding, width + 2 * padding), dtype=np.uint8)
            padded[:] = np.round(mean).astype(np.uint8).reshape(1, -1, 1, 1)
            padded[:, :, padding:-padding, padding:-padding] = resident
            resident = padded
        sides = [resident, resident[..., ::-1]] if self.recipe.flip else [resident]
        stored = torch.from_numpy(np.stack(sides)).to(self.device)
        flips, n, channels, _, _ = stored.shape
        stride = stored.stride()
        shifts = 2 * padding + 1
        return stored.as_strided(
            (flips, n, shifts, shifts, channels, *self.size),
            (stride[0], stride[1], stride[3], stride[4], stride[2], stride[3], stride[4]),
        )

    def training(self, rows: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """Images (batch, K * channels, height, width), labels (batch, K); rows, words are (batch, K)."""
        recipe = self.recipe
        flip = words & 1 if recipe.flip else torch.zeros_like(rows)
        shifts = 2 * recipe.crop_padding + 1
        pixels = self.windows[flip, rows, field_of(words, 0, shifts), field_of(words, 1, shifts)]
        images = self.normalise(pixels)
        if recipe.cutout:
            images = images * self._cutout(words)
        return images.flatten(1, 2), self.labels[rows]

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 pixels (..., channels, height, width) to standardised floats."""
        return pixels.to(self.dtype).sub_(self.mean).mul_(self.scale)

    def _cutout(self, words: Tensor) -> Tensor:
        """0 in a square at a random place within the image, else 1: (batch, K, 1, height, width)."""
        keep = []
        for which, side in enumerate(self.size):
            side_cut = min(self.recipe.cutout, side)
            corner = field_of(words, 2 + which, side - side_cut + 1).unsqueeze(-1)
            at = torch.arange(side, device=self.device)
            keep.append((at >= corner) & (at < corner + side_cut))
        inside = keep[0].unsqueeze(-1) & keep[1].unsqueeze(-2)
        return (~inside).to(self.dtype).unsqueeze(2)


def field_of(words: Tensor, which: int, n_values: int) -> Tensor:
    """The which-th field of each word, spread over 0 .. n_values - 1."""
    bits = (words >> (1 + which * _FIELD_BITS)) & (2**_FIELD_BITS - 1)
    return (bits * n_values) >> _FIELD_BITS


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel over all pixels, (channels,) float64 in 0..255.

    Exact integer sums; a constant channel gets a standard deviation of 1.
    """
    counts = [np.bincount(images[..., c].ravel(), minlength=256) for c in range(images.shape[-1])]
    levels = np.arange(256.0)
    mean = np.array([(count * levels).sum() / count.sum() for count in counts])
    variance = np.array([(count * levels**2).sum() / count.sum() for count in counts]) - mean**2
    return mean, np.where(variance > 1e-6, np.sqrt(np.maximum(variance, 0.0)), 1.0)
