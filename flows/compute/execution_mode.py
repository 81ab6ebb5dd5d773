"""Which way a campaign's models are trained: chosen once, kept beside the campaign, handed to every worker.

Float32 results differ in their last bits from way to way and, for some ways, with K. So nothing is chosen twice:

    compute.json    mode, ensemble size and threads for every network (recipe and image size), with what was measured

What the configuration fixes (compute.mode other than auto) is not chosen at all.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from typing import Any

from conf.schema import CampaignConfig, ComputeConfig
from flows.compute.ray_cluster import Cluster
from flows.compute.streaming_map import Resources
from flows.compute.work import TrainingJob, calibrate_here
from flows.store.campaign import Campaign
from flows.store.files import read_json, write_json

FILE = "compute.json"
AUTO = "auto"


@dataclass(frozen=True)
class Choice:
    """How models are trained. ensemble_size: the K of a full chunk."""

    mode: str
    ensemble_size: int
    threads: int


def resources(compute: ComputeConfig) -> Resources:
    """What one shard asks of Ray."""
    memory = None if compute.memory_gb_per_shard is None else int(compute.memory_gb_per_shard * 2**30)
    return Resources(1.0, compute.gpus_per_shard, memory, compute.max_retries)


def settle(config: CampaignConfig, campaign: Campaign, cluster: Cluster, job: TrainingJob, log: Any) -> TrainingJob:
    """The job with its mode, K and threads: as configured, as this campaign chose before, or as a worker measures now.

    Call with the campaign locked. Should the measuring fail, grouped convolutions are chosen, and the log says why.
    """
    if config.compute.mode != AUTO:
        fixed = config.compute
        return replace(
            job, mode=fixed.mode, ensemble_size=fixed.ensemble_size, threads=threads_of_a_worker(config)
        )
    kept = _kept(campaign)
    name = _network(job)
    if name in kept:
        choice = Choice(**{key: kept[name][key] for key in ("mode", "ensemble_size", "threads")})
        log.info("models are trained as this campaign's are: %s, %d at a time", choice.mode, choice.ensemble_size)
    else:
        choice, measured = _measure(config, cluster, job, log)
        write_json(campaign.folder / FILE, {**kept, name: {**asdict(choice), **measured}})
    return replace(job, mode=choice.mode, ensemble_size=choice.ensemble_size, threads=choice.threads)


def _measure(
    config: CampaignConfig, cluster: Cluster, job: TrainingJob, log: Any
) -> tuple[Choice, dict[str, Any]]:
    compute = config.compute
    wanted = {
        "arithmetic": "" if compute.arithmetic == "float32" else compute.arithmetic,
        "max_ensemble_size": min(compute.ensemble_size, config.campaign.shard_size),
        "threads": threads_of_a_worker(config),
        "seconds": compute.calibration_seconds,
    }
    (outcome,) = cluster.map(calibrate_here, job, [wanted], resources(compute))
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
    """Threads one worker may use on this machine: one, unless fewer workers were asked for than there are cores."""
    if config.compute.threads is not None:
        return config.compute.threads
    if config.compute.workers is None or config.compute.ray_address or "RAY_ADDRESS" in os.environ:
        return 1
    return max(1, len(os.sched_getaffinity(0)) // config.compute.workers)


def kept_choice(campaign: Campaign, job: TrainingJob) -> dict[str, Any] | None:
    """What this campaign chose for that network, and what was measured (mode, threads, seconds_per_model …)."""
    found = _kept(campaign).get(_network(job))
    return None if found is None else dict(found)


def _kept(campaign: Campaign) -> dict[str, Any]:
    path = campaign.folder / FILE
    return dict(read_json(path)) if path.is_file() else {}


def _network(job: TrainingJob) -> str:
    """Names what a step's cost depends on: the recipe, the images' size, the classes, the device.

    The expected size of a training set and the kind of output change the number of steps at most.
    """
    recipe = {name: value for name, value in job.recipe.items() if name not in ("nominal_alpha", "output")}
    parts = (recipe, job.dataset.train.images.shape[1:], len(job.dataset.class_names), job.device)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
