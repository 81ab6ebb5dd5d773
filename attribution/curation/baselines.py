"""The other ways of choosing what to keep that a decision has to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def even_shares(player_classes: NDArray[np.int64], n_keep: int) -> dict[int, int]:
    """Players of each class when n_keep are kept in the classes' own proportions (largest remainders)."""
    labels, counts = np.unique(player_classes, return_counts=True)
    exact = counts * n_keep / len(player_classes)
    whole = np.floor(exact).astype(np.int64)
    # Stable: of equal remainders the first class is served first.
    for at in np.argsort(-(exact - whole), kind="stable")[: n_keep - int(whole.sum())]:
        whole[at] += 1
    return {int(label): int(count) for label, count in zip(labels, whole, strict=True)}


def balanced_random(
    player_classes: NDArray[np.int64], n_keep: int, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """(n,) bool: n_keep players drawn at random within every class, in the classes' own proportions."""
    keep = np.zeros(len(player_classes), dtype=bool)
    for label, count in even_shares(player_classes, n_keep).items():
        keep[generator.choice(np.flatnonzero(player_classes == label), count, replace=False)] = True
    return keep
