"""What a campaign costs beside the calls of a trainer of the user's own: seconds a call, and two workers beside one.

    OMP_NUM_THREADS=1 python benchmarks/retraining/own_trainer.py --calls 10000 --work-ms 0
    OMP_NUM_THREADS=1 python benchmarks/retraining/own_trainer.py --calls 2000 --work-ms 10 --workers 1 2 --pairs 3
    OMP_NUM_THREADS=1 python benchmarks/retraining/own_trainer.py --calls 2000 --wait-ms 10 --workers 1 2 --pairs 3
    python benchmarks/retraining/own_trainer.py --plain            # what the machine itself leaves of two processes now

The function is the known game of tests/flows/games/own_trainer.py; with --work-ms it also computes for so long
(processor time, so that other programs on the machine do not shorten it), with --wait-ms it waits, which other
programs hardly lengthen: two workers beside one then measure what coterie costs, whoever uses the cores. In turn with
each retrain stage (Ray and Parquet; plan and Prefect are left out) one process calls the bare function on the same
masks and seeds. Wall times are of the stage's map, from the first shard submitted to the last one written, in workers
that have imported already.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))  # the function is named from the project's root

from flows.runtime.environment import prepare  # noqa: E402

prepare()

import numpy as np  # noqa: E402

from conf.compose import compose  # noqa: E402
from flows.compute.ray_cluster import Cluster  # noqa: E402
from flows.compute.shards import read_shards  # noqa: E402
from flows.compute.training_loop import Batch, train_batches  # noqa: E402
from flows.games.table import make_game  # noqa: E402
from flows.games.trainer.calls import SEEDS  # noqa: E402
from flows.plan import create, masks_table  # noqa: E402
from flows.store.campaign import Campaign  # noqa: E402
from flows.store.roles import RowRange  # noqa: E402
from tests.flows.games import own_trainer  # noqa: E402

FUNCTION = "benchmarks.retraining.own_trainer:train"


def train(indices, seed, context):  # type: ignore[no-untyped-def]
    """The known game, after `work` milliseconds of processor time and `wait` milliseconds of waiting."""
    time.sleep(context.data["wait"] / 1000)
    end = time.process_time() + context.data["work"] / 1000
    while time.process_time() < end:
        np.dot(context.data["a"], context.data["a"])
    return own_trainer.train(indices, seed, context)


def setup() -> dict[str, object]:
    """What the function needs; the work a call does is handed over in the environment, which workers inherit."""
    import os

    work, wait = float(os.environ["WORK_MS"]), float(os.environ["WAIT_MS"])
    return {"n_players": own_trainer.N_PLAYERS, "work": work, "wait": wait, "a": np.ones((64, 64))}


def players() -> dict[str, list[object]]:
    """Rows of the known game."""
    return own_trainer.players()


def targets() -> dict[str, list[object]]:
    """Rows of the known game."""
    return own_trainer.targets()


def measure(calls: int, shard: int, workers: int, cluster: Cluster, folder: Path) -> tuple[float, float]:
    """(seconds of the campaign's stage, seconds of the bare function) for so many calls."""
    config = compose(
        "trainer",
        [f"game.function={FUNCTION}", f"campaign.folder={folder}", f"campaign.n_fit={calls}", "campaign.n_holdout=0",
         "campaign.n_replicates=0", f"campaign.shard_size={shard}", f"compute.workers={workers}"],
    )  # fmt: skip
    campaign, game, rows = Campaign(folder), make_game(config), RowRange("fit", 0, 0, calls)
    create(campaign, config, game)
    with campaign.lock():
        campaign.write_masks(rows, masks_table(config, rows, game.n_players))
        began = time.perf_counter()
        train_batches(config, campaign, cluster, [Batch((rows,), game)], logging.getLogger("benchmark"))
        staged = time.perf_counter() - began
    (whole,) = read_shards(config.campaign.seed, campaign, [rows])
    masks, context = whole.masks.unpack(), _Context()
    began = time.perf_counter()
    bare = np.array([train(np.flatnonzero(mask), int(seed) % SEEDS, context) for mask, seed in zip(masks, whole.seeds)])  # noqa: B905
    alone = time.perf_counter() - began
    pairs = campaign.training_pairs("fit")
    assert np.array_equal(pairs.outputs, bare[:, :4].astype(np.float32)), "other outputs than the function's"
    return staged, alone


def plain_processes(pairs: int, seconds: float = 2.0) -> None:
    """Print how much faster two plain processes work than one: what two workers can reach on this machine now."""
    work = f"import time\nwhile time.process_time() < {seconds}: pass"

    def wall(count: int) -> float:
        began = time.perf_counter()
        started = [subprocess.Popen([sys.executable, "-c", work]) for _ in range(count)]
        for process in started:
            process.wait()
        return time.perf_counter() - began

    for turn in range(pairs):
        one, two = wall(1), wall(2)
        print(f"turn {turn}: one process {one:.1f} s, two at once {two:.1f} s: {2 * one / two:.2f} times the work")


class _Context:
    """What the bare function is given."""

    def __init__(self) -> None:
        self.data = setup()


def main() -> None:
    """Measure and print one line a run, then medians."""
    import os

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--shard", type=int, default=256, help="calls in one shard")
    parser.add_argument("--work-ms", type=float, default=0.0)
    parser.add_argument("--wait-ms", type=float, default=0.0)
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--plain", action="store_true")
    chosen = parser.parse_args()
    if chosen.plain:
        plain_processes(chosen.pairs)
        return
    os.environ["WORK_MS"], os.environ["WAIT_MS"] = str(chosen.work_ms), str(chosen.wait_ms)
    found: dict[int, list[tuple[float, float]]] = {count: [] for count in chosen.workers}
    for turn in range(chosen.pairs):
        for workers in chosen.workers:
            with tempfile.TemporaryDirectory() as place, Cluster(None, workers) as cluster:
                measure(2 * workers * 4, 4, workers, cluster, Path(place) / "warm")  # imports in the workers
                staged, alone = measure(chosen.calls, chosen.shard, workers, cluster, Path(place) / "campaign")
            found[workers].append((staged, alone))
            beside = 1000 * (staged * workers - alone) / chosen.calls
            print(
                f"turn {turn}, {workers} workers: campaign {staged:.2f} s, bare {alone:.2f} s in one process, "
                f"{beside:+.3f} ms a call beside the function",
                flush=True,
            )
    for workers, pairs in found.items():
        staged, alone = (median(part) for part in zip(*pairs, strict=True))
        print(f"{workers} workers, medians of {len(pairs)}: campaign {staged:.2f} s, bare {alone:.2f} s")
    if len(found) == 2:
        ratios = [one / two for (one, _), (two, _) in zip(*found.values(), strict=True)]
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(
            f"speed of {chosen.workers[1]} workers over {chosen.workers[0]}, turn by turn: {shown}; median "
            f"{median(ratios):.2f}"
        )


if __name__ == "__main__":
    main()
