"""What was planted against what was found: whether the tool sees copies and wrong labels, and whether they matter."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from attribution.curation.evidence import Evidence
from attribution.curation.redundancy import counted_rows
from attribution.curation.rules import Curation
from attribution.experiments.planted_truth import agreement, average_precision
from training.data.planting import Planted


def planted_scores(planted: Planted, evidence: Evidence, found: Curation, n_train: int) -> dict[str, Any]:
    """Compute the scores of a campaign with planted truth; an empty dictionary without one, and for groups.

    Rows and players are the same where every example is its own player; planted truth is scored only there.

    Parameters
    ----------
    planted : Planted
    evidence : Evidence
    found : Curation
    n_train : int
        Training examples.

    Returns
    -------
    labels : dict
        Key of the result where labels were flipped: average precision of the score "how surely its presence
        lowers the utility", and precision and recall of the labels that are called wrong.
    copies : dict
        Key of the result where copies were planted: pairs found through interactions and through
        near-duplicates, and how many clusters matter to any output.
    """
    import numpy as np

    n = evidence.surrogate.n_players
    if n != n_train:
        return {}
    scores: dict[str, Any] = {}
    if len(planted.flipped):
        wrong = np.zeros(n, bool)
        wrong[planted.flipped] = True
        z = evidence.overall.effect / evidence.overall.stderr
        flagged = {d.player for d in found.decisions if d.rule == "mislabelled"}
        score = agreement(flagged, set(planted.flipped.tolist()))
        scores["labels"] = {
            "n_planted": len(planted.flipped),
            "average_precision": average_precision(wrong, -z),
            "n_flagged": score.flagged,
            "n_found": score.found,
            "precision": score.precision,
            "recall": score.recall,
        }
    if planted.clusters:
        truth = planted.pairs()
        by_interaction = {
            tuple(sorted(evidence.interactions["members"][row]))
            for row in counted_rows(evidence.interactions, ("redundancy",), 0.1)
            if len(evidence.interactions["members"][row]) == 2
        }
        by_looks = {pair for test in evidence.look_alikes for pair in combinations(test.players, 2)}
        matter = {test.players for test in evidence.look_alikes if test.q_value <= 0.1}
        score = agreement(by_looks, truth)
        through = agreement(by_interaction, truth)
        scores["copies"] = {
            "n_clusters": len(planted.clusters),
            "n_pairs": len(truth),
            "n_found": score.found,
            "precision": score.precision,
            "recall": score.recall,
            "n_found_by_interactions": through.found,
            "n_flagged_by_interactions": through.flagged,
            "recall_by_interactions": through.recall,
            "n_matter": sum(tuple(sorted(cluster)) in matter for cluster in planted.clusters),
            "planted_that_matter": [list(map(int, c)) for c in planted.clusters if tuple(sorted(c)) in matter],
        }
    return scores
