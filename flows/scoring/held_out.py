"""What a campaign measured on masks that nothing was fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flows.errors import IncompleteCampaign
from flows.scoring.matrices import BadScore
from flows.store.campaign import Campaign


@dataclass(frozen=True)
class HeldOut:
    """Held-out masks and their outputs.

    Parameters
    ----------
    masks
        (h, n_players) bool.
    outputs
        (h, n_targets) float64, of the first run.
    again
        (h, n_targets) float64, of the second run, NaN where a mask has none; None where no mask has one.
    """

    masks: np.ndarray
    outputs: np.ndarray
    again: np.ndarray | None


def read_held_out(campaign: Campaign) -> HeldOut:
    """Read the held-out masks of a campaign with both runs.

    Raises
    ------
    BadScore
        For a campaign without held-out masks, or with masks of several alphas.
    """
    if campaign.meta.alphas is not None:
        raise BadScore(
            "the campaign has masks of several alphas, whose outputs differ by more than any attribution says. Score "
            "on a "
            "campaign of one alpha"
        )
    if not any(rows.role == "holdout" for rows in campaign.trained()):
        raise BadScore(
            f"{campaign.folder} has no held-out masks to score on. Plan some (campaign.n_holdout=256) and run it"
        )
    pairs = campaign.training_pairs("holdout")
    again = None
    try:
        second = campaign.training_pairs("holdout", 1)
    except IncompleteCampaign:
        pass
    else:
        again = np.full(pairs.outputs.shape, np.nan)
        at = np.searchsorted(pairs.mask_ids, second.mask_ids)
        known = (at < len(pairs.mask_ids)) & (
            pairs.mask_ids[np.minimum(at, len(pairs.mask_ids) - 1)] == second.mask_ids
        )
        again[at[known]] = second.outputs[known]
    return HeldOut(pairs.masks, pairs.outputs.astype(np.float64), again)
