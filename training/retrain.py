"""Train one model per mask and record its outputs, `ensemble_size` models at a time."""

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
    """Outputs and accuracies of one model per mask; every array has one row per mask, in the order given.

    Parameters
    ----------
    outputs : (n_masks, n_targets) float32 array
        The recipe's output of each target; NaN rows where a model diverged.
    status : (n_masks,) str array
        `ok`, or `diverged`: the loss or an evaluated logit became infinite or NaN.
    train_accuracy : (n_masks,) float32 array
        On the examples the model was trained on; NaN for an empty training set.
    target_accuracy, audit_accuracy : (n_masks,) float32 array
        NaN where a model diverged, or where there are no audit examples.
    train_seconds : (n_masks,) float32 array
        Wall time of the model's chunk divided by the models in it.
    ensemble_size : int
        Models trained together (K) at the end.
    ensemble_sizes : (n_masks,) int32 array
        The K of each row's chunk; lower than requested where the device's memory did not suffice.
    mode : str
        Execution mode, see `training.engine.modes`.
    device : str
        The torch device.

    Examples
    --------
    >>> import numpy as np
    >>> from training import Recipe, load_dataset
    >>> digits = load_dataset("digits", n_train=20, n_targets=10, n_audit=10)
    >>> result = retrain(digits, np.ones((1, 20), dtype=bool), seeds=[0], recipe=Recipe(epochs=1))
    >>> result.status.tolist(), result.mode
    (['ok'], 'grouped')
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
    """Train one model per mask and record its outputs on the targets.

    Parameters
    ----------
    dataset : Dataset
        Training images with their players, targets and audit examples.
    masks : (n_masks, n_players) bool array
        True = the player is in the training set; a group of examples is present or absent as a whole.
    seeds : (n_masks,) sequence of int
        A model's initialisation, order and augmentation are functions of its seed alone. They are drawn for the full
        training set and then restricted to the examples present, so two masks of one seed share them.
    recipe : Recipe
        How each model is trained.
    ensemble_size : int
        Models trained together as one network (K); the last chunk may be smaller.
    device : str
        A torch device: `cpu`, `cuda`, `cuda:1`.
    dtype : str
        Type of the weights, `float32` or `float64`.
    mode : str
        Execution mode, see `training.engine.modes`. Where this machine does not support it, the log gives the reason
        and the mode used instead.
    progress : callable, optional
        `progress(done, total)` is called after each chunk, in models.

    Returns
    -------
    RetrainResult
        One row per mask.

    Raises
    ------
    TrainingInputError
        For masks of another width, no masks, seeds that do not match, an unknown dtype, mode or device, and a data set
        that the recipe cannot train on.
    torch.OutOfMemoryError
        When not even one model fits the memory (or another error of `is_out_of_memory`).

    Notes
    -----
    Every model takes `recipe.steps(len(dataset.train))` steps, whatever the size of its own subset. A subset smaller
    than a batch fills the batch by repeating examples. A model without any example takes no steps: its outputs are
    those of the initial network, and its status is `ok`.

    Where the device's memory does not suffice, the log reports it and `ensemble_size` is halved for the rest.

    Examples
    --------
    >>> from training import RECIPES, load_dataset, sample_masks
    >>> digits = load_dataset("digits", n_train=40, n_targets=10, n_audit=10)
    >>> result = retrain(digits, sample_masks(40, 2, seed=0), seeds=[0, 1], recipe=RECIPES["digits"])
    >>> result.outputs.shape
    (2, 10)
    """
    masks = _check_masks(masks, dataset)
    seed_list = _check_seeds(seeds, len(masks))
    if ensemble_size < 1:
        raise TrainingInputError(f"ensemble_size must be at least 1; got {ensemble_size}.")
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
    """Return whether an error means that memory ran out: torch's own, a CPU allocation's, cuDNN's or cuBLAS's.

    Examples
    --------
    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(sign in str(error) for sign in ("can't allocate memory", "_STATUS_ALLOC_FAILED"))


def _fewer(ensemble_size: int, error: BaseException) -> int:
    """Return half of the ensemble size; raise `error` again when there is nothing to halve."""
    if ensemble_size == 1:
        raise error
    error.__traceback__ = None  # its frames hold the tensors that filled the memory
    gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    fewer = ensemble_size // 2
    LOG.warning("%d models at a time do not fit the device's memory: continuing with %d", ensemble_size, fewer)
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
