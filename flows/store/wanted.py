"""The rows a configuration asks for, those that are missing, and the name of its analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conf.schema import CampaignConfig
from flows.errors import CoterieError
from flows.runtime.versions import attribution_version
from flows.store.campaign import Campaign, digest
from flows.store.roles import RowRange, missing_shards, wanted_ranges

if TYPE_CHECKING:
    from attribution import SpexDesign


class ImpossibleDesign(CoterieError):
    """A structured design that the number of fit masks cannot hold.

    Attributes
    ----------
    exit_code : int
        2.
    """

    exit_code = 2


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


def spex_design(config: CampaignConfig, n_players: int) -> SpexDesign | None:
    """Return the largest SPEX design among the fit masks that a configuration asks for.

    Parameters
    ----------
    config : CampaignConfig
    n_players : int

    Returns
    -------
    SpexDesign or None
        None for another sampler. Fit mask k is mask k of the design, so that asking for more keeps every mask.

    Raises
    ------
    ImpossibleDesign
        Where not even the smallest design fits; the message names the sizes that do.
    """
    if config.sampler.kind != "spex":
        return None
    from attribution import AttributionError, SpexDesign

    try:
        return SpexDesign.within(n_players, config.campaign.n_fit, config.sampler.max_order, config.campaign.seed)
    except AttributionError as error:
        raise ImpossibleDesign(f"sampler.kind=spex: {error} Set campaign.n_fit or sampler.max_order") from error


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
