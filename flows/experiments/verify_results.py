"""What a verification measured: one row a model, one row a comparison, and plain sentences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa

from attribution.experiments.comparison import Difference, compare
from flows.experiments.plans import Plan
from flows.experiments.results import read_results
from flows.store.campaign import Campaign
from flows.store.derived import columns, plain, publish
from flows.store.schemas import COMPARISONS, verification_schema
from training import Dataset


def publish_verification(campaign: Campaign, plan: Plan, dataset: Dataset) -> dict[str, Any]:
    """Write verification.parquet and comparisons.parquet; what they say in short."""
    labels = dataset.audit.labels
    outputs, seconds, status = read_results(campaign, plan, len(labels))
    correct = np.where(np.isfinite(outputs), (outputs > 0).astype(np.float64), np.nan)
    table = _rows(campaign, plan, outputs, correct, labels, seconds, status)
    publish(campaign, "verification", table, {"key": plan.key})
    rows = comparisons(plan, correct, labels, list(campaign.meta["class_names"]))
    told = {"key": plan.key, **summary(plan, rows)}
    publish(campaign, "comparisons", columns(rows, COMPARISONS), plain(told))
    return told


def _rows(
    campaign: Campaign, plan: Plan, outputs: np.ndarray, correct: np.ndarray, labels: np.ndarray,
    seconds: np.ndarray, status: list[str],
) -> pa.Table:  # fmt: skip
    classes = range(len(campaign.meta["class_names"]))
    masks, _ = campaign.masks(plan.rows)
    rows = []
    for block in plan.content["blocks"]:
        for index in range(block["n_seeds"]):
            at = block["offset"] + index
            by_class = [float(correct[at, labels == c].mean()) if (labels == c).any() else math.nan for c in classes]
            rows.append(
                {
                    "mask_id": plan.rows.mask_ids.start + at,
                    "plan": plan.key,
                    **{name: block[name] for name in ("architecture", "arm", "n_keep", "share", "declared")},
                    "seed_index": index,
                    "removed": np.flatnonzero(~masks[at]).tolist(),
                    "status": status[at],
                    "accuracy": float(correct[at].mean()),
                    "class_accuracy": by_class,
                    "outputs": outputs[at].tolist() if status[at] == "ok" else None,
                    "train_seconds": float(seconds[at]),
                }
            )
    return pa.Table.from_pylist(rows, schema=verification_schema(len(labels), len(classes)))


def comparisons(plan: Plan, correct: np.ndarray, labels: np.ndarray, class_names: list[str]) -> list[dict[str, Any]]:
    """The decided set against every other arm. At the declared size each interval is at the level; over the curve's
    sizes they are simultaneous (Bonferroni)."""
    level = float(plan.content["settings"]["level"])
    arms: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    declared: dict[int, bool] = {}
    full: dict[str, np.ndarray] = {}
    for block in plan.content["blocks"]:
        part = correct[block["offset"] : block["offset"] + block["n_seeds"]]
        if block["arm"] == "full":
            full[block["architecture"]] = part
        else:
            arms.setdefault((block["architecture"], block["n_keep"]), {})[block["arm"]] = part
            declared[block["n_keep"]] = block["declared"]
    n_curve = max(1, sum(not is_declared for is_declared in declared.values()))
    n = len(plan.content["classes"])
    rows = []
    for (architecture, size), found in arms.items():
        at_level = level if declared[size] else level / n_curve
        keys = {"architecture": architecture, "n_keep": size, "share": size / n, "declared": declared[size]}
        for arm in ("random", "main_effects", "embedding"):
            rows.append(_row(keys, arm, "", compare(found["curated"], found[arm], at_level)))
        if declared[size]:
            rows.append(_row(keys, "full", "", compare(found["curated"], full[architecture], at_level)))
            for number, name in enumerate(class_names):
                own = labels == number
                if own.any():
                    apart = compare(found["curated"][:, own], found["random"][:, own], at_level)
                    rows.append(_row(keys, "random", name, apart))
    return rows


def _row(keys: dict[str, Any], against: str, class_name: str, found: Difference) -> dict[str, Any]:
    return {
        **keys,
        "arm": "curated",
        "against": against,
        "class_name": class_name,
        "accuracy": found.accuracy,
        "accuracy_against": found.accuracy_against,
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "low_examples": found.low_examples,
        "high_examples": found.high_examples,
        "level": found.level,
        "n_seeds": found.n,
        "verdict": found.verdict,
    }


def summary(plan: Plan, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The headline, plain sentences, and the surrogate's prediction beside what was measured."""
    own = [row for row in rows if row["declared"] and row["class_name"] == "" and row["architecture"] == "first"]
    headline = next(row for row in own if row["against"] == "random")
    n, alpha = len(plan.content["classes"]), float(plan.content["alpha"])
    sentences = [_sentence(row) for row in rows if row["declared"] and row["class_name"] == ""]
    sentences += _curve_sentence([row for row in rows if not row["declared"] and row["against"] == "random"])
    checked = []
    for row in rows:
        if row["against"] == "main_effects" and row["class_name"] == "" and row["architecture"] == "first":
            predicted = plan.content["surrogate"][str(row["n_keep"])]
            gain = predicted["curated"] - predicted["embedding"]
            beside = next(
                other for other in rows
                if other["against"] == "embedding" and other["n_keep"] == row["n_keep"]
                and other["class_name"] == "" and other["architecture"] == "first"
            )  # fmt: skip
            checked.append(
                {
                    "n_keep": row["n_keep"],
                    "predicted_over_embedding": gain,
                    "measured_over_embedding": beside["difference"],
                    "extrapolates": extrapolates(row["n_keep"] / n, alpha, n),
                }
            )
    return {
        "headline": headline,
        "sentences": sentences,
        "surrogate_check": checked,
        "warning": _warning(headline, alpha, n),
    }


def extrapolates(share: float, alpha: float, n_players: int) -> bool:
    """Whether a size lies outside what the campaign's masks covered (three standard deviations of their size)."""
    return abs(share - alpha) > 3 * math.sqrt(alpha * (1 - alpha) / n_players)


def _warning(headline: dict[str, Any], alpha: float, n: int) -> str:
    if not extrapolates(headline["n_keep"] / n, alpha, n):
        return ""
    return (
        f"the decision keeps {headline['share']:.0%} of the players, the effects were measured on sets of about "
        f"{alpha:.0%}: the surrogate extrapolates"
    )


def _sentence(row: dict[str, Any]) -> str:
    names = {
        "random": "class-balanced random removal",
        "main_effects": "removal by main effects alone",
        "embedding": "removal of embedding near duplicates",
        "full": "the full set",
    }
    beats = {
        "better": "beats",
        "worse": "is worse than",
        "no difference shown": "did not beat",
        "too few models to tell": "has too few models to be compared with",
    }[row["verdict"]]
    if row["against"] == "full" and row["verdict"] == "no difference shown":
        beats = "is not told from"
    where = "" if row["architecture"] == "first" else " under the second architecture"
    return (
        f"The decided set of {row['n_keep']} players {beats} {names[row['against']]}{where}: audit accuracy "
        f"{100 * row['accuracy']:.1f}% against {100 * row['accuracy_against']:.1f}%, difference "
        f"{100 * row['difference']:+.2f} points [{100 * row['low']:+.2f}, {100 * row['high']:+.2f}] over "
        f"{row['n_seeds']} seeds."
    )


def _curve_sentence(rows: list[dict[str, Any]]) -> list[str]:
    """What the removal curve says against class-balanced random removal; none without a curve."""
    if not rows:
        return []
    told = [f"{row['n_keep']} kept {100 * row['difference']:+.1f} points ({row['verdict']})" for row in rows]
    many = f"{len(rows)} other sizes" if len(rows) > 1 else "one other size"
    return [
        f"At {many}, against class-balanced random removal ({rows[0]['n_seeds']} seeds, intervals simultaneous over "
        f"sizes): {', '.join(told)}."
    ]


def tell(told: dict[str, Any], log: Any) -> None:
    """Log what was found, the bad with the good."""
    for sentence in told["sentences"]:
        log.info(sentence)
    if told["warning"]:
        log.warning(told["warning"])
