"""Load the images of a configuration, with what it plants and with its players."""

from __future__ import annotations

import logging

import numpy as np

from conf.schema import CampaignConfig, identity_settings
from flows.players.kept_groups import kept_players, opened_players
from flows.runtime.trust import refuse_unnamed
from flows.store.campaign import Campaign
from training import Dataset, Recipe, load_dataset, training_seed
from training.data.planting import Planted, plant
from training.grouping.find_groups import Grouping, find_groups, with_groups
from training.grouping.image_features import network_features, owned_features, pixel_features
from training.grouping.request import GroupingRequest

LOG = logging.getLogger("coterie")


def load(config: CampaignConfig) -> Dataset:
    """Load the data set that a configuration names, with what it plants and its players.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    Dataset
    """
    return load_planted(config)[0]


def load_planted(config: CampaignConfig) -> tuple[Dataset, Planted]:
    """Load the data set that a configuration names, and the truth that was planted into it.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    dataset : Dataset
    planted : Planted

    Notes
    -----
    Groups are found after planting, so that planted copies are treated as copies are.
    """
    dataset, planted = load_images(config)
    return with_players(config, dataset), planted


def load_images(config: CampaignConfig) -> tuple[Dataset, Planted]:
    """Load images and planted truth alone; players are those of `dataset.group_by`, or one image each.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    dataset : Dataset
    planted : Planted

    Raises
    ------
    NotNamed
        For a source that is a function and that only a campaign's folder names.
    """
    chosen = config.dataset
    refuse_unnamed([chosen.source])
    dataset = load_dataset(
        chosen.source,
        path=chosen.path,
        classes=chosen.classes,
        n_train=chosen.n_train,
        n_targets=chosen.n_targets,
        n_audit=chosen.n_audit,
        image_size=chosen.image_size,
        group_by=chosen.group_by,
        download=chosen.download,
        unreadable=chosen.unreadable,
        label_column=chosen.label_column,
        seed=chosen.seed,
    )
    return plant(
        dataset,
        clusters=chosen.plant_clusters or 0,
        cluster_sizes=chosen.plant_cluster_sizes or (2,),
        near_share=chosen.plant_near_share or 0.0,
        flipped=chosen.plant_flipped or 0.0,
        seed=chosen.seed,
    )


def with_players(config: CampaignConfig, dataset: Dataset) -> Dataset:
    """Give a data set the players of the configuration.

    Groups that the campaign keeps are read from its folder and not found again: a network trained on another machine
    has other features in their last digits, and could draw another border between two groups.

    Parameters
    ----------
    config : CampaignConfig
    dataset : Dataset

    Returns
    -------
    Dataset

    Raises
    ------
    TrainingInputError
        For groups that cannot be made.
    IncompleteCampaign
        When the parent of opened groups is missing, or is another campaign than it was.
    """
    chosen = config.players
    if chosen.by is None:
        return dataset
    campaign = Campaign(config.campaign.folder)
    if campaign.exists:
        campaign.check_identity(identity_settings(config))
        if (campaign.folder / "examples.parquet").is_file():
            return kept_players(campaign, dataset)
    if chosen.by == "opened":
        assert chosen.parent is not None and chosen.opened is not None  # the schema's own check
        return opened_players(Campaign(chosen.parent), chosen.opened, dataset)
    found = find_players(config, dataset)
    sizes = found.sizes
    LOG.info(
        "%d groups by %s: %d to %d pictures each (median %d)",
        len(sizes), chosen.by, sizes.min(), sizes.max(), int(np.median(sizes)),
    )  # fmt: skip
    for note in found.notes:
        LOG.info("%s", note)
    return with_groups(dataset, found.groups, found.names, found.medoids)


def find_players(config: CampaignConfig, dataset: Dataset) -> Grouping:
    """Find the groups that the configuration asks for.

    Parameters
    ----------
    config : CampaignConfig
        `players.by` is "similarity", "class" or "random".
    dataset : Dataset

    Returns
    -------
    Grouping
    """
    chosen = config.players
    request = GroupingRequest(
        by=str(chosen.by),
        count=chosen.count,
        across_classes=chosen.across_classes,
        balance=chosen.balance,
        seed=chosen.seed,
    )
    return find_groups(dataset, request, lambda: grouping_features(config, dataset))


def grouping_features(config: CampaignConfig, dataset: Dataset) -> np.ndarray:
    """Compute the features in which images are similar.

    Parameters
    ----------
    config : CampaignConfig
        `players.features` chooses them.
    dataset : Dataset
        Its players do not matter.

    Returns
    -------
    (n_train, d) float64 array
    """
    chosen = config.players
    if chosen.features == "pixels":
        return pixel_features(dataset.train.images, chosen.seed)
    if chosen.features == "embedding":
        assert chosen.embedding is not None  # the schema's own check
        return owned_features(chosen.embedding, chosen.embedding_column, dataset.train)
    import torch

    from training.engine.features import embed

    LOG.info("training %d networks on all %d pictures, to find groups", chosen.networks, len(dataset.train))
    mode, device = config.compute.mode, config.compute.device
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if mode == "auto":
        mode = "native" if device == "cpu" else "grouped"
    recipe = Recipe(**{**config.recipe.model_dump(), "nominal_alpha": 1.0})
    seeds = [training_seed(chosen.seed, 2**62 + at, 0) for at in range(chosen.networks)]
    features, _ = embed(dataset, recipe, seeds, ensemble_size=chosen.networks, device=device, mode=mode)
    return network_features(features)
