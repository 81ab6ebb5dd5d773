"""Rules for meeting a budget compete by retraining, judged on the targets; audit examples stay out of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.curation.baselines import balanced_random
from attribution.curation.budget import choose, meet_budget
from attribution.curation.evidence import Evidence
from attribution.curation.feature_similarity import without_near_duplicates
from attribution.curation.redundancy import bundles_of, protected_sets
from attribution.curation.rules import harmful_q_values
from attribution.experiments.comparison import Difference, compare
from conf.schema import CampaignConfig
from flows.compute.ray_cluster import session
from flows.compute.training_loop import Log
from flows.experiments.plans import Plan, draw_masks, freeze, plans
from flows.experiments.results import read_results
from flows.experiments.training import Batch, train_missing
from flows.games.retraining import Retraining
from flows.runtime.wording import plural
from flows.store.campaign import Campaign, digest
from flows.store.derived import plain
from training import Dataset

SURVIVORS = (4, 2, 1)  # rules in each round; random removal runs beside them in all
PURPOSE = 41  # of the random draws, so that no other draw shares their numbers


@dataclass(frozen=True)
class Race:
    """Outcome of a race.

    Parameters
    ----------
    winner
        Name of the rule with the best accuracy on the targets.
    keep
        (n,) the players it keeps.
    against_random
        Its comparison with class-balanced random removal, on the seeds of the last round and the targets.
    accuracy
        Mean accuracy on the targets of every rule, over the rounds it was in.
    n_models
        Models trained in all rounds.
    """

    winner: str
    keep: NDArray[np.bool_]
    against_random: Difference
    accuracy: dict[str, float]
    n_models: int

    @property
    def sentence(self) -> str:
        """Write the outcome for people.

        Returns
        -------
        str
        """
        found = self.against_random
        listed = ", ".join(f"{name.replace('_', ' ')} {100 * value:.1f}%" for name, value in self.accuracy.items())
        verdict = {
            "better": "beats class-balanced random removal on them",
            "worse": "is worse than class-balanced random removal on them",
        }.get(found.verdict, "is not shown to beat class-balanced random removal on them")
        interval = f"{100 * found.difference:+.2f} points [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"
        return (
            f"{plural(self.n_models, 'model')} raced the rules on the targets ({listed}); "
            f"{self.winner.replace('_', ' ')} is best and {verdict} ({interval})"
        )


def candidate_rules(
    config: CampaignConfig, evidence: Evidence, n_keep: int, least: dict[int, int], features: np.ndarray
) -> dict[str, NDArray[np.bool_]]:
    """Choose who is kept by each rule: coverage, the mixture with near-duplicates, main effects, near-duplicates.

    Parameters
    ----------
    config : CampaignConfig
    evidence : Evidence
    n_keep : int
        Players to keep.
    least : dict of int to int
        Label to the least number of its players to keep.
    features : (k, n_players, d)
        Features of the players.

    Returns
    -------
    dict of str to (n_players,) bool
        Name of the rule to who is kept.
    """
    classes, settings = evidence.player_classes, config.curate
    surely = harmful_q_values(evidence.overall) <= settings.drop_level
    protected = protected_sets(evidence.interactions, config.attribution.fdr_level, surely)
    bundles = [bundle for bundle in bundles_of(list(protected)) if len(bundle) <= n_keep]
    by_share = {
        name: meet_budget(
            evidence.objective, n_keep, player_classes=classes, least=least, bundles=bundles,
            confidence=settings.confidence, features=features, near_duplicate_share=share,
        ).solution.keep
        for name, share in ((settings.objective, 0.0), ("mixture", settings.near_duplicate_share or 0.5))
    }  # fmt: skip
    alone = choose(evidence.surrogate.without_sets(), n_keep, player_classes=classes, least=least, confidence=0.0)
    return {
        **by_share,
        "main_effects": alone.keep,
        "near_duplicates": without_near_duplicates(features, classes, n_keep, least),
    }


def run_race(
    config: CampaignConfig,
    campaign: Campaign,
    dataset: Dataset,
    rules: dict[str, NDArray[np.bool_]],
    player_classes: NDArray[np.int64],
    log: Log,
) -> Race:
    """Retrain the rules' sets in rounds of successive halving; call with the campaign locked.

    Parameters
    ----------
    rules
        Rule -> (n,) players it keeps, all of one size.
    player_classes
        (n,) for class-balanced random removal, a fresh draw for every seed.

    Notes
    -----
    Successive halving (Jamieson and Talwalkar 2016, "Non-stochastic best arm identification"): each round gets a third
    of curate.race_models, shared evenly among the rules left and random removal; the better half goes on.
    """
    n_keep = int(next(iter(rules.values())).sum())
    recipe = {
        **config.recipe.model_dump(mode="json"), "output": "margin_max", "nominal_alpha": n_keep / campaign.n_players,
    }  # fmt: skip
    game = Retraining(dataset, recipe, config.compute.ensemble_size, config.compute.device)
    kept = {name: np.flatnonzero(keep).tolist() for name, keep in rules.items()}
    key = digest({"models": config.curate.race_models, "rules": kept})[:16]
    right: dict[str, list[np.ndarray]] = {name: [] for name in (*rules, "random")}
    left, n_models, first_seed = list(rules), 0, 0
    with session(config.compute.ray_address, config.compute.workers) as cluster:
        for round_, n_rules in enumerate(SURVIVORS):
            left = sorted(left, key=lambda name: -_accuracy(right[name]))[:n_rules]
            n_seeds = max(2, config.curate.race_models // len(SURVIVORS) // (len(left) + 1))
            plan = _round(config, campaign, key, round_, {name: rules[name] for name in left}, n_seeds, first_seed)
            draw_masks(campaign, plan, partial(_masks_of, plan, player_classes, n_keep))
            train_missing(config, campaign, cluster, [Batch((plan.rows,), game, to_outputs=False)], log)
            outputs, _, _ = read_results(campaign, plan, campaign.n_targets)
            for block in plan.content["blocks"]:
                part = outputs[block["offset"] : block["offset"] + block["n_seeds"]]
                right[block["arm"]].append(np.where(np.isfinite(part), part > 0, np.nan))
            n_models, first_seed = n_models + len(plan.rows), first_seed + n_seeds
    winner = left[0]
    accuracy = {name: _accuracy(found) for name, found in right.items()}
    return Race(winner, rules[winner], compare(right[winner][-1], right["random"][-1]), accuracy, n_models)


def _accuracy(found: list[np.ndarray]) -> float:
    return float(np.nanmean(np.concatenate(found))) if found else 0.0


def _round(
    config: CampaignConfig, campaign: Campaign, key: str, round_: int, rules: dict[str, NDArray[np.bool_]],
    n_seeds: int, first_seed: int,
) -> Plan:  # fmt: skip
    """The frozen plan of a round; written before its models are trained."""
    known = next(
        (plan for plan in plans(campaign, "race") if plan.key == key and plan.content["round"] == round_), None
    )
    if known is not None:
        return known
    removed: dict[str, Any] = {name: np.flatnonzero(~keep).tolist() for name, keep in rules.items()}
    blocks = [
        {"arm": name, "offset": at * n_seeds, "n_seeds": n_seeds, "first_seed": first_seed, "removed": players}
        for at, (name, players) in enumerate({**removed, "random": None}.items())
    ]
    content = {"round": round_, "blocks": blocks, "seed": config.campaign.seed}
    return freeze(campaign, "race", key, n_seeds * len(blocks), plain(content))


def _masks_of(
    plan: Plan, player_classes: NDArray[np.int64], n_keep: int, mask_ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Masks and seed groups of a round; row s of every rule shares its training seed."""
    masks, groups = [], []
    for block in plan.content["blocks"]:
        for index in range(block["n_seeds"]):
            number = block["first_seed"] + index
            if block["removed"] is None:
                generator = np.random.default_rng((plan.content["seed"], n_keep, number, PURPOSE))
                masks.append(balanced_random(player_classes, n_keep, generator))
            else:
                keep = np.ones(len(player_classes), dtype=bool)
                keep[block["removed"]] = False
                masks.append(keep)
            groups.append(int(mask_ids[0]) + index)
    return np.array(masks), np.array(groups, dtype=np.int64)
