"""Models that a user's own function could return."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


def tiny() -> tuple[nn.Module, np.ndarray, np.ndarray]:
    """A convolution with a batch norm on 8 x 8 images of three classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Flatten(), nn.Linear(48, 3)
        )
    rng = np.random.default_rng(0)
    return model.eval(), rng.normal(size=(12, 1, 8, 8)).astype(np.float32), rng.integers(0, 3, 12)


def in_training() -> tuple[nn.Module, np.ndarray, np.ndarray]:
    """The same, in training mode."""
    model, images, labels = tiny()
    return model.train(), images, labels


def nothing() -> None:
    """Forget to return anything."""
