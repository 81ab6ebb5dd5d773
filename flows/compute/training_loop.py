"""The training loop of every stage that trains: retrain, certify, verify and brittleness.

Shards without an outcome go to the cluster. Each one that ends becomes rows at once: outcomes, or, where it failed,
rows of status `failed` whose reason names a log. A game whose evaluations fail one by one (a trainer of the user's own)
leaves failed rows between outcomes. The next run trains failed rows again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conf.schema import CampaignConfig
from flows.compute.execution_mode import resolve_mode, resources
from flows.compute.ray_cluster import Cluster, Outcome
from flows.compute.shards import read_shards
from flows.compute.work import evaluate_shard
from flows.errors import IncompleteCampaign
from flows.games.base import Game, HasModes
from flows.runtime.logs import Log
from flows.runtime.progress import Progress
from flows.runtime.wording import work_on
from flows.store.campaign import Campaign
from flows.store.fragments import fragment_path
from flows.store.outputs_table import (
    failed_outputs_table,
    failed_results_table,
    outputs_table,
    results_table,
)
from flows.store.roles import RowRange, count_rows, missing_shards

FIRST_CALLS = 4  # where so many calls fail and none succeeds, the fault is not that of one mask


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
    failed_calls : int
        Models that failed by themselves, in a shard that went on.
    """

    trained: int = 0
    diverged: int = 0
    failed: int = 0
    failed_calls: int = 0

    def __add__(self, other: TrainingSummary) -> TrainingSummary:
        """Add up the models of both."""
        return TrainingSummary(
            self.trained + other.trained, self.diverged + other.diverged, self.failed + other.failed,
            self.failed_calls + other.failed_calls,
        )  # fmt: skip


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
    IncompleteCampaign
        When the first calls of a user's own function all fail. Their rows are written first.
    """
    todo = [(batch, missing_of(campaign, batch)) for batch in batches]
    total, left = _count(batches), sum(count_rows(shards) for _, shards in todo)
    done, announced = TrainingSummary(), set[str]()
    noun = work_on(bool(batches) and all(batch.game.deterministic for batch in batches)).noun
    with Progress(total, f"{noun}s", done=total - left) as progress:
        for batch, shards in todo:
            if not shards:
                continue
            network = batch.game.network() if isinstance(batch.game, HasModes) else ""
            game = resolve_mode(config, campaign, cluster, batch.game, log, announce=network not in announced)
            announced.add(network)  # an experiment has dozens of batches of two networks
            outcomes = cluster.map(
                evaluate_shard,
                game,
                read_shards(config.campaign.seed, campaign, shards),
                resources(config.compute),
                on_start=progress.show,
                on_retry=lambda index, why, shards=shards: log.warning(  # type: ignore[misc]
                    "shard %s is tried again: %s", shards[index].name, why
                ),
            )
            found = keep_outcomes(campaign, batch, shards, outcomes, progress, log)
            done += found
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
    done, fresh, first_reason = TrainingSummary(), not campaign.trained(batch.table), ""
    for outcome in outcomes:
        rows = shards[outcome.index]
        if outcome.error is not None:
            log_name = campaign.write_log(rows, outcome.log or outcome.error)
            reason = f"{outcome.error} (tried {outcome.attempts} times; log: {log_name})"
            log.error("shard %s failed: %s", rows.name, reason)
            _write_failure(campaign, batch, rows, reason)
            done += TrainingSummary(failed=len(rows))
        else:
            _write_outcome(campaign, batch, rows, outcome.value)
            status = list(outcome.value["status"])
            first_reason = first_reason or next(filter(None, outcome.value.get("reasons", ())), "")
            done += TrainingSummary(
                status.count("ok"), len(rows) - status.count("ok") - status.count("failed"), 0, status.count("failed")
            )
        progress.advance(len(rows))
        if fresh and done.failed_calls >= FIRST_CALLS and not done.trained and not done.diverged:
            raise IncompleteCampaign(
                f"the first {done.failed_calls} calls of {batch.game.name} all failed, so the others were not tried. "
                f"One of them: {first_reason}. The logs are in {campaign.folder}/logs"
            )
    return done


def failed_calls_sentence(n_failed: int, name: str) -> str:
    """Say that calls failed and what becomes of their rows."""
    return (
        f"{n_failed} calls of {name} failed; their rows have a status and a reason (`coterie status`) and no number. "
        "What follows leaves them out, and the next run tries them again"
    )


def _write_outcome(campaign: Campaign, batch: Batch, rows: RowRange, columns: dict[str, Any]) -> None:
    failed = [status == "failed" for status in columns["status"]]
    for first, last in _runs(failed):
        part = RowRange(rows.role, rows.replicate, rows.first + first, rows.first + last)
        found = {name: _rows_of(value, first, last, len(rows)) for name, value in columns.items()}
        if failed[first]:
            logs = [text for text in found.get("logs", ()) if text]
            name = f" (log: {campaign.write_log(part, chr(10).join(logs))})" if logs else ""
            _write_failure(campaign, batch, part, [f"{reason}{name}" for reason in found["reasons"]])
        elif batch.to_outputs:
            campaign.write_outputs(part, outputs_table(campaign, part, found))
        else:
            campaign.write_results(part, results_table(part, found))
    if any(failed) and not all(failed):  # an earlier failure of the whole shard holds no longer
        fragment_path(campaign.folder / batch.table, rows, failed=True).unlink(missing_ok=True)


def _runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """[first, last) of every run of equal values."""
    bounds = [0, *(at for at in range(1, len(flags)) if flags[at] != flags[at - 1]), len(flags)]
    return list(zip(bounds[:-1], bounds[1:], strict=True))


def _rows_of(value: Any, first: int, last: int, n_rows: int) -> Any:
    """Rows [first, last) of a column; what holds for all rows as it is."""
    if isinstance(value, str) or np.ndim(value) == 0 or len(value) != n_rows:
        return value
    return value[first:last]


def _write_failure(campaign: Campaign, batch: Batch, rows: RowRange, reason: str | Sequence[str]) -> None:
    if batch.to_outputs:
        campaign.write_outputs(rows, failed_outputs_table(campaign, rows, reason), failed=True)
    else:
        campaign.write_results(rows, failed_results_table(rows, reason, batch.game.n_targets), failed=True)


def _count(batches: Iterable[Batch]) -> int:
    return sum(count_rows(batch.rows) for batch in batches)
