"""From effects and interactions over all targets to one decision per player, each with its reason and its evidence.

Rules, strongest first: synergistic sets are never dropped singly and are protected from every other rule; examples
whose presence lowers the utility are dropped or put up for review; of a redundant cluster one stays; a budget is met by
optimising the surrogate (budget.py), not by a ranking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.budget import Solution
from attribution.coverage import Coverage
from attribution.detectability import smallest_detectable
from attribution.errors import AttributionError
from attribution.look_alikes import GroupTest
from attribution.meet_budget import meet_budget
from attribution.redundancy import (
    Cluster,
    bundles_of,
    clusters_of,
    look_alike_edges,
    protected_sets,
    replaceability,
)
from attribution.significance import adjust
from attribution.surrogate import Surrogate

Array = NDArray[np.float64]

Z95 = 1.959963984540054
SURELY = 4.0  # standard errors by which a class must be hurt to be named as the likely right label
LARGEST_HIDDEN_EFFECT = 0.35  # sd of a target: a main effect of this size must be visible before anything is decided


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


@dataclass(frozen=True)
class Curation:
    """decisions: one per player. harm_q (n,); n_hurt, n_explained (n,): targets of the player's own class it hurts, and
    that were explained. clusters; solution: of the budget, None without one."""

    decisions: list[Decision]
    harm_q: Array
    n_hurt: NDArray[np.int64]
    n_explained: NDArray[np.int64]
    clusters: list[Cluster]
    solution: Solution | None

    @property
    def keep(self) -> NDArray[np.bool_]:
        return np.array([decision.decision != "drop" for decision in self.decisions])


def masks_needed(n_players: int, alpha: float) -> int:
    """Fit masks before anything is decided: two a player, and main effects of .35 output sd visible among all."""
    seen = smallest_detectable(1, alpha, n_players, order=1)  # falls as 1 / sqrt(masks)
    return max(2 * n_players, int(np.ceil((seen / LARGEST_HIDDEN_EFFECT) ** 2)))


def check_enough_masks(n_masks: int, n_players: int, alpha: float) -> None:
    """Raises AttributionError, with the number that is needed, for a campaign too small to decide from."""
    needed = masks_needed(n_players, alpha)
    if n_masks < needed:
        raise AttributionError(
            f"{n_masks} models are too few to decide about {n_players} players: {needed} fit masks are needed, so that "
            f"an effect of {LARGEST_HIDDEN_EFFECT} output standard deviations cannot hide. Set campaign.n_fit={needed} "
            "and run the campaign again; what exists is kept."
        )


def harmful_q_values(overall: PlayerEffects) -> Array:
    """(n,): false discovery rate at which each player is harmful (one-sided: its presence lowers the utility)."""
    from scipy.special import ndtr

    return adjust(ndtr(overall.effect / overall.stderr), "BH")


def curate(evidence: Evidence, rules: CurationRules) -> Curation:
    """Decide about every player; see the module's docstring. Raises AttributionError for a budget out of reach."""
    harm_q = harmful_q_values(evidence.overall)
    n_hurt, n_explained = _own_class_targets(evidence, rules.level)
    protected = protected_sets(evidence.interactions, rules.fdr_level, harm_q <= rules.drop_level)
    bundles = bundles_of(list(protected))
    groups = [test.players for test in evidence.look_alikes]
    edges = replaceability(evidence.interactions, evidence.effects, evidence.surrogate.alpha, rules.fdr_level)
    edges += look_alike_edges(groups, evidence.player_classes)
    worth = evidence.overall.effect - rules.confidence * evidence.overall.stderr
    clusters = clusters_of(edges, worth, rules.replaceable)
    solution, near = None, {}
    if rules.n_keep is not None:
        met = meet_budget(
            evidence.objective, rules.n_keep, player_classes=evidence.player_classes, least=rules.least,
            bundles=bundles, confidence=rules.confidence, features=evidence.features,
            near_duplicate_share=rules.near_duplicate_share,
        )  # fmt: skip
        solution, near = met.solution, met.near
    decisions = [Decision(player) for player in range(evidence.surrogate.n_players)]
    _note_clusters(decisions, clusters, evidence)
    for members, rows in protected.items():
        for player in members:
            decisions[player].protected_by += rows
    teller = _Teller(evidence, rules, harm_q, n_hurt, n_explained, clusters, near)
    for decision in decisions:
        teller.decide(decision, solution)
    return Curation(decisions, harm_q, n_hurt, n_explained, clusters, solution)


def _own_class_targets(evidence: Evidence, level: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many explained targets of its own class each player hurts (q <= level), and how many were explained."""
    n = evidence.surrogate.n_players
    target = np.asarray(evidence.effects["target"])
    player = np.asarray(evidence.effects["player"])
    effect = np.asarray(evidence.effects["effect"], dtype=np.float64)
    q = np.asarray(evidence.effects["q_value"], dtype=np.float64)
    of_target = np.array([evidence.target_classes.get(int(t), -1) if t >= 0 else -1 for t in target])
    own = (of_target >= 0) & (of_target == evidence.player_classes[player])
    explained = np.bincount(player[own], minlength=n)
    hurt = np.bincount(player[own & (effect < 0) & (q <= level)], minlength=n)
    return hurt.astype(np.int64), explained.astype(np.int64)


def _note_clusters(decisions: list[Decision], clusters: Sequence[Cluster], evidence: Evidence) -> None:
    for number, cluster in enumerate(clusters):
        for player in cluster.players:
            decisions[player].cluster = number
        for player, edge in cluster.stands_in.items():
            decisions[player].stands_in = edge.by
            decisions[player].evidence += edge.rows
    for number, test in enumerate(evidence.look_alikes):
        for player in test.players:
            decisions[player].look_alike = number
            decisions[player].matters = "yes" if test.q_value <= 0.1 else "no evidence"


class _Teller:
    """Applies the rules to one player at a time and says why."""

    def __init__(
        self,
        evidence: Evidence,
        rules: CurationRules,
        harm_q: Array,
        n_hurt: NDArray[np.int64],
        n_explained: NDArray[np.int64],
        clusters: Sequence[Cluster],
        near: Mapping[int, tuple[int, float]],
    ) -> None:
        self.evidence, self.rules, self.harm_q, self.near = evidence, rules, harm_q, near
        self.n_hurt, self.n_explained, self.clusters = n_hurt, n_explained, clusters
        classes = evidence.player_classes
        self.conflict: dict[int, list[int]] = {}
        for test in evidence.look_alikes:
            for player in test.players:
                others = [other for other in test.players if classes[other] != classes[player]]
                if others:
                    self.conflict[player] = others

    def decide(self, decision: Decision, solution: Solution | None) -> None:
        player = decision.player
        harmful = self.harm_q[player] <= self.rules.level
        leaves = self._leaves(decision) if solution is None else not solution.keep[player]
        decision.decision = "drop" if leaves else "keep"
        if leaves:
            self._tell_drop(decision, solution, harmful)
        elif harmful:
            decision.decision, decision.rule = "review", "harmful"
            why = "the sets it is part of protect it" if decision.protected_by else "it is kept until somebody looks"
            decision.reason = f"{self._harm(player)}; {why}."
        elif player in self.conflict:
            decision.decision, decision.rule = "review", "label_conflict"
            decision.reason = (
                f"It looks like {_players(self.conflict[player])}, which has another label: one of the labels is wrong."
            )
        else:
            self._tell_keep(decision)

    def _leaves(self, decision: Decision) -> bool:
        """Without a budget: whether a rule drops the player."""
        if decision.protected_by:
            return False
        redundant = self.rules.drop_redundant and decision.stands_in >= 0
        return bool(self.harm_q[decision.player] <= self.rules.drop_level) or redundant

    def _tell_drop(self, decision: Decision, solution: Solution | None, harmful: bool) -> None:
        player = decision.player
        stays = solution is None or (decision.stands_in >= 0 and bool(solution.keep[decision.stands_in]))
        if harmful:
            decision.rule = "harmful"
            decision.reason = f"{self._harm(player)}: probably {self._suspicion(player)}."
        elif decision.stands_in >= 0 and stays:
            self._tell_redundant(decision)
        elif player in self.near:
            other, similarity = self.near[player]
            decision.rule = "near_duplicate"
            beside = "none of its class stays"
            if other >= 0:
                beside = f"player {other} of its class stays, at {similarity:.2f}"
            decision.reason = (
                f"By the networks' features it was of the most similar pair left in its class ({beside}); "
                f"{self.rules.near_duplicate_share:.0%} of what the budget drops are near duplicates."
            )
        elif solution is not None:
            decision.rule = "budget"
            told = (
                f"The budget keeps {int(solution.keep.sum())} players, and no exchange of this one for a kept one pays "
                f"(by itself, bringing it back would change {self._what()} by {_points(solution.cost[player])})."
            )
            decision.reason = told + (" Its synergistic set leaves as a whole." if decision.protected_by else "")

    def _what(self) -> str:
        return "the utility" if self.evidence.coverage is None else "the expected correctness over all targets"

    def _tell_redundant(self, decision: Decision) -> None:
        player, other = decision.player, decision.stands_in
        edge = self.clusters[decision.cluster].stands_in[player]
        larger, smaller = (_points(self.evidence.overall.effect[who]) for who in (other, player))
        kept = f"Player {other} is kept because its own effect is the larger ({larger} against {smaller})"
        if edge.rows:
            decision.rule = "redundant"
            rows = self.evidence.interactions
            targets = sorted({int(rows["target"][row]) for row in edge.rows})
            strongest = max(edge.rows, key=lambda row: abs(rows["banzhaf"][row]))
            decision.reason = (
                f"Player {other} stands in for it: {100 * edge.share:.0f}% of what it does alone is done by the other "
                f"as well (target{'s' if len(targets) > 1 else ''} {', '.join(map(str, targets[:4]))}"
                f"{', …' if len(targets) > 4 else ''}; strongest interaction {rows['banzhaf'][strongest]:+.2f} ± "
                f"{rows['stderr'][strongest]:.2f}){' and they look alike' if edge.similar else ''}. {kept}."
            )
        else:
            decision.rule = "look_alike"
            matters = "its models notice" if decision.matters == "yes" else "no output is seen to depend on having both"
            decision.reason = f"It looks like player {other} and has the same label; {matters}. {kept}."

    def _tell_keep(self, decision: Decision) -> None:
        player = decision.player
        if decision.protected_by:
            rows = self.evidence.interactions
            decision.rule = "synergy"
            best = max(decision.protected_by, key=lambda row: abs(rows["banzhaf"][row]))
            others = [other for other in rows["members"][best] if other != player]
            kind = str(rows["kind"][best]).replace("_", " ")
            decision.evidence = [*decision.evidence, *decision.protected_by]
            decision.reason = (
                f"It is part of a {kind} with {_players(others)} on target {rows['target'][best]} "
                f"({rows['banzhaf'][best]:+.2f} ± {rows['stderr'][best]:.2f}): such sets stay together."
            )
            return
        stood_for = [
            dropped for cluster in self.clusters for dropped, edge in cluster.stands_in.items() if edge.by == player
        ]
        if stood_for:
            decision.rule = "representative"
            decision.evidence = sorted(
                {row for dropped in stood_for for row in self.clusters[decision.cluster].stands_in[dropped].rows}
            )
            decision.reason = f"It stands in for {_players(stood_for)}; its own effect is the largest among them."
            return
        decision.reason = f"Its presence changes the utility by {self._interval(player)}; no rule speaks against it."

    def _harm(self, player: int) -> str:
        told = f"Its presence changes the utility by {self._interval(player)} (q = {self.harm_q[player]:.1g})"
        if self.n_hurt[player]:
            name = self.evidence.class_names[int(self.evidence.player_classes[player])]
            told += (
                f" and hurts {self.n_hurt[player]} of the {self.n_explained[player]} explained targets of its class "
                f"“{name}”"
            )
        return told

    def suspected_class(self, player: int) -> int:
        """Class whose targets the player hurts most surely, when it is another than its own; else -1."""
        effects = self.evidence.by_class
        stderr = effects.stderr[:, player]
        z = np.divide(effects.effect[:, player], stderr, out=np.zeros_like(stderr), where=stderr > 0)
        worst = int(np.argmin(z))
        return worst if worst != self.evidence.player_classes[player] and z[worst] < -SURELY else -1

    def _suspicion(self, player: int) -> str:
        suspected, names = self.suspected_class(player), self.evidence.class_names
        if suspected < 0:
            return "mislabelled or ambiguous"
        own = names[int(self.evidence.player_classes[player])]
        change = _points(self.evidence.by_class.effect[suspected, player])
        return f"a “{names[suspected]}” labelled “{own}”, whose targets lose most ({change})"

    def _interval(self, player: int) -> str:
        value, half = self.evidence.overall.effect[player], Z95 * self.evidence.overall.stderr[player]
        return f"{_points(value)} [{100 * (value - half):+.2f}, {100 * (value + half):+.2f}]"


def _points(value: float) -> str:
    """A change of the utility, in percentage points of the probability of the correct class."""
    return f"{100 * value:+.2f} points"


def _players(players: Sequence[int]) -> str:
    names = ", ".join(str(player) for player in players[:4])
    return f"player{'s' if len(players) > 1 else ''} {names}{', …' if len(players) > 4 else ''}"
