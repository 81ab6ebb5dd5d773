"""What the pipeline costs beside the training itself, for a campaign of the quickstart's kind.

    OMP_NUM_THREADS=1 python benchmarks/retraining/overhead.py --models 2304 --pairs 2

Runs the real retrain stage (Prefect with its temporary server, Ray, Parquet) and, in turn with it, plain processes
that call `training.retrain` on the same shards with nothing around them. Everything is counted in processor seconds,
which other programs on the machine disturb least:

- of every process that the stage started, by what it is, while shards are trained (from the first submitted to the
  last one written) and before;
- inside `training.retrain` alone, measured within the same workers, so that the ratio needs no second run;
- of the plain processes, as many at a time as the stage has workers.

Idle workers are a loss that processor seconds do not show: the share of the loop's wall time that no unit ran on a
worker is given beside them.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from flows.runtime.environment import prepare

prepare()  # one thread a process, before NumPy or torch is imported

from conf.compose import compose  # noqa: E402
from conf.schema import CampaignConfig  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
ROLES = ("workers", "driver", "Ray's daemons", "Prefect's server")


# --- processor seconds of processes ------------------------------------------------------------------------------


def processor_seconds() -> dict[tuple[int, str], float]:
    """Processor seconds so far of this process and of all that it started, at any remove, by (pid, role).

    By parentage: Ray's agents overwrite the memory that a mark in the environment would be read from.
    """
    seen, parents = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it ended
        pid = int(folder.name)
        parents[pid] = int(fields[1])
        seen[pid] = (command, (int(fields[11]) + int(fields[12])) / TICKS)
    own = os.getpid()
    found = {}
    for pid, (command, seconds) in seen.items():
        above = pid
        while above not in (own, 0, 1):
            above = parents.get(above, 0)
        if above == own:
            found[pid, "driver" if pid == own else role_of(command)] = seconds
    return found


def role_of(command: str) -> str:
    """What a process of a run is, by its command line."""
    if command.startswith("ray::") and "Agent" not in command:
        return "workers"
    if "prefect" in command and "ray" not in command.split("prefect")[0]:
        return "Prefect's server"
    return "Ray's daemons" if "ray" in command else "driver"


def by_role(after: dict[tuple[int, str], float], before: dict[tuple[int, str], float]) -> dict[str, float]:
    """Processor seconds between two looks. A worker has another name while idle, so processes go by pid."""
    earlier = {pid: seconds for (pid, _), seconds in before.items()}
    spent = dict.fromkeys(ROLES, 0.0)
    for (pid, role), seconds in after.items():
        spent[role] += seconds - earlier.get(pid, 0.0)
    return {role: round(seconds, 2) for role, seconds in spent.items()}


# --- the stage, metered ------------------------------------------------------------------------------------------


class Meter(NamedTuple):
    """One unit: clock at its start and end, its process's processor seconds at both, those inside `retrain`, pid."""

    began: float
    ended: float
    processor_at_start: float
    processor_at_end: float
    inside: float
    pid: int


def metered_train_shard(job: Any, shard: Any) -> dict[str, Any]:
    """`flows.compute.work.evaluate_shard`, with the processor seconds it spent in all and inside `training.retrain`."""
    import time as clock

    import training
    from flows.compute.work import evaluate_shard

    plain, inside = training.retrain, [0.0]

    def timed(*arguments: Any, **keywords: Any) -> Any:
        began = clock.process_time()
        try:
            return plain(*arguments, **keywords)
        finally:
            inside[0] += clock.process_time() - began

    training.retrain = timed
    began, processor = clock.time(), clock.process_time()  # of this process: what came before the unit included
    try:
        columns = evaluate_shard(job, shard)
    finally:
        training.retrain = plain
    return {**columns, "meter": Meter(began, clock.time(), processor, clock.process_time(), inside[0], os.getpid())}


@dataclass(frozen=True)
class StageCost:
    """One run of the retrain stage. Seconds are processor seconds unless the name says wall.

    retrain: inside `training.retrain`, in all workers; unit: inside the whole unit of work; first: of the workers
    until each began its first unit (imports, mostly before the loop); loop: of every process while shards are
    trained, by role; before, after: the rest of the stage; idle: share of the workers' wall time in the loop during
    which no unit ran; idle_at_first, idle_at_last: the part of it before each worker's first and after its last unit.
    """

    models: int
    workers: int
    mode: str
    members: int
    retrain: float
    unit: float
    first: float
    loop: dict[str, float]
    before: dict[str, float]
    after: dict[str, float]
    loop_wall: float
    before_wall: float
    after_wall: float
    idle: float
    idle_at_first: float
    idle_at_last: float

    @property
    def ratio(self) -> float:
        """Everything that ran in the loop, over the training in it."""
        return sum(self.loop.values()) / self.retrain

    @property
    def own_cores_ratio(self) -> float:
        """The same where nothing else wants the cores.

        Daemons work by the clock, and a loop drawn out by other programs gives them more of it: here they take their
        share of a core from `workers` cores that train all the time. The imports that a late worker still pays for
        in the loop are taken out (they are in `first`).
        """
        late = self.first - self.before["workers"]
        work = self.loop["workers"] - max(late, 0.0) + self.loop["driver"]
        by_the_clock = (self.loop["Ray's daemons"] + self.loop["Prefect's server"]) / self.loop_wall / self.workers
        return work / self.retrain / (1 - by_the_clock)

    @property
    def whole_ratio(self) -> float:
        """The whole stage, start of Ray and Prefect included, over the training in it."""
        return sum(sum(part.values()) for part in (self.before, self.loop, self.after)) / self.retrain


def quickstart_like(folder: Path, models: int, workers: int, name: str, overrides: list[str]) -> CampaignConfig:
    """A campaign of the quickstart's kind with `models` fit masks and nothing else."""
    return compose(
        name,
        [
            f"campaign.folder={folder}", f"campaign.n_fit={models}", "campaign.n_holdout=0", "campaign.n_replicates=0",
            f"compute.workers={workers}", *overrides,
        ],
    )  # fmt: skip


def run_stage(config: CampaignConfig) -> StageCost:
    """Plan without Prefect, then the retrain stage as the command runs it, metered."""
    import flows.compute.training_loop
    from flows.cli import run_stage as drive
    from flows.compute.ray_cluster import Cluster
    from flows.plan import plan
    from flows.store.campaign import Campaign

    plan.fn(config)
    looks, meters, plain_map = [(time.time(), processor_seconds())], [], Cluster.map

    def watched(self: Cluster, function: Any, *arguments: Any, **keywords: Any) -> Iterator[Any]:
        if function is not metered_train_shard:  # the calibration before the loop
            yield from plain_map(self, function, *arguments, **keywords)
            return
        looks.append((time.time(), processor_seconds()))
        for outcome in plain_map(self, function, *arguments, **keywords):
            if outcome.error is None:
                meters.append(outcome.value.pop("meter"))
            yield outcome
        looks.append((time.time(), processor_seconds()))

    flows.compute.training_loop.evaluate_shard = metered_train_shard  # type: ignore[assignment]
    Cluster.map = watched  # type: ignore[method-assign, assignment]
    stop_session, drive.cluster.stop_session = drive.cluster.stop_session, lambda: None
    try:
        drive.run_flow("retrain", config, needs_ray=True)
        looks.append((time.time(), processor_seconds()))
    finally:
        Cluster.map, drive.cluster.stop_session = plain_map, stop_session  # type: ignore[method-assign]
        stop_session()
    (began, first), (started, second), (ended, third), (finished, fourth) = looks
    busy = sum(meter.ended - meter.began for meter in meters)
    workers = config.compute.workers or 1
    available = workers * (ended - started)
    firsts = {meter.pid: meter for meter in sorted(meters, key=lambda meter: -meter.began)}
    lasts = {meter.pid: meter for meter in sorted(meters, key=lambda meter: meter.ended)}
    trained = Campaign(config.campaign.folder).read("outputs", ["mode", "ensemble_size"]).slice(0, 1).to_pylist()[0]
    return StageCost(
        models=config.campaign.n_fit,
        workers=workers,
        mode=trained["mode"],
        ensemble_size=trained["ensemble_size"],
        retrain=round(sum(meter.inside for meter in meters), 2),
        unit=round(sum(meter.processor_at_end - meter.processor_at_start for meter in meters), 2),
        first=round(sum(meter.processor_at_start for meter in firsts.values()), 2),
        loop=by_role(third, second),
        before=by_role(second, first),
        after=by_role(fourth, third),
        loop_wall=round(ended - started, 2),
        before_wall=round(started - began, 2),
        after_wall=round(finished - ended, 2),
        idle=round(1 - busy / available, 4),
        idle_at_first=round(sum(meter.began - started for meter in firsts.values()) / available, 4),
        idle_at_last=round(sum(ended - meter.ended for meter in lasts.values()) / available, 4),
    )


# --- nothing around the training ---------------------------------------------------------------------------------


def bare(config: CampaignConfig, first: int, models: int, mode: str, members: int, evaluated: bool) -> float:
    """Processor seconds of `training.retrain` alone on some shards of a campaign, in this process.

    mode, members: as the stage trained. evaluated: False cuts the targets and audit examples to one each, so that the
    difference is their evaluation.
    """
    from dataclasses import replace

    import torch

    from flows.games.table import require_retraining
    from training import Recipe, retrain, sample_masks, training_seed

    torch.set_num_threads(1)
    job = require_retraining(config, "overhead")
    dataset = job.dataset
    if not evaluated:
        dataset = replace(dataset, targets=dataset.targets.take([0]), audit=dataset.audit.take([0]))
    recipe = Recipe(**job.recipe)
    size = config.campaign.shard_size
    spent = 0.0
    for start in range(first, first + models, size):
        ids = list(range(start, start + size))
        masks = sample_masks(dataset.n_players, alpha=config.sampler.alpha, seed=config.campaign.seed, ids=ids)
        seeds = [training_seed(config.campaign.seed, group, 0) for group in ids]
        began = time.process_time()
        retrain(dataset, masks, seeds, recipe, ensemble_size=members, device="cpu", mode=mode)
        # The first shard pays for what is loaded on first use; a worker pays it once in a campaign as well.
        spent += time.process_time() - began
    return spent


def run_bare(arguments: argparse.Namespace, cost: StageCost, evaluated: bool = True) -> float:
    """Processor seconds a model of plain processes, as many at a time as the stage has workers."""
    each = arguments.bare_models // arguments.workers
    command = [sys.executable, __file__, "--config", arguments.config, "--bare", str(each), *arguments.overrides]
    command += ["--mode", cost.mode, "--members", str(cost.ensemble_size)]
    command += [] if evaluated else ["--unevaluated"]
    running = [
        subprocess.Popen([*command, "--first", str(number * each)], stdout=subprocess.PIPE, text=True)
        for number in range(arguments.workers)
    ]
    return sum(float(process.communicate()[0]) for process in running) / (each * arguments.workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="configuration overrides, key=value")
    parser.add_argument("--config", default="quickstart")
    parser.add_argument("--models", type=int, default=768, help="a multiple of workers times the shard size")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=1, help="stage and plain processes in turn, so many times")
    parser.add_argument("--bare-models", type=int, default=256, help="models of one run of plain processes")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--mode", default="grouped", help=argparse.SUPPRESS)
    parser.add_argument("--members", type=int, default=32, help=argparse.SUPPRESS)
    parser.add_argument("--unevaluated", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        config = quickstart_like(Path("unused"), arguments.bare, 1, arguments.config, arguments.overrides)
        how = (arguments.mode, arguments.members, not arguments.unevaluated)
        print(bare(config, arguments.first, arguments.bare, *how))
        return
    logging.getLogger("coterie").setLevel(logging.ERROR)
    found: dict[str, Any] = {"stage": [], "bare": [], "unevaluated": []}
    for _ in range(arguments.pairs):
        with tempfile.TemporaryDirectory(prefix="coterie-overhead-") as folder:
            cost = run_stage(
                quickstart_like(
                    Path(folder) / "c", arguments.models, arguments.workers, arguments.config, arguments.overrides
                )
            )
        ratios = {name: getattr(cost, name) for name in ("ratio", "own_cores_ratio", "whole_ratio")}
        found["stage"].append({**asdict(cost), **ratios})
        found["bare"].append(run_bare(arguments, cost))
        found["unevaluated"].append(run_bare(arguments, cost, evaluated=False))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1))
    print_figures(found)


def print_figures(found: dict[str, Any]) -> None:
    """The medians, as a markdown table."""
    stages = found["stage"]

    def middle(name: str) -> float:
        return float(median(stage[name] for stage in stages))

    models = stages[0]["models"]
    per_model = 1000 / models
    bare_ms = 1000 * median(found["bare"])
    how = f"{stages[0]['mode']}, {stages[0]['ensemble_size']} at a time"
    print(f"{models} models ({how}), {stages[0]['workers']} workers, medians of {len(stages)} runs, processor time\n")
    print("| | ms a model | over `training.retrain` |\n|---|---|---|")
    retrain = middle("retrain")
    print(f"| `training.retrain` in the stage's workers | {retrain * per_model:.2f} | 1 |")
    for role in ROLES:
        own = float(median(stage["loop"][role] for stage in stages)) - (retrain if role == "workers" else 0.0)
        what = "workers, the rest" if role == "workers" else role
        print(f"| {what}, while training | {own * per_model:.2f} | {own / retrain:.4f} |")
    print(f"| all of it, while training | {middle('ratio') * retrain * per_model:.2f} | **{middle('ratio'):.3f}** |")
    own = middle("own_cores_ratio")
    print(f"| the same with cores of its own | {own * retrain * per_model:.2f} | **{own:.3f}** |")
    whole = middle("whole_ratio")
    print(f"| with the start of Ray and Prefect and the end | {whole * retrain * per_model:.2f} | {whole:.3f} |")
    ratio = median(
        sum(stage["loop"].values()) / stage["models"] / bare
        for stage, bare in zip(stages, found["bare"], strict=True)
    )
    print(f"| `training.retrain` in plain processes | {bare_ms:.2f} | (pipeline over it: {ratio:.3f}) |")
    without = 1000 * median(found["unevaluated"])
    print(f"| the same without targets and audit examples | {without:.2f} | {without / bare_ms:.3f} |")
    print(f"\nworkers idle for {middle('idle'):.1%} of the loop; start {middle('before_wall'):.1f} s of wall time")


if __name__ == "__main__":
    main()
