"""Groups that a campaign keeps in its examples table: read again, or opened for a child campaign."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flows.errors import CampaignMismatch, IncompleteCampaign
from flows.store.campaign import Campaign
from training import Dataset
from training.errors import TrainingInputError
from training.grouping.find_groups import with_groups


def kept_players(campaign: Campaign, dataset: Dataset) -> Dataset:
    """Give a data set the players that a campaign keeps.

    Parameters
    ----------
    campaign : Campaign
    dataset : Dataset
        The images of the same configuration.

    Returns
    -------
    Dataset

    Raises
    ------
    CampaignMismatch
        When the training images are others than the campaign's.
    """
    return with_groups(dataset, _checked_players(campaign, dataset), campaign.meta.player_names)


def opened_players(parent: Campaign, opened: Sequence[str], dataset: Dataset) -> Dataset:
    """Make the images of some groups players of their own; every other group of the parent stays one player.

    Parameters
    ----------
    parent : Campaign
        A campaign whose players are groups, or one that was refined itself.
    opened : sequence of str
        Names of groups.
    dataset : Dataset
        The images of the parent's configuration.

    Returns
    -------
    Dataset
        The parent's closed groups in their order, then the opened images in the order of the training set.

    Raises
    ------
    IncompleteCampaign
        Without a parent.
    CampaignMismatch
        When the training images are others than the parent's.
    TrainingInputError
        For a name that is no player of the parent, and a group of one image.
    """
    if not parent.exists:
        raise IncompleteCampaign(
            f"players.parent = {parent.folder} holds no campaign. Give the folder of the campaign whose groups are "
            "opened"
        )
    players = _checked_players(parent, dataset)
    names = list(parent.meta.player_names)
    numbers = check_openable(names, np.bincount(players, minlength=len(names)), opened)
    return open_groups(dataset, players, names, numbers, parent.meta.get("typical"))


def check_openable(names: Sequence[str], sizes: np.ndarray, opened: Sequence[str]) -> list[int]:
    """Return the numbers of the groups to open.

    Parameters
    ----------
    names : sequence of str
        Of all players.
    sizes : (n_players,) int64
        Images of each.
    opened : sequence of str

    Returns
    -------
    list of int

    Raises
    ------
    TrainingInputError
        For a name that is no player, one given twice, and a group of one image.
    """
    at = {name: number for number, name in enumerate(names)}
    for name in opened:
        if name not in at:
            raise TrainingInputError(
                f"there is no group {name!r}. Groups are named {names[0]!r}, {names[-1]!r} and the like "
                "(`players` in the campaign's report lists them)."
            )
        if sizes[at[name]] < 2:
            raise TrainingInputError(
                f"group {name!r} holds one picture, so there is nothing inside it to compare. Name a larger group."
            )
    if len(set(opened)) != len(opened):
        raise TrainingInputError(f"a group is named twice among {', '.join(opened)}. Name each once.")
    return [at[name] for name in opened]


def open_groups(
    dataset: Dataset,
    players: np.ndarray,
    names: Sequence[str],
    opened: Sequence[int],
    typical: Sequence[int] | None = None,
) -> Dataset:
    """Make the images of the given groups players of their own.

    Parameters
    ----------
    dataset : Dataset
    players : (n_train,) int64
        The group of each image.
    names : sequence of str
        Of the groups.
    opened : sequence of int
        Groups.
    typical : sequence of int, optional
        The image that shows each group best; a closed group keeps it, an opened image shows itself.

    Returns
    -------
    Dataset
    """
    closed = [number for number in range(len(names)) if number not in set(opened)]
    renumbered = np.full(len(names), -1, dtype=np.int64)
    renumbered[closed] = np.arange(len(closed))
    found = renumbered[players]
    rows = np.flatnonzero(found < 0)
    found[rows] = len(closed) + np.arange(len(rows))
    images = dataset.train.names[rows].tolist()
    shown = None if typical is None else np.array([*(typical[number] for number in closed), *rows], dtype=np.int64)
    return with_groups(dataset, found, (*(names[number] for number in closed), *images), shown)


def _checked_players(campaign: Campaign, dataset: Dataset) -> np.ndarray:
    """Player of each training image, by the campaign's table. Raises CampaignMismatch for other images."""
    table = campaign.read("examples", ["split", "position", "name", "player"])
    train = np.asarray(table["split"].to_numpy(zero_copy_only=False) == "train")
    position = table["position"].to_numpy()[train]
    order = np.argsort(position)
    n_kept = int(train.sum())
    if n_kept != len(dataset.train):
        raise CampaignMismatch(
            f"{campaign.folder} has {n_kept} training pictures and the configuration {len(dataset.train)}. Its groups "
            "belong to other data; set campaign.folder to a new folder, or change the configuration back"
        )
    players: np.ndarray = table["player"].to_numpy()[train][order].astype(np.int64)
    return players
