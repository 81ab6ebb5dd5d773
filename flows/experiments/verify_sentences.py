"""What a comparison by retraining found, in sentences for the log, the report and exported files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from attribution.experiments.comparison import Difference
from flows.experiments.plans import Plan
from flows.runtime.wording import plural

BASELINES = {
    "random": "class-balanced random removal",
    "main_effects": "removal by main effects alone",
    "embedding": "removal of near-duplicates by features",
    "full": "the full set",
}


@dataclass(frozen=True)
class Measure:
    """How a verification counts: in points of accuracy, or in units of the output (the larger the better)."""

    is_accuracy: bool

    def both(self, row: dict[str, Any]) -> str:
        """What both arms reach."""
        if self.is_accuracy:
            against = _percent(row["accuracy_against"])
            return f"{_percent(row['accuracy'])} of the audit examples right against {against}"
        return f"a mean output of {row['accuracy']:.4g} on the audit examples against {row['accuracy_against']:.4g}"

    def number(self, value: float) -> str:
        """A difference."""
        return f"{100 * value:+.2f}" if self.is_accuracy else f"{value:+.3g}"

    def size(self, value: float) -> str:
        """A difference without a sign."""
        return f"{100 * value:.1f} points" if self.is_accuracy else f"{value:.3g}"

    @property
    def unit(self) -> str:
        """What differences are counted in, with a space in front."""
        return " points" if self.is_accuracy else ""


ACCURACY = Measure(True)


def measure_of(plan: Plan) -> Measure:
    """Return how a plan's verification counts."""
    return Measure(plan.content.get("measure", "accuracy") == "accuracy")


def summary(plan: Plan, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Write the headline, one sentence for each comparison, and the surrogate's prediction beside what was measured.

    Parameters
    ----------
    plan : Plan
    rows : list of dict
        Rows of `comparisons`.

    Returns
    -------
    dict
        headline, sentences, surrogate_check and warning.
    """
    own = [row for row in rows if row["declared"] and row["class_name"] == "" and row["architecture"] == "first"]
    headline = next(row for row in own if row["against"] == "random")
    n, alpha = len(plan.content["classes"]), float(plan.content["alpha"])
    measure = measure_of(plan)
    sentences = [sentence(row, measure) for row in rows if row["declared"] and row["class_name"] == ""]
    sentences += _class_sentences([row for row in rows if row["declared"] and row["class_name"] != ""], measure)
    sentences += _curve_sentences([row for row in rows if not row["declared"] and row["against"] == "random"], measure)
    return {
        "headline": headline,
        "sentences": sentences,
        "surrogate_check": _surrogate_check(plan, rows, alpha, n),
        "warning": _warning(headline, alpha, n),
    }


def extrapolates(share: float, alpha: float, n_players: int) -> bool:
    """Check whether a size lies outside what the campaign's masks covered.

    Parameters
    ----------
    share : float
        Players kept over all players.
    alpha : float
        Probability that a mask contains a player.
    n_players : int

    Returns
    -------
    bool
        True beyond three standard deviations of the masks' size.
    """
    return abs(share - alpha) > 3 * math.sqrt(alpha * (1 - alpha) / n_players)


def sentence(row: dict[str, Any], measure: Measure = ACCURACY) -> str:
    """Write one comparison at the declared size: the verdict, both accuracies, the interval and what it covers.

    Parameters
    ----------
    row : dict
        A row of `comparisons`.
    measure : Measure

    Returns
    -------
    str
    """
    verdicts = {
        "better": "beats",
        "worse": "is worse than",
        "no difference shown": "shows no difference from",
        "too few models to tell": "has too few models to be compared with",
    }
    where = "" if row["architecture"] == "first" else ", with the second network"
    return (
        f"The decided set of {plural(row['n_keep'], 'player')} {verdicts[row['verdict']]} "
        f"{BASELINES[row['against']]}{where}: "
        f"{measure.both(row)}, {_with_interval(row, measure)} over {row['n_seeds']} "
        f"seeds and {plural(row['n_examples'], 'audit example')} together{_together(row)}. {_resolution(row, measure)}"
    )


def leaked_sentence(n_leaked: int, n_audit: int, apart: Difference) -> str:
    """Write how many audit examples are leaked, and the difference from random removal on the others.

    Parameters
    ----------
    n_leaked : int
        Audit examples whose pictures are in training or among the targets as well.
    n_audit : int
        All audit examples.
    apart : Difference
        From class-balanced random removal, on the others.

    Returns
    -------
    str
    """
    verb = "is" if n_leaked == 1 else "are"
    start = f"{n_leaked} of the {n_audit} audit examples {verb} also in training or among the targets"
    if not math.isfinite(apart.low):
        return f"{start}; the others are too few for an interval."
    return (
        f"{start}; on the other {n_audit - n_leaked} the difference from {BASELINES['random']} is "
        f"{_points(apart.difference)} points [{_points(apart.low)}, {_points(apart.high)}] ({apart.verdict})."
    )


def earlier_verdicts(headlines: list[dict[str, Any]]) -> str:
    """Say how the last verdict against random removal compares with the one before; empty for the first.

    Parameters
    ----------
    headlines
        Headlines of all comparisons so far, oldest first; null bounds where there is no interval.
    """
    if len(headlines) < 2:
        return ""
    before, now = headlines[-2], headlines[-1]
    found = f"The verification before had {_points(before['difference'])} points ({before['verdict']})"
    bounds = [row[name] for row in (before, now) for name in ("low", "high")]
    if any(bound is None or not math.isfinite(bound) for bound in bounds):
        return f"{found}."
    apart = before["high"] < now["low"] or now["high"] < before["low"]
    return f"{found}; the two intervals {'do not overlap' if apart else 'overlap, so the change may be noise'}."


def _together(row: dict[str, Any]) -> str:
    return f" ({row['n_together']} comparisons at once)" if row["n_together"] > 1 else ""


def _with_interval(row: dict[str, Any], measure: Measure) -> str:
    low, high = measure.number(row["low"]), measure.number(row["high"])
    return f"{measure.number(row['difference'])}{measure.unit} [{low}, {high}]"


def _resolution(row: dict[str, Any], measure: Measure = ACCURACY) -> str:
    if not math.isfinite(row["smallest"]):
        return "No interval can be given."
    return f"A difference below {measure.size(row['smallest'])} could not have been shown."


def _class_sentences(rows: list[dict[str, Any]], measure: Measure = ACCURACY) -> list[str]:
    """Classes on which the decided set differs from class-balanced random removal; none when there is no such class."""
    if not rows:
        return []
    shown = [row for row in rows if row["verdict"] in ("better", "worse")]
    if not shown:
        smallest = [row["smallest"] for row in rows if math.isfinite(row["smallest"])]
        beside = f" (one above {measure.size(max(smallest))} would have been)" if smallest else ""
        n_classes = len({row["class_name"] for row in rows})
        networks = ", with either network" if len(rows) > n_classes else ""
        return [
            f"By class, against {BASELINES['random']}: no difference shown for "
            f"{'any of ' if n_classes > 1 else ''}{plural(n_classes, 'class', 'classes')}{networks}{beside}."
        ]
    listed = ", ".join(
        f"“{row['class_name']}” {measure.number(row['difference'])} [{measure.number(row['low'])}, "
        f"{measure.number(row['high'])}]"
        for row in shown
    )
    return [
        f"By class, against {BASELINES['random']} (intervals simultaneous over {len(rows)} classes): "
        f"{listed}{measure.unit}; "
        "no difference shown for the others."
    ]


def _curve_sentences(rows: list[dict[str, Any]], measure: Measure = ACCURACY) -> list[str]:
    """What the removal curve shows against class-balanced random removal; none without a curve."""
    if not rows:
        return []
    listed = [
        f"{row['n_keep']} kept {100 * row['difference']:+.1f} ± {measure.size(row['smallest'])} ({row['verdict']})"
        if measure.is_accuracy
        else f"{row['n_keep']} kept {measure.number(row['difference'])} ± {measure.size(row['smallest'])} "
        f"({row['verdict']})"
        for row in rows
    ]
    return [
        f"At {plural(len(rows), 'other size')}, against {BASELINES['random']} "
        f"({rows[0]['n_seeds']} seeds, intervals over seeds and audit "
        f"examples, simultaneous over {rows[0]['n_together']} comparisons): {', '.join(listed)}."
    ]


def _surrogate_check(plan: Plan, rows: list[dict[str, Any]], alpha: float, n: int) -> list[dict[str, Any]]:
    checked = []
    for row in rows:
        if row["against"] == "embedding" and row["class_name"] == "" and row["architecture"] == "first":
            predicted = plan.content["surrogate"][str(row["n_keep"])]
            checked.append(
                {
                    "n_keep": row["n_keep"],
                    "predicted_over_embedding": predicted["curated"] - predicted["embedding"],
                    "measured_over_embedding": row["difference"],
                    "extrapolates": extrapolates(row["n_keep"] / n, alpha, n),
                }
            )
    return checked


def _warning(headline: dict[str, Any], alpha: float, n: int) -> str:
    if not extrapolates(headline["n_keep"] / n, alpha, n):
        return ""
    return (
        f"the decision keeps {headline['n_keep']} of {n} players, the effects were measured on sets of about "
        f"{alpha:.0%}: the surrogate extrapolates. A campaign planned with sampler.other_alphas="
        f"[{headline['share']:.2g}], in a folder of its own, measures them at that size"
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def _points(value: float) -> str:
    return f"{100 * value:+.2f}"
