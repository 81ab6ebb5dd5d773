"""Engines by execution mode, with a fallback to a mode that this machine supports."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import torch

from training.data.dataset import Dataset
from training.engine.modes import ExecutionMode
from training.recipe import Recipe

if TYPE_CHECKING:
    import torch
from training.engine.engine import DTYPES, Engine, check_device
from training.engine.modes import LOG


def make_engine(
    dataset: Dataset,
    recipe: Recipe,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    mode: str | ExecutionMode = "grouped",
) -> Engine:
    """The engine of that way, or of what comes closest to it here, which the log then says.

    Raises TrainingInputError for a device, type or way that does not exist and a recipe these images cannot have.
    """
    chosen = available(ExecutionMode.parse(mode), recipe, check_device(device), DTYPES.get(dtype, torch.float32))
    if chosen.name == "native":
        from training.engine.native.engine import NativeEngine

        return NativeEngine(dataset, recipe, device=device, dtype=dtype, mode=chosen)
    return Engine(dataset, recipe, device=device, dtype=dtype, mode=chosen)


def unsupported_reason(mode: ExecutionMode, recipe: Recipe, device: torch.device, dtype: torch.dtype) -> str:
    """Why this recipe cannot be trained that way here; empty when it can."""
    if mode.name == "native":
        from training.engine.native.engine import native_unsupported_reason

        return native_unsupported_reason(recipe, device, dtype)
    if mode.name == "vmap" and recipe.batching != "packed":
        return "vmap trains packed batches only"
    if mode.arithmetic and dtype.itemsize != 4:
        return f"{mode.arithmetic} products go with float32 weights only"
    if mode.compiled and device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++"))):
        return "torch.compile needs a C++ compiler (g++ or clang++)"
    return ""


def available(mode: ExecutionMode, recipe: Recipe, device: torch.device, dtype: torch.dtype) -> ExecutionMode:
    """The way itself, or what comes closest to it here; a way that cannot be had is said in the log."""
    reason = unsupported_reason(mode, recipe, device, dtype)
    if not reason:
        return mode
    plain = mode.name in ("native", "vmap")
    instead = ExecutionMode("grouped") if plain else ExecutionMode(mode.name, mode.channels_last)
    LOG.warning("%s cannot be used (%s): %s instead", mode, reason, instead)
    return instead
