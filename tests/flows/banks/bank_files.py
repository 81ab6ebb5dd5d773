"""A small recorded bank, written in every form an import reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

N_MASKS, N_PLAYERS, N_TARGETS, ALPHA = 240, 21, 3, 0.5


def bank(seed: int = 0, alpha: float = ALPHA, n_masks: int = N_MASKS) -> tuple[np.ndarray, np.ndarray]:
    """(masks, outputs): a redundant pair (0, 1) on target 0, main effects everywhere, noise; no two masks are equal."""
    rng = np.random.default_rng(seed)
    masks = rng.random((n_masks, N_PLAYERS)) < alpha
    outputs = masks @ rng.normal(size=(N_PLAYERS, N_TARGETS)) * 0.3 + rng.normal(0, 0.1, (n_masks, N_TARGETS))
    outputs[:, 0] += 2 * masks[:, :2].max(axis=1)
    assert len(np.unique(masks, axis=0)) == n_masks
    return masks, outputs.astype(np.float32)


def save(folder: Path, **arrays: np.ndarray) -> dict[str, Path]:
    """Write arrays as npy files; their paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    return {name: folder / f"{name}.npy" for name in arrays}
