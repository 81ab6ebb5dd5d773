"""The error this package raises for unusable input."""

from __future__ import annotations


class TrainingInputError(ValueError):
    """An argument, a file or a data set that `training` cannot use.

    The message names what is wrong, the value given and the remedy.
    """
