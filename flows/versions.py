"""What ran: versions of the packages and of the project's own training code."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("coterie", "torch", "torchvision", "ray", "prefect", "pyarrow", "numpy", "scikit-learn", "lightgbm")


def versions() -> dict[str, str]:
    """Installed versions, by package; Python's and the machine's too."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


@cache
def code_version() -> str:
    """Version of the project and a digest of the training code, recorded with every trained model."""
    import training

    sources = sorted(Path(training.__path__[0]).glob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    return f"{versions()['coterie']}+{digest[:10]}"


@cache
def attribution_version() -> str:
    """Digest of the attribution code: a changed estimator makes an analysis anew."""
    import attribution

    sources = sorted(Path(attribution.__path__[0]).glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:10]
