"""Which groups of a campaign are opened: the largest harm, the most near-duplicates, members of certified sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from attribution.analysis.target_ids import MEAN_OF_ALL
from attribution.curation.rules import masks_needed
from conf.schema import CampaignConfig
from flows.errors import IncompleteCampaign
from flows.players.kept_groups import check_openable
from flows.runtime.wording import plural
from flows.store.campaign import Campaign
from flows.store.derived import verdicts
from flows.store.examples import inspection
from flows.store.roles import count_rows
from flows.store.wanted import wanted


@dataclass(frozen=True)
class Opening:
    """Groups to open and the campaign inside them.

    Attributes
    ----------
    groups : tuple of str
        Names of the groups.
    reasons : tuple of str
        Why each is opened.
    n_images : int
        Images in them: players of the child.
    n_players : int
        All players of the child, closed groups included.
    n_fit : int
        Fit masks of the child.
    n_models : int
        Models of the child, held-out ones and replicates included.
    notes : tuple of str
        Groups that were left out, and why.
    """

    groups: tuple[str, ...]
    reasons: tuple[str, ...]
    n_images: int
    n_players: int
    n_fit: int
    n_models: int
    notes: tuple[str, ...] = ()


def sizes_of(campaign: Campaign) -> np.ndarray:
    """(n_players,) training images of each player."""
    players = campaign.read("examples", ["player"])["player"].to_numpy()
    found: np.ndarray = np.bincount(players[players >= 0], minlength=campaign.n_players)
    return found


def choose_groups(config: CampaignConfig, campaign: Campaign) -> Opening:
    """Choose the groups of a campaign to open, and size the campaign inside them.

    Parameters
    ----------
    config : CampaignConfig
        Of the campaign; `refine` chooses.
    campaign : Campaign

    Returns
    -------
    Opening

    Raises
    ------
    IncompleteCampaign
        Where no player is a group, or nothing speaks for opening one.
    TrainingInputError
        For a named group that does not exist or holds one image.
    """
    sizes, names = sizes_of(campaign), list(campaign.meta.player_names)
    if sizes.max(initial=0) < 2:
        raise IncompleteCampaign(
            f"every player of {campaign.folder} is one picture, so there is no group to open. Groups are made by "
            "players.by=similarity players.count=N in a new campaign"
        )
    chosen = config.refine
    if chosen.groups is not None:
        numbers = check_openable(names, sizes, chosen.groups)
        reasons = {number: "named" for number in numbers}
        limit = len(names)
    else:
        reasons = _ranked(campaign, sizes, chosen.by)
        limit = chosen.top
        if not reasons:
            raise IncompleteCampaign(
                f"nothing in {campaign.folder} speaks for opening a group: no effect below 0, no near-duplicates, no "
                "certified set. Name groups: coterie refine … refine.groups=[NAME]"
            )
    most = chosen.max_models or count_rows(wanted(config))
    picked: list[int] = []
    too_large: list[str] = []
    for number in reasons:
        if len(picked) == limit:
            break
        if _models(config, campaign, sizes, [*picked, number]) <= most:
            picked.append(number)
        else:
            too_large.append(names[number])
    if not picked:
        least = _models(config, campaign, sizes, [next(iter(reasons))])
        raise IncompleteCampaign(
            f"{most} models{_whose(config)} are too few to see inside group {too_large[0]!r}: {least} are needed. Set "
            f"refine.max_models={least}"
        )
    notes = () if not too_large else (
        f"{plural(len(too_large), 'group')} would take more than {most} models{_whose(config)} and stay closed: "
        f"{', '.join(too_large[:5])}{', …' if len(too_large) > 5 else ''}. Raise refine.max_models to open more.",
    )
    return Opening(
        groups=tuple(names[number] for number in picked),
        reasons=tuple(reasons[number] for number in picked),
        n_images=int(sizes[picked].sum()),
        n_players=_n_players(sizes, picked),
        n_fit=fit_masks(config, campaign, sizes, picked),
        n_models=_models(config, campaign, sizes, picked),
        notes=notes,
    )


def _whose(config: CampaignConfig) -> str:
    return "" if config.refine.max_models else " (as many as the campaign itself has)"


def fit_masks(config: CampaignConfig, campaign: Campaign, sizes: np.ndarray, picked: Sequence[int]) -> int:
    """Return the fit masks of a child: `refine.masks_per_player` for each opened image, and what a decision needs."""
    wished = int(np.ceil(config.refine.masks_per_player * sizes[list(picked)].sum()))
    return max(wished, masks_needed(_n_players(sizes, picked), campaign.meta.alpha))


def _n_players(sizes: np.ndarray, picked: Sequence[int]) -> int:
    return int(len(sizes) - len(picked) + sizes[list(picked)].sum())


def _models(config: CampaignConfig, campaign: Campaign, sizes: np.ndarray, picked: Sequence[int]) -> int:
    held_out = config.campaign.n_holdout * (1 + config.campaign.n_replicates)
    return fit_masks(config, campaign, sizes, picked) + held_out


def _ranked(campaign: Campaign, sizes: np.ndarray, by: Sequence[str]) -> dict[int, str]:
    """Groups worth opening, in turn from each list, with the reason; groups of one picture are left out."""
    lists = {"harm": _by_harm, "redundancy": _by_redundancy, "certified": _by_certified_sets}
    queues = [[entry for entry in lists[name](campaign) if sizes[entry[0]] > 1] for name in by]
    found: dict[int, str] = {}
    for place in range(max(map(len, queues), default=0)):
        for queue in queues:
            if place < len(queue):
                found.setdefault(*queue[place])
    return found


def _by_harm(campaign: Campaign) -> list[tuple[int, str]]:
    """Groups whose presence lowers the mean output over all targets, the largest harm first."""
    table = campaign.read("effects", ["target", "player", "effect", "q_value"])
    of_all = table.filter(pc.equal(table["target"], MEAN_OF_ALL)).sort_by("effect")
    if not of_all.num_rows:
        raise IncompleteCampaign(
            f"the effects in {campaign.folder} hold no mean over all targets, by which harm is ranked. Set "
            "attribution.pooled_targets=true and run it again, or refine.by=[redundancy]"
        )
    columns = (of_all[name].to_pylist() for name in ("player", "effect", "q_value"))
    return [
        (player, f"its presence changes the mean output by {effect:+.4f} (q {q_value:.2g})")
        for player, effect, q_value in zip(*columns, strict=True)
        if effect < 0
    ]


def _by_redundancy(campaign: Campaign) -> list[tuple[int, str]]:
    """Groups that hold near-duplicates, those with the most first."""
    table = campaign.read("examples", ["split", "position", "player"])
    train = np.asarray(table["split"].to_numpy(zero_copy_only=False) == "train")
    positions, players = table["position"].to_numpy()[train], table["player"].to_numpy()[train]
    player_at = dict(zip(positions.tolist(), players.tolist(), strict=True))
    excess: dict[int, int] = {}
    for finding in inspection(campaign) or ():
        if finding.kind != "duplicates" or set(finding.splits) != {"train"}:
            continue
        for owner in {player_at[position] for position in finding.positions}:
            alike = sum(player_at[position] == owner for position in finding.positions)
            excess[owner] = excess.get(owner, 0) + alike - 1
    ranked = sorted(((count, owner) for owner, count in excess.items() if count), key=lambda pair: (-pair[0], pair[1]))
    return [(owner, f"{count} of its pictures are near-duplicates of others in it") for count, owner in ranked]


def _by_certified_sets(campaign: Campaign) -> list[tuple[int, str]]:
    """Members of certified sets, the largest measured interaction first."""
    certified = [row for row in verdicts(campaign).values() if row["verdict"] == "certified"]
    certified.sort(key=lambda row: -abs(row["measured"]))
    return [
        (member, f"member of a certified {row['kind'] or 'set'} on target {row['target']}")
        for row in certified
        for member in row["members"]
    ]
