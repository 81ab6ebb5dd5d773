"""Summaries of the `outputs` table: throughput of hosts, outcomes, reasons of failures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from attribution.duplicates.detectable_sizes import ClusterSizes, cluster_sizes
from flows.store.campaign import Campaign


@dataclass(frozen=True)
class HostThroughput:
    """Models one host trained on one kind of device; seconds_per_model is a slot's wall time for one model."""

    host: str
    device: str
    n_models: int
    seconds_per_model: float

    def row(self) -> dict[str, Any]:
        """As a row of a table of Prefect's."""
        return {
            "host": self.host,
            "device": self.device,
            "models": self.n_models,
            "seconds per model": float(f"{self.seconds_per_model:.4g}"),
        }


def throughput(campaign: Campaign) -> list[HostThroughput]:
    """By host and device, busiest first."""
    table = campaign.read("outputs", ["host", "device", "train_seconds"])
    trained = table.filter(pc.is_valid(table["host"]))
    grouped = trained.group_by(["host", "device"]).aggregate([("train_seconds", "count"), ("train_seconds", "mean")])
    hosts = [
        HostThroughput(row["host"], row["device"], row["train_seconds_count"], row["train_seconds_mean"] or 0.0)
        for row in grouped.to_pylist()
    ]
    return sorted(hosts, key=lambda found: (-found.n_models, found.host))


def failure_reasons(campaign: Campaign) -> Counter[tuple[str, str]]:
    """Models by (status, reason), those that are ok left out."""
    outputs = campaign.read("outputs", ["status", "reason"])
    return Counter(
        (status, reason)
        for status, reason in zip(outputs["status"].to_pylist(), outputs["reason"].to_pylist(), strict=True)
        if status != "ok"
    )


def outcome_counts(campaign: Campaign) -> dict[str, dict[str, int]]:
    """Rows by role and status; reads the status column of every fragment."""
    counts: dict[str, dict[str, int]] = {}
    table: Any = campaign.read("outputs", ["mask_id", "replicate", "status"])
    from flows.store.roles import role_of

    for mask_id, replicate, status in zip(
        table["mask_id"].to_pylist(), table["replicate"].to_pylist(), table["status"].to_pylist(), strict=True
    ):
        key = role_of(mask_id) if replicate == 0 else f"{role_of(mask_id)} again"
        by_status = counts.setdefault(key, {})
        by_status[status] = by_status.get(status, 0) + 1
    return counts


def copies_seen(campaign: Campaign, n_masks: int) -> ClusterSizes:
    """Of n_masks fit masks those of the campaign's own alpha; where it has several, masks take them in turn."""
    own = max(1, n_masks // len(campaign.meta.get("alphas") or [None]))
    return cluster_sizes(own, float(campaign.meta["alpha"]), campaign.n_players)
