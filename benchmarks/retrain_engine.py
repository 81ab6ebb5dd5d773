"""Seconds per model of the retraining engine, beside the same network trained one model at a time.

    OMP_NUM_THREADS=1 python benchmarks/retrain_engine.py --recipe digits --ways grouped native --members 8 32
    python benchmarks/retrain_engine.py --device cuda --recipe resnet9 --path … --ways grouped+channels_last+bfloat16

The peer is the ordinary loop: one network of one member, `torch.optim.SGD`, batches gathered by index from tensors
in memory. Both train the same masks on one thread; the table gives wall and processor seconds per model and the
ratio of processor seconds (other programs on the machine disturb it less; on a GPU, of wall seconds). It also says
whether the float32 outputs of a model are the same bits as in the way's first row, models a second, and the share that
steps and evaluation reach of the peak of torch's own matrix products on this device, measured in the same type.

Recipes `small16` and `small32` need a folder of image Parquet files (`--path`).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from training import RECIPES, Dataset, Recipe, load_dataset, retrain, sample_masks
from training.batches import Batches, member_draws
from training.models import build_model, initialise

DATA = {
    "digits": {"source": "digits"},
    "small16": {
        "source": "parquet",
        "classes": ["automobile", "truck"],
        "n_train": 200,
        "n_targets": 100,
        "image_size": 16,
    },
    "small32": {"source": "parquet", "n_train": 1_000, "n_targets": 400},
    "resnet9": {"source": "parquet", "n_targets": 400},
}


@dataclass(frozen=True)
class Timing:
    """Wall and processor seconds per model, outputs (n_models, n_targets), mean accuracy on the targets."""

    wall_seconds: float
    processor_seconds: float
    outputs: np.ndarray
    accuracy: float


def time_engine(dataset: Dataset, masks: np.ndarray, recipe: Recipe, members: int, device: str, way: str) -> Timing:
    wall, processor = time.perf_counter(), time.process_time()
    result = retrain(dataset, masks, range(len(masks)), recipe, members=members, device=device, way=way)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    accuracy = float(np.nanmean(result.target_accuracy))
    return Timing(wall / len(masks), processor / len(masks), result.outputs, accuracy)


def time_one_at_a_time(dataset: Dataset, masks: np.ndarray, recipe: Recipe, device: str) -> Timing:
    """The ordinary loop: one model, torch's optimiser, the same draws; evaluation of all three sets included."""
    where = torch.device(device)
    batches = Batches(dataset.train, recipe, where, torch.float32)
    height, width, channels = dataset.train.images.shape[1:]
    wall, processor = time.perf_counter(), time.process_time()
    accuracies = []
    for seed, present in enumerate(masks[:, dataset.players]):
        model = build_model(recipe, 1, (height, width, channels), len(dataset.class_names)).to(where)
        initialise(model, [seed])
        optimiser = torch.optim.SGD(
            model.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
        n_steps = recipe.steps(len(dataset.train))
        draws = member_draws(seed, present, n_steps * recipe.batch_size)
        rows = torch.from_numpy(draws.rows).view(n_steps, -1, 1).to(where)
        words = torch.from_numpy(draws.words.view(np.int64)).view(n_steps, -1, 1).to(where)
        for step, rate in enumerate(recipe.learning_rates(n_steps)):
            images, labels = batches.training(rows[step], words[step])
            optimiser.param_groups[0]["lr"] = rate
            optimiser.zero_grad()
            loss = F.cross_entropy(model(images)[0], labels[:, 0], label_smoothing=recipe.label_smoothing)
            loss.backward()
            optimiser.step()
        accuracies.append(evaluate(model, batches, dataset))
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return Timing(wall / len(masks), processor / len(masks), np.empty(0), float(np.mean(accuracies)))


@torch.no_grad()
def evaluate(model: torch.nn.Module, batches: Batches, dataset: Dataset) -> float:
    """Accuracy on the targets, after a pass over the other two sets as well."""
    model.eval()
    accuracy = 0.0
    for part in (dataset.train, dataset.audit, dataset.targets):
        pixels = torch.from_numpy(part.images.transpose(0, 3, 1, 2).copy()).to(batches.device)
        found = torch.cat([model(batches.normalise(block))[0] for block in pixels.split(256)])
        accuracy = float((found.argmax(dim=1).cpu().numpy() == part.labels).mean())
    return accuracy


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


def matrix_product_peak(device: str, way: str) -> float:
    """Operations a second of a large matrix product in the type of the way's products."""
    dtype = next((getattr(torch, name) for name in ("bfloat16", "float16") if name in way), torch.float32)
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
    parser.add_argument("--ways", nargs="+", default=["grouped", "native"], help="see training/ways.py")
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--peer-models", type=int, default=8, help="models of the one-at-a-time loop")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = RECIPES[arguments.recipe]
    dataset = load_dataset(**DATA[arguments.recipe], path=arguments.path)
    masks = sample_masks(dataset.n_players, arguments.models, recipe.nominal_alpha, seed=0)
    retrain(dataset, masks[:2], [0, 1], recipe, members=2, device=arguments.device)  # loads kernels
    print(
        f"{arguments.recipe}: {dataset.n_players} players, {recipe.steps(len(dataset.train))} steps, "
        f"{arguments.models} models, torch {torch.__version__} on {arguments.device}"
    )
    peer = time_one_at_a_time(dataset, masks[: arguments.peer_models], recipe, arguments.device)
    on_cpu, operations = arguments.device == "cpu", operations_per_model(dataset, recipe)
    print("| way | trained | wall s | processor s | models/s | times faster | share of peak | accuracy | bits |")
    print("|---|---|---|---|---|---|---|---|---|")
    print(
        f"| torch.nn, torch.optim | one at a time | {peer.wall_seconds:.4f} | {peer.processor_seconds:.4f} "
        f"| {1 / peer.wall_seconds:.2f} | 1 | | {peer.accuracy:.3f} | |"
    )
    for way in arguments.ways:
        first, peak = None, matrix_product_peak(arguments.device, way)
        for members in arguments.members:
            timing = time_engine(dataset, masks, recipe, members, arguments.device, way)
            bits = "first" if first is None else f"{np.mean(timing.outputs == first):.0%} the same"
            first = timing.outputs if first is None and members >= 4 else first
            mine, theirs = (
                found.processor_seconds if on_cpu else found.wall_seconds for found in (timing, peer)
            )
            print(
                f"| {way} | {members} together | {timing.wall_seconds:.4f} | {timing.processor_seconds:.4f} "
                f"| {1 / timing.wall_seconds:.2f} | {theirs / mine:.1f} | {operations / mine / peak:.0%} "
                f"| {timing.accuracy:.3f} | {bits} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
