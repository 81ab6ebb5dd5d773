"""Expected faithfulness of a configured campaign: from its own masks where there are enough, else from other campaigns.

Its own: datamodel and spectrum are fitted to subsets of the masks trained so far and scored on masks they have not
seen; learning_curve.py fits the curve with its interval. Few targets serve, spread over those that
would be explained: the datamodel is fitted once to all of these, and the curves take over its level.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from attribution.analysis.learning_curve import MODELS, fit_curve, measure, ridge_curve
from attribution.errors import AttributionError, AttributionWarning
from attribution.estimators.datamodel import Datamodel
from attribution.masks.design import untested_design
from attribution.masks.running_variance import RunningVariance, most_variable
from attribution.statistics.faithfulness import r2
from conf.schema import CampaignConfig
from flows.errors import IncompleteCampaign
from flows.store.campaign import Campaign

FEW_TARGETS = 12
MOST_MASKS = 4096  # of those that exist, used for the curve
MOST_PLAYERS_FOR_SETS = 400  # beyond, screening for the spectrum takes too long for an estimate
LEAST_FIT, LEAST_HOLDOUT = 96, 64  # fewer: the prior is more accurate
HELD_BACK = 0.2  # of the fit masks, where there are no held-out ones yet


@dataclass(frozen=True)
class FaithfulnessForecast:
    """Expected held-out R², averaged over the targets explained, by number of fit masks.

    Attributes
    ----------
    source : str
        "this campaign", or the recorded campaigns it was taken from.
    is_prior : bool
        Whether it was taken from recorded campaigns.
    n_masks_used : int
        Masks that the curve was measured on; 0 for a prior.
    rows : tuple of dict
        n_fit and (value, low, high) of datamodel and spectrum, None where not forecast.
    """

    source: str
    is_prior: bool
    n_masks_used: int
    rows: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Recorded:
    """A campaign's learning curves as they were measured.

    Attributes
    ----------
    name : str
    n_players : int
    datamodel : (float, float)
        Limit and effective players of `ridge_curve`.
    spectrum : (float, float)
        As `datamodel`.
    """

    name: str
    n_players: int
    datamodel: tuple[float, float]
    spectrum: tuple[float, float]


# Players: fitted to R² at 128 to 1,792 masks of finished campaigns. Limits: such that the curve passes through the mean
# over the 60 targets explained at 1,792 masks, .373 and .396 (quickstart), .289 and .290 (cifar2); 2026-11-22.
RECORDED = (
    Recorded("quickstart (digits)", 200, (0.384, 33.0), (0.410, 40.0)),
    Recorded("cifar2", 200, (0.329, 129.0), (0.330, 129.0)),
)
# Two campaigns are no sample of all data sets, and noise ceilings differ more than between them.
PRIOR_MARGIN = 0.05


def forecast_faithfulness(config: CampaignConfig, campaign: Campaign, n_players: int) -> FaithfulnessForecast:
    """Return the campaign's own curve, or the prior where it has too few trained models.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign
    n_players : int

    Returns
    -------
    FaithfulnessForecast
    """
    sizes = sizes_to_tell(config.campaign.n_fit)
    if campaign.exists:
        try:
            return own_curve(config, campaign, sizes)
        except (IncompleteCampaign, AttributionError):
            pass  # too few models yet, or outputs that do not vary: what is below is marked as a prior
    return prior(sizes, n_players)


def sizes_to_tell(n_fit: int) -> list[int]:
    """Choose the numbers of fit masks to forecast for: a quarter, half, as configured, twice and four times.

    Parameters
    ----------
    n_fit : int
        Fit masks as configured.

    Returns
    -------
    list of int
        In ascending order, without repeats.
    """
    return sorted({max(1, n_fit // 4), max(1, n_fit // 2), n_fit, 2 * n_fit, 4 * n_fit})


def prior(sizes: list[int], n_players: int) -> FaithfulnessForecast:
    """Forecast from what recorded campaigns gave at as many masks a player.

    Parameters
    ----------
    sizes : list of int
        Numbers of fit masks.
    n_players : int

    Returns
    -------
    FaithfulnessForecast
        The mean of the recorded campaigns, and their lowest and highest with a margin.
    """
    rows = []
    for n_fit in sizes:
        row: dict[str, Any] = {"n_fit": n_fit}
        for model in MODELS:
            found = []
            for recorded in RECORDED:
                limit, players = getattr(recorded, model)
                found.append(float(ridge_curve(n_fit * recorded.n_players / n_players, limit, players)))
            low, high = max(0.0, min(found) - PRIOR_MARGIN), min(1.0, max(found) + PRIOR_MARGIN)
            row[model] = (sum(found) / len(found), low, high)
        rows.append(row)
    return FaithfulnessForecast(", ".join(recorded.name for recorded in RECORDED), True, 0, tuple(rows))


def own_curve(config: CampaignConfig, campaign: Campaign, sizes: list[int]) -> FaithfulnessForecast:
    """Fit learning curves through subsets of what is trained.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign
    sizes : list of int
        Numbers of fit masks to forecast for.

    Returns
    -------
    FaithfulnessForecast

    Raises
    ------
    IncompleteCampaign
        With too few trained fit masks.
    AttributionError
        With too little to fit a curve.
    """
    moments = RunningVariance(campaign.n_targets)
    for _, outputs, _ in campaign.output_blocks("fit"):
        moments.add(outputs)
    if moments.count < LEAST_FIT:
        raise IncompleteCampaign(f"{moments.count} fit masks are trained; a learning curve needs {LEAST_FIT}")
    explained = most_variable(moments.variance, config.attribution.n_targets)
    every = max(1, len(explained) // FEW_TARGETS)
    fit = campaign.training_pairs("fit", targets=explained.tolist(), one_alpha=True)
    masks, outputs, ids = fit.masks[:MOST_MASKS], fit.outputs[:MOST_MASKS], fit.mask_ids[:MOST_MASKS]
    try:
        held_out = campaign.training_pairs("holdout", targets=explained.tolist(), one_alpha=True)
        unseen, truth = held_out.masks, held_out.outputs
    except IncompleteCampaign:
        unseen, truth = masks[:0], outputs[:0]
    if len(unseen) < LEAST_HOLDOUT:
        # Pairs of antithetic masks have neighbouring ids: the cut is at an even number.
        kept = int(len(masks) * (1 - HELD_BACK)) // 2 * 2
        masks, unseen = masks[:kept], masks[kept:]
        outputs, truth, ids = outputs[:kept], outputs[kept:], ids[:kept]
    groups = ids // 2 if config.sampler.kind == "antithetic" else None
    few = slice(None, None, every)
    with warnings.catch_warnings(), untested_design("accepted" if fit.n_left_out else None):
        warnings.simplefilter("ignore", AttributionWarning)  # of fewer masks than players: that is what is measured
        points = measure(
            masks, outputs[:, few], unseen, alpha=config.sampler.alpha, max_order=config.attribution.max_order,
            seed=config.attribution.seed, groups=groups, spectrum=campaign.n_players <= MOST_PLAYERS_FOR_SETS,
        )  # fmt: skip
        linear = Datamodel(config.sampler.alpha, seed=config.attribution.seed).fit(masks, outputs, groups=groups)
    curves = {
        model: fit_curve(points, truth[:, few], model, campaign.n_players, seed=config.attribution.seed)
        for model in MODELS if model in points[0].predicted
    }  # fmt: skip
    scores = r2(np.asarray(truth, np.float64), np.asarray(linear.predict(unseen), np.float64))
    ratio = level(scores, few)
    rows: list[dict[str, Any]] = [{"n_fit": n_fit, **dict.fromkeys(MODELS)} for n_fit in sizes]
    for row in rows:
        for model, curve in curves.items():
            row[model] = tuple(min(1.0, ratio * value) for value in curve.at(row["n_fit"]))
    return FaithfulnessForecast("this campaign", False, len(masks), tuple(rows))


def level(scores: np.ndarray, few: slice) -> float:
    """Divide the mean R² of all targets by that of a few of them.

    Parameters
    ----------
    scores : (n_targets,) float64
        R² of each target; NaN is left out.
    few : slice
        Chooses the few targets.

    Returns
    -------
    float
        Between 0.5 and 2; 1 where the few have a mean R² of at most 0.05, or all of at most 0.
    """
    all_of_them, some = float(np.nanmean(scores)), float(np.nanmean(scores[few]))
    return min(2.0, max(0.5, all_of_them / some)) if some > 0.05 and all_of_them > 0 else 1.0
