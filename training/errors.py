"""The one error this package raises for what a user gave it."""

from __future__ import annotations


class TrainingInputError(ValueError):
    """Something given to `training` cannot be used; the message says what, and what to do."""
