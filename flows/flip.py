"""Stage flip: the smallest sets of players whose removal turns a prediction over, with and without interactions, tried.

Every rule's order is evaluated from all players down and from none up (deletion and insertion curves).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from prefect import flow

from ablation import PatchGame
from attribution import Datamodel
from conf.schema import CampaignConfig
from flows.decisions.surrogates import target_surrogate
from flows.games.base import Game
from flows.games.lenses import Lens
from flows.games.table import UnknownGame, full_identity, make_game, require_kind
from flows.lenses.removals import Margins, Order, Tried, by_scores, by_surrogate, try_orders
from flows.reporting.lens_decisions import flip_sentences
from flows.runtime.logs import stage_logger
from flows.store.campaign import Campaign
from flows.store.derived import about, columns, plain, publish, read_derived, search_key
from flows.store.schemas import FLIPS


@dataclass(frozen=True)
class FlipSummary:
    """What was tried.

    Attributes
    ----------
    n_targets : int
        Targets that are right with all players.
    n_flipped : int
        Of these, those that a removal in the order of interactions turned over.
    """

    n_targets: int
    n_flipped: int


@flow(name="flip", flow_run_name="{config.name} flip", persist_result=False)
def flip(config: CampaignConfig) -> FlipSummary:
    """Order every target's players by each rule, and try the orders on the game.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    FlipSummary

    Raises
    ------
    UnknownGame
        For a game that trains, and for outputs that do not say what is right.
    CampaignMismatch
        If the folder belongs to another campaign.
    """
    log = stage_logger()
    campaign = Campaign(config.campaign.folder)
    game, key = flippable(config, campaign), search_key(campaign, config.flip)
    current = about(campaign, "flips")
    if current is not None and current["key"] == key:
        log.info("the flips are up to date")
        return FlipSummary(current["n_targets"], current["n_flipped"])
    with campaign.lock():
        tried = _tried(config, campaign, game)
        first = [one for one in tried if one.order.by == "interactions"]
        summary = FlipSummary(len(first), sum(one.flipped for one in first))
        publish(campaign, "flips", columns([_row(one) for one in tried], FLIPS), plain({"key": key, **vars(summary)}))
    for sentence in flip_sentences(read_derived(campaign, "flips").to_pylist()):
        log.info("%s", sentence)
    return summary


def flippable(config: CampaignConfig, campaign: Campaign) -> Game:
    """Return the campaign's game, or say why its predictions cannot be turned over.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign

    Returns
    -------
    Game

    Raises
    ------
    UnknownGame, CampaignMismatch
        As `flip`.
    """
    require_kind(config, "flip")
    logit = config.game.kind != "value" and config.game.margin == "logit"
    if logit or not campaign.meta.get("margins", True):
        remedy = "game.margin=margin_max" if logit else "game.margins=true, where an output above 0 means right"
        raise UnknownGame(
            f"`coterie flip` turns predictions over, and these outputs do not say what is right. Plan a campaign with "
            f"{remedy}"
        )
    game = make_game(config)
    campaign.check_identity(full_identity(config, game))
    return game


def margins_of(game: Game) -> Margins:
    """Return a function that evaluates (mask, target) pairs of a game."""
    if isinstance(game, Lens) and isinstance(game.game, PatchGame):
        return game.game.evaluate_each

    def evaluate(masks: np.ndarray, targets: np.ndarray) -> np.ndarray:
        distinct, where = np.unique(masks, axis=0, return_inverse=True)
        found = game.evaluate(distinct, [0] * len(distinct))
        bad = [number for number, state in enumerate(found.status) if state != "ok"]
        if bad:
            reason = (found.reasons or found.status)[bad[0]]
            raise UnknownGame(f"{len(bad)} masks of the removals have no outputs: {reason}")
        margins: np.ndarray = found.outputs[where.reshape(-1), targets]
        return margins

    return evaluate


def _tried(config: CampaignConfig, campaign: Campaign, game: Game) -> list[Tried]:
    import torch

    torch.set_num_threads(1)
    settings, n_players = config.flip, campaign.n_players
    margins = margins_of(game)
    explained = sorted(t for t in campaign.read("effects", ["target"])["target"].unique().to_pylist() if t >= 0)
    right = margins(np.ones((len(explained), n_players), bool), np.array(explained)) > 0
    targets = [target for target, good in zip(explained, right, strict=True) if good][: settings.n_targets]
    if not targets:
        return []
    pairs = campaign.training_pairs("fit", targets=targets, one_alpha=True)
    linear = np.atleast_2d(Datamodel(alpha=campaign.meta.alpha).fit(pairs.masks, pairs.outputs).coef_)
    alone = np.tile(~np.eye(n_players, dtype=bool), (len(targets), 1))
    without = margins(alone, np.repeat(targets, n_players)).reshape(len(targets), n_players)
    rng = np.random.default_rng(settings.seed)
    patches = game.game if isinstance(game, Lens) and isinstance(game.game, PatchGame) else None
    orders: list[Order] = []
    for place, target in enumerate(targets):
        surrogate = target_surrogate(campaign, target, config.attribution.fdr_level)
        orders.append(by_surrogate(target, "interactions", surrogate))
        orders.append(by_scores(target, "main_effects", surrogate.main))
        orders.append(by_scores(target, "linear", linear[place]))
        orders.append(by_scores(target, "occlusion", -without[place]))
        if patches is not None and settings.gradient_steps:
            scores = patches.integrated_gradients(target, settings.gradient_steps)
            orders.append(by_scores(target, "gradients", scores))
        orders.append(by_scores(target, "random", rng.random(n_players)))
    return try_orders(orders, margins, n_players)


def _row(tried: Tried) -> dict[str, Any]:
    return {
        "target": tried.order.target,
        "order_by": tried.order.by,
        "margin_full": float(tried.deletion[0]),
        "flipped": tried.flipped,
        "removed": list(tried.removed),
        "margin_after": tried.margin_after,
        "n_tried": tried.n_tried,
        "order": list(tried.order.removal),
        "deletion": tried.deletion.tolist(),
        "insertion": tried.insertion.tolist(),
    }
