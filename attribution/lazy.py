"""Public names of a package that are imported when they are first used."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def attach(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Export a package's names without importing them yet.

    The names are those that the package's `__init__.py` imports under `if TYPE_CHECKING:`, which type checkers and
    editors read as well, so that they are listed once.

    Parameters
    ----------
    package : str
        `__name__` of the package.
    file : str
        `__file__` of the package.

    Returns
    -------
    tuple
        The package's `__getattr__`, `__dir__` and `__all__`.

    Examples
    --------
    In an `__init__.py`::

        if TYPE_CHECKING:
            from attribution.errors import AttributionError

        __getattr__, __dir__, __all__ = attach(__name__, __file__)
    """
    homes = _names_under_type_checking(Path(file))

    def __getattr__(name: str) -> Any:  # noqa: N807 - becomes the package's own
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, original = homes[name]
        value = getattr(importlib.import_module(module), original)
        setattr(sys.modules[package], name, value)
        return value

    names = sorted(homes)
    return __getattr__, lambda: names, names


def _names_under_type_checking(path: Path) -> dict[str, tuple[str, str]]:
    """{public name: (module, name in it)} of the imports in a file's `if TYPE_CHECKING:` block."""
    found: dict[str, tuple[str, str]] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for line in node.body:
                if isinstance(line, ast.ImportFrom) and line.module:
                    found |= {alias.asname or alias.name: (line.module, alias.name) for alias in line.names}
    return found
