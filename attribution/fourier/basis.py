"""The p-biased Fourier basis phi_i(x) = (x_i - p) / sigma, evaluated at masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# One probability for all masks, or one for each: (m,).
Alpha = float | NDArray[np.float64]


def rows_of(alpha: Alpha, rows: Any) -> Alpha:
    """The alphas of some rows."""
    return alpha[rows] if isinstance(alpha, np.ndarray) else alpha


def basis(masks: NDArray[np.bool_], alpha: Alpha) -> NDArray[np.float32]:
    """phi_i(x) = (x_i - p) / sigma of every mask and player, p of its own row: (m, n) bool -> (m, n) float32."""
    phi = masks.astype(np.float32)
    if isinstance(alpha, np.ndarray):
        sigmas = np.sqrt(alpha * (1 - alpha))
        phi *= (1.0 / sigmas).astype(np.float32)[:, None]
        phi -= (alpha / sigmas).astype(np.float32)[:, None]
        return phi
    sigma = (alpha * (1 - alpha)) ** 0.5
    phi *= np.float32(1.0 / sigma)
    phi -= np.float32(alpha / sigma)
    return phi
