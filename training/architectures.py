"""Table of the networks that a recipe can name. A new network is one class and one line here."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """One network and what it can do.

    Parameters
    ----------
    network : str
        Where the class is, as `module:class`; a subclass of `training.engine.models.EnsembleNetwork`. A string,
        because reading a configuration must not load torch.
    smallest_image : int
        Pixels of the shorter side that survive the network's reductions.
    native : bool
        Whether training/engine/native/native.cpp trains it too.

    Examples
    --------
    >>> Architecture("training.engine.models:ResNet9", smallest_image=12).load().__name__
    'ResNet9'
    """

    network: str
    smallest_image: int
    native: bool = False

    def load(self) -> Any:
        """Import the network's class (and torch)."""
        module, _, name = self.network.partition(":")
        return getattr(importlib.import_module(module), name)


ARCHITECTURES: dict[str, Architecture] = {
    # A stem and three stages of residual blocks.
    "resnet": Architecture("training.engine.models:SmallResNet", smallest_image=4, native=True),
    # The ResNet-9 of Datamodels (Ilyas et al. 2022).
    "resnet9": Architecture("training.engine.models:ResNet9", smallest_image=12),
}


def another_architecture(name: str, image_side: int) -> str | None:
    """Return the first other architecture of the table that trains images of this size.

    Parameters
    ----------
    name : str
        The architecture that is not wanted.
    image_side : int
        Pixels of the shorter side of the images.

    Returns
    -------
    str or None
        A name of `ARCHITECTURES`; None where no other network takes images that small.

    Examples
    --------
    >>> another_architecture("resnet", image_side=32)
    'resnet9'
    >>> another_architecture("resnet", image_side=8) is None
    True
    """
    others = (other for other, found in ARCHITECTURES.items() if other != name and found.smallest_image <= image_side)
    return next(others, None)
