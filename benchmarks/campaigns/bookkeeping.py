"""Bookkeeping at Datamodels' scale: 300,000 models × 10,000 targets, with units of work that train nothing.

    python benchmarks/campaigns/bookkeeping.py --models 300000 --targets 100 --shard-size 256

Plans the masks, runs the retrain stage's own loop (listing, shards from the masks table, Ray, one fragment a shard)
with a unit that returns random outputs, and lists what is missing, following the driver's memory. `--targets 10000`
writes the full 12 GB.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from flows.compute.ray_cluster import Cluster
from flows.compute.shards import read_shards
from flows.compute.training_loop import Batch, keep_outcomes
from flows.compute.work import Shard
from flows.plan import masks_table
from flows.runtime.progress import Progress
from flows.store.campaign import Campaign
from flows.store.roles import RowRange, missing_shards


def pretend(n_targets: int, shard: Shard) -> dict[str, Any]:
    """A unit of work that costs nothing: outputs from the shard's first seed."""
    n_models, rng = len(shard.rows), np.random.default_rng(int(shard.seeds[0]))
    number = rng.uniform(size=n_models).astype(np.float32)
    return {
        "status": ["ok"] * n_models,
        "outputs": rng.standard_normal((n_models, n_targets), np.float32),
        **{name: number for name in ("train_accuracy", "target_accuracy", "audit_accuracy", "train_seconds")},
        "ensemble_size": 1, "mode": "none", "device": "cpu", "host": "simulated",
    }


def resident_mb() -> float:
    """Memory this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=300_000)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--players", type=int, default=1000)
    parser.add_argument("--shard-size", type=int, default=256)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    found: dict[str, Any] = {"models": chosen.models, "targets": chosen.targets, "shard_size": chosen.shard_size}
    with tempfile.TemporaryDirectory(prefix="coterie-bookkeeping-") as folder:
        found.update(_simulate(Campaign(folder), chosen))
    text = json.dumps(found, indent=1)
    print(text)
    if chosen.out:
        chosen.out.write_text(text)


def _simulate(campaign: Campaign, chosen: argparse.Namespace) -> dict[str, Any]:
    from conf.compose import compose

    config = compose("quickstart", [f"campaign.n_fit={chosen.models}", "campaign.n_holdout=0"])
    campaign.create({"simulated": True}, {
        "name": "simulated", "n_players": chosen.players, "n_targets": chosen.targets, "shard_size": chosen.shard_size,
    })
    everything, found = [RowRange("fit", 0, 0, chosen.models)], {}
    began = time.monotonic()
    for rows in missing_shards(everything, [], 2**24 // ((chosen.players + 7) // 8)):
        campaign.write_masks(rows, masks_table(config, rows, chosen.players))
    found["plan_seconds"] = round(time.monotonic() - began, 1)
    with Cluster() as cluster, campaign.lock():
        began = time.monotonic()
        shards = missing_shards(everything, campaign.trained(), campaign.shard_size)
        found["listing_before_seconds"] = round(time.monotonic() - began, 2)
        memory: list[float] = []

        def watched() -> Any:
            for number, outcome in enumerate(
                cluster.map(pretend, chosen.targets, read_shards(0, campaign, shards))
            ):
                if number % max(1, len(shards) // 20) == 0:
                    memory.append(round(resident_mb(), 1))
                yield outcome

        began = time.monotonic()
        with Progress(chosen.models, "models") as progress:
            keep_outcomes(campaign, Batch((), None), shards, watched(), progress, logging.getLogger("coterie"))
        seconds = time.monotonic() - began
    found.update(shards=len(shards), run_seconds=round(seconds, 1), ms_per_shard=round(1000 * seconds / len(shards), 1),
                 driver_mb_along_the_way=memory)
    began = time.monotonic()
    assert not missing_shards(everything, campaign.trained(), campaign.shard_size)
    found["listing_after_seconds"] = round(time.monotonic() - began, 2)
    found["outputs_gb"] = round(sum(p.stat().st_size for p in campaign.fragment_paths("outputs")) / 1e9, 2)
    return found


if __name__ == "__main__":
    main()
