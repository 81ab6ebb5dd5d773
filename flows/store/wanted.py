"""The rows a configuration asks for, those that are missing, and the name of its analysis."""

from __future__ import annotations

from conf.schema import CampaignConfig
from flows.runtime.versions import attribution_version
from flows.store.campaign import Campaign, digest
from flows.store.roles import RowRange, missing_shards, wanted_ranges


def wanted(config: CampaignConfig) -> list[RowRange]:
    """Return the rows that a configuration asks for.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    list of RowRange

    Notes
    -----
    A recorded bank has the rows it has: nobody can evaluate others.
    """
    settings = config.campaign
    if config.game.kind == "recorded":
        return Campaign(settings.folder).planned()
    return wanted_ranges(settings.n_fit, settings.n_holdout, settings.n_replicates)


def missing_models(config: CampaignConfig, campaign: Campaign) -> list[RowRange]:
    """Return the shards that a configuration asks for and that have no outcome.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign

    Returns
    -------
    list of RowRange
    """
    return missing_shards(wanted(config), campaign.trained(), campaign.shard_size)


def analysis_key(config: CampaignConfig, campaign: Campaign) -> str:
    """Name an analysis: a digest of its settings, the rows it was made from, and the code.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    return digest(
        {
            "attribution": config.attribution.model_dump(mode="json"),
            "identity": campaign.meta.identity_hash,
            "rows": campaign.snapshot(),
            "code": attribution_version(),
        }
    )[:16]
