"""Train K models as one network: the only loop over optimiser steps in this package."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.data.dataset import Dataset, ImageSet
from training.engine.averaging import WeightAverage, renew_statistics
from training.engine.batches import Batches, model_draws
from training.engine.flat_parameters import FlatParameters
from training.engine.models import EnsembleNetwork, FeatureReader, build_model, initialise
from training.engine.modes import ExecutionMode, make_forward
from training.engine.outputs import OUTPUT_FUNCTIONS, accuracy
from training.engine.slots import Slots, n_slots, slot_draws
from training.errors import TrainingInputError
from training.recipe import Recipe

DTYPES = {"float32": torch.float32, "float64": torch.float64}
_PIXELS_AT_ONCE = 2**16  # of one evaluation batch, per unit of width; independent of K, so K cannot change results
LOSS_SCALE = {"float16": 2.0**10}  # small gradients stay above float16's smallest number; a power of two is exact
STEADY_MEMBERS = 4
"""Networks of at least this many models, an even number, round alike on a CPU: see `Engine.train`."""


@dataclass(frozen=True)
class FeatureResult:
    """What K models compute of every training example.

    Parameters
    ----------
    features : (K, n_train, width) float32 array
        What the last layer reads; every model has coordinates of its own.
    logits : (K, n_train, n_classes) float32 array
        The last layer's result.
    diverged : (K,) bool array
        Whether a loss became infinite or NaN during training.
    """

    features: np.ndarray
    logits: np.ndarray
    diverged: np.ndarray


@dataclass(frozen=True)
class ChunkResult:
    """Results of K models trained together.

    Parameters
    ----------
    outputs : (K, n_targets) array
        The recipe's output of each target, in the type of the weights.
    diverged : (K,) bool array
        Whether a loss or an evaluated logit became infinite or NaN.
    train_accuracy, target_accuracy, audit_accuracy : (K,) float64 array
        Shares of correct predictions; NaN where there is no example.
    """

    outputs: np.ndarray
    diverged: np.ndarray
    train_accuracy: np.ndarray
    target_accuracy: np.ndarray
    audit_accuracy: np.ndarray


class Engine:
    """One data set and one recipe on one device, to train chunks of models in one execution mode.

    Call `training.engine.factory.make_engine` to construct it: that function falls back to a mode which this machine
    supports.

    Parameters
    ----------
    dataset : Dataset
        Images; they are copied to the device.
    recipe : Recipe
        How one model is trained.
    device : str
        A torch device.
    dtype : str
        Type of the weights, `float32` or `float64`.
    mode : str or ExecutionMode
        How K models are trained together.

    Raises
    ------
    TrainingInputError
        For a device, type or mode that does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> from training import Recipe, load_dataset
    >>> engine = Engine(load_dataset("digits", n_train=20, n_targets=10, n_audit=10), Recipe(epochs=1))
    >>> engine.train(np.ones((2, 20), dtype=bool), seeds=[0, 1]).outputs.shape
    (2, 10)
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        mode: str | ExecutionMode = "grouped",
    ) -> None:
        if dtype not in DTYPES:
            raise TrainingInputError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}.")
        self.recipe, self.dtype = recipe, DTYPES[dtype]
        self.device = check_device(device)
        self.mode = ExecutionMode.parse(mode)
        height, width, channels = dataset.train.images.shape[1:]
        self.image_shape = (height, width, channels)
        self.n_classes = len(dataset.class_names)
        self.n_steps = recipe.steps(len(dataset.train))
        self.batches = Batches(dataset.train, recipe, self.device, self.dtype)
        self.evaluated = [self._resident(part) for part in (dataset.train, dataset.targets, dataset.audit)]

    def _resident(self, part: ImageSet) -> tuple[Tensor, Tensor]:
        pixels = torch.tensor(np.ascontiguousarray(part.images.transpose(0, 3, 1, 2)), device=self.device)
        return pixels, torch.tensor(part.labels, dtype=torch.int64, device=self.device)

    def train(self, present: np.ndarray, seeds: list[int], *, steady: bool = True) -> ChunkResult:
        """Train one model per row and evaluate all of them.

        Parameters
        ----------
        present : (K, n_train) bool array
            The examples each model is trained on. Models without any form a network of their own, which takes no
            steps.
        seeds : list of int
            K training seeds.
        steady : bool
            Fill the network up to an even number of models, at least `STEADY_MEMBERS`, with copies of the first, whose
            results are dropped.

        Returns
        -------
        ChunkResult
            One row a model.

        Notes
        -----
        oneDNN's convolutions handle two groups at a time and take another path for a remainder and for very few
        groups. An even number of models keeps all of them on one path, so that a model's float32 result was bit for
        bit the same among 4, 10 or 32 (benchmarks/retraining/engine.py). `steady` has no effect on other devices, and
        none in the mode `native`, where a model has no neighbours.
        """
        steady = steady and self.device.type == "cpu" and self.mode.name != "native"
        empty = ~present.any(axis=1)
        parts = []
        for rows in (np.flatnonzero(~empty), np.flatnonzero(empty)):
            if len(rows):
                n_models = max(STEADY_MEMBERS, len(rows) + len(rows) % 2) if steady else len(rows)
                filled = np.concatenate([rows, np.full(n_models - len(rows), rows[0])])
                result = self._train_alike(present[filled], [seeds[row] for row in filled])
                parts.append((rows, result))
        return ChunkResult(*(_in_place(parts, field.name) for field in fields(ChunkResult)))

    def features(self, present: np.ndarray, seeds: list[int]) -> FeatureResult:
        """Train one model per row and read what its last layer reads of every training example.

        Parameters
        ----------
        present : (K, n_train) bool array
            The examples each model is trained on.
        seeds : list of int
            K training seeds.

        Returns
        -------
        FeatureResult
            Features and logits of all training examples, of those left out too.

        Notes
        -----
        The models are trained in the engine's own execution mode. Their features are computed in it as well, except in
        the mode `native`: its compiled evaluation returns logits only, so torch evaluates the compiled training's
        weights by grouped convolutions.
        """
        model = self._initialised(seeds)
        finite = self._fit(model, present, seeds)
        ensemble_size = len(seeds)
        pixels = self.evaluated[0][0]
        with torch.no_grad():
            read, logits = (
                self._values(make_forward(network.eval(), self.mode, ensemble_size), pixels, ensemble_size)
                for network in (FeatureReader(model, ensemble_size), model)
            )
        return FeatureResult(read.float().cpu().numpy(), logits.float().cpu().numpy(), ~finite.cpu().numpy())

    def _initialised(self, seeds: list[int]) -> EnsembleNetwork:
        """Build the network of K models with the initial weights of their seeds, on the engine's device."""
        model = build_model(self.recipe, len(seeds), self.image_shape, self.n_classes)
        model.to(self.dtype)
        initialise(model, seeds)
        model.to(self.device)
        return model

    def _train_alike(self, present: np.ndarray, seeds: list[int]) -> ChunkResult:
        """Train and evaluate models of which either all or none have something to train on."""
        model = self._initialised(seeds)
        return self._evaluate(model, present, self._fit(model, present, seeds))

    def _fit(self, model: EnsembleNetwork, present: np.ndarray, seeds: list[int]) -> Tensor:
        """Train in place; (K,) bool, whether each model's loss stayed finite. Without any example nothing is done."""
        if not present.any():
            return torch.ones(len(seeds), dtype=torch.bool, device=self.device)
        return self._steps(model, present, seeds)

    def _arithmetic(self) -> AbstractContextManager[object]:
        """Compute products in the mode's own type where it has one; weights, statistics and losses keep theirs."""
        if not self.mode.arithmetic:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, self.mode.arithmetic))

    def _steps(self, model: nn.Module, present: np.ndarray, seeds: list[int]) -> Tensor:
        """Run all optimiser steps; (K,) bool, whether each model's loss stayed finite throughout.

        All batches are drawn before the first step, and no step reads a number back from the device.
        """
        recipe, ensemble_size = self.recipe, len(seeds)
        rows, words = self._draws(present, seeds)
        slots = Slots(model, recipe, rows, present) if recipe.batching == "slot_aligned" else None
        weights = FlatParameters(model)
        forward = make_forward(model, self.mode, ensemble_size)
        loss_scale = LOSS_SCALE.get(self.mode.arithmetic, 1.0)
        average = WeightAverage(recipe, self.n_steps) if recipe.average_last else None
        finite = torch.ones(ensemble_size, dtype=torch.bool, device=self.device)
        model.train()
        for step, rate in enumerate(recipe.learning_rates(self.n_steps)):
            images, labels = self.batches.training(rows[step], words[step])
            if slots is not None:
                slots.begin(step)
            with self._arithmetic():
                logits = forward(images).to(self.dtype)
            losses = F.cross_entropy(
                logits.flatten(0, 1),
                labels.T.flatten(),
                reduction="none",
                label_smoothing=recipe.label_smoothing,
            )
            losses = losses.view(ensemble_size, -1)
            model_losses = losses.mean(dim=1) if slots is None else slots.loss(step, losses)
            weights.zero_grad()
            model_losses.sum().mul(loss_scale).backward()
            weights.sgd_step(rate, recipe, loss_scale)
            if average is not None:
                average.add(step, weights.values)
            finite &= torch.isfinite(model_losses.detach())
        if average is not None:
            average.into(weights.values)
            self._renew_statistics(model, rows, words, slots)
        return finite

    @property
    def n_renewed(self) -> int:
        """Number of final batches (one epoch) that recompute batch-norm statistics after weight averaging."""
        return min(self.n_steps, math.ceil(self.n_steps / self.recipe.epochs))

    def _renew_statistics(self, model: nn.Module, rows: Tensor, words: Tensor, slots: Slots | None) -> None:
        """Recompute the normalisation's statistics for the averaged weights from the last `n_renewed` batches."""
        n_batches = self.n_renewed
        first = self.n_steps - n_batches

        def forward(batch: int) -> None:
            if slots is not None:
                slots.begin(first + batch)
            with self._arithmetic():
                model(self.batches.training(rows[first + batch], words[first + batch])[0])

        renew_statistics(model, n_batches, forward)

    def _draws(self, present: np.ndarray, seeds: list[int]) -> tuple[Tensor, Tensor]:
        packed = self.recipe.batching == "packed"
        shape = (len(seeds), self.n_steps, self.recipe.batch_size if packed else n_slots(self.recipe))
        rows, words = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.uint64)
        for model, seed in enumerate(seeds):
            n_draws = shape[1] * shape[2]
            draws = model_draws(seed, present[model], n_draws) if packed else slot_draws(
                seed, present.shape[1], n_draws
            )  # fmt: skip
            rows[model], words[model] = draws.rows.reshape(shape[1:]), draws.words.reshape(shape[1:])
        order = (1, 2, 0)
        return (
            torch.from_numpy(np.ascontiguousarray(rows.transpose(order))).to(self.device),
            torch.from_numpy(np.ascontiguousarray(words.transpose(order)).view(np.int64)).to(self.device),
        )

    @torch.no_grad()
    def _evaluate(self, model: nn.Module, present: np.ndarray, finite: Tensor) -> ChunkResult:
        model.eval()
        ensemble_size = len(present)
        forward = make_forward(model, self.mode, ensemble_size)
        logits = [self._values(forward, pixels, ensemble_size) for pixels, _ in self.evaluated]
        return self._result(logits, present, finite)

    def _result(self, logits: list[Tensor], present: np.ndarray, finite: Tensor) -> ChunkResult:
        """Outputs and accuracies from the logits (K, n, n_classes) of training, target and audit examples."""
        labels = [found for _, found in self.evaluated]
        for found in logits:
            finite = finite & torch.isfinite(found).flatten(1).all(dim=1)
        trained_on = torch.tensor(present, device=self.device)
        outputs = OUTPUT_FUNCTIONS[self.recipe.output](logits[1], labels[1])
        return ChunkResult(
            outputs=outputs.cpu().numpy(),
            diverged=~finite.cpu().numpy(),
            train_accuracy=accuracy(logits[0], labels[0], trained_on).cpu().numpy(),
            target_accuracy=accuracy(logits[1], labels[1]).cpu().numpy(),
            audit_accuracy=accuracy(logits[2], labels[2]).cpu().numpy(),
        )

    def _values(self, forward: Callable[[Tensor], Tensor], pixels: Tensor, ensemble_size: int) -> Tensor:
        """Logits (K, n, n_classes), or features (K, n, width), of (n, channels, height, width) for all K models."""
        height, width, _ = self.image_shape
        if not len(pixels):
            return torch.zeros(ensemble_size, 0, self.n_classes, dtype=self.dtype, device=self.device)
        parts = []
        for block in pixels.split(max(1, _PIXELS_AT_ONCE // (self.recipe.width * height * width))):
            images = self.batches.normalise(block)
            with self._arithmetic():
                found = forward(images.repeat(1, ensemble_size, 1, 1)).to(self.dtype)
                if self.recipe.flip_at_test:
                    found = (found + forward(images.flip(-1).repeat(1, ensemble_size, 1, 1)).to(self.dtype)) / 2
            parts.append(found)
        return torch.cat(parts, dim=1)


def _in_place(parts: list[tuple[np.ndarray, ChunkResult]], name: str) -> np.ndarray:
    """Join the rows of several results in the order of the models, without the copies that filled them up."""
    first = getattr(parts[0][1], name)
    whole = np.empty((sum(len(rows) for rows, _ in parts), *first.shape[1:]), dtype=first.dtype)
    for rows, result in parts:
        whole[rows] = getattr(result, name)[: len(rows)]
    return whole


def check_device(device: str) -> torch.device:
    """Return the torch device of that name.

    Raises
    ------
    TrainingInputError
        When torch does not know the device or cannot use it.

    Examples
    --------
    >>> check_device("cpu")
    device(type='cpu')
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise TrainingInputError(
            f"device {device!r} cannot be used: {error}. Use 'cpu', or 'cuda' on a machine with a GPU."
        ) from error
    return found
