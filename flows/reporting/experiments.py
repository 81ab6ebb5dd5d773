"""What the report shows of experiments: sets tested by retraining, a decision compared, predictions turned over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.errors import IncompleteCampaign
from flows.reporting.images import Gallery, Picture
from flows.reporting.text import percent
from flows.store.campaign import Campaign
from flows.store.derived import about, current_comparison, read_derived, verdicts

REMOVED_SHOWN = 6  # pictures of a removal that are drawn


@dataclass(frozen=True)
class Trial:
    """One set that was tested by retraining."""

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
class Compared:
    """The decided set beside another arm at one size; accuracies are shares of the audit examples.

    Parameters
    ----------
    low, high
        Interval of the difference over seeds and audit examples together.
    smallest
        The smallest difference that this many seeds and audit examples could have shown.
    level
        Of this interval alone; `n_together` intervals hold together at level times their number.
    """

    against: str
    class_name: str
    architecture: str
    n_keep: int
    share: float
    declared: bool
    accuracy: float
    accuracy_against: float
    difference: float
    low: float
    high: float
    smallest: float
    level: float
    n_together: int
    n_examples: int
    n_seeds: int

    @property
    def interval_words(self) -> str:
        """Name of the interval: its coverage, over what, and how many it holds for together."""
        together = f", for {self.n_together} comparisons together" if self.n_together > 1 else ""
        return f"{percent(1 - self.level * self.n_together, 0)} interval over trainings and audit pictures{together}"

    @property
    def verdict(self) -> str:
        """What the interval allows to say."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return "too few models"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "no difference shown"


@dataclass(frozen=True)
class Flip:
    """One search for the fewest removals that turn a prediction over."""

    target: Picture
    search: str
    predicted: int
    confirmed: int
    before: float
    after: float
    low: float
    high: float
    removed: tuple[Picture, ...]
    n_removed: int

    @property
    def is_sure(self) -> bool:
        """Whether the margin after the removal lies below zero by its interval."""
        return self.confirmed > 0 and self.high < 0


@dataclass(frozen=True)
class Experiments:
    """Everything that was tried; empty where nothing was.

    Parameters
    ----------
    trials, verdicts
        Rows of the certification table; the second by (target, members).
    shares
        {origin: count, n, low, high} of certified sets.
    decided
        Counts of kept, dropped and players to review.
    has_budget
        Whether the decision had to keep a given number of players.
    sentences, warning
        What verify wrote about the comparison of these decisions.
    compared
        Rows of that comparison.
    flips
        Rows of the brittleness table.
    outdated
        What else exists, and of which earlier analysis or decisions.
    """

    trials: tuple[Trial, ...] = ()
    verdicts: dict[tuple[int, tuple[int, ...]], dict[str, Any]] = field(default_factory=dict)
    shares: dict[str, dict[str, Any]] = field(default_factory=dict)
    decided: dict[str, int] = field(default_factory=dict)
    has_budget: bool = False
    sentences: tuple[str, ...] = ()
    warning: str = ""
    compared: tuple[Compared, ...] = ()
    flips: tuple[Flip, ...] = ()
    outdated: tuple[str, ...] = ()

    @property
    def headline_rows(self) -> tuple[Compared, ...]:
        """The declared size over all classes, with the campaign's own network."""
        return tuple(row for row in self.own_network if row.declared)

    @property
    def own_network(self) -> tuple[Compared, ...]:
        """All sizes over all classes, with the campaign's own network."""
        return tuple(row for row in self.compared if not row.class_name and row.architecture == "first")

    @property
    def by_class(self) -> tuple[Compared, ...]:
        """The declared size class by class."""
        return tuple(row for row in self.compared if row.class_name and row.declared)


def read_experiments(campaign: Campaign, gallery: Gallery) -> Experiments:
    """Read the tables of certify, curate, verify and brittleness that exist.

    Raises
    ------
    StoreError
        For a table that cannot be read.
    """
    compared = current_comparison(campaign)
    decisions = about(campaign, "decisions") or {}
    outdated = []
    if decisions and decisions.get("analysis") != (campaign.analysis or {}).get("key"):
        outdated.append("These decisions rest on an earlier analysis than the one shown: coterie curate renews them.")
    if about(campaign, "comparisons") and not compared:
        outdated.append("A comparison by retraining exists of earlier decisions only: coterie verify compares these.")
    return Experiments(
        trials=tuple(_trial(row, gallery) for row in _rows(campaign, "certification")),
        verdicts=verdicts(campaign),
        shares=(about(campaign, "certification") or {}).get("shares", {}),
        decided=decisions.get("counts", {}),
        has_budget=any((decisions.get("settings") or {}).get(name) for name in ("keep_share", "keep_count")),
        sentences=tuple(compared.get("sentences", ())),
        warning=str(compared.get("warning", "")),
        compared=tuple(map(_compared, _rows(campaign, "comparisons"))) if compared else (),
        flips=tuple(_flip(row, gallery) for row in _rows(campaign, "brittleness")),
        outdated=tuple(outdated),
    )


def _rows(campaign: Campaign, name: str) -> list[dict[str, Any]]:
    """Rows of a derived table; none where its stage has not run."""
    try:
        rows: list[dict[str, Any]] = read_derived(campaign, name).to_pylist()
    except IncompleteCampaign:
        return []
    return rows


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


def _compared(row: Mapping[str, Any]) -> Compared:
    return Compared(
        against=row["against"],
        class_name=row["class_name"] or "",
        architecture=row["architecture"],
        n_keep=int(row["n_keep"]),
        share=float(row["share"]),
        declared=bool(row["declared"]),
        accuracy=_number(row["accuracy"]),
        accuracy_against=_number(row["accuracy_against"]),
        difference=_number(row["difference"]),
        low=_number(row["low"]),
        high=_number(row["high"]),
        smallest=_number(row["smallest"]),
        level=float(row["level"]),
        n_together=int(row["n_together"]),
        n_examples=int(row["n_examples"]),
        n_seeds=int(row["n_seeds"]),
    )


def _flip(row: Mapping[str, Any], gallery: Gallery) -> Flip:
    removed = list(row["removed"] or ())
    return Flip(
        target=gallery.target(row["target"]),
        search=str(row["search"]).replace("_", " "),
        predicted=int(row["predicted_removals"]),
        confirmed=int(row["confirmed_removals"]),
        before=_number(row["margin_full"]),
        after=_number(row["margin_after"]),
        low=_number(row["margin_after_low"]),
        high=_number(row["margin_after_high"]),
        removed=tuple(gallery.player(player) for player in removed[:REMOVED_SHOWN]),
        n_removed=len(removed),
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
