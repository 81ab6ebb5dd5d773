"""The p-biased Fourier basis phi_i(x) = (x_i - p) / sigma, evaluated at masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from attribution.types import Array, Float32, Masks

# One probability for all masks, or one for each: (m,).
Alpha = float | Array


def rows_of(alpha: Alpha, rows: Any) -> Alpha:
    """Select the alphas of some rows.

    Parameters
    ----------
    alpha : float or (m,) float64
        Inclusion probability of all masks, or of each.
    rows : index of rows
        A slice, positions or a boolean selection.

    Returns
    -------
    float or (k,) float64
        The alphas of these rows; a single alpha stays as it is.
    """
    return alpha[rows] if isinstance(alpha, np.ndarray) else alpha


def basis(masks: Masks, alpha: Alpha) -> Float32:
    """Evaluate every phi_i at every mask.

    Parameters
    ----------
    masks : (m, n) bool
        True where a player is in the training set.
    alpha : float or (m,) float64
        Inclusion probability p of all masks, or of each.

    Returns
    -------
    (m, n) float32
        (x_i - p) / sigma with sigma = sqrt(p (1 - p)), p of the mask's own row.

    Examples
    --------
    >>> basis(np.array([[True, False]]), 0.5).tolist()
    [[1.0, -1.0]]
    """
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
