"""The error this package raises for unusable input."""

from __future__ import annotations


class AblationError(ValueError):
    """A module, an image, a region map or a name that `ablation` cannot use.

    The message names what is wrong, the value given and the remedy.
    """
