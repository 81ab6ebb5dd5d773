"""Components of one fixed model as players: channels, residual branches, attention heads, modules; a gate per image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ablation.discovery import find_sites
from ablation.errors import AblationError
from ablation.fixed_model import FixedModel, checked_masks
from ablation.players import Component
from ablation.sites import Site, hooked
from ablation.trace import trace

ABLATIONS = ("zero", "mean")
_KIND = {"channels": "channel", "blocks": "block", "heads": "head"}


class ComponentGame:
    """Evaluate a fixed model with some of its components switched off.

    A player is a component, an output the margin of one image. One forward pass evaluates a batch of (mask, image)
    pairs: every row has gates of its own, so no copy of the model is made.

    Parameters
    ----------
    model : torch.nn.Module
        Maps images (batch, channels, height, width) to logits, in evaluation mode. It is not changed.
    images : (n_images, channels, height, width) array or tensor
        Floating point, as the model wants them.
    labels : (n_images,) integers
        Class whose margin is recorded, for each image.
    components : {"channels", "blocks", "heads"} or sequence of str
        channels: the filters of all convolutions, gated after the normalisation that follows (a batch norm adds its
        shift to a zero filter). blocks: branches of residual connections. heads: attention heads, before the output
        projection. A sequence: names of modules, one player each.
    within : sequence of str, optional
        Only components inside these modules.
    ablation : {"zero", "mean"}
        What replaces a component: zero, or its mean over `reference` (a channel's also over the image).
    reference : array or tensor, optional
        Images for the means; `images` by default.
    output, batch_size, device, dtype
        As for `ablation.fixed_model.FixedModel`.

    Attributes
    ----------
    players : tuple of Component
        In the order of execution.
    refused : {str: str}
        What could not be gated, with the reason.
    n_players, n_images : int

    Raises
    ------
    AblationError
        For input that the model cannot use, a name it does not have, or where nothing can be gated.

    Examples
    --------
    >>> import numpy as np, torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.ReLU(),
    ...                             torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()
    >>> game = ComponentGame(model, np.random.default_rng(0).random((2, 1, 4, 4)), [0, 1], components="channels")
    >>> [player.name for player in game.players]
    ['0[0]', '0[1]', '0[2]']
    >>> game.evaluate(np.ones((1, 3), bool)).shape
    (1, 2)
    """

    def __init__(
        self,
        model: nn.Module,
        images: Any,
        labels: Any,
        *,
        components: str | Sequence[str] = "channels",
        within: Sequence[str] | None = None,
        ablation: str = "zero",
        reference: Any = None,
        output: str = "margin_max",
        batch_size: int = 256,
        device: str | None = None,
        dtype: str = "float32",
    ) -> None:
        if ablation not in ABLATIONS:
            raise AblationError(f"ablation must be one of {', '.join(ABLATIONS)}; got {ablation!r}.")
        settings: dict[str, Any] = {"output": output, "batch_size": batch_size, "device": device, "dtype": dtype}
        self.fixed = FixedModel(model, images, labels, **settings)
        first = self.fixed.images[:2]
        with self.fixed.inference():
            found = trace(self.fixed.model, lambda: self.fixed.model(first), first)
        self.sites, self.refused = find_sites(self.fixed.model, found, components, within)
        kind = _KIND[components] if isinstance(components, str) else "module"
        modules = dict(self.fixed.model.named_modules())
        self.players: tuple[Component, ...] = tuple(
            Component(
                name=site.owner if site.n_players == 1 and kind in ("block", "module") else f"{site.owner}[{index}]",
                kind=kind,
                layer=site.owner,
                index=index,
                depth=depth,
                n_weights=_n_weights(site, modules[site.owner]),
            )
            for depth, site in enumerate(self.sites)
            for index in range(site.n_players)
        )
        self.ablation = ablation
        if ablation == "mean":
            self._set_means(self.fixed.images if reference is None else reference)

    @property
    def n_players(self) -> int:
        """Number of components."""
        return len(self.players)

    @property
    def n_images(self) -> int:
        """Number of images, columns of the outputs."""
        return self.fixed.n_images

    def evaluate(self, masks: Any) -> np.ndarray:
        """Evaluate masks on every image.

        Parameters
        ----------
        masks : (n_masks, n_players) bool
            True where a component works, False where it is replaced.

        Returns
        -------
        (n_masks, n_images) float32

        Raises
        ------
        AblationError
            For masks of another shape, or an output that is not finite.
        """
        rows = checked_masks(masks, self.n_players)
        with Gates(self) as gated:
            return self.fixed.evaluate_pairs(
                rows, lambda gates, which: gated.logits(gates.float(), self.fixed.images[which])
            )

    def logits(self, mask: Any, images: Any) -> np.ndarray:
        """Return the logits of further images under one mask.

        Parameters
        ----------
        mask : (n_players,) bool
        images : (n, channels, height, width) array or tensor

        Returns
        -------
        (n, n_classes) float32
        """
        row = torch.from_numpy(checked_masks(np.asarray(mask)[None], self.n_players)).to(self.fixed.device)
        given = torch.as_tensor(images).float()
        parts = []
        with Gates(self) as gated, self.fixed.inference():
            for batch in given.split(self.fixed.batch_size):
                found = gated.logits(row.expand(len(batch), -1).float(), batch.to(self.fixed.device))
                parts.append(found.float().cpu().numpy())
        return np.concatenate(parts)

    def gate_gradients(self, images: Any, labels: Any) -> np.ndarray:
        """Return the gradient of the cross-entropy with respect to every gate, at gates of one, for each image.

        Its negative is the first-order Taylor estimate of what switching the component off does to the loss (Molchanov
        et al. 2019, arXiv 1906.10771, with the gate as the parameter).

        Parameters
        ----------
        images : (n, channels, height, width) array or tensor
        labels : (n,) integers

        Returns
        -------
        (n, n_players) float32
        """
        given, wanted = torch.as_tensor(images).float(), torch.as_tensor(np.asarray(labels)).long()
        parts = []
        with Gates(self) as gated, torch.enable_grad():
            for batch, target in zip(
                given.split(self.fixed.batch_size), wanted.split(self.fixed.batch_size), strict=True
            ):
                gates = torch.ones(len(batch), self.n_players, device=self.fixed.device, requires_grad=True)
                logits = gated.logits(gates, batch.to(self.fixed.device))
                loss = nn.functional.cross_entropy(logits.float(), target.to(self.fixed.device), reduction="sum")
                parts.append(torch.autograd.grad(loss, gates)[0].cpu().numpy())
        return np.concatenate(parts)

    def weight_magnitudes(self) -> np.ndarray:
        """Return the mean absolute weight of every component: of its filter, its share of the projection, its module.

        Returns
        -------
        (n_players,) float64
        """
        modules = dict(self.fixed.model.named_modules())
        found: list[float] = []
        for site in self.sites:
            owner = modules[site.owner]
            if site.kind == "channels":
                weight = _filters(owner)
                found += weight.abs().flatten(1).mean(1).tolist()
            elif site.kind == "heads":
                projection = site.module.out_proj if isinstance(site.module, nn.MultiheadAttention) else site.module
                columns = projection.weight.detach().abs().mean(0)  # type: ignore[operator]
                found += columns.view(site.n_players, -1).mean(1).tolist()
            else:
                weights = [part.detach().abs().flatten() for part in owner.parameters()]
                found.append(float(torch.cat(weights).mean()) if weights else 0.0)
        return np.array(found)

    def _set_means(self, reference: Any) -> None:
        images = torch.as_tensor(reference).float()
        sums: dict[str, Tensor] = {}

        def collect(site: Site, value: Tensor) -> Tensor:
            total = site.mean_of(value)
            sums[site.layer] = sums[site.layer] + total if site.layer in sums else total
            return value

        with self.fixed.inference(), hooked(self.sites, collect):
            for batch in images.split(self.fixed.batch_size):
                self.fixed.model(batch.to(self.fixed.device))
        for site in self.sites:
            site.mean = (sums[site.layer] / len(images)).float()


class Gates:
    """The model with its gates in place, for the length of a block."""

    def __init__(self, game: ComponentGame) -> None:
        self.game = game
        self.gates = torch.zeros(0)
        self.hooks = hooked(game.sites, lambda site, value: site.apply(value, self.gates))

    def __enter__(self) -> Gates:
        self.hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.hooks.__exit__(*error)

    def logits(self, gates: Tensor, images: Tensor) -> Tensor:
        """Run the model on images (batch, ...) with gates (batch, n_players)."""
        self.gates = gates
        return self.game.fixed.model(images)


def _filters(module: nn.Module) -> Tensor:
    """Weights of a convolution with its output channels first."""
    weight: Tensor = module.weight.detach()  # type: ignore[operator]
    if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        weight = weight.transpose(0, 1)
    return weight


def _n_weights(site: Site, owner: nn.Module) -> int:
    if site.kind == "channels":
        return int(_filters(owner)[0].numel())
    if site.kind == "heads":
        projection = site.module.out_proj if isinstance(site.module, nn.MultiheadAttention) else site.module
        return int(projection.weight.numel()) // site.n_players  # type: ignore[operator]
    return sum(part.numel() for part in owner.parameters())
