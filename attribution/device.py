"""Where large products run: NumPy on the CPU, or torch on the device that BoosterSettings.device names.

The package computes in NumPy. Four steps also have a form in torch, for a GPU, in a file of its own that is imported
only when a device other than "cpu" is named:

| step | NumPy | torch |
|---|---|---|
| boosted trees of all targets | `proxy.booster.fit_booster` | `proxy.booster_torch.fit_on_device` |
| LASSO datamodels, all penalties and folds | `linear.lasso.solve_l1` | `linear.lasso_torch.solve_l1_on_device` |
| screens of all pairs or triples | `screening.screen.screen_pairs`, ... | `screening.screen_torch.screen_on_device` |
| refits of candidate sets | `interactions.refit.OnDemandSolver` | `interactions.refit_torch.solve_on_device` |

The tests run each torch form on torch's CPU device and compare it with its NumPy form: the same trees, coefficients
and sets, up to rounding; where there is a GPU they repeat this on it. `benchmarks/attribution/gpu.py` is the one test
of their worth: it times every step and the whole fit in both forms and prints the R2, or the number of sets found,
beside each time. No figure from a GPU has been recorded yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attribution.errors import AttributionError

if TYPE_CHECKING:
    import torch


def torch_device(name: str) -> torch.device:
    """Find a torch device by its name.

    Parameters
    ----------
    name : str
        A name that torch knows, e.g. "cuda" or "cuda:1".

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    AttributionError
        If torch does not know the name, the device computes nothing ("meta"), or this machine has no such GPU.
    """
    import torch

    try:
        device = torch.device(name)
    except (RuntimeError, TypeError, ValueError) as error:
        raise AttributionError(
            f"device must be 'cpu' (NumPy), 'cuda' or another name of a torch device; got {name!r}."
        ) from error
    if device.type == "meta":
        raise AttributionError("device 'meta' holds no numbers. Set device='cpu', or name a device that computes.")
    if device.type == "cuda":
        n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= n_devices:
            raise AttributionError(
                f"device is {name!r}, but torch {torch.__version__} finds {n_devices} GPUs on this machine. Set "
                "device='cpu' (in a campaign attribution.device=cpu), or run on a machine with a GPU and a torch built "
                "for it."
            )
    return device


@contextmanager
def exact_products() -> Iterator[None]:
    """Disable TF32 inside the context: its 10 bits round sums of residuals and miscount masks from 2,049 up."""
    import torch

    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
