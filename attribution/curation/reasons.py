"""Reasons of decisions in words, each from the evidence that led to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from attribution.curation.budget import Solution
from attribution.curation.evidence import CurationRules, Decision, Evidence
from attribution.curation.redundancy import (
    Cluster,
)
from attribution.levels import Z95
from attribution.types import Array

SURELY = 4.0  # standard errors by which a class must be hurt to be named as the likely right label


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
