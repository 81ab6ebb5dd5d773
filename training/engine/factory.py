"""Engines by execution mode, with a fallback to a mode that this machine supports."""

from __future__ import annotations

import logging
import shutil

import torch

from training.data.dataset import Dataset
from training.engine.engine import DTYPES, Engine, check_device
from training.engine.modes import ExecutionMode
from training.recipe import Recipe

LOG = logging.getLogger("coterie")


def make_engine(
    dataset: Dataset,
    recipe: Recipe,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    mode: str | ExecutionMode = "grouped",
) -> Engine:
    """Return the engine of an execution mode, or of the closest mode that this machine supports.

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
        How K models are trained together. Where the machine or the recipe does not support it, the log gives the reason
        and the mode used instead (`available`).

    Returns
    -------
    Engine
        Its attribute `mode` is the mode in use.

    Raises
    ------
    TrainingInputError
        For a device, type or mode that does not exist, and a recipe that these images do not suit.

    Examples
    --------
    >>> from training import Recipe, load_dataset
    >>> digits = load_dataset("digits", n_train=20, n_targets=10, n_audit=10)
    >>> str(make_engine(digits, Recipe(), mode="grouped+channels_last").mode)
    'grouped+channels_last'
    """
    chosen = available(ExecutionMode.parse(mode), recipe, check_device(device), DTYPES.get(dtype, torch.float32))
    if chosen.name == "native":
        from training.engine.native.engine import NativeEngine

        return NativeEngine(dataset, recipe, device=device, dtype=dtype, mode=chosen)
    return Engine(dataset, recipe, device=device, dtype=dtype, mode=chosen)


def unsupported_reason(mode: ExecutionMode, recipe: Recipe, device: torch.device, dtype: torch.dtype) -> str:
    """Return why this machine cannot train the recipe in an execution mode; empty when it can."""
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
    """Return the execution mode itself, or the closest one this machine supports, with a warning in the log."""
    reason = unsupported_reason(mode, recipe, device, dtype)
    if not reason:
        return mode
    plain = mode.name in ("native", "vmap")
    instead = ExecutionMode("grouped") if plain else ExecutionMode(mode.name, mode.channels_last)
    LOG.warning("%s cannot be used (%s): %s instead", mode, reason, instead)
    return instead
