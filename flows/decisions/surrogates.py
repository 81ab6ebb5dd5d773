"""The surrogate of one target, read from a campaign's tables: what brittleness, flip and prune search on."""

from __future__ import annotations

import numpy as np

from attribution.curation.surrogate import Surrogate
from flows.store.campaign import Campaign


def target_surrogate(campaign: Campaign, target: int, level: float) -> Surrogate:
    """Read main effects and sets of one target, shrunken, with their standard errors.

    Parameters
    ----------
    campaign : Campaign
    target : int
        Id of the target.
    level : float
        Largest q-value of a set that is included; its gate must be open as well.

    Returns
    -------
    Surrogate
    """
    effects = campaign.read("effects", ["target", "player", "shrunken", "stderr"])
    chosen = effects["target"].to_numpy() == target
    main, stderr = np.zeros(campaign.n_players), np.zeros(campaign.n_players)
    player = effects["player"].to_numpy()[chosen]
    main[player] = effects["shrunken"].to_numpy()[chosen]
    stderr[player] = effects["stderr"].to_numpy()[chosen]
    rows = [
        row
        for row in campaign.read("interactions").to_pylist()
        if row["target"] == target and row["gate_open"] and row["q_value"] <= level
    ]
    return Surrogate(
        campaign.meta.alpha, 0.0, main, stderr,
        tuple(tuple(row["members"]) for row in rows),
        np.array([row["shrunken"] for row in rows]), np.array([row["stderr"] for row in rows]),
    )  # fmt: skip
