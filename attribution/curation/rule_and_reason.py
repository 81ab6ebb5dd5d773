"""Choose the rule that decides about each player, and write its reason in one or two plain sentences.

rules.py computes the evidence that every rule needs, for all players together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from attribution.curation.budget import Solution
from attribution.curation.evidence import CurationRules, Decision, Evidence
from attribution.curation.redundancy import Cluster
from attribution.levels import Z95
from attribution.types import Array

SURELY = 4.0  # standard errors by which a class must be lowered to be named


class Reasons:
    """Decides about one player at a time and writes the reason.

    Parameters
    ----------
    evidence, rules
        What decisions rest on, and their settings.
    harm_q
        (n,) false discovery rate at which each player is harmful.
    accused
        (n,) players whose label is called wrong.
    doubted
        (n,) those, and players whose label the same evidence speaks against where it is too little for a call.
    n_hurt, n_explained
        (n,) explained targets of the player's own class that it lowers, and all of them.
    clusters
        Players that replace one another.
    near
        Players that a budget drops as near-duplicates, with the most similar kept one and the similarity.
    """

    def __init__(
        self,
        evidence: Evidence,
        rules: CurationRules,
        harm_q: Array,
        accused: NDArray[np.bool_],
        doubted: NDArray[np.bool_],
        n_hurt: NDArray[np.int64],
        n_explained: NDArray[np.int64],
        clusters: Sequence[Cluster],
        near: Mapping[int, tuple[int, float]],
    ) -> None:
        self.evidence, self.rules, self.harm_q, self.near = evidence, rules, harm_q, near
        self.accused, self.doubted, self.n_hurt, self.n_explained = accused, doubted, n_hurt, n_explained
        self.clusters = clusters
        classes = evidence.player_classes
        self._sizes = np.ones(len(classes), np.int64) if evidence.group_sizes is None else evidence.group_sizes
        self.conflict: dict[int, list[int]] = {}
        for test in evidence.look_alikes:
            for player in test.players:
                others = [other for other in test.players if classes[other] != classes[player]]
                if others:
                    self.conflict[player] = others

    def decide(self, decision: Decision, solution: Solution | None) -> None:
        """Fill in decision, rule, reason and evidence of one player."""
        player = decision.player
        harmful = bool(self.harm_q[player] <= self.rules.level)
        leaves = self._leaves(decision) if solution is None else not solution.keep[player]
        decision.decision = "drop" if leaves else "keep"
        if self.accused[player]:
            decision.rule, decision.reason = "mislabelled", self._accusation(player)
            if not leaves:
                decision.decision = "review"
                decision.reason += " It is kept until somebody looks: " + (
                    "the synergies it is part of protect it." if decision.protected_by else "the budget keeps it."
                )
        elif leaves:
            self._drop(decision, solution, harmful)
        elif player in self.conflict:
            decision.decision, decision.rule, decision.reason = "review", "label_conflict", self._conflict(player)
        elif solution is None and self.rules.drop_redundant and self._is_replaced_group(decision):
            count = int(self._sizes[player])
            decision.decision = "review"
            self._redundant(
                decision,
                f"That does not make each of its {count} examples replaceable: they are kept. Decide about them one by "
                "one (`coterie refine`), or set a budget.",
            )
        elif self.doubted[player]:
            decision.decision, decision.rule, decision.reason = "review", "label_in_doubt", self._doubt(player)
        elif harmful:
            decision.decision, decision.rule = "review", "harmful"
            decision.reason = (
                f"{self._harm(player)} This does not show that its label is wrong. It is kept; look at it."
            )
        else:
            self._keep(decision)

    def _leaves(self, decision: Decision) -> bool:
        """Without a budget: whether a rule drops the player."""
        player = decision.player
        if decision.protected_by or (player in self.conflict and decision.stands_in < 0):
            return False
        if self.accused[player]:
            return True
        return self.rules.drop_redundant and decision.stands_in >= 0 and not self._is_replaced_group(decision)

    def _is_replaced_group(self, decision: Decision) -> bool:
        """Whether the player is a group of several examples whose effect another player has as well."""
        return decision.stands_in >= 0 and bool(self._sizes[decision.player] > 1)

    def _drop(self, decision: Decision, solution: Solution | None, harmful: bool) -> None:
        player = decision.player
        stays = solution is None or (decision.stands_in >= 0 and bool(solution.keep[decision.stands_in]))
        if harmful and solution is not None:
            decision.rule = "harmful"
            decision.reason = f"{self._harm(player)} The budget drops it; its label need not be wrong."
        elif decision.stands_in >= 0 and stays:
            self._redundant(decision)
        elif player in self.near:
            other, similarity = self.near[player]
            decision.rule = "near_duplicate"
            beside = "none of its class stays"
            if other >= 0:
                beside = f"the most similar one that stays is {self.name(other)}, similarity {similarity:.2f}"
            decision.reason = (
                f"Networks' features put it among the most similar pictures of its class ({beside}). "
                f"{self.rules.near_duplicate_share:.0%} of what the budget drops are such near-duplicates."
            )
        elif solution is not None:
            decision.rule = "budget"
            decision.reason = (
                f"The budget keeps {int(solution.keep.sum())} of the players, and exchanging a kept one for this one "
                f"gains nothing: adding it would change {self._objective()} by {_points(solution.cost[player])}."
            )
            if decision.protected_by:
                decision.reason += " Its synergistic set leaves as a whole."
        if player in self.conflict:
            decision.reason += " " + self._conflict(player)

    def _objective(self) -> str:
        return "the utility" if self.evidence.coverage is None else "the expected correctness over all targets"

    def _redundant(self, decision: Decision, kept: str = "") -> None:
        """Say what replaces a player, and why that one stays; kept: said in place of the latter."""
        player, other = decision.player, decision.stands_in
        edge = self.clusters[decision.cluster].stands_in[player]
        larger, smaller = (_points(self.evidence.overall.effect[who]) for who in (other, player))
        stays = f"{_capital(self.name(other))} is kept because its own effect is larger ({larger} against {smaller})."
        kept = kept or stays
        if edge.rows:
            decision.rule = "redundant"
            rows = self.evidence.interactions
            targets = sorted({int(rows["target"][row]) for row in edge.rows})
            strongest = max(edge.rows, key=lambda row: abs(rows["value"][row]))
            similar = " The two pictures are near-duplicates." if edge.similar else ""
            decision.reason = (
                f"{_capital(self.name(other))} replaces it: {100 * edge.share:.0f}% of its own effect vanishes beside "
                f"that one (target{'s' if len(targets) > 1 else ''} {', '.join(map(str, targets[:4]))}"
                f"{', …' if len(targets) > 4 else ''}; strongest interaction {rows['value'][strongest]:+.2f} ± "
                f"{rows['stderr'][strongest]:.2f}).{similar} {kept}"
            )
        else:
            decision.rule = "look_alike"
            matters = (
                "Some output depends on having at least one of them"
                if decision.matters == "yes"
                else "No output was shown to depend on having both"
            )
            decision.reason = f"Near-duplicate of {self.name(other)} with the same label. {matters}. {kept}"

    def _keep(self, decision: Decision) -> None:
        player = decision.player
        if decision.protected_by:
            rows = self.evidence.interactions
            decision.rule = "synergy"
            best = max(decision.protected_by, key=lambda row: abs(rows["value"][row]))
            others = [other for other in rows["members"][best] if other != player]
            kind = str(rows["kind"][best]).replace("_", " ")
            decision.evidence = [*decision.evidence, *decision.protected_by]
            decision.reason = (
                f"It forms {_article(kind)} {kind} with {self._names(others)} on target {rows['target'][best]} "
                f"({rows['value'][best]:+.2f} ± {rows['stderr'][best]:.2f}). Such sets stay together."
            )
            return
        replaced = [
            dropped for cluster in self.clusters for dropped, edge in cluster.stands_in.items() if edge.by == player
        ]
        if replaced:
            decision.rule = "representative"
            decision.evidence = sorted(
                {row for dropped in replaced for row in self.clusters[decision.cluster].stands_in[dropped].rows}
            )
            decision.reason = f"It replaces {self._names(replaced)}; its own effect is the largest among them."
            return
        decision.reason = f"Its presence changes the utility by {self._interval(player)}; no rule speaks against it."

    def _harm(self, player: int) -> str:
        """What was measured of a harmful player, without a guess at the cause."""
        own = self.evidence.class_names[int(self.evidence.player_classes[player])]
        sentence = f"Its presence changes the utility by {self._interval(player)} (q = {self.harm_q[player]:.1g})"
        if self.n_hurt[player]:
            sentence += (
                f" and lowers {self.n_hurt[player]} of {self.n_explained[player]} explained targets of its own class "
                f"“{own}”"
            )
        lowered = self.lowered_class(player)
        if lowered >= 0:
            change = _points(self.evidence.by_class.effect[lowered, player])
            sentence += f"; it lowers the targets of class “{self.evidence.class_names[lowered]}” most ({change})"
        return f"{sentence}."

    def _accusation(self, player: int) -> str:
        labels = self.evidence.labels
        own = self.evidence.class_names[int(self.evidence.player_classes[player])]
        if labels is None:
            return self._harm(player)
        return (
            f"Probably mislabelled: models trained without it give its label “{own}” {self._log_odds(player)} (of "
            f"pictures reported so, at most {self.rules.label_rate:.0%} are right in the mean). {self._harm(player)}"
        )

    def _doubt(self, player: int) -> str:
        labels = self.evidence.labels
        assert labels is not None  # without a check nothing is doubted
        own = self.evidence.class_names[int(self.evidence.player_classes[player])]
        n, fewest = int(self.doubted.sum()), labels.fewest_called(self.rules.label_rate)
        return (
            f"Its label is in doubt: models trained without it give “{own}” {self._log_odds(player)}. A right label "
            f"gets no more where a picture looks like another class: beside {labels.n_held_back} held-back pictures "
            f"{fewest} labels would have to be in such doubt before one is called wrong, and {n} "
            f"{'is' if n == 1 else 'are'}. "
            f"{self._harm(player)} It is kept; look at it."
        )

    def _log_odds(self, player: int) -> str:
        labels = self.evidence.labels
        assert labels is not None
        return (
            f"log odds of {labels.score[player]:+.1f}, less than {100 * (1 - labels.p_value[player]):.1f}% of "
            f"{labels.n_held_back} held-back pictures get for theirs"
        )

    def _conflict(self, player: int) -> str:
        """One finding about two files; which label is wrong is a weaker, separate statement."""
        others, classes, names = self.conflict[player], self.evidence.player_classes, self.evidence.class_names
        own = names[int(classes[player])]
        their = ", ".join(f"“{name}”" for name in sorted({names[int(classes[other])] for other in others}))
        sentence = (
            f"The same picture as {self._names(others)}, or all but the same, stands under {their}; this one is "
            f"labelled “{own}”. At least one of the labels is wrong: look at "
            f"{'both' if len(others) == 1 else 'all of them'}."
        )
        labels = self.evidence.labels
        if labels is None or not np.isfinite(labels.score[[player, *others]]).all():
            return sentence
        best = max(others, key=lambda other: labels.score[other])
        fits = own if labels.score[player] > labels.score[best] else names[int(classes[best])]
        return (
            f"{sentence} Models that saw neither fit “{fits}” better (log odds {labels.score[player]:+.1f} for this "
            f"label, {labels.score[best]:+.1f} for the other); that is a hint, no proof."
        )

    def lowered_class(self, player: int) -> int:
        """Class whose targets the player lowers most surely, when it is another than its own; else -1."""
        effects = self.evidence.by_class
        stderr = effects.stderr[:, player]
        z = np.divide(effects.effect[:, player], stderr, out=np.zeros_like(stderr), where=stderr > 0)
        worst = int(np.argmin(z))
        return worst if worst != self.evidence.player_classes[player] and z[worst] < -SURELY else -1

    def _interval(self, player: int) -> str:
        value, half = self.evidence.overall.effect[player], Z95 * self.evidence.overall.stderr[player]
        return f"{_points(value)} [{100 * (value - half):+.2f}, {100 * (value + half):+.2f}]"

    def name(self, player: int) -> str:
        """What people call a player: its owner's name where there is one, else its number."""
        known = self.evidence.names[player] if player < len(self.evidence.names) else str(player)
        return f"player {player}" if known == str(player) else f"“{known}”"

    def _names(self, players: Sequence[int]) -> str:
        return ", ".join(self.name(player) for player in players[:4]) + (", …" if len(players) > 4 else "")


def _points(value: float) -> str:
    """A change of the utility, in percentage points of the probability of the correct class."""
    return f"{100 * value:+.2f} points"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _article(word: str) -> str:
    return "an" if word[:1] in "aeiou" else "a"
