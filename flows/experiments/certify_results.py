"""What a certification experiment measured: verdicts, sentences, and the certification table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from attribution.experiments.factorial import SetMeasurement, measure, n_cells
from attribution.experiments.sets_to_try import Candidate
from attribution.experiments.verdicts import certified_share, verdict_of
from flows.experiments.plans import Plan, plans
from flows.experiments.results import read_cells
from flows.store.campaign import Campaign
from flows.store.derived import columns, plain, publish
from flows.store.examples import target_classes
from flows.store.roles import RowRange, missing_shards
from flows.store.schemas import CERTIFICATION


def candidate_of(block: dict[str, Any]) -> Candidate:
    """Read a set to certify from its plan.

    Parameters
    ----------
    block : dict
        The set's entry in the plan.

    Returns
    -------
    Candidate
    """
    names = Candidate.__dataclass_fields__
    held = {name: block[name] for name in names}
    held["members"] = tuple(held["members"])
    for name in ("predicted", "evidence", "banzhaf", "joint_surplus", "q_value"):
        held[name] = math.nan if held[name] is None else held[name]
    return Candidate(**held)


def measure_sets(campaign: Campaign, rounds: Sequence[Plan]) -> dict[int, SetMeasurement]:
    """Measure the interaction of every set of an experiment, over all its rounds.

    Parameters
    ----------
    campaign : Campaign
    rounds : sequence of Plan
        The experiment's plans, the first one first.

    Returns
    -------
    dict
        Number of a set to its SetMeasurement.
    """
    classes = target_classes(campaign)
    alpha, level = campaign.meta.alpha, float(rounds[0].content["level"])
    cells: dict[int, list[np.ndarray]] = {}
    for plan in rounds:
        targets = sorted({block["target"] for block in plan.content["sets"]})
        values = read_cells(campaign, plan.rows, targets, classes)
        for block in plan.content["sets"]:
            n = n_cells(len(block["members"]))
            part = values[block["offset"] : block["offset"] + n * block["n_bases"], targets.index(block["target"])]
            cells.setdefault(block["place"], []).append(part.reshape(-1, n))
    return {place: measure(np.concatenate(parts), alpha, level) for place, parts in cells.items()}


def publish_certification(campaign: Campaign, log: Any) -> list[dict[str, Any]]:
    """Write the certification table from all plans whose models exist.

    Parameters
    ----------
    campaign : Campaign
    log : logger
        Reports the experiments that are left out because models are missing.

    Returns
    -------
    list of dict
        Rows of the table.
    """
    by_key: dict[str, list[Plan]] = {}
    for plan in plans(campaign, "certify"):
        by_key.setdefault(plan.key, []).append(plan)
    trained = campaign.trained()
    rows: list[dict[str, Any]] = []
    for key, rounds in by_key.items():
        if all(_complete(plan, trained) for plan in rounds):
            rows += _rows(key, rounds, measure_sets(campaign, rounds))
        else:
            log.info("experiment %s is not complete and left out of the table", key)
    made_from = {"shares": plain(shares(rows)), "experiments": [*by_key]}
    publish(campaign, "certification", columns(rows, CERTIFICATION), made_from)
    return rows


def shares(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Compute the share of certified sets by origin.

    Parameters
    ----------
    rows : sequence of dict
        Rows of the certification table.

    Returns
    -------
    dict
        Origin to count, n, low and high, the 95% interval.

    Notes
    -----
    The headline, "reported", and the "random" sets beside it are those of the last experiment on the top sets alone:
    no other experiment adds to them or takes away, and an earlier one on the same sets does not count twice.
    """
    last = next((row["experiment"] for row in reversed(rows) if row["origin"] == "reported"), None)
    found = {}
    for origin in ("reported", "random", "kind", "exploratory", "named"):
        headline = last is not None and origin in ("reported", "random")
        counted = [row for row in rows if row["origin"] == origin and (not headline or row["experiment"] == last)]
        found[origin] = asdict(certified_share([row["verdict"] for row in counted]))
    return found


def _complete(plan: Plan, trained: Sequence[RowRange]) -> bool:
    return not missing_shards([plan.rows], trained, 10**9)


def _rows(key: str, rounds: Sequence[Plan], measured: dict[int, SetMeasurement]) -> list[dict[str, Any]]:
    rows = []
    models: dict[int, int] = {}
    for plan in rounds:
        for block in plan.content["sets"]:
            used = block["n_bases"] * n_cells(len(block["members"]))
            models[block["place"]] = models.get(block["place"], 0) + used
    for block in rounds[0].content["sets"]:
        candidate, found = candidate_of(block), measured[block["place"]]
        verdict = verdict_of(found.adjusted, candidate.predicted)
        rows.append(
            {
                "experiment": key,
                "place": block["place"],
                "origin": candidate.origin,
                "matched_to": candidate.matched_to,
                "target": candidate.target,
                "members": list(candidate.members),
                "order": candidate.order,
                "kind": candidate.kind,
                "class_split": candidate.class_split,
                "q_value": candidate.q_value,
                "banzhaf": candidate.banzhaf,
                "predicted": candidate.predicted,
                "measured": found.interaction.mean,
                "stderr": found.interaction.stderr,
                "low": found.interaction.low,
                "high": found.interaction.high,
                "adjusted_low": found.adjusted.low,
                "adjusted_high": found.adjusted.high,
                "level": found.adjusted.level,
                "verdict": verdict,
                "joint_surplus_predicted": candidate.joint_surplus,
                "joint_surplus": found.surplus.mean,
                "joint_surplus_low": found.surplus.low,
                "joint_surplus_high": found.surplus.high,
                "main_effects": [effect.mean for effect in found.main_effects],
                "main_effect_stderrs": [effect.stderr for effect in found.main_effects],
                "measured_kind": found.kind,
                "n_bases": found.interaction.n,
                "n_lost": found.n_lost,
                "n_models": models[block["place"]],
                "pairing": found.pairing,
                "reason": _sentence(candidate, found, verdict),
            }
        )
    return rows


def _sentence(candidate: Candidate, found: SetMeasurement, verdict: str) -> str:
    interval = found.interaction
    text = f"measured {interval.mean:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}] over {interval.n} base masks"
    if math.isfinite(candidate.predicted):
        text += f", predicted {candidate.predicted:+.2f}"
    if candidate.origin in ("kind", "exploratory"):
        text += f", reported as {candidate.kind.replace('_', ' ')} with q = {candidate.q_value:.2g}"
        text += f", measured kind: {found.kind.replace('_', ' ')}"
    adjusted = f"[{found.adjusted.low:+.2f}, {found.adjusted.high:+.2f}] at the level of all sets tried"
    why = {
        "certified": f"the interval {adjusted} excludes 0 with the predicted sign",
        "refuted": f"the interval {adjusted} excludes half of what was predicted",
        "undecided": f"the interval {adjusted} excludes neither 0 nor half of what was predicted",
    }[verdict]
    if not math.isfinite(candidate.predicted):
        excluded = "excludes" if verdict == "certified" else "does not exclude"
        why = f"nothing was predicted; the interval {adjusted} {excluded} 0"
    return f"{text}: {why}"


SHARES_LOGGED = (
    ("reported", "of the top sets are certified"),
    ("kind", "of the sets asked for by kind are certified"),
    ("exploratory", "of the exploratory sets (above the false discovery rate, or behind a closed gate) are certified"),
    ("random", "of the random sets are certified"),
)


def log_verdicts(rows: Sequence[dict[str, Any]], log: Any) -> None:
    """Log every verdict of an experiment, and the share of certified sets by origin.

    Parameters
    ----------
    rows : sequence of dict
        Rows of the certification table.
    log : logger
    """
    for row in rows:
        members = ", ".join(map(str, row["members"]))
        log.info("%-11s %-9s %s -> %d: %s", row["origin"], row["verdict"], members, row["target"], row["reason"])
    for origin, what in SHARES_LOGGED:
        share = certified_share([row["verdict"] for row in rows if row["origin"] == origin])
        if share.n:
            low, high = 100 * share.low, 100 * share.high
            log.info("%d of %d %s (95%% interval %.0f%% to %.0f%%)", share.count, share.n, what, low, high)
