"""Clusters of copies found from the retrainings themselves: proposed on one half of the masks, tested on the other.

Of k copies at alpha = 1/2 a pair's interaction is -2^{2-k} of their effect and hides from k = 5 on; "any member is
present", one coefficient for all k, is far stronger (any_present_test.py). proposals.py looks for sets in one half
of the masks; here they are tested in the other, and the other way round.

Nothing of the test half has a say in a proposal but the main effects, from which the tested column is projected out.
Each half's proposals are a family at half the level (Benjamini-Yekutieli within it), which bounds the rate over both:
the false share of a union is at most the sum of the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attribution.duplicates.any_present_test import AnyPresent, any_present_fit
from attribution.duplicates.proposals import ClusterProposals, Players, Proposal, overlap
from attribution.errors import AttributionError
from attribution.linear.main_effects import main_effects
from attribution.masks.folds import N_FOLDS, assign_folds
from attribution.masks.inputs import CheckedData, check_at_least, check_data
from attribution.statistics.false_discovery import adjust
from attribution.types import Array

OUTPUTS_AT_ONCE = 64  # targets whose datamodels are fitted at a time
MAX_PLAYERS = 1000  # of more, those of largest main effects over all targets are looked at
Z95_ONE_SIDED = 1.6448536269514722


@dataclass(frozen=True)
class FoundCluster:
    """A set of players proposed on one half of the masks and tested on the other.

    source: "search" or "profiles". target: the output on which it weighs most; weights: (t,) of all outputs in the
    direction tested, of length one, in units of the outputs' residual standard deviations. effect, stderr: coefficient
    of "any member is present" along the direction, on the test half. p_value: one-sided, that it has the members' sign.
    q_value: over all that was tested. z_all: on all masks, for ranking only. main_effects: of each member along the
    direction, and the standard error of one. share: part of what the members do alone that any other member does as
    well, 1 for copies. kind: "redundancy" where the main effects have the sign of the effect, else "uncertain".
    """

    players: Players
    source: str
    target: int
    weights: Array
    effect: float
    stderr: float
    p_value: float
    q_value: float
    z_all: float
    main_effects: tuple[float, ...]
    main_effect_stderr: float
    share: float
    kind: str


@dataclass(frozen=True)
class ClusterSearch:
    """tested: every proposal with its test, smallest q first. n_tests: of both halves."""

    tested: tuple[FoundCluster, ...]
    n_tests: int

    def found(self, level: float = 0.05) -> list[FoundCluster]:
        """Redundant clusters with q <= level, the strongest of those that overlap by more than half of the smaller."""
        kept: list[FoundCluster] = []
        passing = [c for c in self.tested if c.q_value <= level and c.kind == "redundancy"]
        for cluster in sorted(passing, key=lambda c: -c.z_all):
            if not any(overlap(cluster.players, other.players) for other in kept):
                kept.append(cluster)
        return kept


def find_clusters(
    masks: Any,
    outputs: Any,
    *,
    alpha: float = 0.5,
    groups: Any = None,
    max_size: int = 10,
    width: int = 300,
    pool: bool = True,
    max_tests: int = 100,
    seed: int = 0,
) -> ClusterSearch:
    """Search for clusters of players of which one is as good as all, and test what is found.

    masks: (m, n); outputs: (m,) or (m, t), of one alpha. groups: (m,) rows that no split may divide (antithetic
    partners; equal masks never are divided). max_size: members of a cluster at most. width: sets kept at each size.
    pool: also look in the directions of the players' main effects over all targets. max_tests: proposals of each half.

    Raises AttributionError for bad input (masks/inputs.py), one player, and fewer than 12 groups of masks.
    """
    data = _checked(masks, outputs, alpha, groups, max_size, width, max_tests)
    alpha = float(np.ravel(alpha)[0])
    rows, values, labels = data.masks, data.outputs, data.groups
    n_targets = values.shape[1]
    parts = [
        main_effects(rows, values[:, first : first + OUTPUTS_AT_ONCE], alpha, labels, seed)
        for first in range(0, n_targets, OUTPUTS_AT_ONCE)
    ]
    residuals = np.concatenate([part.residuals for part in parts], axis=1)
    scale = residuals.std(axis=0)
    # Targets that a linear function of the mask explains to the last digit have nothing left to look at.
    alive = scale > 1e-9 * np.maximum(values.std(axis=0), 1e-300)
    unit = np.where(alive, scale, 1.0)
    residuals = np.where(alive, residuals / unit, 0.0)
    effects = np.concatenate([part.effect for part in parts]) / unit[:, None]
    errors = np.concatenate([part.stderr for part in parts]) / unit[:, None]
    known = alive[:, None] & (errors > 0)
    z = np.where(known, effects / np.where(known, errors, 1.0), 0.0)
    players = np.arange(rows.shape[1])
    if len(players) > MAX_PLAYERS:
        players = np.sort(np.argsort(-(z**2).sum(axis=0), kind="stable")[:MAX_PLAYERS])
    first_half = assign_folds(labels, N_FOLDS, seed) < N_FOLDS // 2
    tested: list[FoundCluster] = []
    for proposing in (first_half, ~first_half):
        search = ClusterProposals(
            rows[np.ix_(proposing, players)], residuals[proposing], z[:, players], alpha, max_size, width
        )
        proposals = [
            replace(proposal, players=tuple(players[list(proposal.players)].tolist()))
            for proposal in search.proposals(pool and n_targets > 1)[:max_tests]
        ]
        held = ~proposing
        fits = []
        for proposal in proposals:
            pooled = residuals @ proposal.weights[:, None]
            own = any_present_fit(rows[held], pooled[held], proposal.players, alpha, labels[held])
            both = any_present_fit(rows, pooled, proposal.players, alpha, labels)
            noise = float(pooled.std()) / math.sqrt(alpha * (1 - alpha) * (int(labels.max()) + 1))
            fits.append((own, float(np.nan_to_num(both.z[0])), noise))
        q_values = np.minimum(1.0, 2 * adjust(np.array([own.p_above[0] for own, _, _ in fits]), "BY"))
        for proposal, (own, z_all, noise), q in zip(proposals, fits, q_values.tolist(), strict=True):
            tested.append(_told(proposal, own, z_all, noise, q, effects, alpha))
    tested.sort(key=lambda c: (c.q_value, -c.z_all))
    return ClusterSearch(tuple(tested), len(tested))


def _checked(
    masks: Any, outputs: Any, alpha: float, groups: Any, max_size: int, width: int, max_tests: int
) -> CheckedData:
    if np.shape(masks)[1:] == (1,):
        raise AttributionError("a cluster has at least two players; the masks have one.")
    data = check_data(masks, outputs, alpha, groups=groups)
    if data.alphas is not None:
        raise AttributionError("clusters are searched at one alpha; give the masks of one alpha at a time.")
    for name, given, least in (("max_size", max_size, 2), ("width", width, 1), ("max_tests", max_tests, 1)):
        check_at_least(name, given, least)
    return data


def _told(
    proposal: Proposal, test: AnyPresent, z_all: float, noise: float, q: float, effects: Array, alpha: float
) -> FoundCluster:
    """noise: standard error of one player's main effect along the direction."""
    members, effect = list(proposal.players), float(test.effect[0])
    k = len(members)
    own = proposal.weights @ effects[:, members]
    same_sign = own.sum() > Z95_ONE_SIDED * noise * math.sqrt(k) and bool((own > -2 * noise).all())
    # Of what a member does where it is alone, its own part stays where others are present and `effect` goes.
    alone = float(own.mean()) + effect * (1 - (1 - alpha) ** (k - 1))
    return FoundCluster(
        players=proposal.players,
        source=proposal.source,
        target=int(np.abs(proposal.weights).argmax()),
        weights=proposal.weights,
        effect=effect,
        stderr=float(test.stderr[0]),
        p_value=float(test.p_above[0]),
        q_value=q,
        z_all=z_all,
        main_effects=tuple(own.tolist()),
        main_effect_stderr=noise,
        share=float(np.clip(effect / alone, 0.0, 1.0)) if alone > 0 else 0.0,
        kind="redundancy" if same_sign and effect > 0 else "uncertain",
    )
