r"""Does calibration choose alike when others keep the cores busy, and is what it chooses the fastest?

    OMP_NUM_THREADS=1 python benchmarks/retraining/calibration_stability.py --recipe digits --busy 1 --repeats 10
    OMP_NUM_THREADS=1 python benchmarks/retraining/calibration_stability.py --busy 1 \
        --modes grouped grouped+channels_last batched

Each repeat calibrates again (no cache). Then every mode and number of models that a repeat chose, and those of `LIKELY`
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
LIKELY = {("native", 32), *((mode, k) for mode in ("grouped", "grouped+channels_last") for k in (8, 32))}


def keep_busy() -> None:
    first = np.random.default_rng(0).random((300, 300))
    while True:
        first = np.cos(first @ first)


def real_costs(
    dataset: Dataset, recipe: Recipe, wanted: list[tuple[str, int]], n_models: int, rounds: int
) -> dict[tuple[str, int], float]:
    """Lowest processor seconds a model of each (mode, members), measured in turns."""
    masks = sample_masks(dataset.n_players, n_models, recipe.nominal_alpha, seed=0)
    costs = dict.fromkeys(wanted, float("inf"))
    for _ in range(rounds):
        for mode, members in wanted:
            began = time.process_time()
            retrain(dataset, masks, range(n_models), recipe, ensemble_size=members, mode=mode)
            costs[mode, members] = min(costs[mode, members], (time.process_time() - began) / n_models)
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=["digits", "small16"], default="digits")
    parser.add_argument("--path", default=None, help="folder of image Parquet files (small16)")
    parser.add_argument("--modes", nargs="*", default=None, help="as a calibration tries them without")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--models", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset(**DATA[arguments.recipe], path=arguments.path)
    recipe, modes = RECIPES[arguments.recipe], tuple(arguments.modes) if arguments.modes else None
    spawn = multiprocessing.get_context("spawn")
    others = [spawn.Process(target=keep_busy, daemon=True) for _ in range(arguments.busy)]
    for other in others:
        other.start()
    found = []
    for _ in range(arguments.repeats):
        used = time.process_time()
        with tempfile.TemporaryDirectory() as cache:
            found.append(
                calibrate(
                    dataset, recipe, modes=modes, max_ensemble_size=32, seconds=arguments.seconds, cache=Path(cache)
                )
            )
        last, used = found[-1], time.process_time() - used
        print(
            f"{last.mode} x {last.ensemble_size}: {last.seconds_per_model:.4f} s a model, {len(last.trials)} trials in "
            f"{last.seconds:.1f} s, {used:.1f} s of a processor",
            flush=True,
        )
    for other in others:
        other.kill()
    likely = {pair for pair in LIKELY if modes is None or pair[0] in modes}
    wanted = sorted(likely | {(each.mode, each.ensemble_size) for each in found})
    costs = real_costs(dataset, recipe, wanted, arguments.models, arguments.rounds)
    best = min(costs.values())
    chosen = Counter((each.mode, each.ensemble_size) for each in found)
    print("| mode | models at a time | processor s a model | over the best | chosen |\n|---|---|---|---|---|")
    for (mode, members), cost in sorted(costs.items(), key=lambda item: item[1]):
        print(f"| {mode} | {members} | {cost:.4f} | {cost / best:.2f} | {chosen[mode, members]} |")
    wrong = sum(costs[each.mode, each.ensemble_size] > WRONG * best for each in found)
    reported = [each.seconds_per_model / costs[each.mode, each.ensemble_size] for each in found]
    print(f"more than a tenth slower than the best: {wrong} of {len(found)}; ", end="")
    print(f"reported over real cost: {min(reported):.2f} to {max(reported):.2f}, median {np.median(reported):.2f}")


if __name__ == "__main__":
    main()
