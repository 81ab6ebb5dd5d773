"""Which orders of sets a design can test: every cell of a set's factorial needs masks enough for a normal mean.

Of k players, the rarest of the 2^k combinations of present and absent is expected in m min(p, 1 - p)^k masks. At
p = .95 two players are absent together in one mask of 400. A mean over a handful of masks is not normal, and its
p-value is wrong: with noise that is skewed, heavy-tailed or grows with the output, null campaigns then list sets.
"""

from __future__ import annotations

import warnings
from math import comb

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionWarning

# Expected masks of the rarest cell from which sets are tested. A choice, not a calibrated bound: of the null campaigns
# tried, those with two or nine masks a cell listed false sets, and one of sixty with more did.
MIN_CELL = 20.0
# A rarest cell of at least this share of an average one: every mask then weighs about as much as every other in the
# estimate, which is a mean over all masks however few a cell holds.
EVEN_CELLS = 0.5


def expected_rarest_cell(masks: NDArray[np.bool_], order: int, alphas: NDArray[np.float64] | None = None) -> float:
    """Compute how many masks are expected in the rarest cell of a set of typical players.

    Parameters
    ----------
    masks : (m, n) bool
        Distinct masks.
    order : int
        Number of members.
    alphas : (m,) float64 or None
        Inclusion probability of each mask, where they differ; None for the share of ones in all masks.

    Returns
    -------
    float

    Examples
    --------
    >>> masks = np.random.default_rng(0).random((900, 100)) < 0.95
    >>> round(expected_rarest_cell(masks, 2))
    2
    """
    if alphas is None:
        per_player = masks.mean(axis=0)
        varying = per_player[(per_player > 0.0) & (per_player < 1.0)]  # a merged player is in no mask
        alphas = np.full(len(masks), varying.mean() if len(varying) else 0.0)
    return float((np.minimum(alphas, 1.0 - alphas) ** order).sum())


def largest_testable_order(
    masks: NDArray[np.bool_], max_order: int, alphas: NDArray[np.float64] | None = None
) -> int:
    """Return the largest order, up to `max_order`, whose rarest cell is expected in enough masks; at least 1.

    Enough are MIN_CELL, or EVEN_CELLS of an average cell's: at alpha = 1/2 all cells are alike.
    """
    order = 1
    while order < max_order:
        held = expected_rarest_cell(masks, order + 1, alphas)
        if held < min(MIN_CELL, EVEN_CELLS * len(masks) / 2 ** (order + 1)):
            break
        order += 1
    return order


def warn_of_rare_cells(
    masks: NDArray[np.bool_], tested: int, max_order: int, alphas: NDArray[np.float64] | None = None
) -> int:
    """Warn of the sets that are not testable, and return how many there are: those of `tested` + 1 to `max_order`."""
    if tested >= max_order:
        return 0
    count = sum(comb(masks.shape[1], order) for order in range(tested + 1, max_order + 1))
    held = expected_rarest_cell(masks, tested + 1, alphas)
    orders = f"{tested + 1} to {max_order}" if max_order > tested + 1 else f"{tested + 1}"
    warnings.warn(
        f"{count:,} sets of {orders} players are not testable here: of {len(masks):,} distinct masks, {held:.1f} are "
        f"expected in the rarest combination of {tested + 1} players present and absent, and a test needs "
        f"{MIN_CELL:.0f}. Draw masks at an alpha nearer 0.5, or more of them.",
        AttributionWarning,
        stacklevel=2,
    )
    return count
