"""What a curation decision rests on, the rules it follows, and the decision itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.curation.coverage import Coverage
from attribution.curation.label_check import LabelCheck
from attribution.curation.surrogate import Surrogate
from attribution.duplicates.any_present_test import GroupTest
from attribution.levels import LABEL_RATE
from attribution.types import Array


@dataclass(frozen=True)
class PlayerEffects:
    """Main effects (n,) and standard errors of the players on a utility, in its units (Banzhaf)."""

    effect: Array
    stderr: Array


@dataclass(frozen=True)
class Evidence:
    """What decisions rest on.

    Parameters
    ----------
    player_classes
        (n,) label of each player; -1 for a group of several classes.
    class_names
        One name per label.
    interactions, effects
        Columns of the campaign's tables.
    target_classes
        Label of each target.
    overall
        Main effects on the mean probability of the correct class over all targets.
    own_class
        The same over the targets of the player's own class.
    by_class
        (C, n) the same over the targets of each class.
    surrogate
        Of `overall`.
    look_alikes
        Groups of players whose pictures are near-duplicates, with their tests; empty where they were not tested.
    coverage
        Of every target: what a budget is met by; the surrogate takes its place where it is None.
    features
        (k, n, d) of k networks, by which near-duplicates are found; None leaves that out.
    labels
        Out-of-sample scores of the given labels; None where no models were trained for them. Without them no label is
        called wrong.
    names
        What the owner calls each player; numbers when empty.
    group_sizes
        (n,) examples of each player; None for one each.
    """

    player_classes: NDArray[np.int64]
    class_names: Sequence[str]
    interactions: Mapping[str, Sequence[Any]]
    effects: Mapping[str, Sequence[Any]]
    target_classes: Mapping[int, int]
    overall: PlayerEffects
    own_class: PlayerEffects
    by_class: PlayerEffects
    surrogate: Surrogate
    look_alikes: Sequence[GroupTest] = ()
    coverage: Coverage | None = None
    features: Array | None = None
    labels: LabelCheck | None = None
    names: Sequence[str] = ()
    group_sizes: NDArray[np.int64] | None = None

    @property
    def objective(self) -> Surrogate | Coverage:
        """What a budget is met by."""
        return self.surrogate if self.coverage is None else self.coverage


@dataclass(frozen=True)
class CurationRules:
    """The settings of decisions.

    Parameters
    ----------
    fdr_level
        False discovery rate of interactions that count.
    level
        False discovery rate of players that are reported as harmful.
    drop_level
        Rate below which a player is harmful beyond doubt: a boundary synergy with it protects nobody.
    label_rate
        Share of the labels called wrong that may be right.
    replaceable
        See `redundancy.replaceability`.
    drop_redundant
        Whether, without a budget, players go whose effect another one has as well. A group of several examples is put
        up for review instead: that its sum is replaced does not make each of its examples replaceable.
    n_keep
        The budget; None for the rules alone.
    least
        Players of each class that stay.
    confidence
        Standard errors the lower bound lies below.
    near_duplicate_share
        See `budget.meet_budget`.
    """

    fdr_level: float = 0.1
    level: float = 0.1
    drop_level: float = 0.01
    label_rate: float = LABEL_RATE
    replaceable: float = 0.5
    drop_redundant: bool = True
    n_keep: int | None = None
    least: dict[int, int] = field(default_factory=dict)
    confidence: float = 1.0
    near_duplicate_share: float = 0.0


@dataclass
class Decision:
    """One player's decision; the columns of the decisions table that are not facts about the player."""

    player: int
    decision: str = "keep"
    rule: str = "worth"
    reason: str = ""
    cluster: int = -1
    stands_in: int = -1
    protected_by: list[int] = field(default_factory=list)
    evidence: list[int] = field(default_factory=list)
    look_alike: int = -1
    matters: str = ""
