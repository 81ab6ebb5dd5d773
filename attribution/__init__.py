"""Which training examples act together: interactions, effects and their evidence, from masks and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attribution.datamodel import Datamodel
    from attribution.errors import AttributionError, AttributionWarning
    from attribution.interaction import Interaction
    from attribution.proxyspex import ProxySPEX
    from attribution.spectrum import Spectrum

__all__ = ["AttributionError", "AttributionWarning", "Datamodel", "Interaction", "ProxySPEX", "Spectrum"]

_WHERE = {
    "AttributionError": "attribution.errors",
    "AttributionWarning": "attribution.errors",
    "Datamodel": "attribution.datamodel",
    "Interaction": "attribution.interaction",
    "ProxySPEX": "attribution.proxyspex",
    "Spectrum": "attribution.spectrum",
}


def __getattr__(name: str) -> Any:
    # Imported when first used: scikit-learn, SciPy and LightGBM cost a second that `--help` should not wait for.
    if name in _WHERE:
        import importlib

        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'attribution' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
