"""The report's content, read from a campaign's tables: numbers, names and which rows to show. No HTML."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from attribution.experiments.sets_to_try import top_sets
from attribution.levels import Z95
from flows.reporting.images import Gallery, Picture
from flows.reporting.text import CLASS_SPLITS, KIND_NAMES, SIDES, beside_saturation, proposers_in_words, together
from flows.reporting.wording import Wording
from flows.store.campaign import Campaign
from flows.store.faithfulness import TargetScores, read_faithfulness, scored_estimators
from flows.store.queries import alike

DEFAULT_FDR_LEVEL = 0.1
RECURRING_SHOWN, TARGETS_PER_RECURRING_SET, TABLE_ROWS = 12, 8, 300
TOGETHER_SHOWN = 60


@dataclass(frozen=True)
class Member:
    """One member of a set: its picture and its own effect on the target."""

    picture: Picture
    main_effect: float


@dataclass(frozen=True)
class SetView:
    """One row of the interactions table, ready to be drawn."""

    target: int
    members: tuple[Member, ...]
    players: tuple[int, ...]
    value: float
    low: float
    high: float
    shrunken: float
    stderr: float
    moebius: float
    joint_surplus: float
    saturation: float
    specific_surplus: float
    q_value: float
    kind: str
    found: bool
    gate_open: bool

    @property
    def kind_name(self) -> str:
        return KIND_NAMES.get(self.kind, (self.kind,))[0] if self.kind != "uncertain" else "uncertain"

    @property
    def side(self) -> str:
        """Column of the target's card: 'synergy', 'redundancy' or 'other'."""
        return SIDES.get(self.kind, "other")

    @property
    def reading(self) -> str:
        """What the members do together, in words."""
        words = together(self.kind, self.specific_surplus, [member.main_effect for member in self.members])
        return words + beside_saturation(self.kind, self.saturation)

    class_split: str = ""
    proposed_by: str = ""  # in words


@dataclass(frozen=True)
class SaturationShare:
    """Of pairs that help and do less together (q of I(S) at most the level): how many, and the share of their
    interaction that saturation explains."""

    n_pairs: int
    share: float

    @staticmethod
    def of(rows: list[dict[str, Any]], level: float) -> SaturationShare:
        pairs = [
            row for row in rows
            if len(row["members"]) == 2 and row["q_value"] <= level and row["value"] < 0
            and min(row["main_effects"]) > 0
        ]  # fmt: skip
        total = sum(-row["value"] for row in pairs)
        by_curve = sum(min(max(-row["saturation"], 0.0), -row["value"]) for row in pairs)
        return SaturationShare(len(pairs), by_curve / total if total else 0.0)


@dataclass(frozen=True)
class TargetView:
    """One target with its strongest sets; `more` counts what is found but not drawn, by side."""

    target: int
    picture: Picture
    faith: TargetScores
    gate_open: bool
    sets: dict[str, tuple[SetView, ...]]
    more: dict[str, int]
    saturation: SaturationShare

    slim: bool = False  # drawn at half the page's width, beside another one

    @property
    def is_roomy(self) -> bool:
        """Whether there is a single pair, whose pictures can be larger."""
        drawn = [item for shown in self.sets.values() for item in shown]
        return len(drawn) == 1 and len(drawn[0].players) == 2


@dataclass(frozen=True)
class RecurringSet:
    """A member set that is found on several targets."""

    members: tuple[Picture, ...]
    players: tuple[int, ...]
    kinds: tuple[tuple[str, int], ...]
    targets: tuple[Picture, ...]
    n_targets: int
    mean_value: float
    mean_surplus: float
    pooled_q: float | None


@dataclass(frozen=True)
class PooledSet:
    """A member set tested over all targets together."""

    members: tuple[Picture, ...]
    players: tuple[int, ...]
    strongest: Picture
    row: dict[str, Any]

    @property
    def kind_name(self) -> str:
        kind = self.row["kind"]
        return KIND_NAMES.get(kind, (kind,))[0] if kind != "uncertain" else "uncertain"


@dataclass
class ReportData:
    """Everything the page prints."""

    meta: Mapping[str, Any]
    analysis: dict[str, Any]
    fdr_level: float
    gallery: Gallery
    faithfulness: list[TargetScores]  # individual targets
    mean_faithfulness: list[TargetScores]  # mean targets
    kinds: Counter[str]  # interactions found on individual targets, by kind
    pooled_kinds: Counter[str]
    n_distinct: int
    has_eligible_sets: bool = False  # whether `certify` finds a set to try by itself
    saturation: SaturationShare = field(default_factory=lambda: SaturationShare(0, 0.0))  # on individual targets
    targets: list[TargetView] = field(default_factory=list)
    closed: list[TargetView] = field(default_factory=list)
    pooled: list[TargetView] = field(default_factory=list)
    recurring: list[RecurringSet] = field(default_factory=list)
    together: list[PooledSet] = field(default_factory=list)  # found over all targets together
    n_together: int = 0
    found_sets: list[SetView] = field(default_factory=list)  # the strongest of all_found, for the table
    all_found: list[SetView] = field(default_factory=list)  # by evidence, without pictures
    outcomes: dict[str, int] = field(default_factory=dict)
    reasons: list[tuple[str, int]] = field(default_factory=list)
    accuracies: dict[str, np.ndarray] = field(default_factory=dict)
    seconds_per_model: float = math.nan
    ensemble_sizes: tuple[int, ...] = ()
    devices: tuple[str, ...] = ()

    @property
    def n_open(self) -> int:
        return sum(row.gate_open for row in self.faithfulness)

    @property
    def estimators(self) -> tuple[str, ...]:
        """The estimators scored on held-out masks, in the table's order."""
        return scored_estimators([*self.faithfulness, *self.mean_faithfulness])

    def median(self, estimator: str, metric: str) -> float:
        """Median of a metric over individual targets that have a number; NaN when none has."""
        values = [row.score(estimator, metric).value for row in self.faithfulness]
        values = [value for value in values if math.isfinite(value)]
        return float(np.median(values)) if values else math.nan


class _Sets:
    """The interactions table with its ranking by evidence."""

    def __init__(self, table: pa.Table, level: float) -> None:
        self.table = table
        names = ("target", "q_value", "specific_q_value", "value", "saturation", "specific", "specific_stderr")
        number = {name: table[name].to_numpy() for name in names}
        self.target = number["target"]
        gate = np.asarray(table["gate_open"].to_numpy(zero_copy_only=False), dtype=bool)
        self.passes = np.nan_to_num(number["specific_q_value"], nan=np.inf) <= level
        self.found = gate & self.passes
        with np.errstate(divide="ignore", invalid="ignore"):
            strength = np.nan_to_num(np.abs(number["specific"] / number["specific_stderr"]), nan=0.0)
        # q first; equal q (at 0, or after the step-up's minimum) are ranked by the specific part in standard errors.
        self.order = np.lexsort((-strength, np.nan_to_num(number["specific_q_value"], nan=np.inf)))
        self.kind = np.asarray(table["kind"].to_pylist(), dtype=object)

    def of(self, target: int) -> np.ndarray:
        return self.order[self.target[self.order] == target]

    def rows(self, indices: np.ndarray) -> list[dict[str, Any]]:
        return self.table.take(pa.array(indices, pa.int64())).to_pylist()


def read_report_data(
    campaign: Campaign, *, n_targets: int, sets_per_target: int, fdr_level: float
) -> ReportData:
    """Read a campaign's tables and choose what the report shows.

    n_targets: cards drawn in each part (open gates, closed gates, averages); sets_per_target: sets drawn in
    each column of a card. A set counts as found when its target's gate is open and q <= fdr_level.
    Raises IncompleteCampaign when the attribution has not run, StoreError for a file that cannot be read.
    """
    meta = campaign.meta
    faithfulness = read_faithfulness(campaign)
    gallery = Gallery(
        campaign.read("examples"), meta.get("class_names", []), Wording.of(meta), meta.get("typical", ())
    )
    sets = _Sets(campaign.read("interactions"), fdr_level)
    own = sets.found & (sets.target >= 0)
    distinct = {tuple(members) for members in sets.table["members"].filter(pa.array(own)).to_pylist()}
    data = ReportData(
        meta=meta,
        analysis=campaign.analysis or {},
        fdr_level=fdr_level,
        gallery=gallery,
        faithfulness=[row for row in faithfulness.values() if not row.is_mean],
        mean_faithfulness=[row for row in faithfulness.values() if row.is_mean],
        kinds=Counter(sets.kind[own]),
        pooled_kinds=Counter(sets.kind[sets.found & (sets.target < 0)]),
        n_distinct=len(distinct),
        has_eligible_sets=bool(top_sets(sets.table.to_pydict(), 1, fdr_level)),
        saturation=SaturationShare.of(sets.rows(np.flatnonzero(sets.target >= 0)), fdr_level),
    )
    _choose_targets(data, sets, faithfulness, n_targets, sets_per_target)
    found = sets.rows(sets.order[sets.found[sets.order]])
    data.all_found = [_set_view(row, data, drawn=False) for row in found]
    data.found_sets = data.all_found[:TABLE_ROWS]
    pooled = campaign.read("sets").to_pylist()
    data.recurring = _recurring(data, sets, {tuple(row["members"]): row["specific_q_value"] for row in pooled})
    _choose_together(data, pooled)
    _read_outcomes(data, campaign)
    return data


def _choose_targets(
    data: ReportData, sets: _Sets, faithfulness: dict[int, TargetScores], n_targets: int, per_side: int
) -> None:
    ranked = list(dict.fromkeys(int(target) for target in sets.target[sets.order]))
    # An open gate without any stored set comes last: there is a verdict and nothing to draw.
    ranked += [target for target in faithfulness if target not in set(ranked)]
    for target in ranked:
        row = faithfulness.get(target, TargetScores(target, {}))
        is_open = row.gate_open
        part = data.pooled if target < 0 else data.targets if is_open else data.closed
        indices = sets.of(target)
        if len(part) >= n_targets or (not is_open and not sets.passes[indices].any()):
            continue
        part.append(_target_view(target, row, is_open, indices, sets, data, per_side))
    data.targets, data.closed, data.pooled = map(_pair_up, (data.targets, data.closed, data.pooled))


def _pair_up(cards: list[TargetView]) -> list[TargetView]:
    """Mark cards with little to draw as slim: an even number, so that no half of the page stays empty."""
    small = [at for at, card in enumerate(cards) if sum(map(len, card.sets.values())) <= 2]
    chosen = set(small[: len(small) // 2 * 2])
    return [replace(card, slim=at in chosen) for at, card in enumerate(cards)]


def _target_view(
    target: int, faith: TargetScores, is_open: bool, indices: np.ndarray, sets: _Sets, data: ReportData, per_side: int
) -> TargetView:
    passing = indices[sets.passes[indices]]
    # An open gate whose sets all miss the level still shows the two nearest, marked as not found.
    drawn_from = passing if len(passing) else indices[:2]
    sides: dict[str, list[int]] = {"synergy": [], "redundancy": [], "other": []}
    for index in drawn_from:
        sides[SIDES.get(sets.kind[index], "other")].append(index)
    return TargetView(
        target=target,
        picture=data.gallery.target(target),
        faith=faith,
        gate_open=is_open,
        sets={
            side: tuple(
                _set_view(row, data) for row in sets.rows(np.array(chosen[:per_side], dtype=np.int64))
            )
            for side, chosen in sides.items()
        },
        more={side: max(0, len(chosen) - per_side) for side, chosen in sides.items()},
        saturation=SaturationShare.of(sets.rows(indices), data.fdr_level),
    )


def _set_view(row: dict[str, Any], data: ReportData, drawn: bool = True) -> SetView:
    players = tuple(row["members"] or ())
    effects = row["main_effects"] or []
    half = Z95 * row["stderr"] if row["stderr"] is not None else math.nan
    q_value = row["specific_q_value"] if row["specific_q_value"] is not None else math.nan
    return SetView(
        target=row["target"],
        members=tuple(
            Member(data.gallery.player(player, drawn), effects[at] if at < len(effects) else math.nan)
            for at, player in enumerate(players)
        ),
        players=players,
        value=row["value"],
        low=row["value"] - half,
        high=row["value"] + half,
        shrunken=row["shrunken"],
        stderr=row["stderr"],
        moebius=row["moebius"],
        joint_surplus=row["joint_surplus"],
        saturation=row["saturation"] or 0.0,
        specific_surplus=row["specific_surplus"],
        q_value=q_value,
        kind=row["kind"],
        found=bool(row["gate_open"]) and q_value <= data.fdr_level,
        gate_open=bool(row["gate_open"]),
        class_split=CLASS_SPLITS.get(row["class_split"], ""),
        proposed_by=proposers_in_words(row["proposed_by"], row["also_proposed_by"]),
    )


def _choose_together(data: ReportData, pooled: list[dict[str, Any]]) -> None:
    """Sets found over all targets together, in the table's order: by evidence."""
    found = [row for row in pooled if row["specific_q_value"] <= data.fdr_level]
    data.n_together = len(found)
    data.together = [
        PooledSet(
            members=tuple(data.gallery.player(player) for player in row["members"]),
            players=tuple(row["members"]),
            strongest=data.gallery.target(row["strongest_target"]),
            row=row,
        )
        for row in found[:TOGETHER_SHOWN]
    ]


def _recurring(
    data: ReportData, sets: _Sets, pooled: dict[tuple[int, ...], float]
) -> list[RecurringSet]:
    """Member sets found on at least two individual targets, by number of targets, then by evidence."""
    grouped: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    for row in sets.rows(sets.order[(sets.found & (sets.target >= 0))[sets.order]]):
        grouped.setdefault(tuple(row["members"]), []).append(row)
    # A stable sort keeps the order of evidence among sets with as many targets.
    often = sorted((item for item in grouped.items() if len(item[1]) > 1), key=lambda item: -len(item[1]))
    return [
        RecurringSet(
            members=tuple(data.gallery.player(player) for player in players),
            players=players,
            kinds=tuple(Counter(row["kind"] for row in rows).most_common()),
            targets=tuple(data.gallery.target(row["target"]) for row in rows[:TARGETS_PER_RECURRING_SET]),
            n_targets=len(rows),
            mean_value=float(np.mean([row["value"] for row in rows])),
            mean_surplus=float(np.mean([row["joint_surplus"] for row in rows])),
            pooled_q=pooled.get(players),
        )
        for players, rows in often[:RECURRING_SHOWN]
    ]


def _read_outcomes(data: ReportData, campaign: Campaign) -> None:
    accuracies = ("train_accuracy", "target_accuracy", "audit_accuracy")
    table = campaign.read("outputs", ["status", "reason", *accuracies, "train_seconds", "ensemble_size", "device"])
    status = np.asarray(table["status"].to_pylist(), dtype=object)
    data.outcomes = {name: int((status == name).sum()) for name in ("ok", "diverged", "failed")}
    failures = table.filter(pa.array(status == "failed", pa.bool_()))["reason"].to_pylist()
    data.reasons = alike(Counter(reason or "no reason recorded" for reason in failures)).most_common(5)
    trained = table.filter(pa.array(status == "ok", pa.bool_()))
    for name in accuracies:
        values = trained[name].to_numpy(zero_copy_only=False).astype(np.float64)
        known = np.isfinite(values) & bool(campaign.meta.get("margins", True))
        data.accuracies[name.removesuffix("_accuracy")] = values[known]
    seconds = trained["train_seconds"].to_numpy(zero_copy_only=False).astype(np.float64)
    seconds = seconds[np.isfinite(seconds)]
    data.seconds_per_model = float(seconds.mean()) if len(seconds) else math.nan
    data.ensemble_sizes = tuple(sorted({value for value in trained["ensemble_size"].to_pylist() if value is not None}))
    data.devices = tuple(sorted({value for value in trained["device"].to_pylist() if value}))
