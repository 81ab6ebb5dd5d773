"""Where a gate is applied: at the output of a module, channel by channel or whole, or at the heads of an attention."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablation.errors import AblationError


@dataclass
class Site:
    """Consecutive players gated at one module.

    Attributes
    ----------
    layer : str
        Path of the module.
    module : torch.nn.Module
        Its output is gated; for `heads` its input (a projection) or, for MultiheadAttention, what the projection reads.
    kind : {"channels", "whole", "heads"}
    n_players : int
    owner : str
        Path of what a person would call the component: the convolution of a normalisation, the block of a branch.
    first : int
        Number of the first player.
    mean : Tensor or None
        What replaces a player that is left out, broadcast over the batch; None for zero.
    """

    layer: str
    module: nn.Module
    kind: str
    n_players: int
    owner: str
    first: int = 0
    mean: Tensor | None = None

    def apply(self, value: Tensor, gates: Tensor) -> Tensor:
        """Gate a tensor whose first dimension is the batch.

        Parameters
        ----------
        value : (batch, ...) Tensor
        gates : (batch, n_all_players) Tensor
            1 keeps, 0 removes.
        """
        own = gates[:, self.first : self.first + self.n_players]
        if len(value) != len(own):
            raise AblationError(
                f"{self.layer} runs on {len(value)} rows for {len(own)} images, so a gate per image does not fit it. "
                "Leave it out (within=...)."
            )
        shaped, gate = self._shaped(value, own.to(value.dtype))
        kept = shaped * gate
        if self.mean is not None:
            kept = kept + self.mean.to(value.dtype) * (1 - gate)
        return kept.view_as(value)

    def mean_of(self, value: Tensor) -> Tensor:
        """Return the sum over the batch of what mean ablation puts in place of a player (to be divided by the batch).

        A channel has one mean over the image; a head and a module have one at every position.
        """
        shaped, _ = self._shaped(value, torch.ones(len(value), self.n_players, device=value.device))
        if self.kind == "channels":
            shaped = shaped.mean(dim=tuple(range(2, shaped.ndim)), keepdim=True)
        return shaped.double().sum(dim=0, keepdim=True)

    def _shaped(self, value: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        if self.kind == "heads":
            shaped = value.reshape(*value.shape[:-1], self.n_players, value.shape[-1] // self.n_players)
            return shaped, gate.view(len(gate), *[1] * (value.ndim - 2), self.n_players, 1)
        return value, gate.view(*gate.shape, *[1] * (value.ndim - 2))


Transform = Callable[[Site, Tensor], Tensor]


@contextmanager
def hooked(sites: Iterable[Site], transform: Transform) -> Iterator[None]:
    """Pass what every site gates through `transform` within the block; the modules are as before afterwards."""
    with ExitStack() as stack:
        for site in sites:
            if isinstance(site.module, nn.MultiheadAttention) and site.kind == "heads":
                _replace_forward(stack, site, transform)
            elif site.kind == "heads":
                stack.callback(site.module.register_forward_pre_hook(_before(site, transform)).remove)
            else:
                stack.callback(site.module.register_forward_hook(_after(site, transform)).remove)
        yield


def _before(site: Site, transform: Transform) -> Callable[[nn.Module, Any], Any]:
    def hook(_: nn.Module, inputs: Any) -> Any:
        return (transform(site, inputs[0]), *inputs[1:])

    return hook


def _after(site: Site, transform: Transform) -> Callable[[nn.Module, Any, Any], Any]:
    def hook(_: nn.Module, inputs: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return transform(site, output)
        return type(output)((transform(site, output[0]), *output[1:]))

    return hook


def _replace_forward(stack: ExitStack, site: Site, transform: Transform) -> None:
    """Give a MultiheadAttention a forward that passes its heads through `transform` before the projection.

    The module calls its projection as a function, which no hook sees: the attention is computed with the identity in
    place of the projection, and the projection afterwards.
    """
    module = site.module
    assert isinstance(module, nn.MultiheadAttention)
    identity = torch.eye(module.embed_dim, device=module.out_proj.weight.device)

    def forward(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        if query.ndim != 3:
            raise AblationError(f"{site.layer} runs without a batch, so a gate per image does not fit it.")
        if module.batch_first:
            query, key, value = (part.transpose(0, 1) for part in (query, key, value))
        separate = not module._qkv_same_embed_dim
        heads, weights = F.multi_head_attention_forward(
            query, key, value, module.embed_dim, module.num_heads, module.in_proj_weight, module.in_proj_bias,
            module.bias_k, module.bias_v, module.add_zero_attn, 0.0, identity.to(query.dtype),
            None,
            training=False, key_padding_mask=key_padding_mask, need_weights=need_weights, attn_mask=attn_mask,
            use_separate_proj_weight=separate, q_proj_weight=module.q_proj_weight if separate else None,
            k_proj_weight=module.k_proj_weight if separate else None,
            v_proj_weight=module.v_proj_weight if separate else None,
            average_attn_weights=average_attn_weights, is_causal=is_causal,
        )  # fmt: skip
        gated = module.out_proj(transform(site, heads.transpose(0, 1)))
        return (gated if module.batch_first else gated.transpose(0, 1)), weights

    module.forward = forward  # type: ignore[method-assign]
    stack.callback(module.__dict__.pop, "forward")
