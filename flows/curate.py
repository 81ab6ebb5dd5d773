"""Stage curate: from effects and interactions over all targets to a decision for every player."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from prefect import flow

from attribution.curation.evidence import Evidence
from attribution.curation.rules import Curation
from attribution.levels import Z95
from conf.schema import CampaignConfig
from flows.decisions.evidence import curate_campaign, curation_key, n_fit_masks
from flows.decisions.planted_scores import planted_scores
from flows.errors import StoreError
from flows.games.retraining import from_dataset
from flows.games.table import full_identity, refuse_other_games
from flows.runtime.logs import stage_logger
from flows.store.campaign import Campaign
from flows.store.derived import about, columns, plain, publish, read_derived
from flows.store.examples import load_planted
from flows.store.queries import copies_seen
from flows.store.schemas import DECISIONS
from training.data.planting import Planted


@dataclass(frozen=True)
class CurateSummary:
    """Players by decision."""

    kept: int
    dropped: int
    to_review: int


@flow(name="curate", persist_result=False)
def curate(config: CampaignConfig) -> CurateSummary:
    """Decide about every player; a no-op when nothing the decisions depend on has changed."""
    log = stage_logger()
    campaign = Campaign(config.campaign.folder)
    key = curation_key(config, campaign)
    current = about(campaign, "decisions")
    if current is not None and current["key"] == key and _readable(campaign, log):
        log.info("the decisions are up to date")
        return CurateSummary(**current["counts"])
    refuse_other_games(config, "curate")
    dataset, planted = load_planted(config)
    campaign.check_identity(full_identity(config, from_dataset(config, dataset)))
    with campaign.lock():
        evidence, found = curate_campaign(config, campaign, dataset)
        rows = _rows(campaign, evidence, found)
        counts = Counter(row["decision"] for row in rows)
        summary = CurateSummary(counts["keep"], counts["drop"], counts["review"])
        scores = planted_scores(planted, evidence, found)
        sizes = copies_seen(campaign, n_fit_masks(campaign))
        told = {
            "key": key,
            "analysis": (campaign.analysis or {}).get("key"),
            "settings": config.curate.model_dump(mode="json"),
            "counts": vars(summary),
            "rules": dict(Counter(f"{row['decision']}: {row['rule']}" for row in rows)),
            "n_clusters": len(found.clusters),
            "cluster_sizes": vars(sizes),
            "surrogate_value_full": float(evidence.objective.predict(np.ones((1, campaign.n_players), bool))[0]),
            "surrogate_value_decided": float(evidence.objective.predict(found.keep[None])[0]),
            "planted": scores,
        }
        publish(campaign, "decisions", columns(rows, DECISIONS), plain(told))
    log.info("%d players kept, %d dropped, %d to review", summary.kept, summary.dropped, summary.to_review)
    for row in rows:
        if row["decision"] != "keep" and row["rule"] not in ("budget", "near_duplicate"):
            log.info("%-6s player %d (%s): %s", row["decision"], row["player"], row["class_name"], row["reason"])
    log.info("at alpha = %g %s; larger clusters hide", campaign.meta.alpha, sizes)
    _tell_planted(planted, scores, log)
    return summary


def _readable(campaign: Campaign, log: Any) -> bool:
    """Whether the decisions can be read; they are made anew otherwise."""
    try:
        read_derived(campaign, "decisions")
    except StoreError as error:
        log.warning("the decisions are made anew: %s", error)
        return False
    return True


def _rows(campaign: Campaign, evidence: Evidence, found: Curation) -> list[dict[str, Any]]:
    names = list(campaign.meta.player_names)
    rows = []
    for decision in found.decisions:
        player = decision.player
        label = int(evidence.player_classes[player])
        row = {
            "player": player,
            "name": names[player],
            "class_name": evidence.class_names[label] if label >= 0 else "",
            "harm_q": found.harm_q[player],
            "n_own_class_hurt": found.n_hurt[player],
            "n_own_class_explained": found.n_explained[player],
            "cost_of_dropping": None if found.solution is None else found.solution.cost[player],
        }
        for prefix, effects in (("effect", evidence.overall), ("own_class", evidence.own_class)):
            value, half = float(effects.effect[player]), Z95 * float(effects.stderr[player])
            row |= {f"{prefix}_low": value - half, f"{prefix}_high": value + half}
            row["effect" if prefix == "effect" else "own_class_effect"] = value
        for name in (
            "decision", "rule", "reason", "cluster", "stands_in", "protected_by", "evidence", "look_alike", "matters",
        ):  # fmt: skip
            row[name] = getattr(decision, name)
        rows.append(row)
    return rows


def _tell_planted(planted: Planted, scores: dict[str, Any], log: Any) -> None:
    if len(planted.flipped):
        log.info("planted wrong labels: average precision %.2f", scores["labels"]["average_precision"])
    if planted.clusters:
        told = scores["copies"]
        log.info(
            "planted copies: %d of %d pairs found (recall %.2f, precision %.2f); %d of %d clusters matter to an output",
            told["n_found"], told["n_pairs"], told["recall"], told["precision"], told["n_matter"], told["n_clusters"],
        )
