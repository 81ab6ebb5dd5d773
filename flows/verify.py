"""Stage verify: retrain on what was decided, against other ways of deciding at the same size, on the audit examples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from prefect import flow

from attribution.curation.baselines import balanced_random
from attribution.curation.budget import choose, least_of_each_class, meet_budget
from attribution.curation.evidence import Evidence
from attribution.curation.feature_similarity import without_near_duplicates
from attribution.curation.redundancy import bundles_of, protected_sets
from attribution.curation.rules import harmful_q_values
from attribution.experiments.comparison import differing_share, smallest_difference
from attribution.randomness import Purpose, random_stream
from conf.schema import CampaignConfig
from flows.compute.session import session_of
from flows.decisions.evidence import curate_campaign, curation_key
from flows.decisions.features import player_features
from flows.errors import IncompleteCampaign
from flows.experiments.budget import VerifyPlan, plan_verification
from flows.experiments.plans import Plan, draw_masks, freeze, plans
from flows.experiments.training import train_missing
from flows.experiments.verify_games import batches_of, recipe_of_arm
from flows.experiments.verify_results import ARMS_COMPARED, publish_verification, report_comparison
from flows.experiments.verify_sentences import earlier_verdicts
from flows.games.retraining import Retraining
from flows.games.table import evaluator, full_identity, require_evaluation, require_retraining
from flows.runtime.logs import stage_logger
from flows.runtime.wording import plural
from flows.store.campaign import Campaign
from flows.store.derived import about, comparison_key, history, plain, read_derived
from flows.store.learnability import require_learnt
from training import Dataset

ARMS = ("curated", *ARMS_COMPARED)  # and "full", at its own size
FEW_SEEDS = 20


@dataclass(frozen=True)
class VerifySummary:
    """The declared size's headline: curated against class-balanced random, in accuracy on the audit examples.

    Attributes
    ----------
    n_keep : int
        Players kept at the declared size.
    difference : float
        Accuracy of curated less that of random.
    low : float
        Lower end of the interval over seeds and audit examples together.
    high : float
        Upper end of that interval.
    verdict : str
    """

    n_keep: int
    difference: float
    low: float
    high: float
    verdict: str


@flow(name="verify", flow_run_name="{config.name} verify", persist_result=False)
def verify(config: CampaignConfig) -> VerifySummary:
    """Compare the current decisions with other choices of the same size by retraining.

    The plan is frozen before anything is trained.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    VerifySummary

    Raises
    ------
    IncompleteCampaign
        Without decisions or audit examples, or where the decisions drop none or all of the players.
    NothingLearnt
        For models at chance.
    CampaignMismatch
        If the folder belongs to another campaign.
    """
    log = stage_logger()
    campaign = Campaign(config.campaign.folder)
    decided = current_decisions(config, campaign)
    require_evaluation(config, "`coterie verify`", accepts_trainer=True)
    own = config.game.kind in ("trainer", "recorded")
    game = evaluator(config, campaign) if own else require_retraining(config, "verify")
    dataset = game.dataset if isinstance(game, Retraining) else None
    if not own:
        campaign.check_identity(full_identity(config, game))
    if not game.n_audit:
        raise IncompleteCampaign("this campaign holds no audit examples back (dataset.n_audit), so none can be used")
    if config.verify.n_seeds < FEW_SEEDS:
        log.warning("verify.n_seeds is %d: an interval from fewer than 20 trainings is wide", config.verify.n_seeds)
    log.info("%s", require_learnt(campaign, config.curate.allow_unlearnable))
    if campaign.meta.get("margins", True):
        log.info("%s", resolution_sentence(config, campaign))
    key = verification_key(config, decided["key"])
    with campaign.lock(), session_of(config) as cluster:
        plan = next((plan for plan in plans(campaign, "verify") if plan.key == key), None)
        if plan is None:
            plan = _plan(config, campaign, dataset, key, log)
        draw_masks(campaign, plan, partial(masks_of, plan, campaign.n_players, _classes(plan)))
        train_missing(config, campaign, cluster, batches_of(config, plan, game), log)
        found = publish_verification(campaign, plan)
    report_comparison(found, log)
    earlier = earlier_verdicts([entry["headline"] for entry in history(campaign, "comparisons")])
    if earlier:
        log.info("%s", earlier)
    headline = found["headline"]
    return VerifySummary(*(headline[name] for name in ("n_keep", "difference", "low", "high", "verdict")))


# --- the plan ------------------------------------------------------------------------------------------------


def _plan(config: CampaignConfig, campaign: Campaign, dataset: Dataset | None, key: str, log: Any) -> Plan:
    """Freeze everything that is trained: arms, sizes, seeds, and who is removed in each."""
    evidence, found = curate_campaign(config, campaign, dataset)
    decisions = read_derived(campaign, "decisions")
    keep = np.array([value != "drop" for value in decisions["decision"].to_pylist()])
    n, n_declared = campaign.n_players, int(keep.sum())
    if not 0 < n_declared < n:
        raise IncompleteCampaign(
            f"the decisions drop {n - n_declared} of {n} players: there is nothing to compare. Set a budget "
            f"(curate.keep_share) and run `coterie curate {campaign.folder}` again"
        )
    budgeted = what_to_train(config, campaign, n_declared)
    for note in budgeted.left_out:
        log.info("%s", note)
    least = found.solution is not None
    features = None if dataset is None else player_features(config, campaign, dataset)
    blocks: list[dict[str, Any]] = []
    predicted: dict[str, dict[str, float]] = {}
    for size in [n_declared, *budgeted.sizes]:
        declared = size == n_declared
        chosen = _deterministic_arms(config, evidence, features, size, keep if declared else None, least)
        predicted[str(size)] = {arm: float(evidence.objective.predict(kept[None])[0]) for arm, kept in chosen.items()}
        for architecture in budgeted.architectures if declared else budgeted.architectures[:1]:
            for arm in arms(config):
                kept = chosen.get(arm)
                removed = None if kept is None else np.flatnonzero(~kept).tolist()
                seeds = budgeted.n_seeds if declared else config.verify.curve_seeds
                blocks.append(_block(arm, size, n, architecture, declared, seeds, removed))
    blocks += [_block("full", n, n, name, True, budgeted.n_seeds, []) for name in budgeted.architectures]
    at = 0
    for block in blocks:
        block["offset"] = at
        at += block["n_seeds"]
    others = "no removal curve"
    if budgeted.sizes:
        others = f"{plural(len(budgeted.sizes), 'other size')} of the removal curve"
    log.info(
        "%s: %s kept (declared), %s, arms %s, %s", plural(at, "model"), plural(n_declared, "player"), others,
        ", ".join(arms(config)), plural(len(budgeted.architectures), "network"),
    )  # fmt: skip
    content = {
        "blocks": blocks,
        "n_declared": n_declared,
        "classes": evidence.player_classes.tolist(),
        "settings": config.verify.model_dump(mode="json"),
        "recipes": {} if dataset is None else {n: recipe_of_arm(config, dataset, n) for n in budgeted.architectures},
        "measure": "accuracy" if campaign.meta.get("margins", True) else "output",
        "surrogate": predicted,
        "alpha": evidence.surrogate.alpha,
        "seed": config.campaign.seed,
    }
    return freeze(campaign, "verify", key, at, plain(content))


def what_to_train(config: CampaignConfig, campaign: Campaign, n_declared: int) -> VerifyPlan:
    """Everything the configuration asks for, within its budget of models."""
    sizes = curve_sizes(config, campaign.n_players, n_declared)
    return plan_verification(config, campaign, sizes, architectures(config), n_declared, len(arms(config)))


def resolution_sentence(config: CampaignConfig, campaign: Campaign) -> str:
    """Estimate the smallest difference this audit set can show, from the campaign's models; nothing is trained.

    The campaign's models are compared on its targets: a target counts as right where its output is above 0 (with more
    than two classes and `margin_lse`: where its class has more than half of the probability).

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign

    Returns
    -------
    str
        A sentence; differences are in percentage points of accuracy.
    """
    n_audit, n_arms = campaign.meta.n_audit, len(arms(config))  # three other arms and the full set
    pairs = campaign.training_pairs("fit")
    correct, again = (pairs.outputs > 0).astype(np.float64), None
    if any(rows.role == "holdout" and rows.replicate == 1 for rows in campaign.trained()):
        first, second = (campaign.training_pairs("holdout", replicate) for replicate in (0, 1))
        both = np.intersect1d(first.mask_ids, second.mask_ids)
        correct, again = (
            (part.outputs[np.isin(part.mask_ids, both)] > 0).astype(np.float64) for part in (first, second)
        )
    differing = differing_share(correct, again, config.verify.n_seeds)
    smallest = smallest_difference(differing, n_audit, config.verify.level / n_arms)
    return (
        f"with {plural(n_audit, 'audit example')} a difference below about {100 * smallest:.1f} points cannot be shown "
        f"({n_arms} comparisons at once; by the campaign's models, two sets' accuracies on one example differ by "
        f"{100 * differing**0.5:.0f} points, root mean square over its targets)"
    )


def curve_sizes(config: CampaignConfig, n_players: int, n_declared: int) -> list[int]:
    """The removal curve's sizes, in players kept, without the declared one."""
    settings = config.verify
    curve = {max(2, round(share * n_players)) for share in settings.curve} if settings.curve_seeds else set()
    return sorted(curve - {n_declared})


def architectures(config: CampaignConfig) -> list[str]:
    """The networks the declared size is tried with."""
    second = config.verify.second_architecture and config.game.kind == "retraining"
    return ["first", *(["second"] if second else [])]


def arms(config: CampaignConfig) -> tuple[str, ...]:
    """What is compared at one size; near-duplicates by features need networks of our own."""
    return tuple(arm for arm in ARMS if arm != "embedding" or config.game.kind == "retraining")


def verification_key(config: CampaignConfig, decisions_key: str) -> str:
    """Names a comparison by the decisions and by how they are compared."""
    return comparison_key(decisions_key, config.verify.model_dump(mode="json"))


def current_decisions(config: CampaignConfig, campaign: Campaign) -> dict[str, Any]:
    """Read what the decisions were made from.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign

    Returns
    -------
    dict
        The description stored beside the table of decisions.

    Raises
    ------
    IncompleteCampaign
        When there are no decisions, or none with these settings, or no audit examples.
    NothingLearnt
        For models at chance.
    """
    if not int(campaign.meta["n_audit"]):
        raise IncompleteCampaign(
            "this campaign holds no audit examples back: every test example is a target. Plan a campaign with fewer "
            "targets (dataset.n_targets), or with rows of game.targets flagged audit, to verify decisions"
        )
    require_learnt(campaign, config.curate.allow_unlearnable)
    decided = about(campaign, "decisions")
    if decided is None:
        raise IncompleteCampaign(f"there are no decisions to verify. Run `coterie curate {campaign.folder}` first")
    if decided["key"] != curation_key(config, campaign):
        raise IncompleteCampaign(
            f"the decisions that exist were made otherwise: {_what_differs(config, campaign, decided)}. Give verify "
            f"the settings that curate was given, or run `coterie curate {campaign.folder}` with these first"
        )
    return decided


def _what_differs(config: CampaignConfig, campaign: Campaign, decided: dict[str, Any]) -> str:
    """Why decisions are not those of this configuration."""
    asked, made = config.curate.model_dump(mode="json"), decided.get("settings") or {}
    differing = [
        f"curate.{name} was {made.get(name)}, here it is {value}"
        for name, value in asked.items()
        if made.get(name) != value
    ]
    if decided.get("analysis") != (campaign.analysis or {}).get("key"):
        differing.append("the analysis is another one")
    unrecorded = "the models, attribution settings, verify.embedding_models or the code have changed since"
    return "; ".join(differing) or unrecorded


def _block(
    arm: str, size: int, n: int, architecture: str, declared: bool, seeds: int, removed: list[int] | None
) -> dict[str, Any]:
    return {
        "arm": arm, "n_keep": size, "share": size / n, "architecture": architecture, "declared": declared,
        "n_seeds": seeds, "removed": removed,
    }  # fmt: skip


def _deterministic_arms(
    config: CampaignConfig,
    evidence: Evidence,
    features: np.ndarray | None,
    size: int,
    decided: np.ndarray | None,
    quotas: bool,
) -> dict[str, np.ndarray]:
    """Who is kept at a size by each arm but the random one."""
    classes = evidence.player_classes
    least = least_of_each_class(classes, size, config.curate.least_class_share) if quotas else {}
    if decided is None:
        surely = harmful_q_values(evidence.overall) <= config.curate.drop_level
        protected = protected_sets(evidence.interactions, config.attribution.fdr_level, surely)
        # A bundle larger than what is kept cannot stay whole, so it does not bind at that size.
        bundles = [bundle for bundle in bundles_of(list(protected)) if len(bundle) <= size]
        decided = meet_budget(
            evidence.objective, size, player_classes=classes, least=least, bundles=bundles,
            confidence=config.curate.confidence, features=evidence.features,
            near_duplicate_share=config.curate.near_duplicate_share,
        ).solution.keep  # fmt: skip
    alone = choose(evidence.surrogate.without_sets(), size, player_classes=classes, least=least, confidence=0.0)
    found = {"curated": decided, "main_effects": alone.keep}
    if features is not None:
        found["embedding"] = without_near_duplicates(features, classes, size, least)
    return found


def _classes(plan: Plan) -> np.ndarray:
    return np.array(plan.content["classes"], dtype=np.int64)


def masks_of(plan: Plan, n_players: int, classes: np.ndarray, mask_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Build masks and seed groups of a plan's rows.

    Row s of every arm shares its training seed; random draws are fresh.

    Parameters
    ----------
    plan : Plan
    n_players : int
    classes : (n_players,) int64
        Class of each player.
    mask_ids : (rows,) int64
        Ids of the plan's masks.

    Returns
    -------
    masks : (rows, n_players) bool
        True for players that are kept.
    groups : (rows,) int64
        Seed group of each row.
    """
    masks, groups = [], []
    for block in plan.content["blocks"]:
        for index in range(block["n_seeds"]):
            if block["removed"] is None:
                generator = random_stream(Purpose.BALANCED_REMOVAL, plan.content["seed"], block["n_keep"], index)
                masks.append(balanced_random(classes, block["n_keep"], generator))
            else:
                keep = np.ones(n_players, dtype=bool)
                keep[block["removed"]] = False
                masks.append(keep)
            groups.append(int(mask_ids[0]) + index)
    return np.array(masks), np.array(groups, dtype=np.int64)
