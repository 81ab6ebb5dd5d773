"""Stage refine: the campaign inside a campaign's groups, its configuration, its folder and its making."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from conf.compose import recompose
from conf.schema import CampaignConfig
from flows.games.table import make_game
from flows.plan import create
from flows.refinement.choose import Opening
from flows.refinement.links import child_folders, link, parent_of
from flows.store.campaign import Campaign
from flows.store.configuration import keep_configuration


def analysed_alike(config: CampaignConfig, overrides: Sequence[str] = ()) -> CampaignConfig:
    """Return a configuration with the attribution settings of the analysis that its campaign has.

    Parameters
    ----------
    config : CampaignConfig
        Of the parent.
    overrides : sequence of str
        Settings of the command line, written key=value; those of the attribution stay.

    Returns
    -------
    CampaignConfig
        A folder keeps the settings of its last plan, and it may have been analysed with others since: the child of
        groups that were chosen by that analysis is analysed as they were.
    """
    analysis = Campaign(config.campaign.folder).analysis or {}
    content = config.model_dump(mode="json")
    known = {key: value for key, value in analysis.get("settings", {}).items() if key in content["attribution"]}
    content["attribution"].update(known)
    return recompose(content, [text for text in overrides if text.lstrip("+").startswith("attribution.")])


def child_config(config: CampaignConfig, opening: Opening, folder: str) -> CampaignConfig:
    """Return the configuration of a child: the parent's, with some groups opened.

    Parameters
    ----------
    config : CampaignConfig
        Of the parent.
    opening : Opening
    folder : str
        Of the child.

    Returns
    -------
    CampaignConfig
        Data, recipe, alpha and seeds are the parent's, so closed groups are drawn as they were there.
    """
    parent = Path(config.campaign.folder)
    where = config.campaign.folder if "://" in config.campaign.folder else str(parent.absolute())
    players = {"by": "opened", "parent": where, "opened": sorted(opening.groups)}
    content = config.model_dump(mode="json")
    content["name"] = f"{config.name}-inside"
    content["dataset"]["group_by"] = None  # the parent's table holds its groups
    content["players"] = players
    content["refine"]["groups"] = None
    content["campaign"].update(folder=folder, n_fit=opening.n_fit)
    return CampaignConfig.model_validate(content)


def child_folder(config: CampaignConfig, opening: Opening) -> str:
    """Return the folder of the child that opens these groups: the one there is, else a new one beside the parent."""
    for folder in child_folders(Campaign(config.campaign.folder)):
        child = Campaign(folder)
        known = parent_of(child) if child.exists else None
        if known is not None and set(known.opened) == set(opening.groups):
            return folder
    base, number = config.campaign.folder.rstrip("/"), 1
    while Campaign(f"{base}-inside{number}").exists:
        number += 1
    return f"{base}-inside{number}"


def make_child(config: CampaignConfig, parent: Campaign, child_of: CampaignConfig, opening: Opening) -> Campaign:
    """Create the child's folder and link it with the parent; what exists stays.

    Parameters
    ----------
    config : CampaignConfig
        Of the parent.
    parent : Campaign
    child_of : CampaignConfig
        Of the child (`child_config`).
    opening : Opening

    Returns
    -------
    Campaign
        Its masks are planned by running it.
    """
    child = Campaign(child_of.campaign.folder)
    game = make_game(child_of)
    with child.lock():
        create(child, child_of, game)
        keep_configuration(child, child_of)
    if parent_of(child) is None:
        with parent.lock():
            link(parent, child, opening.groups, opening.reasons)
    return child
