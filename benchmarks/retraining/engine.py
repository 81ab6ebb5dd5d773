r"""Seconds per model of the retraining engine, beside the same network trained one model at a time.

    OMP_NUM_THREADS=1 python benchmarks/retraining/engine.py --recipe digits --modes grouped native --members 8 32
    python benchmarks/retraining/engine.py --device cuda --recipe resnet9 --path … \
        --modes grouped+channels_last+bfloat16

The peer is the ordinary loop (benchmarks/retraining/peer.py). Both train the same masks on one thread; the table gives
wall and processor seconds per model and the ratio of processor seconds (other programs on the machine disturb it less;
on a GPU, of wall seconds), and what a first chunk of models costs beyond its models (loading kernels, compiling). It
says whether the float32 outputs of a model are the same bits as in the mode's first row, models a second, and the share
that steps and evaluation reach of the peak of torch's own matrix products here, measured in the same type.

`cifar2_32` is the recipe small16 on the same pictures at 32x32. All but digits need a folder of image Parquet files
(`--path`).
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import numpy as np
import torch
from retrain_peer import Timing, train_one_at_a_time

from training import RECIPES, Dataset, Recipe, RetrainResult, load_dataset, retrain, sample_masks
from training.engine.models import build_model

CIFAR2 = {"source": "parquet", "classes": ["automobile", "truck"], "n_train": 200, "n_targets": 100}
DATA: dict[str, dict[str, Any]] = {
    "digits": {"source": "digits"},
    "small16": {**CIFAR2, "image_size": 16},
    "cifar2_32": CIFAR2,
    "small32": {"source": "parquet", "n_train": 1_000, "n_targets": 400},
    "resnet9": {"source": "parquet", "n_targets": 400},
}


def processor_seconds() -> float:
    """Of this process and of those it started and has waited for (a compiler)."""
    own = time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own + children.ru_utime + children.ru_stime


def time_engine(dataset: Dataset, masks: np.ndarray, recipe: Recipe, members: int, device: str, mode: str) -> Timing:
    """All masks, after one chunk of `members` that loads kernels and compiles what is compiled."""

    def run(rows: slice) -> tuple[float, float, RetrainResult]:
        wall, processor = time.perf_counter(), processor_seconds()
        result = retrain(
            dataset, masks[rows], range(len(masks))[rows], recipe, ensemble_size=members, device=device, mode=mode
        )
        return time.perf_counter() - wall, processor_seconds() - processor, result

    _, first, _ = run(slice(members))
    wall, processor, result = run(slice(None))
    each = processor / len(masks)
    if result.mode != mode:
        raise SystemExit(f"{mode} cannot be had here: {result.mode} was used")
    preparation = max(0.0, first - each * min(members, len(masks)))
    return Timing(wall / len(masks), each, result.outputs, result.target_accuracy, preparation)


def operations_per_model(dataset: Dataset, recipe: Recipe) -> float:
    """Floating-point operations of one model: three passes for a training image, one for one evaluated."""
    from torch.utils.flop_counter import FlopCounterMode

    height, width, channels = dataset.train.images.shape[1:]
    model = build_model(recipe, 1, (height, width, channels), len(dataset.class_names)).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, channels, height, width))
    n_steps = recipe.steps(len(dataset.train))
    n_evaluated = (len(dataset.train) + len(dataset.targets) + len(dataset.audit)) * (1 + recipe.flip_at_test)
    return counter.get_total_flops() * (3.0 * n_steps * recipe.batch_size + n_evaluated)


def matrix_product_peak(device: str, mode: str) -> float:
    """Operations a second of a large matrix product in the type of the mode's products."""
    dtype = next((getattr(torch, name) for name in ("bfloat16", "float16") if name in mode), torch.float32)
    side = 8192 if device != "cpu" else 1024
    first, second = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        if device != "cpu":
            torch.cuda.synchronize()
        began = time.process_time() if device == "cpu" else time.perf_counter()
        first @ second
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, (time.process_time() if device == "cpu" else time.perf_counter()) - began)
    return 2.0 * side**3 / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=sorted(DATA), default="digits")
    parser.add_argument("--path", default=None, help="folder of image Parquet files (small16, small32, resnet9)")
    parser.add_argument("--members", type=int, nargs="+", default=[4, 32])
    parser.add_argument("--modes", nargs="+", default=["grouped", "native"], help="see training/engine/modes.py")
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--peer-models", type=int, default=8, help="models of the one-at-a-time loop")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = RECIPES["small16" if arguments.recipe == "cifar2_32" else arguments.recipe]
    dataset = load_dataset(**DATA[arguments.recipe], path=arguments.path)
    masks = sample_masks(dataset.n_players, arguments.models, recipe.nominal_alpha, seed=0)
    retrain(dataset, masks[:2], [0, 1], recipe, ensemble_size=2, device=arguments.device)  # loads kernels
    print(
        f"{arguments.recipe}: {dataset.n_players} players, {recipe.steps(len(dataset.train))} steps, "
        f"{arguments.models} models, torch {torch.__version__} on {arguments.device}"
    )
    train_one_at_a_time(dataset, masks[:1], [0], recipe, arguments.device)  # its own kernels
    n_peers = arguments.peer_models
    peer = train_one_at_a_time(dataset, masks[:n_peers], range(n_peers), recipe, arguments.device)
    on_cpu, operations = arguments.device == "cpu", operations_per_model(dataset, recipe)
    print(
        "| mode | trained | wall s | processor s | models/s | times faster | share of peak | first chunk, more s "
        "| accuracy | bits |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    print(
        f"| torch.nn, torch.optim | one at a time | {peer.wall_seconds:.4f} | {peer.processor_seconds:.4f} "
        f"| {1 / peer.wall_seconds:.2f} | 1 | | | {peer.target_accuracy.mean():.3f} | |"
    )
    for mode in arguments.modes:
        first, peak = None, matrix_product_peak(arguments.device, mode)
        for members in arguments.members:
            timing = time_engine(dataset, masks, recipe, members, arguments.device, mode)
            bits = "first" if first is None else f"{np.mean(timing.outputs == first):.0%} the same"
            first = timing.outputs if first is None and members >= 4 else first
            mine, theirs = (
                found.processor_seconds if on_cpu else found.wall_seconds for found in (timing, peer)
            )
            print(
                f"| {mode} | {members} together | {timing.wall_seconds:.4f} | {timing.processor_seconds:.4f} "
                f"| {1 / timing.wall_seconds:.2f} | {theirs / mine:.1f} | {operations / mine / peak:.0%} "
                f"| {timing.preparation:.1f} | {np.nanmean(timing.target_accuracy):.3f} | {bits} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
