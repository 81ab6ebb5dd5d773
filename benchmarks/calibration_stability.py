"""Does calibration choose alike when others keep the cores busy, and is what it chooses the fastest?

    OMP_NUM_THREADS=1 python benchmarks/calibration_stability.py --recipe digits --busy 1 --repeats 10
    OMP_NUM_THREADS=1 python benchmarks/calibration_stability.py --busy 1 --ways grouped grouped+channels_last batched

Each repeat calibrates anew (no cache). Then every way and number of models that a repeat chose, and those of `LIKELY`
that it may have missed, are trained for real, `--models` models in turns, the lowest processor seconds of `--rounds`
rounds counting.
A choice is wrong when it is more than a tenth slower than the best of them. `--busy`: so many processes of this
benchmark's own that do arithmetic meanwhile.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from retrain_engine import DATA

from training import RECIPES, Dataset, Recipe, calibrate, load_dataset, retrain, sample_masks

WRONG = 1.1
LIKELY = {("native", 32), *((way, k) for way in ("grouped", "grouped+channels_last") for k in (8, 32))}


def keep_busy() -> None:
    first = np.random.default_rng(0).random((300, 300))
    while True:
        first = np.cos(first @ first)


def real_costs(
    dataset: Dataset, recipe: Recipe, wanted: list[tuple[str, int]], n_models: int, rounds: int
) -> dict[tuple[str, int], float]:
    """Lowest processor seconds a model of each (way, members), measured in turns."""
    masks = sample_masks(dataset.n_players, n_models, recipe.nominal_alpha, seed=0)
    costs = dict.fromkeys(wanted, float("inf"))
    for _ in range(rounds):
        for way, members in wanted:
            began = time.process_time()
            retrain(dataset, masks, range(n_models), recipe, ensemble_size=members, mode=way)
            costs[way, members] = min(costs[way, members], (time.process_time() - began) / n_models)
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=["digits", "small16"], default="digits")
    parser.add_argument("--path", default=None, help="folder of image Parquet files (small16)")
    parser.add_argument("--ways", nargs="*", default=None, help="as a calibration tries them without")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--models", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset(**DATA[arguments.recipe], path=arguments.path)
    recipe, ways = RECIPES[arguments.recipe], tuple(arguments.ways) if arguments.ways else None
    spawn = multiprocessing.get_context("spawn")
    others = [spawn.Process(target=keep_busy, daemon=True) for _ in range(arguments.busy)]
    for other in others:
        other.start()
    found = []
    for _ in range(arguments.repeats):
        used = time.process_time()
        with tempfile.TemporaryDirectory() as cache:
            found.append(
                calibrate(dataset, recipe, modes=ways, max_members=32, seconds=arguments.seconds, cache=Path(cache))
            )
        last, used = found[-1], time.process_time() - used
        print(
            f"{last.mode} x {last.ensemble_size}: {last.seconds_per_model:.4f} s a model, {len(last.trials)} trials in "
            f"{last.seconds:.1f} s, {used:.1f} s of a processor",
            flush=True,
        )
    for other in others:
        other.kill()
    likely = {pair for pair in LIKELY if ways is None or pair[0] in ways}
    wanted = sorted(likely | {(each.mode, each.ensemble_size) for each in found})
    costs = real_costs(dataset, recipe, wanted, arguments.models, arguments.rounds)
    best = min(costs.values())
    chosen = Counter((each.mode, each.ensemble_size) for each in found)
    print("| way | models at a time | processor s a model | over the best | chosen |\n|---|---|---|---|---|")
    for (way, members), cost in sorted(costs.items(), key=lambda item: item[1]):
        print(f"| {way} | {members} | {cost:.4f} | {cost / best:.2f} | {chosen[way, members]} |")
    wrong = sum(costs[each.mode, each.ensemble_size] > WRONG * best for each in found)
    told = [each.seconds_per_model / costs[each.mode, each.ensemble_size] for each in found]
    print(f"more than a tenth slower than the best: {wrong} of {len(found)}; ", end="")
    print(f"told over real cost: {min(told):.2f} to {max(told):.2f}, median {np.median(told):.2f}")


if __name__ == "__main__":
    main()
