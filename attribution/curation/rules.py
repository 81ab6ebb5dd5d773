"""From effects and interactions over all targets to one decision per player, each with its reason and its evidence.

Rules, strongest first: synergistic sets are never dropped singly and are protected from every other rule; a label that
is probably wrong is dropped; a picture under two labels, or whose presence lowers the utility, is put up for review; of
a redundant cluster, and of every group of copies, one stays; a budget is met by optimising the surrogate (budget.py),
not by a ranking. rule_and_reason.py chooses the rule of each player and words its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attribution.curation.budget import Solution, meet_budget
from attribution.curation.evidence import CurationRules, Decision, Evidence, PlayerEffects
from attribution.curation.redundancy import (
    Cluster,
    bundles_of,
    clusters_of,
    keep_one_of_copies,
    look_alike_edges,
    protected_sets,
    replaceability,
    same_class_copies,
)
from attribution.curation.rule_and_reason import Reasons
from attribution.errors import AttributionError
from attribution.statistics.detectability import smallest_detectable
from attribution.statistics.false_discovery import adjust
from attribution.types import Array

# Estimated share of right labels over the one that is promised: on the campaigns that settings were chosen by, 4 of 21
# labels called wrong at an estimated share of .1 were right, and 8 of 30 at .2 (benchmarks/decisions.md).
MIXTURE_MARGIN = 0.5
RULES_VERSION = 3  # raised when the same evidence leads to other decisions: those made before are made again
LARGEST_HIDDEN_EFFECT = 0.35  # sd of a target: a main effect of this size must be visible before anything is decided


@dataclass(frozen=True)
class Curation:
    """Decisions and what they rest on.

    Parameters
    ----------
    decisions
        One per player.
    harm_q
        (n,) false discovery rate at which each player is harmful.
    n_hurt, n_explained
        (n,) targets of the player's own class that it lowers, and that were explained.
    accused
        (n,) players whose label is called wrong.
    clusters
        Players that replace one another.
    solution
        Of the budget; None without one.
    """

    decisions: list[Decision]
    harm_q: Array
    n_hurt: NDArray[np.int64]
    n_explained: NDArray[np.int64]
    accused: NDArray[np.bool_]
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


def doubted_labels(evidence: Evidence, rules: CurationRules, harm_q: Array) -> NDArray[np.bool_]:
    """Find the players whose label two independent kinds of evidence speak against.

    Models that did not see the player contradict its label, and models that did see it are worse for it, which removes
    hard but right pictures from the list. Either the label's q-value is at most `label_rate` and its `harm_q` at most
    `level`; or the mixture (`mixture_of_labels`) puts it among players of whom at most `label_rate` times
    `MIXTURE_MARGIN` are right, and its effect is below 0. A picture that stands under two labels is not among them: it
    is a finding of its own.
    """
    n = evidence.surrogate.n_players
    if evidence.labels is None:
        return np.zeros(n, dtype=bool)
    found = (evidence.labels.q_value <= rules.label_rate) & (harm_q <= rules.level)
    if evidence.labels.share_right is not None:
        doubtful = evidence.labels.share_right <= MIXTURE_MARGIN * rules.label_rate
        found |= doubtful & (evidence.overall.effect < 0)
    classes = evidence.player_classes
    for test in evidence.look_alikes:
        if len(set(classes[list(test.players)].tolist())) > 1:
            found[list(test.players)] = False
    return np.asarray(found, dtype=bool)


def wrong_labels(evidence: Evidence, rules: CurationRules, doubted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Call the doubted labels wrong where there are enough of them, else none.

    As many right pictures as the held-back examples cannot exclude may look like the other class. Where they could be
    more than `label_rate` of those doubted, nobody is accused (`LabelCheck.fewest_called`).
    """
    if evidence.labels is None or doubted.sum() < evidence.labels.fewest_called(rules.label_rate):
        return np.zeros_like(doubted)
    return doubted


def curate(evidence: Evidence, rules: CurationRules, chosen: NDArray[np.bool_] | None = None) -> Curation:
    """Decide about every player; see the module's docstring.

    Parameters
    ----------
    evidence, rules
        What decisions rest on, and their settings.
    chosen
        (n,) the players another rule keeps within the budget, in place of the objective's choice.

    Returns
    -------
    Curation

    Raises
    ------
    AttributionError
        For a budget out of reach.
    """
    harm_q = harmful_q_values(evidence.overall)
    doubted = doubted_labels(evidence, rules, harm_q)
    accused = wrong_labels(evidence, rules, doubted)
    n_hurt, n_explained = _own_class_targets(evidence, rules.level)
    protected = protected_sets(evidence.interactions, rules.fdr_level, harm_q <= rules.drop_level)
    bundles = bundles_of(list(protected))
    groups = [test.players for test in evidence.look_alikes]
    copies = same_class_copies(groups, evidence.player_classes)
    edges = replaceability(evidence.interactions, evidence.effects, evidence.surrogate.alpha, rules.fdr_level)
    edges += look_alike_edges(groups, evidence.player_classes)
    edges = [edge for edge in edges if not accused[edge.by]]  # nobody leaves for a player that leaves
    worth = evidence.overall.effect - rules.confidence * evidence.overall.stderr
    clusters = clusters_of(edges, np.where(accused, -np.inf, worth), rules.replaceable, copies)
    solution, near = None, {}
    if rules.n_keep is not None:
        met = meet_budget(
            evidence.objective, rules.n_keep, player_classes=evidence.player_classes, least=rules.least,
            bundles=bundles, confidence=rules.confidence, features=evidence.features,
            near_duplicate_share=rules.near_duplicate_share,
        )  # fmt: skip
        near = met.near if chosen is None else {}
        held = np.isin(np.arange(len(worth)), [player for bundle in bundles for player in bundle])
        unwanted = accused | (harm_q <= rules.level) | held
        wanted = met.solution.keep if chosen is None else chosen
        keep = keep_one_of_copies(wanted, copies, evidence.player_classes, worth, held, unwanted)
        solution = replace(met.solution, keep=keep)
    decisions = [Decision(player) for player in range(evidence.surrogate.n_players)]
    _note_clusters(decisions, clusters, evidence)
    for members, rows in protected.items():
        for player in members:
            decisions[player].protected_by += rows
    reasons = Reasons(evidence, rules, harm_q, accused, doubted, n_hurt, n_explained, clusters, near)
    for decision in decisions:
        reasons.decide(decision, solution)
    return Curation(decisions, harm_q, n_hurt, n_explained, accused, clusters, solution)


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
