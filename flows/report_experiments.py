"""What the report says of experiments: interactions put to the test, and a decision compared by retraining."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flows.decision_schemas import CERTIFICATION
from flows.files import read_json, read_table
from flows.report_images import Gallery, Picture
from flows.store import Campaign
from flows.verdicts import verdicts


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
    counts of kept, dropped and players to review. sentences: what the comparison by retraining says, one each.
    """

    trials: tuple[Trial, ...] = ()
    verdicts: dict[tuple[int, tuple[int, ...]], dict[str, Any]] = field(default_factory=dict)
    shares: dict[str, dict[str, Any]] = field(default_factory=dict)
    decided: dict[str, int] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()
    warning: str = ""


def read_experiments(campaign: Campaign, gallery: Gallery) -> Experiments:
    """Read the tables of certify, curate and verify that exist. Raises StoreError for one that cannot be read."""
    path = campaign.folder / "certification.parquet"
    rows = []
    if path.is_file():
        rows = read_table(path, CERTIFICATION, identity=campaign.meta["identity_hash"]).to_pylist()
    compared = _about(campaign, "comparisons")
    decisions = _about(campaign, "decisions")
    return Experiments(
        trials=tuple(_trial(row, gallery) for row in rows),
        verdicts=verdicts(campaign),
        shares=_about(campaign, "certification").get("shares", {}),
        decided=decisions.get("counts", {}),
        sentences=tuple(compared.get("sentences", ())),
        warning=str(compared.get("warning", "")),
    )


def _about(campaign: Campaign, name: str) -> dict[str, Any]:
    path = campaign.folder / f"{name}.json"
    return read_json(path) if path.is_file() else {}


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
