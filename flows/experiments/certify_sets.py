"""Which sets a certification experiment tries: the top sets, those of a kind or an order, or one that is named."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attribution.analysis.target_ids import exists
from attribution.experiments.factorial import MAX_ORDER
from attribution.experiments.sets_to_try import Candidate, matched_random_sets, sets_of_kind, top_sets, with_prediction
from conf.schema import CampaignConfig
from flows.errors import CoterieError
from flows.store.campaign import Campaign
from flows.store.examples import player_classes


class BadRequest(CoterieError):
    """A set or a target that this campaign does not have."""

    exit_code = 2


def choose_sets(config: CampaignConfig, campaign: Campaign) -> list[Candidate]:
    """Choose the sets of an experiment, random ones last.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign

    Returns
    -------
    list of Candidate

    Raises
    ------
    BadRequest
        For a set or target that does not exist.
    """
    settings = config.certify
    table = campaign.read("interactions")
    rows = table.to_pydict()
    if settings.members is not None:
        if settings.kinds or settings.orders:
            raise BadRequest("--members names one set, certify.kinds and certify.orders choose many. Give one of them")
        return [_named(config, campaign, rows)]
    if settings.target is not None:
        raise BadRequest(
            f"certify.target = {settings.target} goes with a set of your own. Name it (--members 17,204), or leave the "
            "target out: each of the strongest sets is tried on its best one"
        )
    level = config.attribution.fdr_level
    if settings.kinds or settings.orders:
        found = sets_of_kind(
            rows, kinds=settings.kinds or (), orders=settings.orders or (), count=settings.top, level=level
        )
    else:
        found = top_sets(rows, settings.top, level)
    effects = campaign.read("effects", ["target", "player", "effect"])
    target = effects["target"].to_numpy()
    of_target = {}
    for name in {candidate.target for candidate in found}:
        chosen = target == name
        values = np.zeros(campaign.n_players)
        values[effects["player"].to_numpy()[chosen]] = effects["effect"].to_numpy()[chosen]
        of_target[name] = values
    beside = found[: settings.n_random]
    reported = [
        tuple(members)
        for members, q, own in zip(rows["members"], rows["q_value"], rows["specific_q_value"], strict=True)
        if min(q, own) <= config.attribution.fdr_level
    ]
    classes = player_classes(campaign)
    return found + matched_random_sets(beside, of_target, classes, reported, settings.seed)


def _named(config: CampaignConfig, campaign: Campaign, rows: dict[str, list[Any]]) -> Candidate:
    settings = config.certify
    members = tuple(sorted(set(settings.members or ())))
    unknown = [player for player in members if not 0 <= player < campaign.n_players]
    if unknown or len(members) != len(settings.members or ()):
        what = f"players {unknown} do not exist" if unknown else "a member is named twice"
        raise BadRequest(
            f"{what}; got --members {','.join(map(str, settings.members or ()))}. This campaign's players are "
            f"0 to {campaign.n_players - 1}"
        )
    if not 2 <= len(members) <= MAX_ORDER:
        raise BadRequest(
            f"a set to certify has 2 to {MAX_ORDER} members; got {len(members)}: --members "
            f"{','.join(map(str, members)) or 'none'}. Name as many players, e.g. 17,204"
        )
    said = [
        {name: rows[name][at] for name in rows}
        for at, found in enumerate(rows["members"])
        if tuple(found) == members
    ]
    target = settings.target
    if target is None:
        if not said:
            raise BadRequest(f"the campaign reports nothing on {members}, so it has no best target. Give --target")
        target = max(said, key=lambda row: abs(row["specific"] / row["specific_stderr"]))["target"]
    n_classes = len(campaign.meta.class_names)
    if not exists(target, campaign.n_targets, n_classes):
        raise BadRequest(
            f"target {target} has no outputs. Targets are 0 to {campaign.n_targets - 1}; -1 is the mean of all, "
            f"-2 to {-1 - n_classes} the means of the {n_classes} classes"
        )
    row = next((row for row in said if row["target"] == target), None)
    return with_prediction(Candidate(members, int(target), math.nan, origin="named"), row)


def nothing_eligible(config: CampaignConfig) -> str:
    """Write why there is no set to try.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    str
    """
    settings = config.certify
    if settings.kinds or settings.orders:
        kinds = " or ".join(settings.kinds or ("any kind",)).replace("_", " ")
        orders = f" of {' or '.join(map(str, settings.orders))} members" if settings.orders else ""
        return f"the campaign reports no set of {kinds}{orders} on an individual target"
    return f"no interaction is eligible (an open gate and q <= {config.attribution.fdr_level:.2g})"
