"""Figures of finished campaigns as a markdown table.

python benchmarks/campaigns/figures.py runs/quickstart runs/cifar2
"""

from __future__ import annotations

import sys

import numpy as np

from flows.store.campaign import Campaign
from flows.store.faithfulness import read_faithfulness
from flows.store.history import runs


def figures(campaign: Campaign) -> dict[str, str]:
    """What one campaign took and found. Medians are over the single targets explained, averages left out."""
    outputs = campaign.read("outputs", ["status", "target_accuracy", "audit_accuracy", "train_seconds"])
    scores = [row for row in read_faithfulness(campaign).values() if not row.is_mean]
    found = [
        row
        for row in campaign.read("interactions").to_pylist()
        if row["gate_open"] and row["q_value"] <= 0.1 and row["target"] >= 0
    ]
    record = runs(campaign)[0]
    seconds = record["seconds_by_stage"]
    again = _ceilings(campaign)

    def mean(name: str) -> float:
        return float(np.nanmean(outputs[name].to_numpy(zero_copy_only=False)))

    def median_r2(estimator: str) -> str:
        return f"{np.median([row.r2(estimator).value for row in scores]):.3f}"

    statuses = outputs["status"].to_pylist()
    n_open = sum(row.gate_open for row in scores)
    sets = {tuple(row["members"]) for row in found}
    return {
        "models (diverged or failed)": f"{len(statuses):,} ({sum(status != 'ok' for status in statuses)})",
        "seconds of one core per model": f"{mean('train_seconds'):.3f}",
        "whole run, minutes": f"{sum(seconds.values()) / 60:.1f}",
        "of that attribution, seconds": f"{seconds['attribute']:.0f}",
        "accuracy on targets / audit examples": f"{mean('target_accuracy'):.3f} / {mean('audit_accuracy'):.3f}",
        "noise ceiling, median of all targets": f"{np.median(again):.2f}",
        "targets explained": f"{len(scores)}",
        "noise ceiling, median": f"{np.median([row.noise_ceiling.value for row in scores]):.2f}",
        "held-out R², datamodel, median": median_r2("datamodel"),
        "held-out R², proxy, median": median_r2("proxy"),
        "held-out R², spectrum, median": median_r2("spectrum"),
        "targets with / without evidence of interactions": f"{n_open} / {len(scores) - n_open}",
        "interactions at q ≤ 0.1 (distinct sets)": f"{len(found)} ({len(sets)})",
        "of them redundancies": f"{sum(row['kind'] == 'redundancy' for row in found)}",
    }


def _ceilings(campaign: Campaign) -> np.ndarray:
    """Correlation of every target's outputs between two trainings of the held-out masks."""
    first, second = campaign.training_pairs("holdout", 0), campaign.training_pairs("holdout", 1)
    _, one, two = np.intersect1d(first.mask_ids, second.mask_ids, return_indices=True)
    a, b = (x - x.mean(axis=0) for x in (first.outputs[one], second.outputs[two]))
    return (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))


def main(folders: list[str]) -> None:
    columns = {folder: figures(Campaign(folder)) for folder in folders}
    names = [Campaign(folder).meta["name"] for folder in folders]
    print(f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for row in next(iter(columns.values())):
        print(f"| {row} | {' | '.join(columns[folder][row] for folder in folders)} |")


if __name__ == "__main__":
    main(sys.argv[1:] or ["runs/quickstart"])
