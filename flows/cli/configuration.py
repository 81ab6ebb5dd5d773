"""From what a user names (a configuration, a YAML file, a campaign's folder) to a campaign and its settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from conf.compose import ConfigError, available, compose, recompose
from conf.schema import CampaignConfig
from flows.games.table import trust_what_is_named
from flows.store.campaign import Campaign
from flows.store.configuration import kept_configuration


def configuration(where: str, overrides: Sequence[str] | None = None) -> CampaignConfig:
    """Return the checked configuration that `where` names, with `key=value` overrides applied.

    Parameters
    ----------
    where
        A name in conf/, the path of a YAML file, or a campaign's folder.
    overrides
        Settings to change, e.g. `["campaign.n_fit=4000"]`.

    Raises
    ------
    ConfigError
        When nothing of that name exists, and for an override that cannot be applied.
    IncompleteCampaign
        When the folder does not hold its configuration.
    """
    given = list(overrides or ())
    campaign = Campaign(where)
    if campaign.exists:
        config = recompose(kept_configuration(campaign, where), given)
        trust_what_is_named(where, config, given)
        return config
    if _looks_like_a_folder(where):
        raise ConfigError(
            f"no campaign in the folder {where!r}. Give a folder that holds one, the path of a YAML file, or one of "
            f"{', '.join(available())}"
        )
    return compose(where, given)


def locate(where: str, overrides: Sequence[str] | None = None) -> tuple[Campaign, CampaignConfig | None]:
    """Return the campaign that `where` names, and its configuration where it is known (commands that only read).

    Parameters
    ----------
    where : str
        A campaign's folder, a name in conf/, or the path of a YAML file.
    overrides : sequence of str, optional
        Settings to change, written key=value; not applied to a campaign's folder.

    Returns
    -------
    campaign : Campaign
    config : CampaignConfig or None
        None where `where` is a campaign's folder.

    Raises
    ------
    ConfigError
        When nothing of that name exists, and for an override that cannot be applied.
    """
    campaign = Campaign(where)
    if campaign.exists:
        return campaign, None
    config = configuration(where, overrides)
    return Campaign(config.campaign.folder), config


def _looks_like_a_folder(where: str) -> bool:
    if where in available() or where.endswith((".yaml", ".yml")):
        return False
    return "/" in where or Path(where).is_dir()
