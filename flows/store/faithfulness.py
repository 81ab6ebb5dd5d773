"""The table `faithfulness` by target: the only code that reads its long rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from flows.store.campaign import Campaign
from flows.store.schemas import FAITHFULNESS

INTERACTIONS, NO_EVIDENCE = "interactions", "no evidence"  # the verdicts of a gate


class Score(NamedTuple):
    """A value with its 95% interval; NaN where there is none."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class TargetScores:
    """All that `faithfulness` holds of one target.

    Parameters
    ----------
    target
        Its id; negative for a mean target.
    scores
        {(estimator, metric): Score}. Metrics of the target itself have the estimator "none".
    """

    target: int
    scores: Mapping[tuple[str, str], Score]

    def score(self, estimator: str, metric: str) -> Score:
        """A metric of an estimator; NaN where the table has no such row."""
        return self.scores.get((estimator, metric), Score())

    def r2(self, estimator: str) -> Score:
        """R² on held-out masks."""
        return self.score(estimator, "r2")

    def lds(self, estimator: str) -> float:
        """Spearman correlation of predicted and recorded outputs over held-out masks."""
        return self.score(estimator, "lds").value

    @property
    def estimators(self) -> tuple[str, ...]:
        """The estimators that were scored, in the table's order."""
        return tuple(estimator for estimator, metric in self.scores if metric == "r2")

    @property
    def noise_ceiling(self) -> Score:
        """R² that a perfect function of the mask would reach on single runs."""
        return self.score("none", "noise_ceiling")

    @property
    def output_sd(self) -> float:
        """Standard deviation of the output over the fit masks."""
        return self.score("none", "output_sd").value

    @property
    def gate_p(self) -> float:
        """p-value of the paired test of spectrum against datamodel."""
        return self.score("spectrum", "gate_p").value

    @property
    def gate_q(self) -> float:
        """`gate_p` adjusted over the campaign's targets."""
        return self.score("spectrum", "gate_q").value

    @property
    def gate_open(self) -> bool:
        """Whether interactions predict better than main effects alone."""
        return self.score("spectrum", "gate_open").value == 1.0

    @property
    def verdict(self) -> str:
        """The gate's verdict in words."""
        return INTERACTIONS if self.gate_open else NO_EVIDENCE

    @property
    def n_interactions(self) -> int:
        """Sets of two or more members in the target's spectrum."""
        value = self.score("spectrum", "n_interactions").value
        return 0 if math.isnan(value) else int(value)

    @property
    def is_mean(self) -> bool:
        """Whether this is a mean over targets."""
        return self.target < 0


def read_faithfulness(campaign: Campaign) -> dict[int, TargetScores]:
    """Return the scores of every explained target by its id, in the table's order.

    Raises
    ------
    IncompleteCampaign
        When the attribution has not run.
    """
    found: dict[int, dict[tuple[str, str], Score]] = {}
    for row in campaign.read("faithfulness").to_pylist():
        score = Score(*(_number(row[bound]) for bound in Score._fields))
        found.setdefault(row["target"], {})[row["estimator"], row["metric"]] = score
    return {target: TargetScores(target, scores) for target, scores in found.items()}


def faithfulness_table(scores: Iterable[TargetScores]) -> pa.Table:
    """Return scores as the table `faithfulness`; the inverse of `read_faithfulness`."""
    rows = [
        {"target": held.target, "estimator": estimator, "metric": metric, **score._asdict()}
        for held in scores
        for (estimator, metric), score in held.scores.items()
    ]
    return pa.Table.from_pylist(rows, schema=FAITHFULNESS)


def scored_estimators(scores: Iterable[TargetScores]) -> tuple[str, ...]:
    """The estimators that any of the targets was scored for, in the table's order."""
    return tuple(dict.fromkeys(name for held in scores for name in held.estimators))


def _number(value: float | None) -> float:
    return math.nan if value is None else value
