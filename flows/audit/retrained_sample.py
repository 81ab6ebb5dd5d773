"""The part of an audit that trains: shards of a sample once more, compared with what is stored.

With the same shard, K, device, host and code the numbers must be equal bit for bit. Elsewhere float32 sums differ in
their last bits and small differences grow (METHOD.md, DESIGN.md), so that the yardstick is another seed: a model must
be no further from its stored outputs than two trainings of one mask with different seeds are from each other.
"""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from conf.schema import CampaignConfig
from flows.audit.findings import AuditReport, Finding
from flows.games.base import Game
from flows.games.trainer.game import Trainer
from flows.runtime.trust import NotNamed
from flows.runtime.versions import code_version
from flows.store.campaign import Campaign
from flows.store.roles import RowRange


def check_sample(
    campaign: Campaign,
    config: CampaignConfig,
    fragments: list[tuple[RowRange, Path]],
    n_shards: int,
    seed: int,
    report: AuditReport,
) -> None:
    """Train some shards again, and add to the report what differs.

    Parameters
    ----------
    campaign : Campaign
    config : CampaignConfig
    fragments : list of (RowRange, Path)
        Sound fragments of outputs to choose from.
    n_shards : int
        Fragments to train again.
    seed : int
        Chooses them.
    report : AuditReport
    """
    from flows.games.table import full_identity, make_game

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # as in the workers: the number of threads changes the last bits
    if config.game.kind == "recorded":
        report.notes.append("nothing was evaluated again: a recorded bank has no trainer")
        return
    try:
        game = make_game(config)
    except NotNamed as error:
        report.notes.append(f"nothing was evaluated again: {error}")
        return
    campaign.check_identity(full_identity(config, game))
    if not fragments:
        report.notes.append("no sound fragment to train again")
        return
    chosen = np.random.default_rng(seed).permutation(len(fragments))[:n_shards]
    between_seeds = _largest_difference_between_seeds(campaign)
    for rows, path in (fragments[index] for index in sorted(chosen)):
        stored = campaign.read_fragment("outputs", path)
        again = _evaluate_again(campaign, config, game, rows, stored)
        report.n_retrained += len(rows)
        fault, note = compare(stored, again, between_seeds)
        if (fault or note) and isinstance(game, Trainer):
            fault = _not_deterministic(game, again, _evaluate_again(campaign, config, game, rows, stored)) or fault
        if fault:
            report.findings.append(Finding("retrained", f"outputs/{path.name}", fault, path))
        elif note:
            report.notes.append(f"{rows.name} trained again: {note}")


def _not_deterministic(game: Trainer, once: dict[str, Any], twice: dict[str, Any]) -> str:
    """Say that a function of the user's own gives other outputs for one mask and one seed, where it does."""
    apart = np.abs(once["outputs"] - twice["outputs"]).max(axis=1)
    if list(once["status"]) == list(twice["status"]) and not (apart > 0).any():
        return ""
    return (
        f"{game.function} {game.when_two_calls_differ.format(f'{np.nanmax(apart, initial=0.0):.3g}')}; until then an "
        "audit cannot check its rows"
    )


def _evaluate_again(
    campaign: Campaign, config: CampaignConfig, game: Game, rows: RowRange, stored: pa.Table
) -> dict[str, Any]:
    import torch

    from flows.compute.shards import read_shards
    from flows.compute.work import evaluate_shard
    from flows.games.retraining import Retraining

    torch.set_num_threads(1)
    if isinstance(game, Retraining):  # with the device, mode and ensemble size of the stored rows
        device = stored["device"][0].as_py()
        game = replace(
            game,
            device="cpu" if device == "cuda" and not torch.cuda.is_available() else device,
            ensemble_size=int(stored["ensemble_size"][0].as_py()),
            mode=stored["mode"][0].as_py(),
        )
    (shard,) = read_shards(config.campaign.seed, campaign, [rows])
    return {**evaluate_shard(game, shard), "code_version": code_version()}


def compare(stored: pa.Table, again: dict[str, Any], between_seeds: float | None) -> tuple[str, str]:
    """Compare a shard with what training it again gave.

    Parameters
    ----------
    stored : pyarrow.Table
        The fragment of outputs.
    again : dict
        Columns of the same rows, trained again.
    between_seeds : float or None
        Largest root mean square difference, over targets, of one mask trained with two seeds; None when the
        campaign has no replicates.

    Returns
    -------
    fault : str
        What is wrong.
    note : str
        What is worth noting. Both are empty when the shard is equal bit for bit.
    """
    ok = np.asarray(stored["status"].to_pylist()) == "ok"
    new_ok = np.asarray(again["status"]) == "ok"
    old = np.full(again["outputs"].shape, np.nan, np.float32)
    values = stored["outputs"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    old[ok] = values.reshape(int(ok.sum()), -1)
    both = ok & new_ok
    if np.array_equal(ok, new_ok) and np.array_equal(old[both], again["outputs"][both]):
        return "", ""
    differing = [
        name
        for name in ("host", "device", "code_version")
        if stored[name][0].as_py() != (socket.gethostname() if name == "host" else again[name])
    ]
    rms = np.sqrt(np.mean((old[both] - again["outputs"][both]) ** 2, axis=1, dtype=np.float64))
    largest = float(rms.max(initial=0.0))
    if not differing:
        return f"{int((rms > 0).sum())} of {len(ok)} models differ (by {largest:.3g} root mean square at most) with " \
               "the same shard, K, device, host and code", ""
    why = f"trained with another {', '.join(differing)}"
    if between_seeds is None:
        return "", f"{why}, differs by {largest:.3g} at most; without replicates there is no yardstick"
    if largest > between_seeds:
        return f"differs by {largest:.3g}, two seeds of one mask by {between_seeds:.3g} at most ({why})", ""
    return "", f"{why}, differs by {largest:.3g} at most, two seeds of one mask by up to {between_seeds:.3g}"


def _largest_difference_between_seeds(campaign: Campaign) -> float | None:
    first = {int(mask): row for ids, outputs, _ in campaign.output_blocks("holdout", 0)
             for mask, row in zip(ids, outputs, strict=True)}
    largest = None
    for ids, outputs, _ in campaign.output_blocks("holdout", 1):
        for mask, row in zip(ids, outputs, strict=True):
            if int(mask) in first:
                difference = float(np.sqrt(np.mean((row - first[int(mask)]) ** 2, dtype=np.float64)))
                largest = difference if largest is None else max(largest, difference)
    return largest
