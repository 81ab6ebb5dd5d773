"""The public names of coterie's packages in one place.

Names are imported when they are first used, so `import coterie` loads neither torch nor Ray nor Prefect.

>>> import coterie
>>> "ProxySPEX" in dir(coterie)
True
>>> coterie.Spectrum.from_terms({(): 0.5, (3, 7): -0.25}, n_players=10, alpha=0.5).n_players
10
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attribution.lazy import attach

if TYPE_CHECKING:
    from ablation import AblationError, ComponentGame, PatchGame
    from attribution import (
        AttributionError,
        AttributionWarning,
        CopyGroup,
        CopySearch,
        Datamodel,
        Interaction,
        ProxySPEX,
        Spectrum,
        find_copies,
        plot_interactions,
    )
    from flows.store import Campaign
    from training import RECIPES, Recipe, TrainingInputError, load_dataset, retrain, sample_masks

_public_name, __dir__, __all__ = attach(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("coterie")
    return _public_name(name)
