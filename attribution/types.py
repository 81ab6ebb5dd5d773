"""Array types of the package, each with the shape it has everywhere.

| alias | dtype | shape |
|---|---|---|
| `Masks` | bool | (n_masks, n_players); True means the player is in the training set |
| `Outputs` | float64 | (n_masks, n_targets) |
| `Labels` | int64 | (n_masks,); rows with equal labels share a fold and are clustered in variances |
| `Array` | float64 | stated where it is used |
| `Floating` | float32 or float64 | as `Array`, for code that keeps the input's precision |
| `Float32` | float32 | as `Array`, for large products |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floating = NDArray[np.floating]
Float32 = NDArray[np.float32]

Masks = NDArray[np.bool_]
Outputs = NDArray[np.float64]
Labels = NDArray[np.int64]
