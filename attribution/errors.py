"""Errors and warnings of the statistical half of `attribution`."""

from __future__ import annotations


class AttributionError(ValueError):
    """Masks, outputs or settings that no honest number can be computed from."""


class AttributionWarning(UserWarning):
    """The result is defined but weaker than its user may think: it says why, and what would mend it."""
