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
from conf.schema import CampaignConfig, identity_settings
from flows.decisions.evidence import curate_campaign, curation_key, n_fit_masks
from flows.decisions.features import player_features
from flows.decisions.planted_scores import planted_scores
from flows.errors import StoreError
from flows.experiments.label_models import label_check
from flows.experiments.race import Race, candidate_rules, run_race
from flows.experiments.verify_sentences import extrapolates
from flows.games.retraining import from_dataset
from flows.games.table import UnknownGame, full_identity, make_game, refuse_other_games, require_evaluation
from flows.players.load import load_planted
from flows.runtime.logs import stage_logger
from flows.runtime.wording import plural
from flows.store.campaign import Campaign
from flows.store.derived import about, columns, history, keep_history, plain, publish, read_derived
from flows.store.learnability import campaign_learnability, require_learnt
from flows.store.queries import copies_seen
from flows.store.schemas import DECISIONS
from training import Dataset
from training.data.planting import NOTHING, Planted

OUTPUTS_ARE_ENOUGH = ("recorded", "trainer")


@dataclass(frozen=True)
class CurateSummary:
    """Players by decision.

    Attributes
    ----------
    kept : int
        Players to keep.
    dropped : int
        Players to drop.
    to_review : int
        Players to review.
    """

    kept: int
    dropped: int
    to_review: int


@flow(name="curate", flow_run_name="{config.name} curate", persist_result=False)
def curate(config: CampaignConfig) -> CurateSummary:
    """Decide about every player; a no-op when nothing the decisions depend on has changed.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    CurateSummary

    Raises
    ------
    NothingLearnt
        When the campaign's models are not above chance, unless curate.allow_unlearnable is set.
    CampaignMismatch
        If the folder belongs to another campaign.
    """
    log = stage_logger()
    campaign = Campaign(config.campaign.folder)
    key = curation_key(config, campaign)
    current = about(campaign, "decisions")
    if current is not None and current["key"] == key and _readable(campaign, log):
        log.info("the decisions are up to date")
        return CurateSummary(**current["counts"])
    if config.game.kind == "trainer" and config.curate.race_models:
        raise UnknownGame(
            "a race of rules (curate.race_models) trains networks of this project's own, which game.kind=trainer does "
            "not have. Set curate.race_models=0"
        )
    if config.game.kind not in OUTPUTS_ARE_ENOUGH:  # decided from outputs, without a model trained for it
        refuse_other_games(config, "curate")
    elif config.curate.race_models:
        require_evaluation(config, "a race of rules (curate.race_models)")
    log.info("%s", require_learnt(campaign, config.curate.allow_unlearnable))
    dataset, planted = _data(config, campaign, log)
    with campaign.lock():
        labels = None if dataset is None else label_check(config, campaign, dataset, log)
        races: list[Race] = []

        def chooser(evidence: Evidence, n_keep: int, least: dict[int, int]) -> np.ndarray:
            assert dataset is not None  # a race needs a game that evaluates
            features = player_features(config, campaign, dataset)
            candidates = candidate_rules(config, evidence, n_keep, least, features)
            races.append(run_race(config, campaign, dataset, candidates, evidence.player_classes, log))
            return races[0].keep

        racing = chooser if config.curate.race_models else None
        evidence, found = curate_campaign(config, campaign, dataset, labels, racing)
        rows = _rows(campaign, evidence, found)
        counts = Counter(row["decision"] for row in rows)
        summary = CurateSummary(counts["keep"], counts["drop"], counts["review"])
        scores = planted_scores(planted, evidence, found, 0 if dataset is None else len(dataset.train))
        sizes = copies_seen(campaign, n_fit_masks(campaign))
        learnt = campaign_learnability(campaign) if campaign.meta.get("margins", True) else None
        description = {
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
            "n_fit": n_fit_masks(campaign),
            "learnability": {} if learnt is None else {**vars(learnt), "learnt": learnt.learnt},
            "n_accused": int(found.accused.sum()),
            "labels_checked": labels is not None,
            "race": {"winner": races[0].winner, "sentence": races[0].sentence} if races else {},
        }
        changed = changes_since_last(campaign, rows)
        description["changes"] = changed
        publish(campaign, "decisions", columns(rows, DECISIONS), plain(description))
        decided = {str(row["player"]): row["decision"] for row in rows if row["decision"] != "keep"}
        keep_history(campaign, "decisions", plain({**description, "decisions": decided}))
    for race in races:
        log.info("%s", race.sentence)
    stays = float(found.keep.mean())  # those to review stay as well
    if found.solution is not None and extrapolates(stays, evidence.surrogate.alpha, len(rows)):
        log.warning(
            "the budget keeps %.0f%% of the players, effects were measured on sets of about %.0f%%: this extrapolates. "
            "A campaign planned with sampler.other_alphas=[%.2g], in a folder of its own, measures them at that size",
            100 * stays, 100 * evidence.surrogate.alpha, stays,
        )  # fmt: skip
    log.info("%s kept, %d dropped, %d to review", plural(summary.kept, "player"), summary.dropped, summary.to_review)
    for row in rows:
        if row["decision"] != "keep":
            log.info("%-6s %s (%s): %s", row["decision"], row["name"], row["class_name"], row["reason"])
    if changed:
        log.info("%s", changed["sentence"])
    log.info("at alpha = %g %s; larger groups of copies are not found by interactions", campaign.meta.alpha, sizes)
    _report_planted(scores, log)
    return summary


def _data(config: CampaignConfig, campaign: Campaign, log: Any) -> tuple[Dataset | None, Planted]:
    """The pictures and what was planted in them; None and nothing for a recorded bank."""
    if config.game.kind == "trainer":  # nothing of the user's runs: their rows and outputs are in the folder
        campaign.check_identity(identity_settings(config))
        log.info("a trainer of your own: no model checks labels, and nothing is compared by its looks")
        return None, NOTHING
    if config.game.kind == "recorded":
        campaign.check_identity(full_identity(config, make_game(config)))
        log.info("a recorded bank: no model checks labels, and nothing is compared by its looks")
        return None, NOTHING
    dataset, planted = load_planted(config)
    campaign.check_identity(full_identity(config, from_dataset(config, dataset)))
    return dataset, planted


def changes_since_last(campaign: Campaign, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Compare decisions with the last ones: how many changed, and how many of these go beyond noise.

    A change is beyond noise where the player's main effect on the utility excludes 0 at 95%, or where a rule other than
    the budget decides.

    Parameters
    ----------
    campaign : Campaign
    rows : list of dict
        Rows of the table of decisions.

    Returns
    -------
    dict
        n_changed, n_clear, since (key of the last decisions) and sentence; empty for a campaign's first
        decisions.
    """
    earlier = history(campaign, "decisions")
    if not earlier:
        return {}
    before = earlier[-1]["decisions"]
    differing = [row for row in rows if before.get(str(row["player"]), "keep") != row["decision"]]
    clear = [
        row for row in differing
        if row["effect_low"] > 0 or row["effect_high"] < 0 or row["rule"] in ("mislabelled", "look_alike", "redundant")
    ]  # fmt: skip
    noise = len(differing) - len(clear)
    sentence = (
        f"{len(differing)} of {plural(len(rows), 'decision')} {'differs' if len(differing) == 1 else 'differ'} from "
        f"those of {earlier[-1]['created']}"
    )
    if differing:
        sentence += (
            f"; of these, {noise} {'concerns a player' if noise == 1 else 'concern players'} whose effect is not "
            "distinguishable from 0 (noise)"
        )
    return {"n_changed": len(differing), "n_clear": len(clear), "since": earlier[-1]["key"], "sentence": sentence}


def _readable(campaign: Campaign, log: Any) -> bool:
    """Whether the decisions can be read; they are recomputed otherwise."""
    try:
        read_derived(campaign, "decisions")
    except StoreError as error:
        log.warning("the decisions are recomputed: %s", error)
        return False
    return True


def _rows(campaign: Campaign, evidence: Evidence, found: Curation) -> list[dict[str, Any]]:
    names = evidence.names
    rows = []
    for decision in found.decisions:
        player = decision.player
        label = int(evidence.player_classes[player])
        row = {
            "player": player,
            "name": names[player],
            "class_name": evidence.class_names[label] if label >= 0 else "",
            "harm_q": found.harm_q[player],
            "label_score": None if evidence.labels is None else evidence.labels.score[player],
            "label_q": None if evidence.labels is None else evidence.labels.q_value[player],
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


def _report_planted(scores: dict[str, Any], log: Any) -> None:
    if "labels" in scores:
        log.info("planted wrong labels: average precision %.2f", scores["labels"]["average_precision"])
    if "copies" in scores:
        copies = scores["copies"]
        log.info(
            "planted copies: %d of %d pairs found (recall %.2f, precision %.2f); %d of %d clusters matter to an output",
            copies["n_found"], copies["n_pairs"], copies["recall"], copies["precision"], copies["n_matter"],
            copies["n_clusters"],
        )
