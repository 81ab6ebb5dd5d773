"""Histogram of |z| that stands for the tests nobody reports, so that q-values can count them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attribution.types import Floating

Z_STEP = 0.002  # width of a bin of |z|


N_Z_BINS = 19_000  # |z| up to 38, beyond which a two-sided p-value underflows


def add_to_histogram(counts: NDArray[np.int64], z: Floating, row: NDArray[np.int8] | None = None) -> None:
    """Count |z| into bins of Z_STEP, the last one open. row: as z, which of several histograms; counts (rows, bins)."""
    z = np.ravel(z)
    bins = np.minimum(np.abs(z) * z.dtype.type(1.0 / Z_STEP), z.dtype.type(N_Z_BINS - 1)).astype(np.int64)
    if row is not None:
        bins += np.ravel(row).astype(np.int64) * N_Z_BINS
    counts += np.bincount(bins, minlength=counts.size).reshape(counts.shape)
