"""Patches as players: regions of images that are kept or replaced by a fill, under one fixed model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ablation.errors import AblationError
from ablation.fills import make_fill
from ablation.fixed_model import FixedModel, checked_masks
from ablation.regions import region_maps


class PatchGame:
    """Evaluate a fixed model on images of which some regions are replaced.

    A player is a region; one mask matrix serves all images. An output is the margin of one image.

    Parameters
    ----------
    model : torch.nn.Module
        Maps images (batch, channels, height, width) to logits, in evaluation mode.
    images : (n_images, channels, height, width) array or tensor
        Floating point, as the model wants them.
    labels : (n_images,) integers
        Class whose margin is recorded, for each image.
    regions : (int, int), int, or integer array
        A grid (rows, columns), a number of superpixels, or a map of one's own (`ablation.regions.region_maps`).
    fill : str or array
        What replaces a region: mean, grey, black, blur, noise, or another image (`ablation.fills.make_fill`).
    output, batch_size, device, dtype
        As for `ablation.fixed_model.FixedModel`.
    seed : int
        Of the noise fill.

    Attributes
    ----------
    maps : (1 or n_images, height, width) int64
        Region of every pixel.
    n_players, n_images : int

    Raises
    ------
    AblationError
        For input that the model, the regions or the fill cannot use.

    Notes
    -----
    A network also reads the fill itself (missingness bias, Jain et al. 2022, arXiv 2204.08945), so the fill is part of
    the result: compare at least two.

    Examples
    --------
    >>> import numpy as np, torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval()
    >>> game = PatchGame(model, np.random.default_rng(0).random((2, 1, 4, 4)), [0, 2], regions=(2, 2))
    >>> game.evaluate(np.ones((1, 4), bool)).shape
    (1, 2)
    """

    def __init__(
        self,
        model: nn.Module,
        images: Any,
        labels: Any,
        *,
        regions: Any = (4, 4),
        fill: Any = "mean",
        output: str = "margin_max",
        batch_size: int = 256,
        device: str | None = None,
        dtype: str = "float32",
        seed: int = 0,
    ) -> None:
        self.fixed = FixedModel(model, images, labels, output=output, batch_size=batch_size, device=device, dtype=dtype)
        self.maps = region_maps(regions, self.fixed.images.cpu().numpy())
        self._maps = torch.from_numpy(self.maps).to(self.fixed.device)
        self._fill = make_fill(fill, self.fixed.images, seed=seed)

    @property
    def n_players(self) -> int:
        """Number of regions."""
        return int(self.maps.max()) + 1

    @property
    def n_images(self) -> int:
        """Number of images, columns of the outputs."""
        return self.fixed.n_images

    def evaluate(self, masks: Any) -> np.ndarray:
        """Evaluate masks on every image.

        Parameters
        ----------
        masks : (n_masks, n_players) bool
            True where a region shows the image, False where it shows the fill.

        Returns
        -------
        (n_masks, n_images) float32

        Raises
        ------
        AblationError
            For masks of another shape, or an output that is not finite.
        """
        return self.fixed.evaluate_pairs(checked_masks(masks, self.n_players), self._forward)

    def evaluate_each(self, masks: Any, images: Any) -> np.ndarray:
        """Evaluate every mask on one image, its own.

        Parameters
        ----------
        masks : (n_masks, n_players) bool
        images : (n_masks,) int
            Number of the image of each mask.

        Returns
        -------
        (n_masks,) float32

        Raises
        ------
        AblationError
            As for `evaluate`, and for images that do not exist.
        """
        return self.fixed.evaluate_each(checked_masks(masks, self.n_players), np.asarray(images), self._forward)

    def integrated_gradients(self, image: int, n_steps: int = 32) -> np.ndarray:
        """Integrate the output's gradient from the fill to the image, added up over every region's pixels.

        Parameters
        ----------
        image : int
        n_steps : int
            Points of the midpoint rule.

        Returns
        -------
        (n_players,) float64
            Their sum approaches the output of the image less that of the fill alone as steps grow.

        Notes
        -----
        Sundararajan et al. 2017, arXiv 1703.01365, with the game's fill as the baseline.
        """
        if n_steps < 1:
            raise AblationError(f"n_steps must be at least 1; got {n_steps}.")
        number = self._checked_number(image)
        label = self.fixed.labels[number]
        full, empty = self.fixed.images[number], self._fill[number]
        total = torch.zeros_like(full)
        shares = (torch.arange(n_steps, device=self.fixed.device) + 0.5) / n_steps
        with torch.enable_grad():
            for part in shares.split(self.fixed.batch_size):
                points = (empty + part[:, None, None, None] * (full - empty)).detach().requires_grad_()
                outputs = self.fixed.read(self.fixed.model(points), label.expand(len(part)))
                total += torch.autograd.grad(outputs.sum(), points)[0].sum(0)
        spread = ((full - empty) * total / n_steps).sum(0).flatten().double().cpu().numpy()
        maps = self.maps[number if len(self.maps) > 1 else 0].flatten()
        return np.bincount(maps, spread, minlength=self.n_players)

    def predictions(self, masks: Any) -> np.ndarray:
        """Return the class of largest logit under every mask: (n_masks, n_images) int64."""
        rows = checked_masks(masks, self.n_players)
        found = np.empty((len(rows), self.n_images), np.int64)
        everyone = torch.arange(self.n_images, device=self.fixed.device)
        with self.fixed.inference():
            for number, row in enumerate(rows):
                gates = torch.from_numpy(row).to(self.fixed.device).expand(self.n_images, -1)
                for part in everyone.split(self.fixed.batch_size):
                    classes = self._forward(gates[: len(part)], part).argmax(1)
                    found[number, part.cpu().numpy()] = classes.cpu().numpy()
        return found

    def masked_image(self, mask: Any, image: int = 0) -> np.ndarray:
        """Return what the model sees under a mask.

        Parameters
        ----------
        mask : (n_players,) bool
        image : int
            Number of the image.

        Returns
        -------
        (channels, height, width) float32
        """
        rows = checked_masks(np.asarray(mask)[None], self.n_players)
        chosen = torch.tensor([self._checked_number(image)], device=self.fixed.device)
        return self._masked(torch.from_numpy(rows).to(self.fixed.device), chosen)[0].cpu().numpy()

    def attribution_map(self, values: Any, image: int = 0) -> np.ndarray:
        """Spread one value a region over its pixels.

        Parameters
        ----------
        values : (n_players,) float
        image : int
            Number of the image, which matters where images have maps of their own.

        Returns
        -------
        (height, width) float64
        """
        given = np.asarray(values, dtype=np.float64)
        if given.shape != (self.n_players,):
            raise AblationError(f"values must have shape ({self.n_players},), one a region; got {given.shape}.")
        return given[self.maps[self._checked_number(image) if len(self.maps) > 1 else 0]]

    def _checked_number(self, image: int) -> int:
        if not 0 <= image < self.n_images:
            raise AblationError(f"the game has images 0..{self.n_images - 1}; got {image}.")
        return int(image)

    def _masked(self, gates: Tensor, which: Tensor) -> Tensor:
        maps = self._maps.expand(len(gates), -1, -1) if len(self._maps) == 1 else self._maps[which]
        shown = gates.gather(1, maps.flatten(1)).view(len(gates), 1, *maps.shape[1:])
        return torch.where(shown, self.fixed.images[which], self._fill[which])

    def _forward(self, gates: Tensor, which: Tensor) -> Tensor:
        return self.fixed.model(self._masked(gates, which))
