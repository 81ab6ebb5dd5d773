"""Execution modes: how K models are trained together.

| name | a convolution of all models is | when to use it |
|---|---|---|
| `grouped` | one convolution with K groups | everywhere; the fallback |
| `batched` | one batched matrix product over unfolded patches | devices on which a calibration finds it faster |
| `vmap` | the convolution of one network, vectorised by `torch.func.vmap` | GPUs, likewise; to check the others |
| `native` | compiled C++, model after model in the processor's cache | CPUs: packed batches of `resnet` |

Options are added to a name with plus signs: `channels_last` (memory layout), `compiled` (torch.compile), and `bfloat16`
or `float16` (products in that type; weights, statistics and losses stay float32). Example:
`grouped+channels_last+bfloat16`. The column `mode` of a campaign's outputs holds such a name. A model's result does not
depend on the mode, up to the rounding of the arithmetic.

Measured in processor time on one thread of a CPU (benchmarks/retraining.md): `native` took a quarter to a third of the
time of `grouped` on three recipes, `batched` .28 s a model where `grouped` took .06 s (digits). No time of `vmap` is
recorded, and no mode has been timed on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.errors import TrainingInputError

if TYPE_CHECKING:
    import torch
    from torch import nn

NAMES = ("grouped", "batched", "vmap", "native")
ARITHMETIC = ("bfloat16", "float16")


@dataclass(frozen=True)
class ExecutionMode:
    """How K models are trained together.

    Parameters
    ----------
    name : str
        `grouped`, `batched`, `vmap` or `native`.
    channels_last : bool
        Whether images are laid out channels last in memory.
    compiled : bool
        Whether torch.compile compiles the network.
    arithmetic : str
        `bfloat16` or `float16` for products in that type; empty for that of the weights.

    Examples
    --------
    >>> ExecutionMode.parse("grouped+channels_last").channels_last
    True
    >>> str(ExecutionMode("batched", arithmetic="bfloat16"))
    'batched+bfloat16'
    """

    name: str = "grouped"
    channels_last: bool = False
    compiled: bool = False
    arithmetic: str = ""

    def __str__(self) -> str:
        options = [option for option in ("channels_last", "compiled") if getattr(self, option)]
        return "+".join([self.name, *options, *([self.arithmetic] if self.arithmetic else [])])

    @classmethod
    def parse(cls, text: str | ExecutionMode) -> ExecutionMode:
        """Return the mode of that name. Raises TrainingInputError when there is none."""
        if isinstance(text, ExecutionMode):
            return text
        name, *options = text.split("+")
        known = {"channels_last", "compiled", *ARITHMETIC}
        arithmetic = [option for option in options if option in ARITHMETIC]
        if name not in NAMES or not set(options) <= known or len(arithmetic) > 1 or len(set(options)) < len(options):
            raise TrainingInputError(
                f"Unknown execution mode {text!r}. Choose one of {', '.join(NAMES)}, optionally with +channels_last, "
                "+compiled, +bfloat16 or +float16."
            )
        if name == "native" and options:
            raise TrainingInputError(f"The execution mode 'native' takes no options; got {text!r}. Give 'native'.")
        return cls(name, "channels_last" in options, "compiled" in options, *arithmetic)


def make_forward(model: nn.Module, mode: ExecutionMode, ensemble_size: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function that computes the model's result in an execution mode.

    Parameters
    ----------
    model : nn.Module
        A network of K models, or a `training.engine.models.FeatureReader` of one.
    mode : ExecutionMode
        How to compute. The mode `native` computes like `grouped` here: its compiled code needs no torch module.
    ensemble_size : int
        Networks trained together (K).

    Returns
    -------
    callable
        Maps images (batch, K * channels, height, width) to (K, batch, values), with the weights and statistics that
        `model` has when it is called.
    """
    import torch

    from training.engine.layers import EnsembleConv

    if mode.name == "batched":
        from training.engine.mode_batched import batched_convolution

        for module in model.modules():
            if isinstance(module, EnsembleConv):
                module.convolve = batched_convolution
    forward: Callable[[torch.Tensor], torch.Tensor] = model
    if mode.name == "vmap":
        from training.engine.mode_vmap import VmapNetwork

        forward = VmapNetwork(model, ensemble_size)
    if mode.channels_last:
        forward = _in_channels_last(forward)
    if mode.compiled:
        forward = torch.compile(forward, dynamic=False)
    return forward


def _in_channels_last(forward: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    import torch

    def convert(images: torch.Tensor) -> torch.Tensor:
        return forward(images.contiguous(memory_format=torch.channels_last))

    return convert
