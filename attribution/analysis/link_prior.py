"""What the curvatures of a campaign's targets are shrunken to, from targets of all its blocks.

A block has few targets, and those of one block may all depend on a handful of players, so that none of them tells how
outputs saturate (linear/link.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.interactions.setup import BlockSettings, BlockSetup
from attribution.linear.datamodel_fit import fit_linear
from attribution.linear.link import LinkPrior, fit_link
from attribution.masks.inputs import check_data


def campaign_link_prior(
    masks: Any,
    outputs: Any,
    *,
    alpha: Any,
    reference_alpha: float,
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> LinkPrior | None:
    """Fit the prior of curvatures to some targets of a campaign.

    Parameters
    ----------
    masks, outputs
        (m, n) bool and (m, t): the rows to fit to, and some targets spread over all.
    alpha
        Inclusion probability of the masks; (m,), one for each, in a campaign of several.
    reference_alpha
        The alpha at which results are reported.
    groups
        (m,) int labels of rows that no split may divide.
    seed
        Of the folds.

    Returns
    -------
    LinkPrior or None
    """
    data = check_data(masks, outputs, alpha, groups=groups)
    setup = BlockSetup(data, BlockSettings(alpha=reference_alpha, max_order=1, seed=seed))
    y, data = setup.data.outputs, setup.data
    linear = fit_linear(setup.phi, y, setup.folds, weight=data.weight, allowed=setup.allowed)
    return fit_link(setup.phi, y, linear, setup.folds, weight=data.weight, groups=data.groups).prior
