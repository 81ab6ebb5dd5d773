"""Stage certify: put the strongest interactions (or a named set) to the test by factorial retraining."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from prefect import flow

from attribution.experiments.factorial import factorial_masks, n_cells
from attribution.experiments.power import (
    BasesPlan,
    adjusted_level,
    bases_for_power,
    expected_sd,
    more_bases,
    plan_bases,
)
from attribution.experiments.sets_to_try import Candidate, planned_effect
from conf.schema import CampaignConfig
from flows.compute.session import session_of
from flows.experiments.budget import allowed_models
from flows.experiments.certify_results import candidate_of, log_verdicts, measure_sets, publish_certification
from flows.experiments.certify_sets import BadRequest, choose_sets, nothing_eligible
from flows.experiments.plans import Plan, draw_masks, freeze, plans
from flows.experiments.training import Batch, train_missing
from flows.games.base import Game
from flows.games.table import evaluator, require_evaluation
from flows.runtime.logs import stage_logger
from flows.runtime.wording import plural
from flows.store.campaign import Campaign, digest
from flows.store.derived import plain
from flows.store.faithfulness import read_faithfulness
from training import sample_masks

BASES_WITHOUT_PREDICTION = 32
__all__ = [
    "BadRequest", "CertifySummary", "certify", "choose_sets", "experiment_key", "first_round", "masks_of",
    "sets_within_budget",
]  # fmt: skip


@dataclass(frozen=True)
class CertifySummary:
    """What the experiment found: sets by verdict, reported (or named) ones and random ones apart.

    Attributes
    ----------
    n_tried : int
        Sets that are not random.
    n_certified : int
        Of these, certified sets.
    n_random : int
        Random sets.
    n_random_certified : int
        Of these, certified sets.
    n_models : int
        Models of all sets of the experiment.
    """

    n_tried: int
    n_certified: int
    n_random: int
    n_random_certified: int
    n_models: int


@flow(name="certify", flow_run_name="{config.name} certify", persist_result=False)
def certify(config: CampaignConfig) -> CertifySummary:
    """Run the experiment a configuration asks for; what exists of it is not trained again.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    CertifySummary
        All counts are 0 without a set to try.

    Raises
    ------
    CampaignMismatch
        If the folder belongs to another campaign.
    """
    log = stage_logger()
    campaign = Campaign(config.campaign.folder)
    require_evaluation(config, "`coterie certify`", accepts_trainer=True)
    game = evaluator(config, campaign)
    candidates, notes = sets_within_budget(config, campaign)
    for note in notes:
        log.info("%s", note)
    if not candidates:
        log.info("%s: nothing to certify", nothing_eligible(config))
        publish_certification(campaign, log)
        return CertifySummary(0, 0, 0, 0, 0)
    key = experiment_key(config, candidates)
    with campaign.lock(), session_of(config) as cluster:
        rounds = [plan for plan in plans(campaign, "certify") if plan.key == key]
        if not rounds:
            rounds = [_first_round(config, campaign, key, candidates, log)]
        _train(config, campaign, cluster, rounds[:1], game, log)
        if len(rounds) == 1:
            rounds += _second_round(config, campaign, rounds[0], log)
        if len(rounds) > 1:
            _train(config, campaign, cluster, rounds[1:], game, log)
        rows = publish_certification(campaign, log)
    own = [row for row in rows if row["experiment"] == key]
    log_verdicts(own, log)
    tried = [row["verdict"] for row in own if row["origin"] != "random"]
    random = [row["verdict"] for row in own if row["origin"] == "random"]
    return CertifySummary(
        len(tried), tried.count("certified"), len(random), random.count("certified"), sum(r["n_models"] for r in own)
    )


# --- plans -----------------------------------------------------------------------------------------------------


def experiment_key(config: CampaignConfig, candidates: Sequence[Candidate]) -> str:
    """Name an experiment by what is tried and how.

    The predictions, which the first plan freezes, and the words that chose the sets are not part of the name.

    Parameters
    ----------
    config : CampaignConfig
    candidates : sequence of Candidate

    Returns
    -------
    str
        The first 16 characters of the digest.
    """
    settings = config.certify.model_dump(mode="json", exclude={"members", "target", "kinds", "orders"})
    tried = [[item.origin, list(item.members), item.target] for item in candidates]
    return digest({"settings": settings, "sets": tried})[:16]


def first_round(
    config: CampaignConfig, campaign: Campaign, candidates: Sequence[Candidate]
) -> tuple[BasesPlan, float]:
    """Plan the base masks that power asks for, and the level of each interval. Trains and writes nothing.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign
    candidates : sequence of Candidate

    Returns
    -------
    plan : BasesPlan
        Base masks of each candidate.
    level : float
        Level of each interval.

    Raises
    ------
    BadRequest
        If certify.n_bases asks for more models than the budget allows.
    """
    settings = config.certify
    most = allowed_models(campaign, settings.max_models)
    wanted, level = _wanted_bases(config, campaign, candidates)
    if settings.n_bases is not None:
        needed = sum(settings.n_bases * n_cells(candidate.order) for candidate in candidates)
        if needed > most:
            raise BadRequest(
                f"certify.n_bases = {settings.n_bases} base masks of {plural(len(candidates), 'set')} are {needed} "
                f"models; "
                f"certify.max_models is {most}{_by_default(settings.max_models)}. Raise it, or lower certify.n_bases"
            )
    smallest = settings.n_bases or min(settings.min_bases, settings.max_bases)
    found = plan_bases(
        candidates, wanted, smallest=smallest, largest=settings.n_bases or settings.max_bases, max_models=most,
    )  # fmt: skip
    return found, level


def _by_default(configured: int | None) -> str:
    return "" if configured is not None else " (the campaign's own number of models)"


def sets_within_budget(config: CampaignConfig, campaign: Campaign) -> tuple[list[Candidate], list[str]]:
    """Choose the sets to try, and report what a larger budget would buy.

    Where certify.max_models is empty, as many of the strongest sets are tried as get the base masks that power asks for
    within the campaign's own number of models, with a matched random set beside every second one.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign

    Returns
    -------
    candidates : list of Candidate
        Random sets last.
    notes : list of str
        Empty where all sets are tried.
    """
    settings = config.certify
    candidates = choose_sets(config, campaign)
    own = [candidate for candidate in candidates if candidate.origin != "random"]
    if settings.max_models is not None or settings.n_bases is not None or len(own) < 2:
        return candidates, []
    most, random = allowed_models(campaign, None), candidates[len(own) :]
    whole = _planned_models(config, campaign, candidates)
    shares = [(count, min(len(random), (count + 1) // 2)) for count in range(len(own) - 1, 0, -1)]
    for count, n_random in [(len(own), len(random)), *shares, (1, 0)]:
        chosen = [*own[:count], *random[:n_random]]
        if _planned_models(config, campaign, chosen) <= most:
            break
    if count == len(own):
        return candidates, []
    return chosen, [
        f"{count} of {plural(len(own), 'set')} {'is' if count == 1 else 'are'} tried within "
        f"{plural(most, 'model')}, the campaign's own number; "
        f"certify.max_models={whole} tries all of them"
    ]


def _planned_models(config: CampaignConfig, campaign: Campaign, candidates: Sequence[Candidate]) -> int:
    """Models that power asks for, without regard to a budget."""
    settings = config.certify
    wanted, _ = _wanted_bases(config, campaign, candidates)
    smallest = min(settings.min_bases, settings.max_bases)
    asked = np.clip(wanted, smallest, settings.max_bases)
    return int(sum(bases * n_cells(candidate.order) for bases, candidate in zip(asked, candidates, strict=True)))


def _wanted_bases(
    config: CampaignConfig, campaign: Campaign, candidates: Sequence[Candidate]
) -> tuple[list[int], float]:
    """Base masks of every set as power asks for them, and the level of each interval."""
    settings = config.certify
    n_family = sum(candidate.origin != "random" for candidate in candidates)
    level = adjusted_level(settings.level, n_family)
    faith = read_faithfulness(campaign)
    wanted = []
    for candidate in candidates:
        row, effect = faith.get(candidate.target), planned_effect(candidate)
        if settings.n_bases is not None:
            wanted.append(settings.n_bases)
        elif row is None or not math.isfinite(effect) or effect == 0:
            wanted.append(BASES_WITHOUT_PREDICTION)
        else:
            sd = expected_sd(row.output_sd, row.r2("datamodel").value, candidate.order)
            wanted.append(bases_for_power(effect, sd, level, settings.power))
    return wanted, level


def _first_round(
    config: CampaignConfig, campaign: Campaign, key: str, candidates: list[Candidate], log: Any
) -> Plan:
    found, level = first_round(config, campaign, candidates)
    log.info(
        "%s (%d of them random), %s base masks each, %s; each interval at level %.2g",
        plural(len(candidates), "set"), sum(candidate.origin == "random" for candidate in candidates),
        " to ".join(map(str, sorted({min(found.n_bases), max(found.n_bases)}))), plural(found.n_models, "model"), level,
    )  # fmt: skip
    return _freeze(config, campaign, key, candidates, list(range(len(candidates))), found.n_bases, 0, level)


def _freeze(
    config: CampaignConfig, campaign: Campaign, key: str, candidates: Sequence[Candidate], places: Sequence[int],
    n_bases: Sequence[int], round_: int, level: float,
) -> Plan:  # fmt: skip
    blocks, at = [], 0
    for place, bases in zip(places, n_bases, strict=True):
        candidate = candidates[place]
        blocks.append({"place": place, "offset": at, "n_bases": bases, **asdict(candidate)})
        at += bases * n_cells(candidate.order)
    content = {"round": round_, "level": level, "settings": config.certify.model_dump(mode="json"), "sets": blocks}
    return freeze(campaign, "certify", key, at, plain(content))


def _second_round(config: CampaignConfig, campaign: Campaign, first: Plan, log: Any) -> list[Plan]:
    """Freeze a round of more base masks, for sets whose interval is wider than planned; only widths are compared.

    The round is frozen even when no set needs more, so that the choice is made once. None with a fixed number.
    """
    settings = config.certify
    if settings.n_bases is not None:
        return []
    level = float(first.content["level"])
    measured = measure_sets(campaign, [first])
    budget = allowed_models(campaign, settings.max_models) - len(first.rows)
    places, extra, candidates = [], [], []
    for block in first.content["sets"]:
        candidate = candidate_of(block)
        candidates.append(candidate)
        found = measured[block["place"]]
        aimed = replace(candidate, predicted=planned_effect(candidate))
        asked = more_bases(aimed, found.adjusted, level, settings.power, largest=settings.max_bases)
        given = min(asked, budget // n_cells(candidate.order))
        if given >= 1:
            budget -= given * n_cells(candidate.order)
            places.append(block["place"])
            extra.append(given)
    if places:
        log.info(
            "%s with intervals wider than planned: %s more", plural(len(places), "set"), plural(sum(extra), "base mask")
        )
    return [_freeze(config, campaign, first.key, candidates, places, extra, 1, level)]


def masks_of(
    plan: Plan, n_players: int, alpha: float, seed: int, mask_ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Build masks and seed groups of a plan's rows. All cells of a base share the seed group, the id of its first cell.

    Parameters
    ----------
    plan : Plan
    n_players : int
    alpha : float
        Share of the players in a base mask.
    seed : int
        The campaign's seed.
    mask_ids : (rows,) int64
        Ids of the plan's masks.

    Returns
    -------
    masks : (rows, n_players) bool
    groups : (rows,) int64
        Seed group of each row.
    """
    masks, groups = [], []
    for block in plan.content["sets"]:
        cells = n_cells(len(block["members"]))
        bases = mask_ids[block["offset"]] + cells * np.arange(block["n_bases"], dtype=np.int64)
        drawn = sample_masks(n_players, alpha=alpha, seed=seed, ids=bases)
        masks.append(factorial_masks(drawn, block["members"]))
        groups.append(np.repeat(bases, cells))
    return np.concatenate(masks), np.concatenate(groups)


def _train(
    config: CampaignConfig, campaign: Campaign, cluster: Any, rounds: Sequence[Plan], game: Game, log: Any
) -> None:
    for plan in rounds:
        draw_masks(
            campaign, plan, partial(masks_of, plan, campaign.n_players, config.sampler.alpha, config.campaign.seed)
        )
    train_missing(config, campaign, cluster, [Batch((plan.rows,), game) for plan in rounds], log)
