"""Decisions about single pictures from a tree of campaigns: closed groups as wholes, opened ones picture by picture."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from attribution.analysis.target_ids import MEAN_OF_ALL
from attribution.levels import LABEL_RATE
from flows.errors import IncompleteCampaign
from flows.refinement.links import children_of, topped_up_since
from flows.store.campaign import Campaign
from flows.store.derived import about, read_derived

EVIDENCE_AGAINST = ("mislabelled", "label_conflict", "look_alike", "redundant")
EVIDENCE_FOR = ("synergy", "representative")
HARM_RATE = 0.1  # false discovery rate of "the group lowers the mean output"


@dataclass(frozen=True)
class PictureDecisions:
    """A decision for every training picture.

    Attributes
    ----------
    rows : tuple of dict
        One a picture, by position: the columns of the decisions table of the campaign that decided, and `position`,
        `player_name`, `campaign` (its folder) and `group_decision` (what the group's own campaign decided).
    notes : tuple of str
        What a reader should know: children without decisions, parents topped up since, pictures decided otherwise
        than their group.
    """

    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()


def picture_decisions(campaign: Campaign) -> PictureDecisions:
    """Decide about every training picture from a campaign and the campaigns inside its groups, at any depth.

    Parameters
    ----------
    campaign : Campaign
        It has decisions.

    Returns
    -------
    PictureDecisions

    Raises
    ------
    IncompleteCampaign
        When the campaign itself has no decisions.

    Notes
    -----
    A picture of a closed group gets the group's decision. A picture of an opened group is decided by the child, with
    one exception: where the parent drops the group and the child has no evidence about the picture itself, the
    picture goes with its group. Evidence about the picture is a wrong or contradicting label, another picture that
    replaces it, a set that needs it, or an effect whose 95% interval lies above 0.

    One wrong label of thousands harms less than a campaign can show, so no single picture is called wrong there. Two
    kinds of evidence together put it up for review: models that did not see it contradict its label (false discovery
    rate `LABEL_RATE`), and its group lowers the mean output over all targets (`HARM_RATE`).
    """
    if about(campaign, "decisions") is None:
        raise IncompleteCampaign(f"{campaign.folder} has no decisions.json. Run `coterie curate {campaign.folder}`")
    names = campaign.meta.player_names
    decided = {row["player"]: row for row in read_derived(campaign, "decisions").to_pylist()}
    players = _players(campaign)
    found: dict[int, dict[str, Any]] = {
        position: {
            **decided[player],
            "position": position,
            "player_name": names[player] if names else str(player),
            "campaign": str(campaign.folder),
            "group_decision": decided[player]["decision"],
        }
        for position, player in players.items()
    }
    children, notes = children_of(campaign)
    for child in children:
        outdated = topped_up_since(campaign, child)
        if outdated:
            notes.append(outdated)
        if about(child, "decisions") is None:
            notes.append(
                f"The groups opened in {child.folder} are decided as wholes: it has no decisions yet. Run `coterie "
                f"curate {child.folder}`."
            )
            continue
        finer = picture_decisions(child)
        notes += [note for note in finer.notes if note not in notes]
        inside, harmful = _opened(campaign, child, players), harmful_groups(campaign)
        changed: Counter[str] = Counter()
        for row in finer.rows:
            position = row["position"]
            if position not in inside:
                continue
            before = found[position]
            found[position] = resolved = _with_label(_resolve(before, row), before, harmful)
            if resolved["decision"] != before["decision"]:
                changed[f"{before['decision']} to {resolved['decision']}"] += 1
        if changed:
            parts = ", ".join(f"{count} from {change}" for change, count in sorted(changed.items()))
            notes.append(
                f"{sum(changed.values())} of {len(inside)} pictures of the groups opened in {child.folder} are decided "
                f"otherwise than their group, by the finer evidence: {parts}."
            )
    return PictureDecisions(tuple(found[position] for position in sorted(found)), tuple(notes))


def _resolve(group: dict[str, Any], picture: dict[str, Any]) -> dict[str, Any]:
    """The decision about a picture from its group's and its own."""
    for_it = picture["rule"] in EVIDENCE_FOR or picture["effect_low"] > 0
    against_it = picture["decision"] == "drop" and picture["rule"] in EVIDENCE_AGAINST
    if group["decision"] == "drop" and not for_it and not against_it:
        reason = (
            f"Its group “{group['player_name']}” goes: {group['reason']} Inside it nothing speaks for this picture."
        )
        return {**picture, "decision": "drop", "rule": group["rule"], "reason": reason, "group_decision": "drop"}
    if group["decision"] == "drop" and for_it:
        reason = f"Its group “{group['player_name']}” goes, and this picture is worth keeping: {picture['reason']}"
        return {**picture, "decision": "keep", "reason": reason, "group_decision": "drop"}
    return {**picture, "group_decision": group["decision"]}


def harmful_groups(campaign: Campaign) -> dict[str, float]:
    """Return the groups whose presence lowers the mean output over all targets, by name, with their q-values."""
    if campaign.analysis is None:
        return {}
    table = campaign.read("effects", ["target", "player", "effect", "q_value"])
    of_all = table.filter(pc.equal(table["target"], MEAN_OF_ALL)).to_pylist()
    names = campaign.meta.player_names
    low = [row for row in of_all if row["effect"] < 0 and row["q_value"] <= HARM_RATE]
    return {names[row["player"]]: row["q_value"] for row in low}


def _with_label(row: dict[str, Any], group: dict[str, Any], harmful: dict[str, float]) -> dict[str, Any]:
    """Put a picture up for review whose label other models contradict, in a group that does harm."""
    contradicted = row["label_q"] is not None and row["label_q"] <= LABEL_RATE
    if row["decision"] != "keep" or not contradicted or group["player_name"] not in harmful:
        return row
    reason = (
        f"Models that did not see it contradict its label (q = {row['label_q']:.2g}), and its group "
        f"“{group['player_name']}” lowers the mean output (q = {harmful[group['player_name']]:.2g}). This does not "
        "show that its label is wrong. It is kept; look at it."
    )
    return {**row, "decision": "review", "rule": "label_in_doubt", "reason": reason}


def _players(campaign: Campaign) -> dict[int, int]:
    """Player of each training position."""
    table = campaign.read("examples", ["split", "position", "player"])
    columns = (table[name].to_pylist() for name in ("split", "position", "player"))
    return {position: player for split, position, player in zip(*columns, strict=True) if split == "train"}


def _opened(parent: Campaign, child: Campaign, of_parent: dict[int, int]) -> set[int]:
    """Positions of the groups that the child opened: those whose player has another name than in the parent."""
    of_child = _players(child)
    before, after = parent.meta.player_names, child.meta.player_names
    return {position for position, player in of_parent.items() if before[player] != after[of_child[position]]}
