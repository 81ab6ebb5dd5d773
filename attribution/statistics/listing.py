"""Which q-value lists a set: that of its specific part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attribution.types import Array


def listing_q(interactions: Mapping[str, Sequence[Any]]) -> Array:
    """Return the q-values that the rows of a table of interactions are listed by.

    Parameters
    ----------
    interactions : mapping of column to values
        Columns of the table `interactions`.

    Returns
    -------
    (c,) float64
        `specific_q_value`: the saturation part belongs to no set. `q_value` where a table has no specific parts.

    Examples
    --------
    >>> listing_q({"q_value": [0.01, 0.02], "specific_q_value": [0.01, 0.7]}).tolist()
    [0.01, 0.7]
    """
    name = "specific_q_value" if "specific_q_value" in interactions else "q_value"
    return np.asarray(interactions[name], dtype=np.float64)
