"""A fixed model with its images and labels: checks, batches of (mask, image) pairs, and one output per pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ablation.errors import AblationError

# A pair's output is the margin that `training` records: correct logit minus logsumexp (TRAK) or maximum of the others.
OUTPUTS = ("margin_max", "margin_lse", "logit")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class FixedModel:
    """A model in evaluation mode, its images and their labels, on one device.

    Parameters
    ----------
    model : torch.nn.Module
        Maps images (batch, channels, height, width) to logits (batch, n_classes). It has to be in evaluation mode.
    images : (n_images, channels, height, width) array or tensor
        Floating point, as the model wants them.
    labels : (n_images,) integers
        Correct class of each image.
    output : {"margin_max", "margin_lse", "logit"}
        What is read off the logits.
    batch_size : int
        Pairs in one forward pass. Every pass has this many: the last one is filled up, so that rounding does not
        depend on how many masks are asked for at a time.
    device : str or None
        A torch device; None for the device of the model's parameters.
    dtype : {"float32", "bfloat16", "float16"}
        Type of products inside the model (`torch.autocast`); outputs are float32.

    Raises
    ------
    AblationError
        For a model in training mode, images or labels of another shape, a model that refuses the images, or outputs
        that are not finite.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Any,
        labels: Any,
        *,
        output: str = "margin_max",
        batch_size: int = 256,
        device: str | None = None,
        dtype: str = "float32",
    ) -> None:
        if not isinstance(model, nn.Module):
            raise AblationError(f"model must be a torch.nn.Module; got {type(model).__name__}.")
        training = [name or "the model" for name, module in model.named_modules() if module.training]
        if training:
            raise AblationError(
                f"the model is in training mode ({training[0]}), so that dropout and batch statistics would change its "
                "outputs. Call model.eval() first."
            )
        if output not in OUTPUTS:
            raise AblationError(f"output must be one of {', '.join(OUTPUTS)}; got {output!r}.")
        if dtype not in DTYPES:
            raise AblationError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}.")
        if batch_size < 1:
            raise AblationError(f"batch_size must be at least 1; got {batch_size}.")
        first = next(model.parameters(), None)
        self.device = torch.device(device) if device else (first.device if first is not None else torch.device("cpu"))
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise AblationError("device is cuda but torch finds no GPU here. Use device='cpu'.")
        self.model = model.to(self.device)
        self.images = _checked_images(images).to(self.device)
        self.labels = _checked_labels(labels, len(self.images)).to(self.device)
        self.output, self.batch_size, self.dtype = output, int(batch_size), dtype
        with self.inference():
            self.logits = self._first_logits()
        self.outputs = self.read(self.logits, self.labels)
        _check_finite(self.outputs, "the unmasked model")

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.images)

    @contextmanager
    def inference(self) -> Iterator[None]:
        """No gradients, no fused attention (which bypasses hooks), and the requested type of products."""
        fused = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        half = self.dtype != "float32"
        try:
            with torch.inference_mode(), torch.autocast(self.device.type, DTYPES[self.dtype], enabled=half):
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)

    def read(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Reduce logits (batch, n_classes) to one output per row, (batch,) float32."""
        logits = logits.float()
        correct = logits.gather(1, labels[:, None])[:, 0]
        if self.output == "logit":
            return correct
        others = logits.scatter(1, labels[:, None], float("-inf"))
        return correct - (others.amax(1) if self.output == "margin_max" else others.logsumexp(1))

    def evaluate_pairs(self, masks: np.ndarray, forward: Callable[[Tensor, Tensor], Tensor]) -> np.ndarray:
        """Evaluate every mask on every image.

        Parameters
        ----------
        masks : (n_masks, n_players) bool
        forward : callable
            Maps masks (batch, n_players) bool and numbers of images (batch,), both on the device, to logits.

        Returns
        -------
        (n_masks, n_images) float32

        Raises
        ------
        AblationError
            For an output that is not finite.
        """
        n_images = self.n_images
        found = self._evaluated(len(masks) * n_images, lambda pairs: np.divmod(pairs, n_images), masks, forward)
        result = found.reshape(len(masks), n_images)
        _check_finite(result, "a masked model")
        return result

    def evaluate_each(
        self, masks: np.ndarray, images: np.ndarray, forward: Callable[[Tensor, Tensor], Tensor]
    ) -> np.ndarray:
        """Evaluate every mask on one image, its own.

        Parameters
        ----------
        masks : (n_masks, n_players) bool
        images : (n_masks,) int
            Numbers of images.
        forward : callable
            As for `evaluate_pairs`.

        Returns
        -------
        (n_masks,) float32

        Raises
        ------
        AblationError
            For images that do not exist, or an output that is not finite.
        """
        which = np.asarray(images, dtype=np.int64)
        if which.shape != (len(masks),) or ((which < 0) | (which >= self.n_images)).any():
            raise AblationError(
                f"images must be {len(masks)} numbers of images from 0 to {self.n_images - 1}, one a mask; got "
                f"{which.shape}, {which.min(initial=0)} to {which.max(initial=0)}."
            )
        found = self._evaluated(len(masks), lambda pairs: (pairs, which[pairs]), masks, forward)
        _check_finite(found[:, None], "a masked model")
        return found

    def _evaluated(
        self,
        n_pairs: int,
        place: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
        masks: np.ndarray,
        forward: Callable[[Tensor, Tensor], Tensor],
    ) -> np.ndarray:
        """(n_pairs,) outputs; place: rows of masks and numbers of images of some pairs."""
        found = np.empty(n_pairs, np.float32)
        with self.inference():
            for start in range(0, n_pairs, self.batch_size):
                pairs = np.arange(start, start + self.batch_size)
                used = pairs[pairs < n_pairs]
                pairs = np.minimum(pairs, n_pairs - 1)  # the last pass is filled up with copies of the last pair
                rows, which = place(pairs)
                gates = torch.from_numpy(masks[rows]).to(self.device)
                chosen = torch.from_numpy(which).to(self.device)
                outputs = self.read(forward(gates, chosen), self.labels[chosen])
                found[used] = outputs[: len(used)].cpu().numpy()
        return found

    def _first_logits(self) -> Tensor:
        parts = []
        for start in range(0, self.n_images, self.batch_size):
            batch = self.images[start : start + self.batch_size]
            try:
                logits = self.model(batch)
            except (RuntimeError, ValueError, AssertionError) as error:
                raise AblationError(
                    f"the model does not take images of shape {tuple(self.images.shape[1:])} (channels, height, "
                    f"width): {str(error).splitlines()[0]} Give images of the size the model was trained on."
                ) from error
            if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(batch):
                shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise AblationError(
                    f"the model must return logits (batch, n_classes); got {shape} for {len(batch)} images. Wrap it in "
                    "a module that returns the logits."
                )
            parts.append(logits.float())
        logits = torch.cat(parts)
        if int(self.labels.max()) >= logits.shape[1]:
            raise AblationError(
                f"labels reach {int(self.labels.max())} and the model has {logits.shape[1]} classes (0 to "
                f"{logits.shape[1] - 1}). Number labels as the model's logits are."
            )
        return logits


def checked_masks(masks: Any, n_players: int) -> np.ndarray:
    """Return masks as (n_masks, n_players) bool. Raises AblationError for another shape or other values."""
    rows = np.asarray(masks)
    if rows.ndim != 2 or rows.shape[1] != n_players:
        raise AblationError(f"masks must have shape (n_masks, {n_players}), one column a player; got {rows.shape}.")
    if rows.dtype != np.bool_:
        if not np.isin(rows, (0, 1)).all():
            raise AblationError(f"masks must be boolean (True: the player is present); got {rows.dtype} values.")
        rows = rows.astype(np.bool_)
    return rows


def _checked_images(images: Any) -> Tensor:
    found = torch.as_tensor(images)
    if found.ndim != 4 or 0 in found.shape or not found.is_floating_point():
        raise AblationError(
            f"images must be floating point of shape (n_images, channels, height, width); got {tuple(found.shape)} "
            f"{found.dtype}. Give them as the model takes them, normalised."
        )
    if not bool(torch.isfinite(found).all()):
        raise AblationError("images hold values that are not finite. Leave such images out.")
    return found.detach().float()


def _checked_labels(labels: Any, n_images: int) -> Tensor:
    found = torch.as_tensor(np.asarray(labels))
    if found.shape != (n_images,) or found.is_floating_point() or (found < 0).any():
        raise AblationError(
            f"labels must be {n_images} class numbers from 0 on, one an image; got {tuple(found.shape)} {found.dtype}."
        )
    return found.long()


def _check_finite(outputs: Any, of: str) -> None:
    bad = ~np.isfinite(np.asarray(outputs.cpu() if isinstance(outputs, Tensor) else outputs))
    if bad.any():
        place = tuple(int(number) for number in np.argwhere(bad)[0])
        raise AblationError(
            f"{int(bad.sum())} outputs of {of} are not finite, first at {place} (mask, image). Check the images and "
            "the model's weights; with dtype float16 try bfloat16 or float32."
        )
