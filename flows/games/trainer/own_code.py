"""Code of the user's own: found without running it, imported only when they named it, and sent to other nodes.

What only a campaign's folder names is refused (`flows.runtime.trust`).
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, cast

from flows.errors import CoterieError
from flows.runtime.trust import refuse_unnamed


class OwnCodeError(CoterieError):
    """Code of the user's own that cannot be found, imported or called as it is called here."""

    exit_code = 2


# --- finding -------------------------------------------------------------------------------------------------


def module_of(reference: str) -> str:
    """Return the module of package.module:name."""
    return reference.partition(":")[0]


def locate(module: str) -> Path | None:
    """Find the file of a module without importing anything.

    Parameters
    ----------
    module
        Dotted name.

    Returns
    -------
    Path or None
        None where there is no such module, or no file (built-in modules).
    """
    found = _spec(module)
    return Path(found.origin).absolute() if found is not None and found.origin and found.has_location else None


def _spec(module: str) -> ModuleSpec | None:
    path: list[str] | None = [*sys.path, os.getcwd()]
    parts, found = module.split("."), None
    for depth, part in enumerate(parts, 1):
        found = PathFinder.find_spec(part, path)  # the bare name: a dotted one would need its parents imported
        if found is None:
            return None
        path = list(found.submodule_search_locations or ())
        if depth < len(parts) and not path:
            return None
    return found


def source_digest_of(references: Iterable[str]) -> str:
    """Compute a digest of the files of the modules that hold the references.

    Parameters
    ----------
    references
        package.module:name of each.

    Returns
    -------
    str
        16 hexadecimal digits.

    Raises
    ------
    OwnCodeError
        Where a module has no file.
    """
    digest = hashlib.sha256()
    for module in sorted({module_of(reference) for reference in references}):
        path = locate(module)
        if path is None:
            raise OwnCodeError(not_found(module))
        content = path.read_bytes()
        for part in (module.encode(), content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def search_folders(references: Iterable[str]) -> tuple[str, ...]:
    """Return the folders that must be on Python's path for the references to be imported."""
    folders = []
    for reference in references:
        top = _spec(module_of(reference).partition(".")[0])
        if top is not None and top.origin and top.has_location:
            file = Path(top.origin).absolute()
            folders.append(str(file.parent.parent if top.submodule_search_locations else file.parent))
        elif top is not None and top.submodule_search_locations:  # a namespace package
            folders += [str(Path(place).absolute().parent) for place in top.submodule_search_locations]
    return tuple(dict.fromkeys(folders))


def travelling(references: Iterable[str]) -> tuple[Path, ...]:
    """Return the packages and single-file modules that are sent to other nodes: the user's own, not installed ones.

    Parameters
    ----------
    references
        package.module:name of each.

    Returns
    -------
    tuple of Path
        A folder for a package, a file for a module.
    """
    installed = [Path(place) for name, place in sysconfig.get_paths().items() if "lib" in name or "stdlib" in name]
    found: list[Path] = []
    for name in sorted({module_of(reference).partition(".")[0] for reference in references}):
        top = _spec(name)
        if top is None:
            continue
        places = [Path(place) for place in top.submodule_search_locations or ()] or [Path(top.origin or "")]
        found += [
            place.absolute() for place in places
            if place.exists() and not any(place.absolute().is_relative_to(one) for one in installed)
        ]  # fmt: skip
    return tuple(found)


# --- importing -----------------------------------------------------------------------------------------------


def load(reference: str, key: str, folders: Iterable[str] = ()) -> Callable[..., Any]:
    """Import a function of the user's own.

    Parameters
    ----------
    reference
        package.module:name.
    key
        The configuration key that names it, for messages.
    folders
        Put on Python's path where they are not: where the driver found the module.

    Returns
    -------
    callable

    Raises
    ------
    NotNamed
        When only a campaign's folder names it.
    OwnCodeError
        When it cannot be imported, with the reason; when it is no function.
    """
    refuse_unnamed([reference])
    module, _, name = reference.partition(":")
    for place in (*folders, os.getcwd()):
        if place not in sys.path and Path(place).is_dir():
            sys.path.append(place)
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise OwnCodeError(f"{key}={reference}: {not_found(error.name)}") from error
        where = locate(module)
        raise OwnCodeError(
            f"{key}={reference} cannot be imported: {where or module} imports {error.name!r}, which is not installed "
            f"here ({_here()}). Install it, or put it into the package of {module}"
        ) from error
    except Exception as error:  # whatever the user's module does when it is imported
        raise OwnCodeError(
            f"{key}={reference} cannot be imported: {locate(module) or module} raised {type(error).__name__}: {error}"
        ) from error
    found: Any = getattr(imported, name, None)
    if found is None:
        near = ", ".join(sorted(n for n, value in vars(imported).items() if inspect.isfunction(value))[:8])
        file = getattr(imported, "__file__", None) or module
        raise OwnCodeError(f"{key}={reference}: {file} has no {name!r}; its functions are: {near or 'none'}")
    if not callable(found):
        raise OwnCodeError(f"{key}={reference} is a {type(found).__name__}, not a function")
    return cast(Callable[..., Any], found)


def check_arguments(function: Callable[..., Any], key: str, reference: str, names: tuple[str, ...]) -> None:
    """Check that a function can be called with so many arguments.

    Parameters
    ----------
    function
        What `load` returned.
    key, reference
        For the message.
    names
        What the arguments are.

    Raises
    ------
    OwnCodeError
        When it needs others.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # a built-in without a signature: the call itself shows it
    try:
        signature.bind(*names)
    except TypeError as error:
        called = f"called with {', '.join(names)}" if names else "called without arguments"
        raise OwnCodeError(f"{key}={reference} is {called}, but takes {signature} ({error})") from error


def has_function(module: str, name: str) -> bool:
    """Check whether a module's source defines a function at its top level, without importing it."""
    import ast

    path = locate(module)
    if path is None or path.suffix != ".py":
        return False
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    return any(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name for node in tree.body)


def not_found(module: str) -> str:
    """Say where a module was looked for."""
    looked = ", ".join([place or "." for place in sys.path if "lib/python" not in place][:4] + [os.getcwd()])
    return (
        f"there is no module {module!r} ({_here()}; looked in {looked} and among installed packages). Run the "
        "command where the module is, or set PYTHONPATH"
    )


def _here() -> str:
    import socket

    return f"on {socket.gethostname()}"
