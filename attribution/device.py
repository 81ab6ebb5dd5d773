"""Where the large products run: NumPy on the CPU, or torch on the device that BoosterSettings.device names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attribution.errors import AttributionError

if TYPE_CHECKING:
    import torch


def torch_device(name: str) -> torch.device:
    """The torch device of that name. Raises AttributionError where torch does not know it or has none here."""
    import torch

    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise AttributionError(
            f"device must be 'cpu' (NumPy), 'cuda' or another name of a torch device; got {name!r}."
        ) from error
    if device.type == "meta":
        raise AttributionError("device 'meta' holds no numbers. Set device='cpu', or name a device that computes.")
    if device.type == "cuda":
        n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= n_devices:
            raise AttributionError(
                f"device is {name!r}, but torch {torch.__version__} sees {n_devices} GPUs here. Set device='cpu' "
                "(in a campaign attribution.device=cpu), or run on a machine with a GPU and a torch built for it."
            )
    return device


@contextmanager
def exact_products() -> Iterator[None]:
    """No TF32 inside: its 10 bits round sums of residuals and miscount masks from 2,049 up. Then as it was before."""
    import torch

    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
