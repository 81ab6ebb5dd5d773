"""Training of K small networks as one: execution modes, batches, layers, networks.

The public names are imported on first use, because they import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.engine.engine import STEADY_MEMBERS, Engine, check_device
    from training.engine.factory import make_engine

__all__ = ["STEADY_MEMBERS", "Engine", "check_device", "make_engine"]


def __getattr__(name: str) -> Any:
    if name == "make_engine":
        from training.engine.factory import make_engine

        return make_engine
    if name in __all__:
        import training.engine.engine

        return getattr(training.engine.engine, name)
    raise AttributeError(f"module 'training.engine' has no attribute {name!r}")
