"""Batches of all K models at once, gathered by index from images that stay on the device as uint8.

A model's training seed fixes the order of the *full* training set, which is then restricted to the examples present.
Every (epoch, example) has one 64-bit word: the order of an epoch is the order of the words, and the lowest bits decide
how the example is flipped, shifted and blanked in that epoch. Masks that share a seed thus share order and
augmentation. Absent examples are left out and the batches close up ("packed").
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
    """The examples one model is trained on, in order.

    Parameters
    ----------
    rows : (n_draws,) int64 array
        Rows of the training set.
    words : (n_draws,) uint64 array
        Random words that decide each draw's augmentation.
    """

    rows: np.ndarray
    words: np.ndarray


def model_draws(seed: int, present: np.ndarray, n_draws: int) -> Draws:
    """Draw the examples one model is trained on: epoch after epoch of the present ones.

    Parameters
    ----------
    seed : int
        Training seed.
    present : (n_train,) bool array
        The examples of the model, at least one.
    n_draws : int
        Steps times batch size.

    Returns
    -------
    Draws
        Rows and words.

    Notes
    -----
    A subset below an eighth of the training set runs out of distinct epochs and starts again from the first, so that
    the number of words stays bounded however small the subset is.

    Examples
    --------
    >>> present = np.array([True, False, True])
    >>> sorted(set(model_draws(0, present, 6).rows.tolist()))
    [0, 2]
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
    """The training images on the device, and the standardised batches made from them.

    Pixels are standardised per channel by the mean and standard deviation of the whole training set, the same for
    every model.

    Parameters
    ----------
    train : ImageSet
        Training images and labels.
    recipe : Recipe
        Gives the augmentation.
    device : torch.device
        Where the images are kept.
    dtype : torch.dtype
        Type of the standardised pixels.
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
        """Return all crops as views: (mirrored, n, shift_y, shift_x, channels, height, width) uint8."""
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
        """Return one augmented batch of all K models.

        Parameters
        ----------
        rows, words : (batch, K) int64 tensor
            Rows of the training set and their random words.

        Returns
        -------
        images : (batch, K * channels, height, width) tensor
            Standardised and augmented.
        labels : (batch, K) int64 tensor
            Classes.
        """
        recipe = self.recipe
        flip = words & 1 if recipe.flip else torch.zeros_like(rows)
        shifts = 2 * recipe.crop_padding + 1
        pixels = self.windows[flip, rows, field_of(words, 0, shifts), field_of(words, 1, shifts)]
        images = self.normalise(pixels)
        if recipe.cutout:
            images = images * self._cutout(words)
        return images.flatten(1, 2), self.labels[rows]

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return standardised floats of uint8 pixels (..., channels, height, width)."""
        return pixels.to(self.dtype).sub_(self.mean).mul_(self.scale)

    def _cutout(self, words: Tensor) -> Tensor:
        """Return 0 in a square at a random place within the image, else 1: (batch, K, 1, height, width)."""
        keep = []
        for which, side in enumerate(self.size):
            side_cut = min(self.recipe.cutout, side)
            corner = field_of(words, 2 + which, side - side_cut + 1).unsqueeze(-1)
            at = torch.arange(side, device=self.device)
            keep.append((at >= corner) & (at < corner + side_cut))
        inside = keep[0].unsqueeze(-1) & keep[1].unsqueeze(-2)
        return (~inside).to(self.dtype).unsqueeze(2)


def field_of(words: Tensor, which: int, n_values: int) -> Tensor:
    """Return the which-th field of each word, spread over 0 .. n_values - 1.

    Examples
    --------
    >>> field_of(torch.tensor([0, 2**10]), which=0, n_values=4)
    tensor([0, 2])
    """
    bits = (words >> (1 + which * _FIELD_BITS)) & (2**_FIELD_BITS - 1)
    return (bits * n_values) >> _FIELD_BITS


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel over all pixels.

    Parameters
    ----------
    images : (n, height, width, channels) uint8 array
        Pixels.

    Returns
    -------
    mean, std : (channels,) float64 array
        In 0..255, from exact integer sums. A constant channel gets a standard deviation of 1.

    Examples
    --------
    >>> channel_statistics(np.array([[[[0], [10]]]], dtype=np.uint8))
    (array([5.]), array([5.]))
    """
    counts = [np.bincount(images[..., c].ravel(), minlength=256) for c in range(images.shape[-1])]
    levels = np.arange(256.0)
    mean = np.array([(count * levels).sum() / count.sum() for count in counts])
    variance = np.array([(count * levels**2).sum() / count.sum() for count in counts]) - mean**2
    return mean, np.where(variance > 1e-6, np.sqrt(np.maximum(variance, 0.0)), 1.0)
