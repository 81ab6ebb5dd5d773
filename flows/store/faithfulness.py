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
    """Hold a value with its 95% interval; NaN where there is none.

    Attributes
    ----------
    value : float
    low, high : float
        Bounds of the interval.
    """

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
        """Return a metric of an estimator.

        Parameters
        ----------
        estimator : str
            "none" for a metric of the target itself.
        metric : str

        Returns
        -------
        Score
            NaN where the table has no such row.
        """
        return self.scores.get((estimator, metric), Score())

    def r2(self, estimator: str) -> Score:
        """Return R² on held-out masks.

        Parameters
        ----------
        estimator : str

        Returns
        -------
        Score
            NaN where the estimator was not scored.
        """
        return self.score(estimator, "r2")

    def lds(self, estimator: str) -> float:
        """Return the Spearman correlation of predicted and recorded outputs over held-out masks.

        Parameters
        ----------
        estimator : str

        Returns
        -------
        float
            NaN where the estimator was not scored.
        """
        return self.score(estimator, "lds").value

    @property
    def estimators(self) -> tuple[str, ...]:
        """Return the estimators that were scored.

        Returns
        -------
        tuple of str
            In the table's order.
        """
        return tuple(estimator for estimator, metric in self.scores if metric == "r2")

    @property
    def noise_ceiling(self) -> Score:
        """Return the R² that a perfect function of the mask would reach on single runs.

        Returns
        -------
        Score
            NaN where the table has no such row.
        """
        return self.score("none", "noise_ceiling")

    @property
    def output_sd(self) -> float:
        """Return the standard deviation of the output over the fit masks.

        Returns
        -------
        float
            In the unit of the output; NaN where the table has no such row.
        """
        return self.score("none", "output_sd").value

    @property
    def gate_p(self) -> float:
        """Return the p-value of the paired test of spectrum against datamodel.

        Returns
        -------
        float
            NaN where the table has no such row.
        """
        return self.score("spectrum", "gate_p").value

    @property
    def gate_q(self) -> float:
        """Return `gate_p` adjusted over the campaign's targets.

        Returns
        -------
        float
            NaN where the table has no such row.
        """
        return self.score("spectrum", "gate_q").value

    @property
    def gate_open(self) -> bool:
        """Check whether interactions predict better than main effects alone.

        Returns
        -------
        bool
        """
        return self.score("spectrum", "gate_open").value == 1.0

    @property
    def verdict(self) -> str:
        """Return the gate's verdict in words.

        Returns
        -------
        str
            INTERACTIONS where the gate is open, else NO_EVIDENCE.
        """
        return INTERACTIONS if self.gate_open else NO_EVIDENCE

    @property
    def n_interactions(self) -> int:
        """Return the number of sets of two or more members in the target's spectrum.

        Returns
        -------
        int
            0 where the table has no such row.
        """
        value = self.score("spectrum", "n_interactions").value
        return 0 if math.isnan(value) else int(value)

    @property
    def is_mean(self) -> bool:
        """Check whether this is a mean over targets.

        Returns
        -------
        bool
        """
        return self.target < 0


def read_faithfulness(campaign: Campaign) -> dict[int, TargetScores]:
    """Return the scores of every explained target by its id, in the table's order.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    dict
        Id of a target to its TargetScores.

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
    """Return scores as the table `faithfulness`; the inverse of `read_faithfulness`.

    Parameters
    ----------
    scores : iterable of TargetScores

    Returns
    -------
    pyarrow.Table
        One row for each target, estimator and metric.
    """
    rows = [
        {"target": held.target, "estimator": estimator, "metric": metric, **score._asdict()}
        for held in scores
        for (estimator, metric), score in held.scores.items()
    ]
    return pa.Table.from_pylist(rows, schema=FAITHFULNESS)


def scored_estimators(scores: Iterable[TargetScores]) -> tuple[str, ...]:
    """Return the estimators that any of the targets was scored for.

    Parameters
    ----------
    scores : iterable of TargetScores

    Returns
    -------
    tuple of str
        In the table's order, each once.
    """
    return tuple(dict.fromkeys(name for held in scores for name in held.estimators))


def _number(value: float | None) -> float:
    return math.nan if value is None else value
