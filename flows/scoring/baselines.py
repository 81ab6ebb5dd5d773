"""The baselines that a campaign can compute by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attribution.estimators.datamodel import Datamodel
from attribution.masks.design import untested_design
from attribution.scoring.baselines import (
    feature_similarity,
    gradient_similarity,
    knn_shapley,
    random_attribution,
    same_class,
    sum_over_players,
)
from conf.schema import CampaignConfig
from flows.games.table import runs_unnamed_code
from flows.scoring.matrices import BadScore
from flows.store.campaign import Campaign
from flows.store.examples import player_classes, target_classes

TARGETS_AT_ONCE = 64
BY_FEATURES = ("neighbours", "knn_shapley", "gradients")
BASELINES = {
    "random": "numbers that know nothing",
    "class": "1 for players of the target's class",
    "datamodel": "the campaign's own LASSO, fitted on its fit masks",
    "neighbours": "cosine similarity of features, negative across classes",
    "knn_shapley": "Shapley values of a nearest-neighbour classifier on features",
    "gradients": "inner product of the last layer's gradients",
}


def chosen_baselines(text: str, config: CampaignConfig | None, campaign: Campaign) -> tuple[list[str], list[str]]:
    """Return which baselines to compute, and why others are not.

    Parameters
    ----------
    text
        `all`, `none`, or names separated by commas.
    config
        The campaign's settings; None where its folder holds none.
    campaign

    Returns
    -------
    names, notes : list of str

    Raises
    ------
    BadScore
        For a name that does not exist, or one asked for by name that this campaign cannot compute.
    """
    if text == "none":
        return [], []
    asked = list(BASELINES) if text == "all" else [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in asked if name not in BASELINES]
    if unknown:
        raise BadScore(f"no baseline is called {', '.join(unknown)}; there are {', '.join(BASELINES)}, all and none")
    names, notes = [], []
    for name in asked:
        reason = _missing(name, config, campaign)
        if not reason:
            names.append(name)
        elif text == "all":
            notes.append(f"baseline {name} is left out: {reason}")
        else:
            raise BadScore(f"baseline {name} cannot be computed: {reason}. Leave it out of --baselines")
    return names, notes


def compute_baselines(
    names: Sequence[str], config: CampaignConfig | None, campaign: Campaign, seed: int = 0
) -> dict[str, np.ndarray]:
    """Compute baselines.

    Parameters
    ----------
    names
        Of `chosen_baselines`.
    config, campaign
    seed
        Of the random one.

    Returns
    -------
    dict of (n_players, n_targets) float64
    """
    n, t = campaign.n_players, campaign.n_targets
    found: dict[str, np.ndarray] = {}
    if "random" in names:
        found["random"] = random_attribution(n, t, seed)
    if "class" in names:
        found["class"] = same_class(player_classes(campaign), target_classes(campaign))
    if "datamodel" in names:
        found["datamodel"] = _datamodel(campaign)
    if set(names) & set(BY_FEATURES):
        assert config is not None  # chosen_baselines leaves them out without one
        found |= {name: values for name, values in _by_features(config, campaign).items() if name in names}
    return {name: found[name] for name in names}


def _missing(name: str, config: CampaignConfig | None, campaign: Campaign) -> str:
    """Why a baseline cannot be computed here; empty when it can."""
    if name == "class" and len(campaign.meta.class_names) < 2:
        return "the campaign has no classes"
    if name in BY_FEATURES and (config is None or config.game.kind != "retraining"):
        return "features come from the campaign's own networks, and its players are not pictures it can train on"
    if name in BY_FEATURES and config is not None and runs_unnamed_code(config):
        return (
            f"the pictures come from {config.dataset.source}, code that only the campaign's folder names. Add "
            f"dataset.source={config.dataset.source} to the command if you trust it"
        )
    return ""


def _datamodel(campaign: Campaign) -> np.ndarray:
    pairs = campaign.training_pairs("fit")
    groups = pairs.mask_ids // 2 if campaign.meta.sampler == "antithetic" else None
    weights = np.empty((campaign.n_players, campaign.n_targets))
    for start in range(0, campaign.n_targets, TARGETS_AT_ONCE):
        part = slice(start, start + TARGETS_AT_ONCE)
        with untested_design("accepted" if pairs.n_left_out else None):
            model = Datamodel(alpha=campaign.meta.alpha).fit(pairs.masks, pairs.outputs[:, part], groups=groups)
        weights[:, part] = model.coef_.T
    return weights


def _by_features(config: CampaignConfig, campaign: Campaign) -> dict[str, np.ndarray]:
    from flows.decisions.features import views_of_examples
    from flows.games.table import full_identity, require_retraining

    game = require_retraining(config, "score")
    campaign.check_identity(full_identity(config, game))
    dataset = game.dataset
    train, targets = views_of_examples(config, campaign, dataset)
    labels = (dataset.train.labels, dataset.targets.labels)
    per_example = {
        "neighbours": feature_similarity(train.features, targets.features, *labels),
        "knn_shapley": knn_shapley(train.features, targets.features, *labels, min(5, len(labels[0]))),
        "gradients": gradient_similarity(
            train.features, train.logits, labels[0], targets.features, targets.logits, labels[1]
        ),
    }
    return {name: sum_over_players(values, dataset.players, dataset.n_players) for name, values in per_example.items()}
