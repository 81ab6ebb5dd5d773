"""The ways K members can be trained together, behind one engine.

| name | a convolution of all members is |
|---|---|
| `grouped` | one convolution with K groups |
| `batched` | one batched matrix product over unfolded patches |
| `vmap` | the convolution of a network of one member, vectorised by `torch.func.vmap` |
| `native` | compiled C++ that trains member after member in the processor's cache (training/engine/native/engine.py) |

To a name come `channels_last` (memory layout), `compiled` (torch.compile) and `bfloat16` or `float16`: products in that
type, weights, statistics and losses in float32. A way is written with plus signs, `grouped+channels_last+bfloat16`; it
is what the `way` column of a campaign's outputs holds. What a member becomes does not depend on the way, up to
the arithmetic's rounding.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.errors import TrainingInputError

if TYPE_CHECKING:
    import torch
    from torch import nn

LOG = logging.getLogger("coterie")
NAMES = ("grouped", "batched", "vmap", "native")
ARITHMETIC = ("bfloat16", "float16")
_ALIASES = {"grouped_convolution": "grouped"}  # as rows of older campaigns have it


@dataclass(frozen=True)
class ExecutionMode:
    """One way of training K members. arithmetic: the type of products where it is not that of the weights."""

    name: str = "grouped"
    channels_last: bool = False
    compiled: bool = False
    arithmetic: str = ""

    def __str__(self) -> str:
        options = [option for option in ("channels_last", "compiled") if getattr(self, option)]
        return "+".join([self.name, *options, *([self.arithmetic] if self.arithmetic else [])])

    @classmethod
    def parse(cls, text: str | ExecutionMode) -> ExecutionMode:
        """The way of that name. Raises TrainingInputError when there is none."""
        if isinstance(text, ExecutionMode):
            return text
        name, *options = text.split("+")
        name = _ALIASES.get(name, name)
        known = {"channels_last", "compiled", *ARITHMETIC}
        arithmetic = [option for option in options if option in ARITHMETIC]
        if name not in NAMES or not set(options) <= known or len(arithmetic) > 1 or len(set(options)) < len(options):
            raise TrainingInputError(
                f"{text!r} is no way to train. Give one of {', '.join(NAMES)}, perhaps with +channels_last, "
                "+compiled, +bfloat16 or +float16"
            )
        if name == "native" and options:
            raise TrainingInputError(f"the way 'native' takes no options; got {text!r}. Give 'native'")
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

    from training.engine.layers import MemberConv

    if mode.name == "batched":
        from training.engine.mode_batched import batched_convolution

        for module in model.modules():
            if isinstance(module, MemberConv):
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
