"""`retrain`: from masks and seeds to outputs, `members` models at a time."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from training.data.dataset import Dataset
from training.errors import TrainingInputError
from training.recipe import Recipe

LOG = logging.getLogger("coterie")


@dataclass(frozen=True)
class RetrainResult:
    """What came of training one model per mask; every array has one row per mask, in the order given.

    - outputs: (n_masks, n_targets) float32, the recipe's output of each target; NaN rows where a model
      diverged.
    - status: (n_masks,) str, `ok` or `diverged` (its loss, its weights or an output became non-finite).
    - train_accuracy: (n_masks,) float32, on the examples the model was trained on; NaN for an empty training
      set.
    - target_accuracy, audit_accuracy: (n_masks,) float32; NaN where diverged (or where there are no audit
      examples).
    - train_seconds: (n_masks,) float32, wall time of the model's chunk divided by the models in it.
    - members: models trained together (K) at the end; members_used: (n_masks,) int32, the K of each row's chunk, lower
      than was asked for where the device's memory did not suffice.
    - way: how, as `training.engine.modes.Way` writes it; device: where.
    """

    outputs: np.ndarray
    status: np.ndarray
    train_accuracy: np.ndarray
    target_accuracy: np.ndarray
    audit_accuracy: np.ndarray
    train_seconds: np.ndarray
    ensemble_size: int
    ensemble_sizes: np.ndarray
    mode: str
    device: str


def retrain(
    dataset: Dataset,
    masks: np.ndarray,
    seeds: Sequence[int] | np.ndarray | range,
    recipe: Recipe,
    *,
    ensemble_size: int = 32,
    device: str = "cpu",
    dtype: str = "float32",
    mode: str = "grouped",
    progress: Callable[[int, int], None] | None = None,
) -> RetrainResult:
    """Train one model per mask and record what it says about the targets.

    masks: (n_masks, n_players) bool, over players: a group of examples is present or absent as a whole.
    seeds: (n_masks,) whole numbers; a model's initialisation, order and augmentation are functions of its
    seed alone, drawn for the full training set and then restricted to the examples present (packed: absent
    examples are left out and the batches close up). Two masks of one seed therefore share them. members:
    models trained together as one network; the last chunk may be smaller. way: how they are trained, see
    `training.engine.modes`; where it cannot be had the log says so and names what is done instead.
    progress(done, total) is called after each chunk, in models.

    Where the device's memory does not suffice, `members` is halved for the rest and the log says so.

    Every model takes `recipe.steps(len(dataset.train))` steps, whatever the size of its own subset. A model
    whose subset is smaller than a batch sees an example several times in a batch. A model whose mask is empty
    takes no steps: its outputs are those of the freshly initialised network, and its status is `ok`.

    Raises TrainingInputError for masks of another width, no masks, seeds that do not match, an unknown dtype,
    way or device, and a data set that the recipe cannot train on; torch.OutOfMemoryError (or what else says so,
    see `is_out_of_memory`) when not even one model fits the memory.
    """
    masks = _check_masks(masks, dataset)
    seed_list = _check_seeds(seeds, len(masks))
    if ensemble_size < 1:
        raise TrainingInputError(f"members must be at least 1; got {ensemble_size}.")
    from training.engine.engine import STEADY_MEMBERS  # imports torch
    from training.engine.factory import make_engine  # imports torch

    engine = make_engine(dataset, recipe, device=device, dtype=dtype, mode=mode)
    steady = ensemble_size >= STEADY_MEMBERS

    present = masks[:, dataset.players]
    n_masks = len(masks)
    outputs = np.full((n_masks, len(dataset.targets)), np.nan, dtype=np.float32)
    diverged = np.zeros(n_masks, dtype=bool)
    columns = np.full((4, n_masks), np.nan, dtype=np.float32)
    ensemble_sizes = np.zeros(n_masks, dtype=np.int32)
    done = 0
    while done < n_masks:
        rows = slice(done, min(done + ensemble_size, n_masks))
        began = time.perf_counter()
        try:
            chunk = engine.train(present[rows], seed_list[rows], steady=steady)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            ensemble_size = _fewer(min(ensemble_size, rows.stop - done), error)
            steady = steady and ensemble_size >= STEADY_MEMBERS
            continue
        outputs[rows] = chunk.outputs
        diverged[rows] = chunk.diverged
        columns[0, rows] = chunk.train_accuracy
        columns[1, rows] = chunk.target_accuracy
        columns[2, rows] = chunk.audit_accuracy
        columns[3, rows] = (time.perf_counter() - began) / (rows.stop - rows.start)
        ensemble_sizes[rows] = ensemble_size
        done = rows.stop
        if progress is not None:
            progress(done, n_masks)
    outputs[diverged] = np.nan
    columns[:3, diverged] = np.nan
    return RetrainResult(
        outputs=outputs,
        status=np.where(diverged, "diverged", "ok"),
        train_accuracy=columns[0],
        target_accuracy=columns[1],
        audit_accuracy=columns[2],
        train_seconds=columns[3],
        ensemble_size=ensemble_size,
        ensemble_sizes=ensemble_sizes,
        mode=str(engine.mode),
        device=device,
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: torch's own, a CPU allocation's, or one inside cuDNN or cuBLAS."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(sign in str(error) for sign in ("can't allocate memory", "_STATUS_ALLOC_FAILED"))


def _fewer(ensemble_size: int, error: BaseException) -> int:
    """Half of `members`; raises `error` again when there is nothing to halve."""
    if ensemble_size == 1:
        raise error
    error.__traceback__ = None  # its frames hold the tensors that filled the memory
    gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    fewer = ensemble_size // 2
    LOG.warning("%d models at a time do not fit the device's memory: going on with %d", ensemble_size, fewer)
    return fewer


def _check_masks(masks: np.ndarray, dataset: Dataset) -> np.ndarray:
    masks = np.asarray(masks)
    if masks.ndim != 2 or masks.shape[1] != dataset.n_players:
        raise TrainingInputError(
            f"masks must have one row per model and one column per player, (n_masks, {dataset.n_players}); "
            f"got shape {masks.shape}."
        )
    if len(masks) == 0:
        raise TrainingInputError("at least one model is needed; got no masks.")
    if masks.dtype != np.bool_:
        raise TrainingInputError(f"masks must be bool (True = present); got {masks.dtype}. Use masks.astype(bool).")
    return masks


def _check_seeds(seeds: Sequence[int] | np.ndarray | range, n_masks: int) -> list[int]:
    seed_list = [int(seed) for seed in seeds]
    if len(seed_list) != n_masks:
        raise TrainingInputError(f"one seed per mask is needed; got {len(seed_list)} seeds for {n_masks} masks.")
    return seed_list
