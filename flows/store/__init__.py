"""A campaign's folder: every file it holds, and the only code that reads and writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.store.campaign import Campaign

__all__ = ["Campaign"]


def __getattr__(name: str) -> Any:
    # Imported when first used: nodes import flows.store.roles and need no more.
    if name == "Campaign":
        from flows.store.campaign import Campaign

        return Campaign
    raise AttributeError(f"module 'flows.store' has no attribute {name!r}")
