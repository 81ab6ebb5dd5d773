"""The training loop of every stage that trains: retrain, certify, verify and brittleness.

Shards without an outcome go to the cluster. Each one that ends becomes rows at once: outcomes, or, where it failed,
rows of status `failed` whose reason names a log. The next run trains failed rows again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from conf.schema import CampaignConfig
from flows.compute.execution_mode import resolve_mode, resources
from flows.compute.ray_cluster import Cluster, Outcome
from flows.compute.shards import read_shards
from flows.compute.work import evaluate_shard
from flows.games.base import Game
from flows.runtime.logs import Log
from flows.runtime.progress import Progress
from flows.store.campaign import Campaign
from flows.store.outputs_table import (
    failed_outputs_table,
    failed_results_table,
    outputs_table,
    results_table,
)
from flows.store.roles import RowRange, count_rows, missing_shards


@dataclass(frozen=True)
class Batch:
    """Rows evaluated by one game.

    Parameters
    ----------
    rows
        Ranges of planned rows, of any roles.
    game
        Evaluates the masks of these rows.
    to_outputs
        True for rows of `outputs`: trained and evaluated as the campaign's own rows are. False for rows of `results`:
        another recipe, or other examples evaluated.
    """

    rows: tuple[RowRange, ...]
    game: Game
    to_outputs: bool = True

    @property
    def table(self) -> str:
        """Folder of the fragments that hold the outcomes.

        Returns
        -------
        str
            "outputs" or "results".
        """
        return "outputs" if self.to_outputs else "results"


@dataclass(frozen=True)
class TrainingSummary:
    """Models trained by one call, by status.

    Attributes
    ----------
    trained : int
    diverged : int
    failed : int
        Models of the shards that failed.
    """

    trained: int = 0
    diverged: int = 0
    failed: int = 0


def missing_of(campaign: Campaign, batch: Batch) -> list[RowRange]:
    """Return the shards of a batch that have no outcome; failed ones are among them.

    Parameters
    ----------
    campaign : Campaign
    batch : Batch

    Returns
    -------
    list of RowRange
    """
    return missing_shards(batch.rows, campaign.trained(batch.table), campaign.shard_size)


def train_batches(
    config: CampaignConfig, campaign: Campaign, cluster: Cluster, batches: Sequence[Batch], log: Log
) -> TrainingSummary:
    """Train the rows of all batches that have no outcome and write each shard's rows as it ends.

    Parameters
    ----------
    config
        The campaign's configuration: its seed, and the resources of a shard.
    campaign
        The campaign, with its lock held.
    cluster
        Where the shards are trained.
    batches
        What to train; batches are trained one after the other.
    log
        Receives retries, failures and the choice of the execution mode.

    Returns
    -------
    TrainingSummary
        Models by status. A failed shard does not raise: its rows and its log are in the campaign.

    Raises
    ------
    ClusterError
        When Ray cannot be reached, or the first shards all fail. Their rows are written first.
    """
    todo = [(batch, missing_of(campaign, batch)) for batch in batches]
    total, left = _count(batches), sum(count_rows(shards) for _, shards in todo)
    done = TrainingSummary()
    with Progress(total, "models", done=total - left) as progress:
        for batch, shards in todo:
            if not shards:
                continue
            outcomes = cluster.map(
                evaluate_shard,
                resolve_mode(config, campaign, cluster, batch.game, log),
                read_shards(config.campaign.seed, campaign, shards),
                resources(config.compute),
                on_start=progress.show,
                on_retry=lambda index, why, shards=shards: log.warning(  # type: ignore[misc]
                    "shard %s is tried again: %s", shards[index].name, why
                ),
            )
            found = keep_outcomes(campaign, batch, shards, outcomes, progress, log)
            done = TrainingSummary(
                done.trained + found.trained, done.diverged + found.diverged, done.failed + found.failed
            )
    return done


def keep_outcomes(
    campaign: Campaign,
    batch: Batch,
    shards: Sequence[RowRange],
    outcomes: Iterable[Outcome],
    progress: Progress,
    log: Log,
) -> TrainingSummary:
    """Write the rows of each shard that has ended; a failed shard leaves a log and rows that name it.

    Parameters
    ----------
    campaign : Campaign
    batch : Batch
    shards : sequence of RowRange
        The shards that were submitted; an outcome's index counts in them.
    outcomes : iterable of Outcome
    progress : Progress
        Advanced by the rows of each shard.
    log : Log
        Reports the shards that failed.

    Returns
    -------
    TrainingSummary
    """
    trained = diverged = failed = 0
    for outcome in outcomes:
        rows = shards[outcome.index]
        if outcome.error is not None:
            log_name = campaign.write_log(rows, outcome.log or outcome.error)
            reason = f"{outcome.error} (tried {outcome.attempts} times; log: {log_name})"
            log.error("shard %s failed: %s", rows.name, reason)
            _write_failure(campaign, batch, rows, reason)
            failed += len(rows)
        else:
            _write_outcome(campaign, batch, rows, outcome.value)
            bad = sum(status != "ok" for status in outcome.value["status"])
            diverged += bad
            trained += len(rows) - bad
        progress.advance(len(rows))
    return TrainingSummary(trained, diverged, failed)


def _write_outcome(campaign: Campaign, batch: Batch, rows: RowRange, columns: dict[str, Any]) -> None:
    if batch.to_outputs:
        campaign.write_outputs(rows, outputs_table(campaign, rows, columns))
    else:
        campaign.write_results(rows, results_table(rows, columns))


def _write_failure(campaign: Campaign, batch: Batch, rows: RowRange, reason: str) -> None:
    if batch.to_outputs:
        campaign.write_outputs(rows, failed_outputs_table(campaign, rows, reason), failed=True)
    else:
        campaign.write_results(rows, failed_results_table(rows, reason, batch.game.n_targets), failed=True)


def _count(batches: Iterable[Batch]) -> int:
    return sum(count_rows(batch.rows) for batch in batches)
