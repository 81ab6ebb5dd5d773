"""Models trained without a part of the players, in whose absence their labels are checked."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from attribution.curation.label_check import LabelCheck, check_labels, leave_out_masks
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
from flows.store.examples import leaked_positions
from flows.store.schemas import label_check_width
from training import Dataset
from training.data.dataset import ImageSet
from training.data.near_duplicates import near_duplicate_components

N_FOLDS = 5
PURPOSE = 50  # of the random draw, so that no other one shares its numbers


def label_check(config: CampaignConfig, campaign: Campaign, dataset: Dataset, log: Log) -> LabelCheck | None:
    """Train the models that are missing and check every label; call with the campaign locked.

    Returns
    -------
    LabelCheck or None
        None where it is switched off (curate.label_models=0), where every player is a group of examples, or where
        there are too few models or players for every player to be left out once. Groups among the players are left
        out in turn like the others, and their labels are not checked.
    """
    row_of, single = dataset.row_of_players()
    n_repeats = config.curate.label_models // N_FOLDS
    if not single.any() or n_repeats < 1:
        return None
    groups = near_duplicate_components(dataset.train.images)[row_of]
    if len(np.unique(groups)) < 2 * N_FOLDS:
        return None
    plan = _plan(config, campaign, n_repeats)
    draw = partial(_masks_of, plan, groups)
    draw_masks(campaign, plan, draw)
    share = 1 - 1 / N_FOLDS
    recipe = {**config.recipe.model_dump(mode="json"), "output": "margin_lse", "nominal_alpha": share}
    planted = with_wrong_labels(dataset.targets, len(dataset.class_names), _generator(plan, 2))
    game = Retraining(
        replace(dataset, targets=_together(dataset.train, _together(dataset.targets, planted))),
        recipe, config.compute.ensemble_size, config.compute.device,
    )  # fmt: skip
    with session(config.compute.ray_address, config.compute.workers) as cluster:
        log.info("labels: %s, each trained without a fifth of the players", plural(len(plan.rows), "model"))
        train_missing(config, campaign, cluster, [Batch((plan.rows,), game, to_outputs=False)], log)
    margins, _, _ = read_results(campaign, plan, label_check_width(len(dataset.train), len(dataset.targets)))
    masks, _ = campaign.masks(plan.rows)
    held_back = _not_in_training(campaign, len(dataset.targets))
    found = labels_of_players(dataset, masks, margins, held_back, _generator(plan, 1))
    log.info("labels: compared with %s", _compared_with(found))
    return found


def labels_of_players(
    dataset: Dataset, masks: np.ndarray, margins: np.ndarray, held_back: np.ndarray, generator: np.random.Generator
) -> LabelCheck:
    """Check the labels of all training examples, and return the results of players that are one example.

    Parameters
    ----------
    dataset : Dataset
    masks : (models, n_players) bool
    margins : (models, n_train + 2 n_targets)
        Log odds of the training examples' labels, of the targets' own, and of wrong ones planted on the targets.
    held_back : (h,) int64
        Targets that no model was trained on.
    generator : numpy.random.Generator

    Returns
    -------
    LabelCheck
        A place for every player; NaN and 1 for a group.

    Notes
    -----
    Groups are opened because they do harm, so their examples are hard ones: as a family of their own, 52 of 64
    pictures of CIFAR-10 with right labels were in doubt beside held-back examples. The doubtful ones are therefore
    sought among all training examples, those of closed groups included.
    """
    row_of, single = dataset.row_of_players()
    n_train, n_targets = len(dataset.train), len(dataset.targets)
    rows = row_of[single]
    everyone = np.concatenate([rows, np.setdiff1d(np.arange(n_train), rows)])
    of_train, of_targets, of_planted = np.split(margins, [n_train, n_train + n_targets], axis=1)
    found = check_labels(
        masks[:, dataset.players[everyone]], of_train[:, everyone], of_targets[:, held_back],
        dataset.train.labels[everyone], dataset.targets.labels[held_back], N_FOLDS, generator,
        of_planted[:, held_back],
    )  # fmt: skip
    return _of_all_players(found, single)


def _compared_with(found: LabelCheck) -> str:
    """What the labels were compared with, and how well a wrong one can be known."""
    said = (
        f"{plural(found.n_held_back, 'target')} that no model was trained on: at least {found.fewest_called()} of "
        f"{plural(found.n_labels, 'label')} must be in doubt before one is called wrong"
    )
    if found.share_right is None:
        return said
    return (
        f"{said}; of wrong labels planted on the targets and right ones, the wrong one has lower log odds in "
        f"{found.separation:.0%} of pairs"
    )


def with_wrong_labels(examples: ImageSet, n_classes: int, generator: np.random.Generator) -> ImageSet:
    """Return the same examples, each under a label that is not its own, drawn evenly from the other classes.

    Parameters
    ----------
    examples : ImageSet
    n_classes : int
    generator : numpy.random.Generator

    Returns
    -------
    ImageSet
    """
    other = (examples.labels + generator.integers(1, n_classes, len(examples))) % n_classes
    return replace(examples, labels=other)


def _of_all_players(found: LabelCheck, single: np.ndarray) -> LabelCheck:
    """Give every player a place in a check that begins with the single ones: a group has no score and is not called."""
    def spread(values: np.ndarray, other: float) -> np.ndarray:
        whole = np.full(len(single), other)
        whole[single] = values[: single.sum()]
        return whole

    nan = float("nan")
    share = None if found.share_right is None else spread(found.share_right, 1.0)
    return LabelCheck(
        spread(found.score, nan), spread(found.p_value, nan), spread(found.q_value, 1.0), found.n_held_back, share,
        found.separation, found.n_labels,
    )  # fmt: skip


def _not_in_training(campaign: Campaign, n_targets: int) -> np.ndarray:
    """Rows of the targets that are no picture of the training set as well, by what `plan` found in the data."""
    leaked = leaked_positions(campaign, "target", also_in="train")
    return np.array([row for row in range(n_targets) if row not in leaked], dtype=np.int64)


def _plan(config: CampaignConfig, campaign: Campaign, n_repeats: int) -> Plan:
    key = digest(
        {"folds": N_FOLDS, "repeats": n_repeats, "identity": campaign.meta["identity_hash"], "planted": True}
    )[:16]
    known = next((plan for plan in plans(campaign, "labels") if plan.key == key), None)
    if known is not None:
        return known
    content = {"n_folds": N_FOLDS, "n_repeats": n_repeats, "seed": config.campaign.seed}
    return freeze(campaign, "labels", key, N_FOLDS * n_repeats, plain(content))


def _masks_of(plan: Plan, groups: np.ndarray, mask_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks and seed groups of a plan's rows; every model has a training seed of its own."""
    content = plan.content
    masks = leave_out_masks(len(groups), groups, content["n_folds"], content["n_repeats"], _generator(plan, 0))
    return masks, np.asarray(mask_ids, dtype=np.int64)


def _generator(plan: Plan, number: int) -> np.random.Generator:
    return np.random.default_rng((int(plan.content["seed"]), PURPOSE, number))


def _together(first: ImageSet, second: ImageSet) -> ImageSet:
    """Both sets of examples, one after the other."""
    return ImageSet(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.labels, second.labels]),
        np.concatenate([first.source_index, second.source_index]),
    )
