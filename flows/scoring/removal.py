"""Counterfactual removal by evaluation: plans of kind `score`, their models, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from attribution.randomness import Purpose, random_stream
from attribution.scoring.removal import RemovalReport, most_important, score_removal
from conf.schema import CampaignConfig
from flows.compute.session import session_of
from flows.errors import IncompleteCampaign
from flows.experiments.budget import ASK_ABOVE, own_models
from flows.experiments.plans import Plan, draw_masks, freeze, plans
from flows.experiments.results import read_results
from flows.experiments.training import Batch, expected_time, train_missing
from flows.games.base import Game
from flows.games.retraining import Retraining
from flows.games.table import evaluator, require_evaluation
from flows.runtime.logs import Log
from flows.scoring.matrices import BadScore
from flows.store.campaign import Campaign, digest
from flows.store.derived import plain


@dataclass(frozen=True)
class Removal:
    """What is removed, for whom, and how often.

    Parameters
    ----------
    n_removed
        Players removed together.
    n_targets
        Targets, those of the most variable outputs first.
    n_seeds
        Evaluations of each removal.
    n_random
        Random sets of as many players; all targets share them.
    """

    n_removed: int
    n_targets: int = 12
    n_seeds: int = 2
    n_random: int = 24

    def n_models(self, n_methods: int) -> int:
        """Models of the whole experiment."""
        return n_methods * self.n_targets * self.n_seeds + self.n_random


def cost_of(campaign: Campaign, removal: Removal, n_methods: int) -> tuple[int, str]:
    """Return the models of an experiment, and a sentence of what it costs."""
    n_models = removal.n_models(n_methods)
    return n_models, (
        f"removal trains {n_models} models: {removal.n_targets} targets x {n_methods} methods x {removal.n_seeds} "
        "seeds, "
        f"each without {removal.n_removed} players, and {removal.n_random} random removals"
        f"{expected_time(campaign, n_models)}"
    )


def check_budget(campaign: Campaign, n_models: int, most: int | None, agreed: bool) -> None:
    """Refuse an experiment beyond its budget.

    Raises
    ------
    BadScore
        For more models than `most` (the campaign's own number when None), or than ten times that number without a yes.
    """
    own = own_models(campaign)
    allowed = own if most is None else most
    if n_models > allowed:
        raise BadScore(
            f"the removal needs {n_models} models and {allowed} are allowed. Give --max-models {n_models}, or fewer "
            "--removal-targets, --removal-seeds or methods"
        )
    if n_models > ASK_ABOVE * own and not agreed:
        raise BadScore(
            f"the removal needs {n_models} models, more than {ASK_ABOVE} times the campaign's {own}. Give --yes"
        )


def run_removal(
    config: CampaignConfig,
    campaign: Campaign,
    methods: Mapping[str, np.ndarray],
    targets: np.ndarray,
    spread: np.ndarray,
    removal: Removal,
    log: Log,
) -> RemovalReport:
    """Evaluate every removal that has no outcome yet, and compare the methods.

    Parameters
    ----------
    config, campaign
    methods
        (n_players, n_targets) attributions by name.
    targets
        Candidates, the first `removal.n_targets` of which are tried.
    spread
        (n_targets,) standard deviation of each output over fit masks.
    removal
    log

    Returns
    -------
    RemovalReport

    Raises
    ------
    NoTrainer
        For a recorded bank.
    """
    require_evaluation(config, "counterfactual removal (`coterie score --removal`)", accepts_trainer=True)
    if not 1 <= removal.n_removed < campaign.n_players:
        raise BadScore(f"--removal {removal.n_removed} of {campaign.n_players} players. Give a number in between")
    chosen = targets[: removal.n_targets]
    game = evaluator(config, campaign)
    content = _content(campaign, methods, chosen, removal)
    key = digest(content)[:16]
    with campaign.lock(), session_of(config) as cluster:
        plan = next((one for one in plans(campaign, "score") if one.key == key), None)
        if plan is None:
            plan = freeze(campaign, "score", key, len(content["removed"]), plain(content))
        draw_masks(campaign, plan, partial(masks_of, plan, campaign.n_players))
        train_missing(config, campaign, cluster, [Batch((plan.rows,), _on_nearly_all(game), to_outputs=False)], log)
    outputs, _, _ = read_results(campaign, plan, campaign.n_targets)
    return _report(plan, outputs.astype(np.float64), list(methods), chosen, spread)


def masks_of(plan: Plan, n_players: int, mask_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Build masks and seed groups of a plan's rows; rows of one seed share all randomness, whatever they remove."""
    masks = np.ones((len(mask_ids), n_players), bool)
    for row, removed in enumerate(plan.content["removed"]):
        masks[row, removed] = False
    return masks, mask_ids[0] + np.asarray(plan.content["seed"], np.int64)


def _content(
    campaign: Campaign, methods: Mapping[str, np.ndarray], targets: np.ndarray, removal: Removal
) -> dict[str, Any]:
    """Rows method by method, target by target, seed by seed; then the random ones."""
    removed = [
        most_important(values, int(target), removal.n_removed).tolist()
        for values in methods.values()
        for target in targets
        for _ in range(removal.n_seeds)
    ]
    seeds = [seed for _ in methods for _ in targets for seed in range(removal.n_seeds)]
    rng = random_stream(Purpose.RANDOM_REMOVAL, removal.n_removed)
    for number in range(removal.n_random):
        removed.append(np.sort(rng.choice(campaign.n_players, removal.n_removed, replace=False)).tolist())
        seeds.append(number % removal.n_seeds)
    return {"methods": list(methods), "targets": targets.tolist(), "removed": removed, "seed": seeds}


def _on_nearly_all(game: Game) -> Game:
    """The game for masks that include nearly everybody: a network then takes the steps of the full training set."""
    if not isinstance(game, Retraining):
        return game
    return replace(game, recipe={**game.recipe, "nominal_alpha": 1.0})


def _report(
    plan: Plan, outputs: np.ndarray, methods: list[str], targets: np.ndarray, spread: np.ndarray
) -> RemovalReport:
    n_targets = len(targets)
    n_seeds = max(plan.content["seed"]) + 1
    n_own = len(methods) * n_targets * n_seeds
    own = outputs[:n_own].reshape(len(methods), n_targets, n_seeds, -1)
    of_target = np.arange(n_targets)
    removed = {name: own[number][of_target, :, targets] for number, name in enumerate(methods)}
    if not np.isfinite(outputs[n_own:]).any():
        raise IncompleteCampaign("every random removal diverged: there is nothing to compare with")
    return score_removal(removed, outputs[n_own:][:, targets], spread[targets])
