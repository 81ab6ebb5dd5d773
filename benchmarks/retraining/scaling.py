"""How much of a second worker, or of four nodes, arrives as models.

    OMP_NUM_THREADS=1 python benchmarks/retraining/scaling.py workers --models 768 --pairs 2
    OMP_NUM_THREADS=1 python benchmarks/retraining/scaling.py nodes --nodes 4 --shards 80 --unit-seconds 2.5

`workers` runs the real retrain stage (Prefect, Ray, Parquet) with one worker and with two, in turn. Two figures:

- by the clock: models a second of the training loop with two workers, over twice those with one. It means something
  only where nothing else wants the cores.
- accounted: the share of the workers' time in which a unit ran, times what the second worker does to the processor
  time of a model (shared caches). Programs beside it slow units down and leave this figure alone.

`nodes` starts so many Ray nodes of one slot each on this machine and runs the stage's own loop (shards from the masks
table, the map, one fragment a shard) with units that wait as long as a shard would train: it shows what scheduling,
transfers and the writing of fragments leave of the nodes, not how fast they train.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from overhead import quickstart_like, run_stage  # prepares the environment before NumPy or torch is imported

from flows.compute.work import Shard


def two_workers(arguments: argparse.Namespace) -> dict[str, Any]:
    """One worker and two, in turn."""
    found: dict[str, Any] = {"models": arguments.models, "clock": [], "accounted": [], "idle": [], "speed_up": []}
    for _ in range(arguments.pairs):
        costs = {}
        for workers in (1, 2):
            with tempfile.TemporaryDirectory(prefix="coterie-scaling-") as folder:
                costs[workers] = run_stage(
                    quickstart_like(
                        Path(folder) / "c", arguments.models, workers, arguments.config,
                        # Left to itself one worker of a machine takes all its cores.
                        ["compute.threads=1", *arguments.overrides],
                    )
                )
        one, two = costs[1], costs[2]
        # From the first unit on: the loading of torch in a worker is overlapped with the start of Prefect's server, or
        # is not where others want the cores, and says nothing about the loop.
        busy = {workers: (1 - cost.idle) / (1 - cost.idle_at_first) for workers, cost in costs.items()}
        accounted = busy[2] / busy[1] * one.retrain / two.retrain
        found["clock"].append(round(one.loop_wall / two.loop_wall / 2, 4))
        found["accounted"].append(round(accounted, 4))
        found["speed_up"].append(round(2 * accounted, 3))
        found["idle"].append([one.idle - one.idle_at_first, two.idle - two.idle_at_first])
    found["median"] = {name: median(found[name]) for name in ("clock", "accounted", "speed_up")}
    return found


def wait_as_long(seconds_and_targets: tuple[float, int], shard: Shard) -> dict[str, Any]:
    """A unit that takes its time and returns outputs from the shard's first seed."""
    import time as clock

    import numpy as np

    seconds, n_targets = seconds_and_targets
    began = clock.monotonic()
    n_models, rng = len(shard.rows), np.random.default_rng(int(shard.seeds[0]))
    number = rng.uniform(size=n_models).astype(np.float32)
    columns = {
        "status": ["ok"] * n_models,
        "outputs": rng.standard_normal((n_models, n_targets), np.float32),
        **{name: number for name in ("train_accuracy", "target_accuracy", "audit_accuracy", "train_seconds")},
        "ensemble_size": n_models,
        "mode": "none", "device": "cpu", "host": "simulated",
    }  # fmt: skip
    clock.sleep(max(0.0, seconds - (clock.monotonic() - began)))
    return columns


def nodes(arguments: argparse.Namespace) -> dict[str, Any]:
    """The stage's loop over several nodes: units' time over nodes times wall time."""
    import ray
    from ray.cluster_utils import Cluster as Nodes

    from flows.compute.ray_cluster import Cluster
    from flows.compute.shards import read_shards
    from flows.compute.training_loop import Batch, keep_outcomes
    from flows.plan import plan
    from flows.runtime.progress import Progress
    from flows.store.campaign import Campaign
    from flows.store.wanted import missing_models

    simulated = Nodes(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(arguments.nodes):
            simulated.add_node(num_cpus=1)
        ray.init(address=simulated.address, log_to_driver=False)
        simulated.wait_for_nodes()
        with tempfile.TemporaryDirectory(prefix="coterie-nodes-") as folder:
            size = 32
            config = quickstart_like(
                Path(folder) / "c", arguments.shards * size, 1, arguments.config, arguments.overrides
            )
            plan.fn(config)
            campaign = Campaign(config.campaign.folder)
            shards = missing_models(config, campaign)
            with Cluster("local") as cluster, campaign.lock(), Progress(len(shards) * size, "models") as progress:
                # One round first: every node starts its worker and imports what a unit needs.
                shared = (arguments.unit_seconds, campaign.n_targets)
                warm = read_shards(0, campaign, shards[: 2 * arguments.nodes])
                list(cluster.map(wait_as_long, (0.5, campaign.n_targets), warm))
                began = time.monotonic()
                outcomes = cluster.map(wait_as_long, shared, read_shards(0, campaign, shards))
                keep_outcomes(campaign, Batch((), None), shards, outcomes, progress, logging.getLogger("coterie"))
                seconds = time.monotonic() - began
        ideal = arguments.unit_seconds * -(-len(shards) // arguments.nodes)
        return {
            "nodes": arguments.nodes, "shards": len(shards), "unit_seconds": arguments.unit_seconds,
            "wall_seconds": round(seconds, 2), "efficiency": round(ideal / seconds, 4),
            "milliseconds_lost_a_unit": round(1000 * (seconds - ideal) * arguments.nodes / len(shards), 1),
        }  # fmt: skip
    finally:
        ray.shutdown()
        simulated.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["workers", "nodes"])
    parser.add_argument("overrides", nargs="*", help="configuration overrides, key=value")
    parser.add_argument("--config", default="quickstart")
    parser.add_argument("--models", type=int, default=768)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--shards", type=int, default=80)
    parser.add_argument("--unit-seconds", type=float, default=2.5, help="time of a shard of 32 models")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    logging.getLogger("coterie").setLevel(logging.ERROR)
    found = two_workers(arguments) if arguments.what == "workers" else nodes(arguments)
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
