"""Seconds per model of the retraining engine, beside the same network trained one model at a time.

    OMP_NUM_THREADS=1 python benchmarks/retrain_engine.py --recipe digits --members 1 4 8 16 32 64

The peer is the ordinary loop: one network of one member, `torch.optim.SGD`, batches gathered by index from tensors
in memory. Both train the same masks on one thread; the table gives wall and processor seconds per model and the
ratio of processor seconds (other programs on the machine disturb it less). It also says whether the float32 outputs
of a model are the same bits whatever the number of members trained with it.

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


def time_engine(dataset: Dataset, masks: np.ndarray, recipe: Recipe, members: int, device: str) -> Timing:
    wall, processor = time.perf_counter(), time.process_time()
    result = retrain(dataset, masks, range(len(masks)), recipe, members=members, device=device)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=sorted(DATA), default="digits")
    parser.add_argument("--path", default=None, help="folder of image Parquet files (small16, small32, resnet9)")
    parser.add_argument("--members", type=int, nargs="+", default=[1, 4, 8, 16, 32, 64])
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
    print("| trained | wall s/model | processor s/model | times faster | accuracy | same bits as the first |")
    print("|---|---|---|---|---|---|")
    print(
        f"| one at a time, torch.optim | {peer.wall_seconds:.3f} | {peer.processor_seconds:.3f} | 1 "
        f"| {peer.accuracy:.3f} | |"
    )
    first = None
    for members in arguments.members:
        timing = time_engine(dataset, masks, recipe, members, arguments.device)
        bits = "-" if first is None else f"{np.mean(timing.outputs == first):.0%}"
        first = timing.outputs if first is None and members >= 4 else first
        faster = peer.processor_seconds / timing.processor_seconds
        print(
            f"| {members} members | {timing.wall_seconds:.3f} | {timing.processor_seconds:.3f} | {faster:.1f} "
            f"| {timing.accuracy:.3f} | {bits} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
