"""Gathers from a campaign's tables what a decision about its players rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from attribution.analysis.target_ids import is_single
from attribution.curation.budget import least_of_each_class
from attribution.curation.coverage import fit_coverage
from attribution.curation.evidence import CurationRules, Evidence, PlayerEffects
from attribution.curation.label_check import LabelCheck
from attribution.curation.rules import RULES_VERSION, Curation, check_enough_masks
from attribution.curation.rules import curate as decide
from attribution.curation.surrogate import Surrogate, pooled_sets, shrink_normal, utilities, utility_slopes
from attribution.duplicates.any_present_test import GroupTest, group_tests
from attribution.errors import AttributionError
from attribution.linear.main_effects import main_effects
from conf.schema import CampaignConfig
from flows.decisions.features import player_features
from flows.decisions.standard_units import scaled_interactions, standardized
from flows.store.campaign import Campaign, TrainingPairs, digest
from flows.store.examples import player_classes, player_names, player_sizes, target_classes
from flows.store.faithfulness import read_faithfulness
from flows.store.learnability import require_learnt
from flows.store.roles import count_rows
from flows.store.wanted import analysis_key
from training import Dataset
from training.data.near_duplicates import near_duplicate_components

OUTPUTS_AT_ONCE = 64  # targets whose residuals are held at a time


def curation_key(config: CampaignConfig, campaign: Campaign) -> str:
    """Name decisions by everything they depend on.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    return digest(
        {
            "rules": RULES_VERSION,
            "analysis": (campaign.analysis or {}).get("key"),
            "wanted": analysis_key(config, campaign),
            "curate": config.curate.model_dump(mode="json"),
            "embedding_models": config.verify.embedding_models if config.curate.near_duplicate_share else None,
            "fdr_level": config.attribution.fdr_level,
        }
    )[:16]


def limits(config: CampaignConfig, campaign: Campaign) -> tuple[int | None, dict[int, int]]:
    """Compute how many players are kept, and how many of each class at least.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign

    Returns
    -------
    n_keep : int or None
        None without a budget.
    least : dict of int to int
        Label to players; empty without a budget.

    Raises
    ------
    AttributionError
        For a budget of too many players, or one that its quotas cannot meet.
    """
    n_keep, quotas = budget(config, campaign.n_players), class_quotas(config, campaign)
    if n_keep is None:
        return None, {}
    share, names = config.curate.least_class_share, campaign.meta.class_names
    return n_keep, least_of_each_class(player_classes(campaign), n_keep, share, quotas, names)


def check_request(config: CampaignConfig, campaign: Campaign) -> tuple[int | None, dict[int, int]]:
    """Check that a decision can be made, before anything is fitted.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign

    Returns
    -------
    n_keep, least
        As `limits`.

    Raises
    ------
    AttributionError
        For too few masks or a budget out of reach.
    NothingLearnt
        For models that are not above chance.
    """
    require_learnt(campaign, config.curate.allow_unlearnable)
    n_masks = n_fit_masks(campaign) // len(campaign.meta.alphas or [None])
    check_enough_masks(n_masks, campaign.n_players, decision_alpha(config, campaign))
    return limits(config, campaign)


def n_fit_masks(campaign: Campaign) -> int:
    """Count the trained masks of role "fit".

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    int
    """
    return count_rows(rows for rows in campaign.trained() if rows.role == "fit")


def decision_alpha(config: CampaignConfig, campaign: Campaign) -> float:
    """Return the alpha whose masks a decision is made from: of a campaign's alphas the nearest to the budget's share.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign

    Returns
    -------
    float
        The campaign's own alpha without a budget, and where all masks have one.
    """
    n_keep, own = budget(config, campaign.n_players), campaign.meta.alpha
    if n_keep is None:
        return own
    return min([own, *(campaign.meta.alphas or [])], key=lambda alpha: abs(alpha - n_keep / campaign.n_players))


def budget(config: CampaignConfig, n_players: int) -> int | None:
    """Compute the number of players to keep.

    Parameters
    ----------
    config : CampaignConfig
    n_players : int

    Returns
    -------
    int or None
        None without a budget.

    Raises
    ------
    AttributionError
        If more players are to be kept than there are.
    """
    chosen = config.curate
    if chosen.keep_count is not None:
        if chosen.keep_count > n_players:
            raise AttributionError(
                f"curate.keep_count = {chosen.keep_count}, but there are only {n_players} players. Lower it, or give "
                "curate.keep_share instead."
            )
        return chosen.keep_count
    return None if chosen.keep_share is None else max(1, round(chosen.keep_share * n_players))


def curate_campaign(
    config: CampaignConfig,
    campaign: Campaign,
    dataset: Dataset | None,
    labels: LabelCheck | None = None,
    chooser: Callable[[Evidence, int, dict[int, int]], NDArray[np.bool_]] | None = None,
) -> tuple[Evidence, Curation]:
    """Gather a campaign's evidence and decide.

    Parameters
    ----------
    labels
        Out-of-sample scores of the given labels; without them no label is called wrong.
    chooser
        Takes the evidence, the budget and the players of each class that stay; returns who is kept, in place of the
        objective's choice.
    """
    settings = config.curate
    evidence = replace(gather(config, campaign, dataset), labels=labels)
    n_keep, least = limits(config, campaign)
    rules = CurationRules(
        fdr_level=config.attribution.fdr_level,
        level=settings.level,
        drop_level=settings.drop_level,
        replaceable=settings.replaceable,
        drop_redundant=settings.drop_redundant,
        n_keep=n_keep,
        least=least,
        confidence=settings.confidence,
        near_duplicate_share=settings.near_duplicate_share,
    )
    chosen = None if chooser is None or n_keep is None else chooser(evidence, n_keep, least)
    return evidence, decide(evidence, rules, chosen)


def class_quotas(config: CampaignConfig, campaign: Campaign) -> dict[int, int]:
    """Return the user's quotas by label.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign

    Returns
    -------
    dict of int to int

    Raises
    ------
    AttributionError
        For a class that does not exist.
    """
    names = list(campaign.meta.class_names)
    unknown = [name for name in config.curate.class_quotas or {} if name not in names]
    if unknown:
        raise AttributionError(f"curate.class_quotas names {unknown}; the classes are {', '.join(names)}.")
    return {names.index(name): quota for name, quota in (config.curate.class_quotas or {}).items()}


def gather(config: CampaignConfig, campaign: Campaign, dataset: Dataset | None) -> Evidence:
    """Read the evidence for decisions from a campaign's tables and data.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign
    dataset : Dataset or None
        None for a recorded bank: nothing is then compared by its looks or by features.

    Returns
    -------
    Evidence

    Raises
    ------
    AttributionError
        For a campaign too small to decide from.
    """
    alpha, n_classes = decision_alpha(config, campaign), len(campaign.meta.class_names)
    interactions = campaign.read("interactions").to_pydict()
    effects = campaign.read("effects", ["target", "player", "effect", "q_value"])
    pairs = _pairs_at(campaign, alpha)  # the surrogate is written at one alpha
    check_enough_masks(len(pairs.mask_ids), campaign.n_players, alpha)
    groups = pairs.mask_ids // 2 if campaign.meta.sampler == "antithetic" else None
    classes, of_player = target_classes(campaign), player_classes(campaign)
    outputs = pairs.outputs
    if not campaign.meta.get("margins", True):
        outputs, scale = standardized(outputs)
        interactions = scaled_interactions(interactions, scale)
    worth = utilities(outputs, classes, n_classes)
    worth = np.where(np.isfinite(worth), worth, 0.0)
    found = main_effects(pairs.masks, worth, alpha, groups)
    column = np.where(of_player >= 0, 1 + of_player, 0)
    everyone = np.arange(campaign.n_players)
    own = PlayerEffects(found.effect[column, everyone], found.stderr[column, everyone])
    overall = PlayerEffects(found.effect[0], found.stderr[0])
    slopes = utility_slopes(outputs)
    explained = {target for target in read_faithfulness(campaign) if is_single(target)}
    sets, weights, errors = pooled_sets(
        interactions, {target: float(slopes[target]) for target in explained}, config.attribution.fdr_level
    )
    shrunken = shrink_normal(overall.effect, overall.stderr)
    surrogate = Surrogate(alpha, float(found.mean[0]), shrunken, overall.stderr, sets, weights, errors)
    coverage = None
    if config.curate.objective == "coverage":
        coverage = fit_coverage(
            pairs.masks, outputs, alpha, overall.stderr, groups=groups, interactions=interactions,
            level=config.attribution.fdr_level,
        )  # fmt: skip
    alike: list[GroupTest] = []
    if dataset is not None and config.curate.similarity:
        alike = look_alikes(dataset, pairs.masks, pairs.outputs, alpha, groups)
    by_features = dataset is not None and _needs_features(config, campaign)
    return Evidence(
        player_classes=of_player,
        class_names=list(campaign.meta.class_names),
        interactions=interactions,
        effects={name: effects[name].to_numpy() for name in effects.column_names},
        target_classes=dict(enumerate(classes.tolist())),
        overall=overall,
        own_class=own,
        by_class=PlayerEffects(found.effect[1:], found.stderr[1:]),
        surrogate=surrogate,
        look_alikes=alike,
        coverage=coverage,
        names=player_names(campaign),
        group_sizes=player_sizes(campaign),
        features=player_features(config, campaign, dataset) if dataset is not None and by_features else None,
    )


def _pairs_at(campaign: Campaign, alpha: float) -> TrainingPairs:
    """Fit masks drawn at one of the campaign's alphas, and their outputs."""
    pairs = campaign.training_pairs("fit")
    own = np.broadcast_to(campaign.alphas_of(pairs.mask_ids) == alpha, pairs.mask_ids.shape)
    return TrainingPairs(pairs.masks[own], pairs.outputs[own], pairs.mask_ids[own], pairs.n_left_out)


def _needs_features(config: CampaignConfig, campaign: Campaign) -> bool:
    return config.curate.near_duplicate_share > 0 and budget(config, campaign.n_players) is not None


def look_alikes(
    dataset: Dataset, masks: np.ndarray, outputs: np.ndarray, alpha: float, groups: np.ndarray | None
) -> list[GroupTest]:
    """Test groups of near-duplicates by pixels on every target.

    Parameters
    ----------
    dataset : Dataset
    masks : (m, n_players) bool
    outputs : (m, n_targets) float32
    alpha : float
        Inclusion probability.
    groups : (m,) int64 or None
        Row groups.

    Returns
    -------
    list of GroupTest
        Of players that are one example each; empty where all are groups.
    """
    row_of, single = dataset.row_of_players()
    if not single.any():
        return []
    component = near_duplicate_components(dataset.train.images)[row_of]
    rows_of: dict[int, list[int]] = {}
    for player in np.flatnonzero(single).tolist():
        rows_of.setdefault(int(component[player]), []).append(player)
    alike = [tuple(sorted(players)) for players in rows_of.values() if len(players) > 1]
    if not alike:
        return []
    labels = None if groups is None else np.unique(groups, return_inverse=True)[1]
    residuals, main_z = np.empty(outputs.shape), np.zeros((outputs.shape[1], masks.shape[1]))
    for start in range(0, outputs.shape[1], OUTPUTS_AT_ONCE):
        part = slice(start, start + OUTPUTS_AT_ONCE)
        found = main_effects(masks, outputs[:, part].astype(np.float64), alpha, groups)
        residuals[:, part] = found.residuals
        np.divide(found.effect, found.stderr, out=main_z[part], where=found.stderr > 0)
    return group_tests(masks, residuals, alike, alpha, labels, main_z)
