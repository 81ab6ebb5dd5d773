"""What a curation decision rests on, the rules it follows, and the decision itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.curation.coverage import Coverage
from attribution.curation.surrogate import Surrogate
from attribution.duplicates.any_present_test import GroupTest
from attribution.types import Array


@dataclass(frozen=True)
class PlayerEffects:
    """Main effects (n,) and standard errors of the players on a utility, in its units (Banzhaf)."""

    effect: Array
    stderr: Array


@dataclass(frozen=True)
class Evidence:
    """What decisions rest on. interactions, effects: columns of the campaign's tables. overall: on the mean probability
    of the correct class of all targets; own_class: of the targets of the player's class; by_class: (C, n), of every
    class's. surrogate: of `overall`. coverage: of every target, what a budget is met by; where it is None the
    surrogate takes its place. look_alikes: groups of players that look alike, with their tests (None where they were
    not tested). features: (k, n, d) of k networks, by which near duplicates are told; None leaves that out."""

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

    @property
    def objective(self) -> Surrogate | Coverage:
        """What a budget is met by."""
        return self.surrogate if self.coverage is None else self.coverage


@dataclass(frozen=True)
class CurationRules:
    """fdr_level: of interactions that count. level, drop_level: false discovery rate of harmful players to review and
    to drop. replaceable: see redundancy. n_keep: the budget, None for the rules alone. least: players of each class
    that stay. confidence: of the lower bound. near_duplicate_share: see meet_budget."""

    fdr_level: float = 0.1
    level: float = 0.1
    drop_level: float = 0.01
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
