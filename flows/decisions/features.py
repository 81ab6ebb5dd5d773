"""Features of the campaign's own network, one row a player: what says which players look alike to a network."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from conf.schema import CampaignConfig
from flows.compute.execution_mode import AUTO, recorded_mode
from flows.games.retraining import Retraining, resolve_device
from flows.store.campaign import Campaign
from training import Dataset, Recipe, training_seed
from training.data.dataset import ImageSet
from training.engine.features import embed


def player_features(config: CampaignConfig, campaign: Campaign, dataset: Dataset) -> np.ndarray:
    """Compute features of the players by the campaign's own recipe, trained on everything.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign
    dataset : Dataset

    Returns
    -------
    (k, n_players, d)
        Of k networks; a group has the mean of its examples.
    """
    recipe = Recipe(**{**config.recipe.model_dump(), "nominal_alpha": 1.0})
    seeds = [training_seed(config.campaign.seed, 2**62 + at, 0) for at in range(config.verify.embedding_models)]
    features, _ = embed(
        dataset,
        recipe,
        seeds,
        ensemble_size=config.compute.ensemble_size,
        device=resolve_device(config.compute.device),
        mode=_mode(config, campaign, dataset),
    )
    if dataset.n_players == len(dataset.train):
        return features[:, np.argsort(dataset.players)]
    counts = np.bincount(dataset.players, minlength=dataset.n_players)
    total = np.zeros((len(features), dataset.n_players, features.shape[2]))
    for network, rows in zip(total, features, strict=True):
        np.add.at(network, dataset.players, rows)
    return total / counts[None, :, None]


def _mode(config: CampaignConfig, campaign: Campaign, dataset: Dataset) -> str:
    """The execution mode the campaign's models were trained in, as configured or as chosen by its calibration."""
    if config.compute.mode != AUTO:
        return config.compute.mode
    recipe = {**config.recipe.model_dump(), "nominal_alpha": config.sampler.alpha}
    kept = recorded_mode(campaign, Retraining(dataset, recipe, config.compute.ensemble_size, config.compute.device))
    return "grouped" if kept is None else str(kept["mode"])


@dataclass(frozen=True)
class NetworkView:
    """What the last layer of k networks reads and returns for examples: features (k, n, d), logits (k, n, c)."""

    features: np.ndarray
    logits: np.ndarray


def views_of_examples(
    config: CampaignConfig, campaign: Campaign, dataset: Dataset
) -> tuple[NetworkView, NetworkView]:
    """Compute features and logits of training examples and targets, by networks trained on all training examples.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign
    dataset : Dataset

    Returns
    -------
    train, targets : NetworkView
        In the order of the examples.

    Notes
    -----
    Targets are appended to the training set as players that every mask leaves out; the recipe's number of steps follows
    the training examples alone.
    """
    n_train, n_targets = len(dataset.train), len(dataset.targets)
    parts = (dataset.train, dataset.targets)
    both = ImageSet(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.arange(n_train + n_targets),
        np.concatenate([part.names for part in parts]),
    )
    extended = replace(
        dataset,
        train=both,
        players=np.arange(n_train + n_targets),
        player_names=tuple(map(str, range(n_train + n_targets))),
        player_keys=None,
    )
    recipe = Recipe(**{**config.recipe.model_dump(), "nominal_alpha": n_train / (n_train + n_targets)})
    seeds = [training_seed(config.campaign.seed, 2**62 + at, 0) for at in range(config.verify.embedding_models)]
    masks = np.zeros((len(seeds), n_train + n_targets), bool)
    masks[:, :n_train] = True
    features, logits = embed(
        extended,
        recipe,
        seeds,
        masks=masks,
        ensemble_size=config.compute.ensemble_size,
        device=resolve_device(config.compute.device),
        mode=_mode(config, campaign, dataset),
    )
    return (
        NetworkView(features[:, :n_train], logits[:, :n_train]),
        NetworkView(features[:, n_train:], logits[:, n_train:]),
    )
