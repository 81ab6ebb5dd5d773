"""Execution mode `native`: compiled C++ (native.cpp) trains model after model in the processor's cache.

A network of K models streams K times the activations through memory for every layer. A single small network's
activations stay in the cache from forward to backward, which leaves the arithmetic as the only cost. A model's result
depends on its mask and its seed alone, bit for bit, whatever K is.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from training.architectures import ARCHITECTURES
from training.engine.averaging import WeightAverage
from training.engine.batches import field_of, model_draws
from training.engine.engine import ChunkResult, Engine
from training.engine.models import EnsembleNetwork
from training.engine.native.library import NoLibrary, library
from training.recipe import Recipe

EVALUATED_AT_ONCE = 32  # images; a multiple of every vector length
# The recipe fields that native.cpp implements. A recipe that sets any other field is trained in another mode, so that a
# field added to Recipe is never ignored silently.
KNOWN_FIELDS = frozenset(
    "architecture width blocks batch_size epochs nominal_alpha learning_rate momentum nesterov weight_decay "
    "warmup_fraction label_smoothing flip crop_padding cutout flip_at_test average_last output batching".split()
)


def native_unsupported_reason(recipe: Recipe, device: torch.device, dtype: torch.dtype) -> str:
    """Return why compiled code cannot train this recipe here; empty when it can."""
    unknown = [
        field.name for field in fields(recipe)
        if field.name not in KNOWN_FIELDS and getattr(recipe, field.name) != field.default
    ]
    if unknown:
        return f"it does not implement recipe.{unknown[0]}"
    if not ARCHITECTURES[recipe.architecture].native:
        able = [name for name, architecture in ARCHITECTURES.items() if architecture.native]
        return f"it trains the architecture {' or '.join(able)} only"
    if recipe.batching != "packed":
        return "it trains packed batches only"
    if device.type != "cpu":
        return "it runs on a CPU only"
    try:
        library(str(dtype).removeprefix("torch."))
    except NoLibrary as error:
        return str(error)
    return ""


class _Shape(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64) for name in ("channels", "height", "width", "first_width", "blocks", "classes")
    ]


class _Optimiser(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_double)
        for name in ("momentum", "weight_decay", "smoothing", "nesterov", "average_from", "renewed")
    ]


class NativeEngine(Engine):
    """The engine whose steps and evaluation are compiled; it trains as many models at a time as torch has threads."""

    def _train_alike(self, present: np.ndarray, seeds: list[int]) -> ChunkResult:
        ensemble_size = len(seeds)
        model = self._initialised(seeds)
        parameters, running = _weights(model, ensemble_size)
        finite = np.ones(ensemble_size, dtype=bool)
        logits = [self._empty_logits(ensemble_size, len(labels)) for _, labels in self.evaluated]

        def one(place: int) -> None:
            finite[place] = self._steps_of(place, present[place], seeds[place], parameters, running)
            for (pixels, _), found in zip(self.evaluated, logits, strict=True):
                self._logits_of(pixels, parameters[place], running[place], found[place])

        self._for_each(one, ensemble_size)
        return self._result([torch.from_numpy(found) for found in logits], present, torch.from_numpy(finite))

    def _fit(self, model: EnsembleNetwork, present: np.ndarray, seeds: list[int]) -> Tensor:
        ensemble_size = len(seeds)
        parameters, running = _weights(model, ensemble_size)
        finite = np.ones(ensemble_size, dtype=bool)

        def one(place: int) -> None:
            finite[place] = self._steps_of(place, present[place], seeds[place], parameters, running)

        self._for_each(one, ensemble_size)
        _put_back(parameters, [parameter.detach() for parameter in model.parameters()])
        _put_back(running, _running_statistics(model))
        return torch.from_numpy(finite)

    @staticmethod
    def _for_each(task: Callable[[int], None], ensemble_size: int) -> None:
        """Run the task once for each model, as many at a time as torch has threads."""
        with ThreadPoolExecutor(max_workers=min(torch.get_num_threads(), ensemble_size)) as pool:
            list(pool.map(task, range(ensemble_size)))

    def _empty_logits(self, ensemble_size: int, n_examples: int) -> np.ndarray:
        return np.zeros((ensemble_size, n_examples, self.n_classes), dtype=str(self.dtype).removeprefix("torch."))

    def _steps_of(
        self, place: int, present: np.ndarray, seed: int, parameters: np.ndarray, running: np.ndarray
    ) -> bool:
        """Train one model in place, without any example not at all; return whether its loss stayed finite."""
        if not present.any():
            return True
        recipe, windows = self.recipe, self.batches.windows
        draws = model_draws(seed, present, self.n_steps * recipe.batch_size)
        rows, words = torch.from_numpy(draws.rows), torch.from_numpy(draws.words.view(np.int64))
        shifts = 2 * recipe.crop_padding + 1
        of_side, of_row, of_y, of_x = windows.stride()[:4]
        offsets = rows * of_row + field_of(words, 0, shifts) * of_y + field_of(words, 1, shifts) * of_x
        if recipe.flip:
            offsets += (words & 1) * of_side
        corners, cut = self._cutout(words) if recipe.cutout else (None, np.zeros(2, dtype=np.int64))
        labels = self.batches.labels[rows]
        rates = np.array(recipe.learning_rates(self.n_steps), dtype=np.float64)
        average_from = WeightAverage(recipe, self.n_steps).first if recipe.average_last else -1
        how = _Optimiser(
            recipe.momentum, recipe.weight_decay, recipe.label_smoothing, recipe.nesterov, average_from, self.n_renewed
        )
        code = self._library.coterie_train(
            ctypes.byref(self._shape()), ctypes.byref(how), _long(recipe.batch_size), _long(self.n_steps),
            _at(windows), _at(np.array(windows.stride()[4:], dtype=np.int64)), _at(offsets), _at(corners), _at(cut),
            _at(labels), _at(rates), _at(self.batches.mean), _at(self.batches.scale), _at(parameters[place]),
            _at(running[place]),
        )  # fmt: skip
        if code < 0:
            raise MemoryError("Not enough memory to train one model. Lower recipe.width or recipe.batch_size.")
        return bool(code == 0)

    def _cutout(self, words: Tensor) -> tuple[Tensor, np.ndarray]:
        cut = [min(self.recipe.cutout, side) for side in self.batches.size]
        corners = [
            field_of(words, 2 + which, side - cut[which] + 1) for which, side in enumerate(self.batches.size)
        ]
        return torch.stack(corners, dim=-1).contiguous(), np.array(cut, dtype=np.int64)

    def _logits_of(self, pixels: Tensor, parameters: np.ndarray, running: np.ndarray, found: np.ndarray) -> None:
        """Logits (n, n_classes) of one model, written into `found`."""
        if not len(pixels):
            return
        offsets = torch.arange(len(pixels)) * pixels.stride(0)
        _, down, right = pixels.stride()[1:]
        self._evaluate_one(pixels, offsets, (pixels.stride(1), down, right), parameters, running, found)
        if self.recipe.flip_at_test:
            mirrored = np.empty_like(found)
            last = (pixels.shape[3] - 1) * right
            self._evaluate_one(pixels, offsets + last, (pixels.stride(1), down, -right), parameters, running, mirrored)
            found += mirrored
            found /= 2

    def _evaluate_one(
        self,
        pixels: Tensor,
        offsets: Tensor,
        strides: tuple[int, int, int],
        parameters: np.ndarray,
        running: np.ndarray,
        found: np.ndarray,
    ) -> None:
        code = self._library.coterie_evaluate(
            ctypes.byref(self._shape()), _long(EVALUATED_AT_ONCE), _long(len(pixels)), _at(pixels),
            _at(np.array(strides, dtype=np.int64)), _at(offsets), _at(self.batches.mean), _at(self.batches.scale),
            _at(parameters), _at(running), _at(found),
        )  # fmt: skip
        if code:
            raise MemoryError("Not enough memory to train one model. Lower recipe.width or recipe.batch_size.")

    @cached_property
    def _library(self) -> ctypes.CDLL:
        return library(str(self.dtype).removeprefix("torch."))

    def _shape(self) -> _Shape:
        height, width, channels = self.image_shape
        return _Shape(channels, height, width, self.recipe.width, self.recipe.blocks, self.n_classes)


def _weights(model: EnsembleNetwork, ensemble_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Copies of the parameters and of the running statistics, one row a model."""
    parameters = [parameter.detach() for parameter in model.parameters()]
    return _by_model(parameters, ensemble_size), _by_model(_running_statistics(model), ensemble_size)


def _by_model(tensors: list[Tensor], ensemble_size: int) -> np.ndarray:
    """(K, numbers of one model): tensors whose first axis runs model by model, joined in their order."""
    return np.ascontiguousarray(torch.cat([found.reshape(ensemble_size, -1) for found in tensors], dim=1).numpy())


def _put_back(rows: np.ndarray, tensors: list[Tensor]) -> None:
    """Write rows made by `_by_model` into the tensors they were made of."""
    sizes = [found.numel() // len(rows) for found in tensors]
    for part, found in zip(torch.from_numpy(rows).split(sizes, dim=1), tensors, strict=True):
        found.copy_(part.reshape(found.shape))


def _running_statistics(model: nn.Module) -> list[Tensor]:
    """Running means and variances, layer by layer, in the order of native.cpp."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    found = [statistic for norm in norms for statistic in (norm.running_mean, norm.running_var)]
    return [statistic for statistic in found if statistic is not None]


def _long(value: int) -> ctypes.c_int64:
    return ctypes.c_int64(value)


def _at(values: np.ndarray | Tensor | None) -> ctypes.c_void_p:
    """Address of an array's first number."""
    if values is None:
        return ctypes.c_void_p(None)
    return ctypes.c_void_p(values.data_ptr() if isinstance(values, Tensor) else values.ctypes.data)
