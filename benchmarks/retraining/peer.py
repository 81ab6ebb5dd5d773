"""The peer of the engine's benchmarks: one model at a time, as PyTorch's own tutorials train one.

Ordinary layers (convolutions without groups, `BatchNorm2d`), `torch.optim.SGD`, `torch.optim.swa_utils` where the
recipe averages weights, batches gathered by index from tensors in memory. Recipe and draws are the engine's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, update_bn

from training import Dataset, Recipe
from training.engine.averaging import WeightAverage
from training.engine.batches import Batches, model_draws
from training.engine.models import build_model, initialise
from training.engine.outputs import OUTPUT_FUNCTIONS


@dataclass(frozen=True)
class Timing:
    """Wall and processor seconds per model, outputs and accuracies of the targets (n_models, ...).

    preparation: processor seconds that the first models took over what they would take later, children included.
    """

    wall_seconds: float
    processor_seconds: float
    outputs: np.ndarray
    target_accuracy: np.ndarray
    preparation: float = 0.0


def train_one_at_a_time(
    dataset: Dataset, masks: np.ndarray, seeds: Sequence[int], recipe: Recipe, device: str = "cpu"
) -> Timing:
    """One model after another; masks (n_models, n_players) bool. Evaluation of all three sets is included."""
    where = torch.device(device)
    batches = Batches(dataset.train, recipe, where, torch.float32)
    wall, processor = time.perf_counter(), time.process_time()
    outputs, accuracies = [], []
    for seed, present in zip(seeds, masks[:, dataset.players], strict=True):
        model = _trained(dataset, batches, present, seed, recipe)
        found, accuracy = _evaluate(model, batches, dataset, recipe)
        outputs.append(found)
        accuracies.append(accuracy)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return Timing(wall / len(masks), processor / len(masks), np.stack(outputs), np.array(accuracies))


def _trained(
    dataset: Dataset, batches: Batches, present: np.ndarray, seed: int, recipe: Recipe
) -> torch.nn.Module:
    height, width, channels = dataset.train.images.shape[1:]
    model = build_model(recipe, 1, (height, width, channels), len(dataset.class_names)).to(batches.device)
    initialise(model, [seed])
    optimiser = torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    n_steps = recipe.steps(len(dataset.train))
    average_from = WeightAverage(recipe, n_steps).first if recipe.average_last else n_steps
    averaged: AveragedModel | None = None
    draws = model_draws(seed, present, n_steps * recipe.batch_size)
    rows = torch.from_numpy(draws.rows).view(n_steps, -1, 1).to(batches.device)
    words = torch.from_numpy(draws.words.view(np.int64)).view(n_steps, -1, 1).to(batches.device)
    for step, rate in enumerate(recipe.learning_rates(n_steps)):
        images, labels = batches.training(rows[step], words[step])
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        loss = F.cross_entropy(model(images)[0], labels[:, 0], label_smoothing=recipe.label_smoothing)
        loss.backward()
        optimiser.step()
        if step >= average_from:
            averaged = averaged or AveragedModel(model)
            averaged.update_parameters(model)
    if averaged is None:
        return model
    n_last = min(n_steps, math.ceil(n_steps / recipe.epochs))
    update_bn((batches.training(rows[at], words[at])[0] for at in range(n_steps - n_last, n_steps)), averaged)
    return averaged


@torch.no_grad()
def _evaluate(
    model: torch.nn.Module, batches: Batches, dataset: Dataset, recipe: Recipe
) -> tuple[np.ndarray, float]:
    """Outputs (n_targets,) and accuracy on the targets, after a pass over the other two sets as well."""
    model.eval()
    logits, labels = torch.empty(0), torch.empty(0)
    for part in (dataset.train, dataset.audit, dataset.targets):
        if not len(part):
            continue
        pixels = torch.from_numpy(part.images.transpose(0, 3, 1, 2).copy()).to(batches.device)
        blocks = []
        for block in pixels.split(256):
            images = batches.normalise(block)
            found = model(images)[0]
            blocks.append((found + model(images.flip(-1))[0]) / 2 if recipe.flip_at_test else found)
        logits, labels = torch.cat(blocks), torch.from_numpy(part.labels).to(batches.device)
    accuracy = float((logits.argmax(dim=1) == labels).double().mean())
    return OUTPUT_FUNCTIONS[recipe.output](logits, labels).cpu().numpy(), accuracy
