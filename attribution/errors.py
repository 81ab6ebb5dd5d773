"""Errors and warnings of `attribution`; the command line prints the errors without a traceback."""

from __future__ import annotations


class AttributionError(ValueError):
    """Masks, outputs or settings from which no valid number can be computed."""


class SpectrumError(AttributionError):
    """Terms, players, trees or an index that no spectrum can have."""


class AttributionWarning(UserWarning):
    """A result is defined but weak; the message gives the reason and the remedy."""
