"""The execution mode of a campaign: chosen once, kept beside the campaign, given to every worker.

Float32 results differ in their last bits between modes and, for some modes, with K. So nothing is chosen twice:

    compute.json    mode, ensemble size and threads for every network (recipe and image size), with what was measured

What the configuration fixes (compute.mode other than auto) is not chosen at all.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from conf.schema import CampaignConfig, ComputeConfig
from flows.compute.ray_cluster import Cluster
from flows.compute.streaming_map import Resources
from flows.compute.work import calibrate_here
from flows.games.base import Game, HasModes
from flows.runtime.logs import Log
from flows.storage.files import read_json, write_json
from flows.store.campaign import Campaign

FILE = "compute.json"
AUTO = "auto"


@dataclass(frozen=True)
class Choice:
    """How models are trained.

    Attributes
    ----------
    mode : str
        The execution mode.
    ensemble_size : int
        The K of a full chunk, in networks.
    threads : int
        Threads of one worker.
    """

    mode: str
    ensemble_size: int
    threads: int


def resources(compute: ComputeConfig) -> Resources:
    """Compute what one shard asks of Ray.

    Parameters
    ----------
    compute : ComputeConfig

    Returns
    -------
    Resources
        One processor, the configured GPUs and retries, and the memory in bytes where it is configured.
    """
    memory = None if compute.memory_gb_per_shard is None else int(compute.memory_gb_per_shard * 2**30)
    return Resources(1.0, compute.gpus_per_shard, memory, compute.max_retries)


def resolve_mode(
    config: CampaignConfig, campaign: Campaign, cluster: Cluster, game: Game, log: Log, announce: bool = True
) -> Game:
    """Return the game with its execution mode, ensemble size and threads set.

    Parameters
    ----------
    config
        `compute.mode` fixes the mode, or is `auto`.
    campaign
        Keeps the choice, with its lock held.
    cluster
        Where modes are measured when this campaign has no choice yet.
    game
        A game without modes is returned as it is.
    log
        Receives the choice.
    announce
        Whether a choice that was made before is logged.

    Notes
    -----
    With `auto` the campaign's recorded choice counts; without one a worker measures the modes. When measuring fails,
    grouped convolutions are chosen and the log has the reason.
    """
    if not isinstance(game, HasModes):
        return game
    if config.compute.mode != AUTO:
        fixed = config.compute
        return game.with_mode(fixed.mode, fixed.ensemble_size, threads_of_a_worker(config))
    kept = _kept(campaign)
    name = game.network()
    if name in kept:
        choice = Choice(**{key: kept[name][key] for key in ("mode", "ensemble_size", "threads")})
        if announce:
            log.info("models are trained as this campaign's are: %s, %d at a time", choice.mode, choice.ensemble_size)
    else:
        choice, measured = _measure(config, cluster, game, log)
        write_json(campaign.folder / FILE, {**kept, name: {**asdict(choice), **measured}})
    return game.with_mode(choice.mode, choice.ensemble_size, choice.threads)


def _measure(
    config: CampaignConfig, cluster: Cluster, game: HasModes, log: Log
) -> tuple[Choice, dict[str, Any]]:
    compute = config.compute
    wanted = {
        "arithmetic": "" if compute.arithmetic == "float32" else compute.arithmetic,
        "max_ensemble_size": min(compute.ensemble_size, config.campaign.shard_size),
        "threads": threads_of_a_worker(config),
        "seconds": compute.calibration_seconds,
    }
    (outcome,) = cluster.map(calibrate_here, game, [wanted], resources(compute))
    if outcome.error is not None:
        log.warning("calibration failed (%s): training with grouped convolutions", outcome.error)
        return Choice("grouped", min(compute.ensemble_size, config.campaign.shard_size), 1), {"failed": outcome.error}
    found = outcome.value
    for trial in found["trials"]:
        log.debug("calibration: %s", trial)
    when = "measured before" if found["cached"] else f"measured in {found['seconds']:.1f} s"
    log.info("chosen (%s): %s", when, found["text"])
    return Choice(found["mode"], found["ensemble_size"], found["threads"]), {
        "seconds_per_model": found["seconds_per_model"], "device_name": found["device_name"],
    }  # fmt: skip


def threads_of_a_worker(config: CampaignConfig) -> int:
    """Compute the threads that one worker may use on this machine.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    int
        The configured number; else one, unless fewer workers are configured than there are cores here.
    """
    if config.compute.threads is not None:
        return config.compute.threads
    if config.compute.workers is None or config.compute.ray_address or "RAY_ADDRESS" in os.environ:
        return 1
    return max(1, len(os.sched_getaffinity(0)) // config.compute.workers)


def recorded_mode(campaign: Campaign, game: HasModes) -> dict[str, Any] | None:
    """Return what this campaign chose for a game's network, and measured.

    Parameters
    ----------
    campaign : Campaign
    game : HasModes

    Returns
    -------
    dict or None
        mode, threads, seconds_per_model and others; None where nothing is recorded.
    """
    found = _kept(campaign).get(game.network())
    return None if found is None else dict(found)


def _kept(campaign: Campaign) -> dict[str, Any]:
    path = campaign.folder / FILE
    return dict(read_json(path)) if path.is_file() else {}
