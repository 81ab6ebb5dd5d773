"""Stage brittleness: the smallest removals that flip predictions, by the surrogate and confirmed by retraining."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from prefect import flow

from attribution.curation.brittleness import Removal, removal_order, removals_to_try, smallest_flip
from attribution.experiments.factorial import t_interval
from conf.schema import CampaignConfig
from flows.compute.session import session_of
from flows.decisions.surrogates import target_surrogate
from flows.experiments.budget import allowed_models
from flows.experiments.plans import Plan, draw_masks, freeze, plans
from flows.experiments.results import read_results
from flows.experiments.training import Batch, train_missing
from flows.games.base import Game
from flows.games.retraining import Retraining
from flows.games.table import UnknownGame, evaluator, full_identity, require_evaluation, require_retraining
from flows.runtime.logs import stage_logger
from flows.runtime.wording import plural
from flows.store.campaign import Campaign
from flows.store.derived import columns, plain, publish, search_key
from flows.store.faithfulness import TargetScores, read_faithfulness
from flows.store.schemas import BRITTLENESS

SEARCHES = ("main_effects", "interactions")


@dataclass(frozen=True)
class BrittlenessSummary:
    """Targets whose prediction both searches flipped beyond doubt, and how many removals they needed.

    Attributes
    ----------
    n_targets : int
        Targets that were searched.
    n_flipped : int
        Of these, targets that both searches flipped.
    n_open : int
        Of the flipped, targets with an open gate.
    ratio : float
        Removals by interactions over those by main effects, geometric mean over the n_open targets; NaN
        without one.
    """

    n_targets: int
    n_flipped: int
    n_open: int
    ratio: float


@flow(name="brittleness", flow_run_name="{config.name} brittleness", persist_result=False)
def brittleness(config: CampaignConfig) -> BrittlenessSummary:
    """Find, then confirm. First the full training set is trained; then, in a second frozen plan, every removal.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    BrittlenessSummary

    Raises
    ------
    CampaignMismatch
        If the folder belongs to another campaign.
    """
    log = stage_logger()
    campaign = Campaign(config.campaign.folder)
    faith = list(read_faithfulness(campaign).values())
    game, job = _games(config, campaign)
    settings = config.brittleness
    with campaign.lock(), session_of(config) as cluster:
        key = search_key(campaign, config.brittleness)
        rounds = [plan for plan in plans(campaign, "brittleness") if plan.key == key]
        if not rounds:
            blocks = [{"removed": [], "n_seeds": settings.n_seeds, "offset": 0}]
            rounds = [freeze(campaign, "brittleness", key, settings.n_seeds, {"round": 0, "blocks": blocks})]
        _train(config, campaign, cluster, rounds[0], job, log)
        full, _, _ = read_results(campaign, rounds[0], game.n_targets)
        if len(rounds) == 1:
            searched = _search(config, campaign, faith, np.nanmean(full, axis=0), log)
            if searched:
                rounds.append(_second_plan(campaign, key, searched, settings.n_seeds))
        rows: list[dict[str, Any]] = []
        if len(rounds) > 1:
            _train(config, campaign, cluster, rounds[1], job, log)
            outputs, _, _ = read_results(campaign, rounds[1], game.n_targets)
            rows = _rows(rounds[1], outputs)
        summary = _summary(rows)
        publish(campaign, "brittleness", columns(rows, BRITTLENESS), plain({"key": key, **vars(summary)}))
    for row in rows:
        log.info("%s", _sentence(row))
    log.info(
        "%s searched, %d flipped by both searches, %d of them with an open gate%s",
        plural(summary.n_targets, "target"), summary.n_flipped, summary.n_open,
        f"; on these, removals with interactions over without: {summary.ratio:.2f} (geometric mean)"
        if summary.n_open else "",
    )  # fmt: skip
    return summary


def _games(config: CampaignConfig, campaign: Campaign) -> tuple[Game, Game]:
    """The campaign's game, and the game whose margins are watched: of the largest logit for our own networks."""
    require_evaluation(config, "`coterie brittleness`", accepts_trainer=True)
    if config.game.kind in ("trainer", "recorded"):
        if not campaign.meta.get("margins", True):
            raise UnknownGame(
                "`coterie brittleness` turns predictions over, and these outputs do not say what is right. Where an "
                "output above 0 means right, plan a campaign with game.margins=true (a bank: import margins, and the "
                "targets with their classes)"
            )
        own = evaluator(config, campaign)
        return own, own
    game = require_retraining(config, "brittleness")
    campaign.check_identity(full_identity(config, game))
    recipe = {**config.recipe.model_dump(mode="json"), "output": "margin_max", "nominal_alpha": 1.0}
    return game, Retraining(game.dataset, recipe, config.compute.ensemble_size, config.compute.device)


def _search(
    config: CampaignConfig, campaign: Campaign, faith: list[TargetScores], margins: np.ndarray, log: Any
) -> list[dict[str, Any]]:
    """Targets that are right with everything present and that the surrogate says can be flipped, open gates first."""
    settings = config.brittleness
    individual = [row for row in faith if not row.is_mean and margins[row.target] > 0]
    individual.sort(key=lambda row: (not row.gate_open, row.gate_q, row.target))
    searched: list[dict[str, Any]] = []
    left, n_without_room = allowed_models(campaign, settings.max_models) - settings.n_seeds, 0
    for row in individual:
        if len(searched) == len(SEARCHES) * settings.n_targets:
            break
        target, margin = row.target, float(margins[row.target])
        surrogate = target_surrogate(campaign, target, config.attribution.fdr_level)
        found: dict[str, Removal] = {
            "main_effects": removal_order(surrogate.without_sets(), margin, settings.max_removals),
            "interactions": removal_order(surrogate, margin, settings.max_removals),
        }
        if all(removal.needed < 0 for removal in found.values()) or not all(r.order for r in found.values()):
            continue
        # Nothing lowers the margin any more after the last of the order, however many are allowed.
        tried = {
            search: removals_to_try(removal.needed, len(removal.order), len(removal.order))
            for search, removal in found.items()
        }
        cost = settings.n_seeds * sum(len(sizes) for sizes in tried.values())
        if cost > left:
            n_without_room += 1
            if n_without_room == settings.n_targets:
                break
            continue
        left -= cost
        for search, removal in found.items():
            searched.append(
                {
                    "target": target, "search": search,
                    "gate_open": row.gate_open, "margin_full": margin,
                    "predicted_removals": removal.needed, "order": list(removal.order),
                    "predicted": removal.predicted.tolist(),
                    "tried": tried[search],
                }
            )  # fmt: skip
    n_found, most = len(searched) // len(SEARCHES), settings.max_removals
    log.info(
        "the surrogate predicts that %s can be flipped by at most %s", plural(n_found, "target"),
        plural(most, "removal"),
    )  # fmt: skip
    if n_without_room and n_found < settings.n_targets:
        wanted = settings.n_targets * len(SEARCHES) * 10 * settings.n_seeds + settings.n_seeds
        log.info(
            "the budget has room for %d of the %d targets asked for (brittleness.max_models; the campaign's own "
            "number by default); brittleness.max_models=%d has room for all", n_found, settings.n_targets, wanted,
        )  # fmt: skip
    return searched


def _second_plan(campaign: Campaign, key: str, searched: list[dict[str, Any]], n_seeds: int) -> Plan:
    blocks, at = [], 0
    for number, found in enumerate(searched):
        for size in found["tried"]:
            blocks.append({"search": number, "removed": found["order"][:size], "n_seeds": n_seeds, "offset": at})
            at += n_seeds
    return freeze(campaign, "brittleness", key, at, plain({"round": 1, "blocks": blocks, "searched": searched}))


def masks_of(plan: Plan, n_players: int, mask_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Build masks and seed groups of a plan's rows: every removal is trained from the same seeds.

    Parameters
    ----------
    plan : Plan
    n_players : int
    mask_ids : (rows,) int64
        Ids of the plan's masks.

    Returns
    -------
    masks : (rows, n_players) bool
        False for removed players.
    groups : (rows,) int64
        Seed group of each row.
    """
    masks, groups = np.ones((len(mask_ids), n_players), dtype=bool), np.zeros(len(mask_ids), np.int64)
    for block in plan.content["blocks"]:
        rows = slice(block["offset"], block["offset"] + block["n_seeds"])
        masks[rows, block["removed"]] = False
        groups[rows] = mask_ids[0] + np.arange(block["n_seeds"])
    return masks, groups


def _train(config: CampaignConfig, campaign: Campaign, cluster: Any, plan: Plan, job: Game, log: Any) -> None:
    draw_masks(campaign, plan, partial(masks_of, plan, campaign.n_players))
    train_missing(config, campaign, cluster, [Batch((plan.rows,), job, to_outputs=False)], log)


def _rows(plan: Plan, outputs: np.ndarray) -> list[dict[str, Any]]:
    rows = []
    for number, found in enumerate(plan.content["searched"]):
        blocks = [block for block in plan.content["blocks"] if block["search"] == number]
        target = found["target"]
        parts = [outputs[b["offset"] : b["offset"] + b["n_seeds"], target] for b in blocks]
        margins = np.array([float(np.nanmean(part)) for part in parts])
        intervals = [t_interval(part) for part in parts]
        # A flip counts where the whole interval lies below 0, there and at every larger removal.
        highs = np.array([one.high if math.isfinite(one.high) else math.inf for one in intervals])
        confirmed = smallest_flip(found["tried"], highs)
        at = found["tried"].index(confirmed) if confirmed > 0 else len(parts) - 1
        interval = intervals[at]
        size = found["tried"][at]
        rows.append(
            {
                "target": target,
                "search": found["search"],
                "gate_open": found["gate_open"],
                "margin_full": found["margin_full"],
                "predicted_removals": found["predicted_removals"],
                "confirmed_removals": confirmed,
                "removed": found["order"][:size],
                "predicted_margin": found["predicted"][size - 1],
                "margin_after": interval.mean,
                "margin_after_low": interval.low,
                "margin_after_high": interval.high,
                "tried": found["tried"],
                "margins": margins.tolist(),
                "n_seeds": interval.n,
            }
        )
    return rows


def _summary(rows: list[dict[str, Any]]) -> BrittlenessSummary:
    """Count the targets that both searches flipped; the ratio is taken over those with an open gate."""
    needed: dict[int, dict[str, int]] = {}
    for row in rows:
        if row["confirmed_removals"] > 0:
            needed.setdefault(row["target"], {})[row["search"]] = row["confirmed_removals"]
    both = {target: found for target, found in needed.items() if len(found) == len(SEARCHES)}
    open_gate = {row["target"] for row in rows if row["gate_open"]}
    logs = [
        math.log(found["interactions"] / found["main_effects"]) for target, found in both.items() if target in open_gate
    ]
    ratio = math.exp(float(np.mean(logs))) if logs else math.nan
    return BrittlenessSummary(len({row["target"] for row in rows}), len(both), len(logs), ratio)


def _sentence(row: dict[str, Any]) -> str:
    search = row["search"].replace("_", " ")
    if row["confirmed_removals"] < 0:
        return (
            f"target {row['target']} by {search}: not shown to be flipped by "
            f"{plural(max(row['tried']), 'removal')} (margin "
            f"{row['margin_full']:+.2f} to {row['margin_after']:+.2f} [{row['margin_after_low']:+.2f}, "
            f"{row['margin_after_high']:+.2f}])"
        )
    return (
        f"target {row['target']} by {search}: {plural(row['confirmed_removals'], 'removal')} "
        f"{'flips' if row['confirmed_removals'] == 1 else 'flip'} it, "
        f"{row['predicted_removals']} "
        f"predicted (margin {row['margin_full']:+.2f} to {row['margin_after']:+.2f} "
        f"[{row['margin_after_low']:+.2f}, {row['margin_after_high']:+.2f}])"
    )
