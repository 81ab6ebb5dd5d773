"""Engines by execution mode, with a fallback to a mode that this machine supports."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import torch

from training.data.dataset import Dataset
from training.engine.modes import Way
from training.recipe import Recipe

if TYPE_CHECKING:
    import torch
from training.engine.engine import DTYPES, Engine, check_device
from training.engine.modes import LOG


def make_engine(
    dataset: Dataset, recipe: Recipe, *, device: str = "cpu", dtype: str = "float32", way: str | Way = "grouped"
) -> Engine:
    """The engine of that way, or of what comes closest to it here, which the log then says.

    Raises TrainingInputError for a device, type or way that does not exist and a recipe these images cannot have.
    """
    chosen = usable(Way.parse(way), recipe, check_device(device), DTYPES.get(dtype, torch.float32))
    if chosen.name == "native":
        from training.engine.native.engine import NativeEngine

        return NativeEngine(dataset, recipe, device=device, dtype=dtype, way=chosen)
    return Engine(dataset, recipe, device=device, dtype=dtype, way=chosen)


def why_not(way: Way, recipe: Recipe, device: torch.device, dtype: torch.dtype) -> str:
    """Why this recipe cannot be trained that way here; empty when it can."""
    if way.name == "native":
        from training.engine.native.engine import why_not_native

        return why_not_native(recipe, device, dtype)
    if way.name == "vmap" and recipe.batching != "packed":
        return "vmap trains packed batches only"
    if way.arithmetic and dtype.itemsize != 4:
        return f"{way.arithmetic} products go with float32 weights only"
    if way.compiled and device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++"))):
        return "torch.compile needs a C++ compiler (g++ or clang++)"
    return ""


def usable(way: Way, recipe: Recipe, device: torch.device, dtype: torch.dtype) -> Way:
    """The way itself, or what comes closest to it here; a way that cannot be had is said in the log."""
    reason = why_not(way, recipe, device, dtype)
    if not reason:
        return way
    instead = Way("grouped") if way.name in ("native", "vmap") else Way(way.name, way.channels_last)
    LOG.warning("%s cannot be used (%s): %s instead", way, reason, instead)
    return instead
