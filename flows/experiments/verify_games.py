"""Who trains and judges a verification's models: our networks on audit pictures, or a trainer of the user's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from conf.schema import CampaignConfig
from flows.experiments.plans import Plan
from flows.experiments.training import Batch
from flows.games.base import Game
from flows.games.retraining import Retraining
from flows.games.trainer.game import Trainer
from flows.store.roles import RowRange
from training import Dataset
from training.architectures import another_architecture


def recipe_of_arm(config: CampaignConfig, dataset: Dataset, architecture: str) -> dict[str, Any]:
    """The campaign's recipe, or the second one: another architecture that takes such images, else a larger network.

    Outputs are margin_max, so that an output above 0 means exactly that the example is classified correctly.
    """
    chosen = {**config.recipe.model_dump(mode="json"), "output": "margin_max"}
    if architecture == "first":
        return chosen
    other = another_architecture(chosen["architecture"], min(dataset.train.images.shape[1:3]))
    if other is not None:
        return {**chosen, "architecture": other}
    return {**chosen, "width": 2 * chosen["width"], "blocks": chosen["blocks"] + 1}


def batches_of(config: CampaignConfig, plan: Plan, game: Game) -> list[Batch]:
    """Return the rows of a plan with what evaluates them on audit examples.

    Parameters
    ----------
    config : CampaignConfig
    plan : Plan
    game : Game
        The campaign's own.

    Returns
    -------
    list of Batch
        Rows trained alike: for our networks one recipe and one size, hence one number of steps.
    """
    if isinstance(game, Trainer):
        return [Batch((plan.rows,), game.on_audit(), to_outputs=False)]
    assert isinstance(game, Retraining)  # the only other game that a verification accepts
    dataset = replace(game.dataset, targets=game.dataset.audit, audit=game.dataset.targets)
    batches = []
    for block in plan.content["blocks"]:
        recipe = {**plan.content["recipes"][block["architecture"]], "nominal_alpha": block["share"]}
        job = Retraining(dataset, recipe, config.compute.ensemble_size, config.compute.device)
        first = plan.first + block["offset"]
        rows = RowRange(plan.rows.role, 0, first, first + block["n_seeds"])
        batches.append(Batch((rows,), job, to_outputs=False))
    return batches
