"""Every player as the report shows it: picture, decision, reason and the numbers behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from flows.errors import IncompleteCampaign
from flows.reporting.images import Gallery, Picture
from flows.store.campaign import Campaign
from flows.store.derived import read_derived

# A decision's rule in the words of somebody who looks at pictures; an unknown rule keeps its own name.
RULES = {
    "harmful": "makes models worse",
    "label_conflict": "same picture, other label",
    "label_in_doubt": "label in doubt",
    "redundant": "another picture does its work",
    "look_alike": "near-duplicate of one that stays",
    "near_duplicate": "near-duplicate of one that stays",
    "budget": "adds least at this size",
    "synergy": "works together with others",
    "representative": "does the work of pictures that go",
    "worth": "nothing speaks against it",
}
RANK = {"drop": 0, "review": 1, "keep": 2, "": 3}


class Estimate(NamedTuple):
    """A value with its 95% interval; NaN where unknown."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class PlayerView:
    """A player with its decision; `decision` is empty where nothing was decided.

    Parameters
    ----------
    effect
        Of its presence: on the mean probability of the correct class where decisions exist, else on the mean output.
    own_class
        The same over targets of its own class.
    harm_q
        False discovery rate of "it lowers the outputs of its own class"; NaN where unknown.
    stands_in
        The kept player that replaces it; -1.
    """

    player: int
    picture: Picture
    decision: str = ""
    rule: str = ""
    reason: str = ""
    effect: Estimate = Estimate()
    own_class: Estimate = Estimate()
    harm_q: float = math.nan
    stands_in: int = -1

    @property
    def rule_name(self) -> str:
        """The rule in words."""
        return RULES.get(self.rule, self.rule.replace("_", " "))


def read_players(campaign: Campaign, gallery: Gallery) -> list[PlayerView]:
    """Return every player in the order of the training set. Raises StoreError for a table that cannot be read."""
    try:
        rows = {row["player"]: row for row in read_derived(campaign, "decisions").to_pylist()}
    except IncompleteCampaign:
        rows = {}
    if rows:
        return [_decided(player, rows.get(player, {}), gallery) for player in range(campaign.n_players)]
    effects = mean_effects(campaign)
    return [
        PlayerView(player, gallery.player(player, drawn=False), effect=Estimate(float(effects[player])))
        for player in range(campaign.n_players)
    ]


def mean_effects(campaign: Campaign) -> np.ndarray:
    """(n_players,) main effect of each player, averaged over the individual targets explained; NaN without any."""
    table = campaign.read("effects", ["target", "player", "effect"])
    target, player, effect = (table[name].to_numpy() for name in ("target", "player", "effect"))
    usable = (target >= 0) & np.isfinite(effect)
    if not usable.any():
        return np.full(campaign.n_players, np.nan)
    n_targets = len(np.unique(target[usable]))
    return np.asarray(np.bincount(player[usable], effect[usable], campaign.n_players) / n_targets)


def _decided(player: int, row: dict[str, Any], gallery: Gallery) -> PlayerView:
    def estimate(value: str, bounds: str) -> Estimate:
        return Estimate(*(_number(row.get(name)) for name in (value, f"{bounds}_low", f"{bounds}_high")))

    return PlayerView(
        player=player,
        picture=gallery.player(player, drawn=False),
        decision=str(row.get("decision") or ""),
        rule=str(row.get("rule") or ""),
        reason=str(row.get("reason") or ""),
        effect=estimate("effect", "effect"),
        own_class=estimate("own_class_effect", "own_class"),
        harm_q=_number(row.get("harm_q")),
        stands_in=-1 if row.get("stands_in") is None else int(row["stands_in"]),
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
