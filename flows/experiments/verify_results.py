"""What a verification measured: one row a model, one row a comparison."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa

from attribution.experiments.comparison import Difference, compare
from flows.experiments.plans import Plan
from flows.experiments.results import read_results
from flows.experiments.verify_sentences import leaked_sentence, measure_of, summary
from flows.store.campaign import Campaign
from flows.store.derived import columns, keep_history, plain, publish
from flows.store.examples import leaked_positions, split_labels
from flows.store.schemas import COMPARISONS, verification_schema

ARMS_COMPARED = ("random", "main_effects", "embedding")


def publish_verification(campaign: Campaign, plan: Plan) -> dict[str, Any]:
    """Write verification.parquet and comparisons.parquet.

    Parameters
    ----------
    campaign : Campaign
    plan : Plan

    Returns
    -------
    dict
        The headline, the sentences and what else `summary` returns; the keys of the plan and its decisions.
    """
    labels = split_labels(campaign, "audit")
    outputs, seconds, status = read_results(campaign, plan, len(labels))
    # Of margins whether the model is right; of other outputs the output itself.
    judged = (outputs > 0).astype(np.float64) if measure_of(plan).is_accuracy else outputs.astype(np.float64)
    correct = np.where(np.isfinite(outputs), judged, np.nan)
    table = _rows(campaign, plan, outputs, correct, labels, seconds, status)
    publish(campaign, "verification", table, {"key": plan.key})
    rows = comparisons(plan, correct, labels, list(campaign.meta.class_names))
    found = {"key": plan.key, "decisions": plan.content.get("decisions"), **summary(plan, rows)}
    found["sentences"] += _without_leaked(campaign, plan, correct, found["headline"])
    publish(campaign, "comparisons", columns(rows, COMPARISONS), plain(found))
    keep_history(campaign, "comparisons", plain(found))
    return found


def _without_leaked(
    campaign: Campaign, plan: Plan, correct: np.ndarray, headline: dict[str, Any]
) -> list[str]:
    """The headline's difference once more, on the audit examples that no model was trained on or chosen by."""
    leaked = sorted(leaked_positions(campaign, "audit"))
    if not leaked:
        return []
    left = np.delete(correct, leaked, axis=1)
    arms = {
        block["arm"]: left[block["offset"] : block["offset"] + block["n_seeds"]]
        for block in plan.content["blocks"]
        if block["declared"] and block["architecture"] == "first"
    }
    apart = compare(arms["curated"], arms["random"], headline["level"])
    return [leaked_sentence(len(leaked), correct.shape[1], apart)]


def _rows(
    campaign: Campaign, plan: Plan, outputs: np.ndarray, correct: np.ndarray, labels: np.ndarray,
    seconds: np.ndarray, status: list[str],
) -> pa.Table:  # fmt: skip
    classes = range(len(campaign.meta.class_names))
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
    """Compare the decided set with every other arm, at every size.

    Intervals are over seeds and audit examples together and simultaneous (Bonferroni) over what is claimed together:
    the comparisons of one network at the declared size, all comparisons of the removal curve, and the classes.

    Parameters
    ----------
    plan : Plan
    correct : (n_models, n_audit) float64
        1 where the model is right, 0 where not, NaN where it diverged.
    labels : (n_audit,) int64
    class_names : list of str

    Returns
    -------
    list of dict
        One row for each comparison.
    """
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
    n_curve = sum(not is_declared for is_declared in declared.values())
    n = len(plan.content["classes"])
    rows = []
    for (architecture, size), found in arms.items():
        keys = {"architecture": architecture, "n_keep": size, "share": size / n, "declared": declared[size]}
        others = {arm: found[arm] for arm in ARMS_COMPARED if arm in found}
        if declared[size]:
            others["full"] = full[architecture]
        together = len(others) if declared[size] else len(others) * n_curve
        for arm, against in others.items():
            rows.append(_row(keys, arm, "", compare(found["curated"], against, level / together), together))
        if declared[size]:
            rows += _rows_by_class(keys, found, labels, class_names, level)
    return rows


def _rows_by_class(
    keys: dict[str, Any], found: dict[str, np.ndarray], labels: np.ndarray, class_names: list[str], level: float
) -> list[dict[str, Any]]:
    """Every class against class-balanced random removal, intervals simultaneous over the classes."""
    present = [number for number in range(len(class_names)) if (labels == number).any()]
    rows = []
    for number in present:
        own = labels == number
        apart = compare(found["curated"][:, own], found["random"][:, own], level / len(present))
        rows.append(_row(keys, "random", class_names[number], apart, len(present)))
    return rows


def _row(keys: dict[str, Any], against: str, class_name: str, found: Difference, together: int) -> dict[str, Any]:
    measured = (
        "accuracy", "accuracy_against", "difference", "low", "high", "low_seeds", "high_seeds", "smallest", "level",
        "n_examples", "verdict",
    )  # fmt: skip
    return {
        **keys,
        "arm": "curated",
        "against": against,
        "class_name": class_name,
        **{name: getattr(found, name) for name in measured},
        "n_together": together,
        "n_seeds": found.n,
    }


def report_comparison(found: dict[str, Any], log: Any) -> None:
    """Log what was found, the bad with the good.

    Parameters
    ----------
    found : dict
        As `publish_verification` returns it.
    log : logger
    """
    for sentence in found["sentences"]:
        log.info(sentence)
    if found["warning"]:
        log.warning(found["warning"])
