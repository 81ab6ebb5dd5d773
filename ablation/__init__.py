"""One fixed model, many masks of it: which regions of an image, and which components of a model, act together.

`PatchGame` replaces regions of images by a fill, `ComponentGame` gates channels, residual branches, attention heads or
named modules. Both take boolean masks (n_masks, n_players) and return outputs (n_masks, n_images), for any torch
module, in batches of (mask, image) pairs. Nothing here imports Ray, Prefect or the attribution of the outputs.

Names are imported when they are first used, because torch takes seconds to load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablation.components import ComponentGame
    from ablation.errors import AblationError
    from ablation.finetuning import fine_tune
    from ablation.patches import PatchGame
    from ablation.players import Component

_HOMES = {
    "AblationError": "ablation.errors",
    "Component": "ablation.players",
    "ComponentGame": "ablation.components",
    "PatchGame": "ablation.patches",
    "fine_tune": "ablation.finetuning",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the names of the block above


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
