"""Models that the lenses explain by default: a small ResNet and a small vision transformer on handwritten digits.

Both are trained in seconds on a CPU and follow from the seed. A user's own function takes their place
(`game.model=package.module:function`); it returns the same three things.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

N_TRAINING = 1197  # of the 1,797 digits of scikit-learn; the other 600 are unseen


class Residual(nn.Module):
    """Two 3 x 3 convolutions with batch norms, and a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels_in, h, w) to (batch, channels, h / stride, w / stride)."""
        hidden = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(hidden)) + self.shortcut(x))


class DigitsResNet(nn.Module):
    """A stem and three residual blocks of 8, 16 and 32 channels on 8 x 8 images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.blocks = nn.Sequential(Residual(8, 8, 1), Residual(8, 16, 2), Residual(16, 32, 2))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, 1, 8, 8) to logits (batch, 10)."""
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class DigitsTransformer(nn.Module):
    """Sixteen tokens of 2 x 2 pixels, four encoder layers of four heads."""

    def __init__(self) -> None:
        super().__init__()
        width = 32
        self.tokens = nn.Conv2d(1, width, 2, 2)
        self.position = nn.Parameter(0.1 * torch.randn(1, 16, width))
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
                for _ in range(4)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, 1, 8, 8) to logits (batch, 10)."""
        seen = self.tokens(x).flatten(2).transpose(1, 2) + self.position
        return self.head(self.norm(self.layers(seen)).mean(1))


def resnet(seed: int = 0) -> tuple[nn.Module, np.ndarray, np.ndarray]:
    """Train the small ResNet; return it with the images and labels that it has not seen.

    Parameters
    ----------
    seed : int
        Of the initial weights, the order of the images and the division into seen and unseen.

    Returns
    -------
    model : torch.nn.Module
        In evaluation mode.
    images : (600, 1, 8, 8) float32
        Values 0 to 1.
    labels : (600,) int64
    """
    return _trained(DigitsResNet, seed, epochs=14, learning_rate=0.01)


def transformer(seed: int = 0) -> tuple[nn.Module, np.ndarray, np.ndarray]:
    """Train the small vision transformer; as `resnet` otherwise."""
    return _trained(DigitsTransformer, seed, epochs=30, learning_rate=0.004)


def digits(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return images and labels of scikit-learn's digits: those for training, then the 600 others."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(seed).permutation(len(data.target))
    images = (data.images[order, None] / 16.0).astype(np.float32)
    labels = data.target[order].astype(np.int64)
    return images[:N_TRAINING], labels[:N_TRAINING], images[N_TRAINING:], labels[N_TRAINING:]


def _trained(network: type[nn.Module], seed: int, *, epochs: int, learning_rate: float) -> tuple:
    """Train with AdamW and a one-cycle schedule, on one thread, so that the seed decides."""
    seen, seen_labels, images, labels = digits(seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = network()
            optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
            n_steps = epochs * (N_TRAINING // 50)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=n_steps)
            everything, classes = torch.from_numpy(seen), torch.from_numpy(seen_labels)
            for _ in range(epochs):
                for rows in torch.randperm(N_TRAINING)[: N_TRAINING // 50 * 50].split(50):
                    loss = nn.functional.cross_entropy(model(everything[rows]), classes[rows], label_smoothing=0.05)
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    schedule.step()
    finally:
        torch.set_num_threads(threads)
    return model.eval(), images, labels
