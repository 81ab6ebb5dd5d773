"""Summaries of a campaign: throughput of hosts, outcomes, reasons of failures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from attribution.duplicates.detectable_sizes import DetectableSizes, detectable_sizes
from flows.store.campaign import Campaign
from flows.store.roles import RowRange


@dataclass(frozen=True)
class HostThroughput:
    """Count the models that one host trained on one kind of device.

    Attributes
    ----------
    host : str
    device : str
    n_models : int
    seconds_per_model : float
        A slot's mean wall time for one model, in seconds.
    """

    host: str
    device: str
    n_models: int
    seconds_per_model: float

    def row(self) -> dict[str, Any]:
        """Return the figures as a row of one of Prefect's tables.

        Returns
        -------
        dict
            Column to value; seconds per model has four significant digits.
        """
        return {
            "host": self.host,
            "device": self.device,
            "models": self.n_models,
            "seconds per model": float(f"{self.seconds_per_model:.4g}"),
        }


def throughput(campaign: Campaign) -> list[HostThroughput]:
    """Measure the throughput by host and device.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    list of HostThroughput
        The one with the most models first.
    """
    table = campaign.read("outputs", ["host", "device", "train_seconds"])
    trained = table.filter(pc.is_valid(table["host"]))
    grouped = trained.group_by(["host", "device"]).aggregate([("train_seconds", "count"), ("train_seconds", "mean")])
    hosts = [
        HostThroughput(row["host"], row["device"], row["train_seconds_count"], row["train_seconds_mean"] or 0.0)
        for row in grouped.to_pylist()
    ]
    return sorted(hosts, key=lambda found: (-found.n_models, found.host))


def failure_reasons(campaign: Campaign) -> Counter[tuple[str, str]]:
    """Count models of every table by status and reason; those that are ok are left out.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    Counter
        (status, reason) to number of models.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for _, found in campaign.outcomes(["status", "reason"]):
        counts.update(zip(found["status"].to_pylist(), found["reason"].to_pylist(), strict=True))
    return Counter({key: n for key, n in counts.items() if key[0] != "ok"})


def alike(counts: Mapping[str, int]) -> Counter[str]:
    """Count reasons together that differ in numbers alone, such as a seed or the name of a log.

    Parameters
    ----------
    counts
        Reason to number of models.

    Returns
    -------
    Counter
        The first reason of each kind to the number of models of that kind.

    Examples
    --------
    >>> alike({"out of memory (seed 7)": 1, "out of memory (seed 12)": 2, "no licence": 1})
    Counter({'out of memory (seed 7)': 3, 'no licence': 1})
    """
    first: dict[str, str] = {}
    found: Counter[str] = Counter()
    for reason, count in counts.items():
        found[first.setdefault(re.sub(r"\d+", "#", reason), reason)] += count
    return found


def outcome_counts(campaign: Campaign) -> dict[str, dict[str, int]]:
    """Count rows by kind of row and status, over every table of outcomes.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    dict
        Kind (`kind_of`) to status to number of rows.
    """
    counts: dict[str, Counter[str]] = {}
    experiment = experiment_of(campaign)
    for rows, found in campaign.outcomes(["status"]):
        counts.setdefault(kind_of(rows, experiment), Counter()).update(found["status"].to_pylist())
    return {kind: dict(found) for kind, found in counts.items()}


def experiment_of(campaign: Campaign) -> Callable[[RowRange], str]:
    """Return a function from rows of role verify to the experiment they belong to, by the names of the frozen plans.

    Verifications, searches for brittleness, label checks and races of rules share that role.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    callable
        RowRange to the plan's kind; to the role for rows of another role, or of no plan.
    """
    found = []
    for path in campaign.folder.glob("plans/*.json"):
        kind, first, last = path.stem.rsplit("-", 2)
        if kind != "certify" and first.isdigit() and last.isdigit():
            found.append((kind, int(first), int(last)))

    def kind_of_plan(rows: RowRange) -> str:
        if rows.role != "verify":
            return rows.role
        return next((kind for kind, first, last in found if first <= rows.first < max(last, first + 1)), rows.role)

    return kind_of_plan


def kind_of(rows: RowRange, experiment: Callable[[RowRange], str] | None = None) -> str:
    """Name rows for a person: their experiment or role, and `again` for replicates of it.

    Parameters
    ----------
    rows : RowRange
    experiment : callable, optional
        `experiment_of` the campaign; the role alone without it.

    Returns
    -------
    str
    """
    kind = rows.role if experiment is None else experiment(rows)
    return kind if rows.replicate == 0 else f"{kind} again"


def copies_seen(campaign: Campaign, n_masks: int) -> DetectableSizes:
    """Compute the detectable sizes for the fit masks of the campaign's own alpha.

    Parameters
    ----------
    campaign : Campaign
    n_masks : int
        Fit masks of all alphas; where there are several, the masks take them in turn.

    Returns
    -------
    DetectableSizes
    """
    own = max(1, n_masks // len(campaign.meta.alphas or [None]))
    return detectable_sizes(own, campaign.meta.alpha, campaign.n_players)
