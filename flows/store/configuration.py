"""The resolved configuration of a campaign, kept in its folder so that the folder alone names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conf.schema import CampaignConfig
from flows.errors import IncompleteCampaign
from flows.storage.files import read_json, write_json
from flows.store.campaign import Campaign

FILE = "config.json"


def keep_configuration(campaign: Campaign, config: CampaignConfig) -> None:
    """Write `config.json`, the settings of the last plan, unless it holds them already.

    Parameters
    ----------
    campaign : Campaign
    config : CampaignConfig

    Raises
    ------
    StoreError
        When the file cannot be read or written.

    Notes
    -----
    A relative path of the data set, or of the rows of a trainer, is kept as an absolute one: the folder may be named
    from any directory.
    """
    content = config.model_dump(mode="json")
    path = content["dataset"]["path"]
    if path is not None and "://" not in path:
        content["dataset"]["path"] = _absolute(path)
    for rows in ("players", "targets"):  # a file; a function or a number stays as it is
        if content["game"][rows] is not None and Path(content["game"][rows]).expanduser().is_file():
            content["game"][rows] = _absolute(content["game"][rows])
    if not (campaign.folder / FILE).is_file() or read_json(campaign.folder / FILE) != content:
        write_json(campaign.folder / FILE, content)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def kept_configuration(campaign: Campaign, where: str) -> dict[str, Any]:
    """Return the settings of the last plan, with the folder as it was named now.

    Parameters
    ----------
    campaign
        A campaign that exists.
    where
        Its folder as the user named it; it may have moved since it was planned.

    Returns
    -------
    dict
        The configuration as plain values, ready for `conf.compose.recompose`.

    Raises
    ------
    IncompleteCampaign
        When the folder holds no configuration.
    """
    path = campaign.folder / FILE
    if not path.is_file():
        raise IncompleteCampaign(
            f"{campaign.folder} holds no {FILE}, so its settings are not known. Name its configuration instead of the "
            "folder, or run `coterie plan CONFIG` once, which writes it"
        )
    content: dict[str, Any] = read_json(path)
    content["campaign"] = {**content.get("campaign", {}), "folder": where}
    return content
