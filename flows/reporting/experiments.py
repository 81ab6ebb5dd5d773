"""What the report says of experiments: interactions put to the test, and a decision compared by retraining."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flows.reporting.images import Gallery, Picture
from flows.storage.files import read_table
from flows.store.campaign import Campaign
from flows.store.derived import about, current_comparison, verdicts
from flows.store.schemas import CERTIFICATION


@dataclass(frozen=True)
class Trial:
    """One set that was put to the test by retraining."""

    target: Picture
    members: tuple[Picture, ...]
    origin: str
    predicted: float
    measured: float
    low: float
    high: float
    n_bases: int
    verdict: str


@dataclass(frozen=True)
class Experiments:
    """Everything that was tried; empty where nothing was.

    verdicts: {(target, members): row of the certification table}. shares: {origin: count, n, low, high}. decided:
    counts of kept, dropped and players to review. sentences: what the comparison of these decisions by retraining
    says, one each. outdated: what else exists, and of which earlier analysis or decisions.
    """

    trials: tuple[Trial, ...] = ()
    verdicts: dict[tuple[int, tuple[int, ...]], dict[str, Any]] = field(default_factory=dict)
    shares: dict[str, dict[str, Any]] = field(default_factory=dict)
    decided: dict[str, int] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()
    warning: str = ""
    outdated: tuple[str, ...] = ()


def read_experiments(campaign: Campaign, gallery: Gallery) -> Experiments:
    """Read the tables of certify, curate and verify that exist. Raises StoreError for one that cannot be read."""
    path = campaign.folder / "certification.parquet"
    rows = []
    if path.is_file():
        rows = read_table(path, CERTIFICATION, identity=campaign.meta["identity_hash"]).to_pylist()
    compared = current_comparison(campaign)
    decisions = about(campaign, "decisions") or {}
    outdated = []
    if decisions and decisions.get("analysis") != (campaign.analysis or {}).get("key"):
        outdated.append("These decisions rest on an earlier analysis than the one shown: coterie curate renews them.")
    if about(campaign, "comparisons") and not compared:
        outdated.append("A comparison by retraining exists of earlier decisions only: coterie verify compares these.")
    return Experiments(
        trials=tuple(_trial(row, gallery) for row in rows),
        verdicts=verdicts(campaign),
        shares=(about(campaign, "certification") or {}).get("shares", {}),
        decided=decisions.get("counts", {}),
        sentences=tuple(compared.get("sentences", ())),
        warning=str(compared.get("warning", "")),
        outdated=tuple(outdated),
    )


def _trial(row: dict[str, Any], gallery: Gallery) -> Trial:
    return Trial(
        target=gallery.target(row["target"]),
        members=tuple(gallery.player(player) for player in row["members"]),
        origin=row["origin"],
        predicted=row["predicted"],
        measured=row["measured"],
        low=row["low"],
        high=row["high"],
        n_bases=row["n_bases"],
        verdict=row["verdict"],
    )
