"""Whether a campaign's models learnt anything, and the one sentence about it."""

from __future__ import annotations

import numpy as np

from attribution.experiments.learnability import Learnability, learnability
from flows.errors import IncompleteCampaign, NothingLearnt
from flows.store.campaign import Campaign
from flows.store.examples import leaked_audit_sentence
from flows.store.faithfulness import read_faithfulness

MARGINS = ("margin_max", "margin_lse")


def campaign_learnability(campaign: Campaign) -> Learnability:
    """Compare the accuracy of a campaign's models with chance, on audit examples (targets where there are none).

    Parameters
    ----------
    campaign
        A campaign with trained models of role fit.

    Returns
    -------
    Learnability
        `learnt` is False where the interval over models and examples includes chance.

    Raises
    ------
    IncompleteCampaign
        Without trained models, and for outputs that do not say whether a model is right.

    Notes
    -----
    A recorded bank holds no accuracies: a target counts as right where its margin is above 0, which for margin_lse is a
    probability above 1/2.
    """
    recorded = campaign.meta.identity.get("game.kind") == "recorded"
    if recorded and (campaign.meta.output not in MARGINS or len(campaign.meta.class_names) < 2):
        raise IncompleteCampaign(
            f"{campaign.folder} does not say when a model is right: that needs margins (coterie import --output "
            "margin_max) and a class for each target (--targets with a column class)"
        )
    if not campaign.meta.get("margins", True):
        raise IncompleteCampaign(
            f"{campaign.folder} does not say when a model is right: that needs outputs that are margins of the right "
            "class (game.margins=true)"
        )
    split = "audit" if campaign.meta.n_audit and not recorded else "target"
    table = campaign.read("outputs", ["mask_id", "replicate", "status", f"{split}_accuracy"])
    good = np.asarray(table["status"].to_numpy(zero_copy_only=False) == "ok")
    good &= table["replicate"].to_numpy() == 0
    accuracies = table[f"{split}_accuracy"].to_numpy(zero_copy_only=False)[good]
    outputs = campaign.training_pairs("fit").outputs
    if recorded:
        accuracies = (outputs > 0).mean(axis=1)
    examples = campaign.read("examples", ["split", "label"])
    labels = examples["label"].to_numpy()[np.asarray(examples["split"].to_numpy(zero_copy_only=False) == split)]
    return learnability(accuracies, labels, len(campaign.meta.class_names), (outputs > 0).astype(np.float64))


def learnability_sentence(campaign: Campaign, found: Learnability) -> str:
    """Report what the models reach beside chance; where that is not above chance, what would help.

    Parameters
    ----------
    campaign : Campaign
    found : Learnability
        Of this campaign (`campaign_learnability`).

    Returns
    -------
    str
    """
    recorded = campaign.meta.identity.get("game.kind") == "recorded"
    split = "audit examples" if campaign.meta.n_audit and not recorded else "targets"
    called = f"{(campaign.meta.get('words') or {}).get('picture', 'picture')}s"
    measured = (
        f"Models trained on about {float(campaign.meta.alpha):.0%} of the {called} are right on "
        f"{found.accuracy:.1%} of the {found.n_examples} {split} [{max(found.low, 0.0):.1%}, "
        f"{min(found.high, 1.0):.1%}]; "
        f"always naming the largest class is right on {found.chance:.1%}"
    )
    if found.learnt:
        return " ".join(filter(None, [f"{measured}.", leaked_audit_sentence(campaign)]))
    more = f" {found.examples_needed} {split} would show this accuracy to be above chance." * bool(
        found.examples_needed
    )
    if recorded or campaign.meta.identity.get("game") == "trainer":
        return f"{measured}: that is not shown to be above chance, so there is nothing to decide from.{more}"
    size = campaign.meta.identity.get("dataset.image_size")
    larger = f", larger pictures (dataset.image_size is {size})" if size else ", larger pictures"
    return (
        f"{measured}: that is not shown to be above chance, so there is nothing to decide from.{more} What may help: "
        f"more training pictures than {campaign.meta.n_train}{larger}, a recipe that learns more (recipe.epochs, "
        "recipe.width)."
    )


def require_learnt(campaign: Campaign, allow: bool = False) -> str:
    """Check that the models are above chance.

    Parameters
    ----------
    campaign : Campaign
    allow : bool
        Whether models that are not above chance are accepted.

    Returns
    -------
    str
        What the models reach beside chance (`learnability_sentence`).

    Raises
    ------
    NothingLearnt
        When the models are not above chance and `allow` is not set.
    IncompleteCampaign
        Without trained models.
    """
    if not campaign.meta.get("margins", True):
        return _signal_sentence(campaign)
    found = campaign_learnability(campaign)
    sentence = learnability_sentence(campaign, found)
    if not found.learnt and not allow:
        raise NothingLearnt(f"{sentence} curate.allow_unlearnable=true decides nevertheless")
    return sentence


def _signal_sentence(campaign: Campaign) -> str:
    """Report how much of the outputs' variance is due to the training set, where nothing says what is right."""
    ceilings = [row.noise_ceiling.value for row in read_faithfulness(campaign).values() if not row.is_mean]
    known = [value for value in ceilings if np.isfinite(value)]
    if not known:
        return (
            "The outputs are no margins and no mask was evaluated twice: how much they respond to the data is unknown"
        )
    return (
        f"The outputs are no margins, so there is no accuracy; of their variance over training sets "
        f"{float(np.median(known)):.0%} is due to the examples (noise ceiling, median of {len(known)} targets)"
    )
