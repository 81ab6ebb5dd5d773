"""How many groups, and how many masks, a budget of core-hours pays for, and what is seen of each group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attribution.errors import AttributionError
from attribution.statistics.group_power import GroupPower, counts_to_show, group_power, recommended_count
from conf.schema import CampaignConfig
from flows.store.campaign import Campaign
from flows.store.faithfulness import read_faithfulness

# Median over targets of the noise ceiling of 4,900 CIFAR-10 pictures of ten classes in 250 random groups: .55; in
# groups of similar pictures: .77, of which 520 masks predict .56. A campaign's own ceiling takes its place as soon as
# there is one.
ASSUMED_EXPLAINED = 0.5


@dataclass(frozen=True)
class GroupAdvice:
    """Groups and masks for a budget.

    Attributes
    ----------
    core_hours : float
        The budget.
    n_models : int
        Models it trains.
    n_fit : int
        Of them, masks the attribution is fitted on; the others are held out.
    count : int
        Number of groups recommended.
    explained : float
        Share of an output's variance that groups are taken to explain.
    predicted : float
        Share that a fit of the masks is taken to predict.
    measured : bool
        Whether these are this campaign's noise ceiling and held-out R² of the datamodel; else they are assumed.
    choices : tuple of GroupPower
        What other numbers of groups would show.
    """

    core_hours: float
    n_models: int
    n_fit: int
    count: int
    explained: float
    predicted: float
    measured: bool
    choices: tuple[GroupPower, ...]


def advise(
    config: CampaignConfig, core_seconds: float, n_images: int, n_classes: int, core_hours: float
) -> GroupAdvice:
    """Recommend a number of groups and of masks.

    Parameters
    ----------
    config : CampaignConfig
    core_seconds : float
        Of one model.
    n_images, n_classes : int
        Of the training set.
    core_hours : float
        The budget.

    Returns
    -------
    GroupAdvice

    Raises
    ------
    AttributionError
        For a budget that does not pay for the held-out models and as many again.
    """
    held_out = config.campaign.n_holdout * (1 + config.campaign.n_replicates)
    n_models = int(core_hours * 3600 / core_seconds)
    n_fit = n_models - held_out
    if n_fit < max(held_out, 2 * n_classes):
        needed = 2 * max(held_out, 2 * n_classes) * core_seconds / 3600
        raise AttributionError(
            f"{core_hours:g} core-hours train {n_models} models, and {held_out} are held out: too few are left to fit. "
            f"Give {needed:.2g} core-hours or more, or lower campaign.n_holdout."
        )
    explained, predicted, measured = _explained(Campaign(config.campaign.folder))
    count = recommended_count(n_fit, explained, n_images, n_classes, predicted=predicted)
    return GroupAdvice(
        core_hours=core_hours,
        n_models=n_models,
        n_fit=n_fit,
        count=count,
        explained=explained,
        predicted=predicted,
        measured=measured,
        choices=tuple(
            group_power(choice, n_fit, config.sampler.alpha, explained, predicted)
            for choice in counts_to_show(count, n_images, n_classes)
        ),
    )


def _explained(campaign: Campaign) -> tuple[float, float, bool]:
    """Medians of a campaign's targets: noise ceiling and held-out R² of the datamodel; and whether there are any.

    Groups explain the ceiling, which sets the size of their effects. What main effects of these masks do not predict is
    noise to each of them: with 250 groups of 4,900 pictures the standard errors followed from R², not from the ceiling.
    """
    if campaign.exists and campaign.analysis is not None:
        scores = [found for target, found in read_faithfulness(campaign).items() if target >= 0]
        pairs = np.array([(found.noise_ceiling.value, found.r2("datamodel").value) for found in scores])
        known = pairs[np.isfinite(pairs).all(axis=1)] if len(pairs) else pairs
        if len(known):
            explained, predicted = (float(value) for value in np.median(known, axis=0))
            if 0.05 < explained < 0.95:
                return explained, min(max(predicted, 0.0), explained), True
    return ASSUMED_EXPLAINED, ASSUMED_EXPLAINED, False


def advice_lines(found: GroupAdvice, n_images: int) -> list[tuple[str, str]]:
    """List names and values that `coterie plan --core-hours` prints.

    Parameters
    ----------
    found : GroupAdvice
    n_images : int

    Returns
    -------
    list of (str, str)
    """
    origin = (
        f"this campaign's median noise ceiling; the datamodel predicts {found.predicted:.0%} on held-out masks"
        if found.measured
        else "assumed; the campaign will measure it"
    )
    lines = [
        (
            "groups",
            f"{found.core_hours:g} core-hours train {found.n_models:,} models: players.by=similarity "
            f"players.count={found.count} campaign.n_fit={found.n_fit}",
        ),
        ("", f"if groups explain {found.explained:.0%} of an output's variance ({origin}):"),
    ]
    for choice in found.choices:
        verdict = "seen" if choice.enough else "too small to see"
        lines.append(
            (
                "",
                f"{choice.n_groups:,} groups of about {n_images / choice.n_groups:.0f} pictures, "
                f"{choice.masks_per_group:.1f} masks each: a group's effect is detected from {choice.seen:.3f} output "
                f"sd, the typical one has {choice.typical:.3f}: {verdict}",
            )
        )
    return lines
