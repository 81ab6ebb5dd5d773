"""What ran: versions of the packages and of the project's own training code."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

PACKAGES = ("coterie", "torch", "torchvision", "ray", "prefect", "pyarrow", "numpy", "scikit-learn", "lightgbm")


def versions() -> dict[str, str]:
    """Return installed versions; Python's and the machine's too.

    Returns
    -------
    dict of str to str
        Package to version, or "not installed".
    """
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


# What a package's behaviour depends on: its code, the sources it compiles, the templates it fills in.
SOURCE_SUFFIXES = (".py", ".cpp", ".h", ".j2", ".css")


def source_digest(package: ModuleType | Path) -> str:
    """Return a SHA-256 digest of every source below a package, subpackages included.

    Parameters
    ----------
    package
        An imported package, or its folder.

    Returns
    -------
    str
        64 hexadecimal digits. They change with any byte of any source and with the name of any source file.
    """
    folder = package if isinstance(package, Path) else Path(package.__path__[0])
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in SOURCE_SUFFIXES):
        for part in (path.relative_to(folder).as_posix().encode(), path.read_bytes()):
            # Lengths in front, so that no two different trees give one stream of bytes.
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


@cache
def code_version() -> str:
    """Return the version of the project and a digest of the training code, recorded with every trained model.

    Returns
    -------
    str
        Version, "+" and 10 characters of the digest.
    """
    import training

    return f"{versions()['coterie']}+{source_digest(training)[:10]}"


@cache
def attribution_version() -> str:
    """Compute a digest of the attribution code: after a change of an estimator an analysis is recomputed.

    Returns
    -------
    str
        10 characters.
    """
    import attribution

    return source_digest(attribution)[:10]
