"""How many models an experiment may train: by default no more than the campaign itself did."""

from __future__ import annotations

from dataclasses import dataclass

from conf.schema import CampaignConfig
from flows.runtime.wording import plural
from flows.store.campaign import Campaign
from flows.store.roles import count_rows

ASK_ABOVE = 10  # times the campaign's own models


def own_models(campaign: Campaign) -> int:
    """Count the models that the campaign itself trained, without those of experiments.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    int
    """
    return count_rows(rows for rows in campaign.trained() if rows.role in ("fit", "holdout"))


def allowed_models(campaign: Campaign, configured: int | None) -> int:
    """Return how many models an experiment may train.

    Parameters
    ----------
    campaign : Campaign
    configured : int or None
        The configured number; None for as many as the campaign itself trained.

    Returns
    -------
    int
    """
    return own_models(campaign) if configured is None else configured


@dataclass(frozen=True)
class VerifyPlan:
    """What a verification trains within its budget.

    Parameters
    ----------
    sizes
        Players kept at the other sizes of the removal curve.
    architectures
        Networks the declared size is tried with.
    n_seeds
        Models of every arm at the declared size.
    n_models
        All models together.
    left_out
        One sentence for each part the budget has no room for, and the budget that would include it.
    """

    sizes: tuple[int, ...]
    architectures: tuple[str, ...]
    n_seeds: int
    n_models: int
    left_out: tuple[str, ...]


def plan_verification(
    config: CampaignConfig, campaign: Campaign, sizes: list[int], architectures: list[str], n_declared: int, n_arms: int
) -> VerifyPlan:
    """Fit a verification into its budget: first the declared size, then the second network, then the curve.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign
    sizes, architectures : list
        All sizes of the removal curve and all networks that are wanted.
    n_declared : int
        Players kept at the declared size; the curve's sizes nearest to it come first.
    n_arms : int
        Arms that are compared at one size; at the declared size the full set is trained beside them.

    Returns
    -------
    VerifyPlan
    """
    settings, most = config.verify, allowed_models(campaign, config.verify.max_models)
    whole = (n_arms + 1) * settings.n_seeds * len(architectures) + n_arms * settings.curve_seeds * len(sizes)
    left_out = []
    n_seeds = settings.n_seeds
    if (n_arms + 1) * n_seeds > most:
        n_seeds = max(2, most // (n_arms + 1))
        left_out.append(f"{n_seeds} seeds an arm instead of {settings.n_seeds}")
    left = most - (n_arms + 1) * n_seeds
    networks = architectures[:1]
    for name in architectures[1:]:
        if (n_arms + 1) * n_seeds <= left:
            networks = [*networks, name]
            left -= (n_arms + 1) * n_seeds
        else:
            left_out.append("no second network")
    room = max(0, left) // (n_arms * settings.curve_seeds) if settings.curve_seeds else 0
    chosen = sorted(sorted(sizes, key=lambda size: (abs(size - n_declared), size))[:room])
    if len(chosen) < len(sizes):
        of = plural(len(sizes), "other size")
        left_out.append(f"{len(chosen)} of {of} of the removal curve" if chosen else "no removal curve")
    total = (n_arms + 1) * n_seeds * len(networks) + n_arms * settings.curve_seeds * len(chosen)
    notes: tuple[str, ...] = ()
    if left_out:
        notes = (
            f"within {most} models (verify.max_models; the campaign's own number by default): {', '.join(left_out)}; "
            f"verify.max_models={whole} trains everything",
        )
    return VerifyPlan(tuple(chosen), tuple(networks), n_seeds, total, notes)
