"""What a configured campaign would cost and show, before it is started: time, disk, expected faithfulness.

Nothing is trained for the campaign and nothing is written to its folder. Time comes from a short calibration of this
machine, disk from sample files, faithfulness from a learning curve through what the folder holds, or, where it holds
too little, from other campaigns, marked as such.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from attribution.statistics.detectability import smallest_detectable
from conf.schema import CampaignConfig
from flows.compute.execution_mode import AUTO, recorded_mode, threads_of_a_worker
from flows.forecast.disk_space import DiskSpace, disk_space
from flows.forecast.faithfulness import FaithfulnessForecast, forecast_faithfulness
from flows.games.retraining import Retraining, resolve_device
from flows.games.table import UnknownGame, full_identity, require_retraining
from flows.store.campaign import Campaign
from flows.store.queries import throughput
from flows.store.roles import count_rows, missing_shards
from flows.store.wanted import missing_models, wanted
from training import Dataset, Recipe
from training.calibration.calibrate import Calibration, calibrate

# Measured beside training on two cores of an EPYC virtual machine: processor seconds to start Ray and Prefect's
# temporary server, plan and draw the report, which hardly depend on the campaign; and of attribution for one target,
# fixed and for every mask and player (15 targets of 200 players: 1.5 s with 512 masks, 2.3 s with 1,792).
START_AND_END_SECONDS = 20.0
TARGET_SECONDS = 0.08
TARGET_SECONDS_PER_MASK_AND_PLAYER = 2e-7


@dataclass(frozen=True)
class TimeForecast:
    """How long what is missing will take.

    Attributes
    ----------
    mode : str
        The execution mode.
    ensemble_size : int
    threads : int
        Threads of one worker.
    device : str
    device_name : str
    seconds_per_model : float
        Of one worker.
    models_per_second : float
        Of all workers together.
    workers : int
    training_seconds : float
        Wall time with `workers` at work on cores of their own.
    other_seconds : float
        Start, attribution and report.
    core_hours : float
        Workers' threads times their hours.
    gpu_hours : float
        0 on a processor.
    load : float
        Programs that want a core now, besides this one.
    training_seconds_at_load : float
        Wall time if they stay and share the cores evenly.
    seconds_per_model_so_far : float or None
        Of the models that this campaign has, by the clock.
    """

    mode: str
    ensemble_size: int
    threads: int
    device: str
    device_name: str
    seconds_per_model: float
    models_per_second: float
    workers: int
    training_seconds: float
    other_seconds: float
    core_hours: float
    gpu_hours: float
    load: float
    training_seconds_at_load: float
    seconds_per_model_so_far: float | None = None


@dataclass(frozen=True)
class Estimate:
    """Everything `coterie plan --estimate` prints.

    Attributes
    ----------
    name : str
    folder : str
    n_train : int
        Training pictures.
    n_classes : int
    n_players : int
    n_targets : int
    n_models : int
        Models of the campaign as configured.
    n_missing : int
        Models that are not trained yet.
    time : TimeForecast or None
        None where it cannot be forecast here.
    time_unknown : str
        Why there is no time; else empty.
    disk : DiskSpace
    smallest_detectable : float
    faithfulness : FaithfulnessForecast
    """

    name: str
    folder: str
    n_train: int
    n_classes: int
    n_players: int
    n_targets: int
    n_models: int
    n_missing: int
    time: TimeForecast | None
    time_unknown: str
    disk: DiskSpace
    smallest_detectable: float
    faithfulness: FaithfulnessForecast

    def as_json(self) -> dict[str, Any]:
        """Return the estimate as plain data.

        Returns
        -------
        dict
        """
        return {**asdict(self), "disk": {**asdict(self.disk), "total": self.disk.total}}


def estimate(config: CampaignConfig, *, cache: Path | None = None) -> Estimate:
    """Forecast a campaign. Errors of loading the data are passed on.

    Parameters
    ----------
    config : CampaignConfig
    cache : Path, optional
        Folder of calibrations, the user's by default.

    Returns
    -------
    Estimate

    Raises
    ------
    CampaignMismatch
        For a folder of another campaign.
    """
    if config.game.kind != "retraining":
        raise UnknownGame(
            f"`coterie plan --estimate` times trainings of the networks of `recipe`, and game.kind={config.game.kind} "
            "trains none. `coterie plan --precheck` evaluates a few masks and says what the campaign would take"
        )
    campaign, game = Campaign(config.campaign.folder), require_retraining(config, "plan --estimate")
    dataset = game.dataset
    if campaign.exists:
        campaign.check_identity(full_identity(config, game))
    missing = missing_models(config, campaign) if campaign.exists else missing_shards(
        wanted(config), [], config.campaign.shard_size
    )  # fmt: skip
    n_missing = count_rows(missing)
    time, unknown = None, ""
    try:
        time = forecast_time(config, dataset, n_missing, measured(config, dataset, cache))
        if campaign.exists and campaign.trained():
            time = replace(time, seconds_per_model_so_far=_so_far(campaign))
    except ValueError as error:  # no such device here: disk and faithfulness are forecast nevertheless
        unknown = str(error)
    n_explained = config.attribution.n_targets or len(dataset.targets)
    return Estimate(
        name=config.name,
        folder=str(campaign.folder),
        n_train=len(dataset.train),
        n_classes=len(dataset.class_names),
        n_players=dataset.n_players,
        n_targets=len(dataset.targets),
        n_models=count_rows(wanted(config)),
        n_missing=n_missing,
        time=time,
        time_unknown=unknown,
        disk=disk_space(config, dataset),
        smallest_detectable=smallest_detectable(
            config.campaign.n_fit, config.sampler.alpha, dataset.n_players, n_explained
        ),
        faithfulness=forecast_faithfulness(config, campaign, dataset.n_players),
    )


def measured(config: CampaignConfig, dataset: Dataset, cache: Path | None = None) -> Calibration:
    """Calibrate the execution mode that this campaign has or would choose, on this machine.

    Parameters
    ----------
    config : CampaignConfig
    dataset : Dataset
    cache : Path, optional
        Folder of calibrations, the user's by default.

    Returns
    -------
    Calibration
    """
    compute, campaign = config.compute, Campaign(config.campaign.folder)
    device, most = resolve_device(compute.device), min(compute.ensemble_size, config.campaign.shard_size)
    values = {**config.recipe.model_dump(), "nominal_alpha": config.sampler.alpha}
    recipe = Recipe(**values)
    kept = None
    if compute.mode == AUTO and campaign.exists:
        kept = recorded_mode(campaign, Retraining(dataset, values, compute.ensemble_size, compute.device))
    if kept is not None:
        fixed = {"modes": (kept["mode"],), "ensemble_size": kept["ensemble_size"]}
        return calibrate(dataset, recipe, device, cache=cache, **fixed)
    if compute.mode != AUTO:
        return calibrate(dataset, recipe, device, modes=(compute.mode,), ensemble_size=most, cache=cache)
    # As flows/compute/execution_mode.py asks, so that what is measured here is found in the cache there.
    return calibrate(
        dataset, recipe, device, arithmetic="" if compute.arithmetic == "float32" else compute.arithmetic,
        max_ensemble_size=most, threads=threads_of_a_worker(config), seconds=compute.calibration_seconds, cache=cache,
    )  # fmt: skip


def forecast_time(
    config: CampaignConfig, dataset: Dataset, n_missing: int, calibration: Calibration
) -> TimeForecast:
    """Forecast hours from seconds a model: whole shards, shared out over the workers, the last round included.

    Parameters
    ----------
    config : CampaignConfig
    dataset : Dataset
    n_missing : int
        Models to train.
    calibration : Calibration

    Returns
    -------
    TimeForecast
    """
    compute = config.compute
    on_gpu = calibration.device != "cpu"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = compute.workers or _workers_here(config, cores, on_gpu)
    shard = min(config.campaign.shard_size, max(n_missing, 1))
    rounds = np.ceil(n_missing / shard / workers) if n_missing else 0.0
    per_shard = shard * calibration.seconds_per_model
    # The last round leaves workers idle; with one shard a worker or less it is the whole.
    training = min(rounds * per_shard, (n_missing / shard / workers + 0.5) * per_shard) if n_missing else 0.0
    training = max(training, min(n_missing, shard) * calibration.seconds_per_model)
    load = max(0.0, os.getloadavg()[0]) if hasattr(os, "getloadavg") else 0.0
    crowding = 1.0 if on_gpu else max(1.0, (load + workers) / cores)
    core_seconds = n_missing * calibration.seconds_per_model * calibration.threads
    return TimeForecast(
        mode=calibration.mode,
        ensemble_size=calibration.ensemble_size,
        threads=calibration.threads,
        device=calibration.device,
        device_name=calibration.device_name,
        seconds_per_model=calibration.seconds_per_model,
        models_per_second=workers / calibration.seconds_per_model,
        workers=workers,
        training_seconds=float(training),
        other_seconds=START_AND_END_SECONDS + attribution_seconds(config, dataset) / min(workers, cores),
        core_hours=core_seconds / 3600,
        gpu_hours=n_missing * calibration.seconds_per_model * (compute.gpus_per_shard or 1) / 3600 if on_gpu else 0.0,
        load=load,
        training_seconds_at_load=float(training) * crowding,
    )


def _so_far(campaign: Campaign) -> float | None:
    """Mean seconds a model of what is trained, over all hosts."""
    hosts = throughput(campaign)
    models = sum(host.n_models for host in hosts)
    return sum(host.n_models * host.seconds_per_model for host in hosts) / models if models else None


def _workers_here(config: CampaignConfig, cores: int, on_gpu: bool) -> int:
    """Workers at a time on this machine where the configuration leaves them open."""
    if not on_gpu or not config.compute.gpus_per_shard:
        return cores
    import torch

    return max(1, min(cores, int(torch.cuda.device_count() / config.compute.gpus_per_shard)))


def attribution_seconds(config: CampaignConfig, dataset: Dataset) -> float:
    """Forecast the processor seconds of the attribute stage; measured up to 1,800 masks of 200 players, rough beyond.

    Parameters
    ----------
    config : CampaignConfig
    dataset : Dataset

    Returns
    -------
    float
        Seconds.
    """
    n_targets = min(config.attribution.n_targets or len(dataset.targets), len(dataset.targets))
    n_targets += (1 + len(dataset.class_names)) if config.attribution.pooled_targets else 0
    each = TARGET_SECONDS + TARGET_SECONDS_PER_MASK_AND_PLAYER * config.campaign.n_fit * dataset.n_players
    return n_targets * each
