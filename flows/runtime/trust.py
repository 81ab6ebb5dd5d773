"""What a campaign's folder asks to run: nothing of it runs before the user names it too.

A folder may come from somebody else. What its configuration names is data until the user names it, on the command
line or in their own configuration file: `asked_by_folder` records such names, `refuse_unnamed` stands before every
place that imports one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flows.errors import CoterieError

# Settings that may name a function, package.module:name.
CODE_SETTINGS = ("game.function", "game.setup", "game.players", "game.targets", "game.model", "dataset.source")

_asked: dict[str, tuple[str, str]] = {}  # reference -> (configuration key, folder); filled by the command line


class NotNamed(CoterieError):
    """Code, or a cluster, that a campaign's folder asks for and the user has not named."""

    exit_code = 2


def code_named(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the functions of a user's own that a configuration names.

    Parameters
    ----------
    settings
        A configuration as nested plain values.

    Returns
    -------
    dict
        Dotted key of `CODE_SETTINGS` to package.module:name.

    Examples
    --------
    >>> code_named({"game": {"model": "mynet:make", "function": None}, "dataset": {"source": "digits"}})
    {'game.model': 'mynet:make'}
    """
    given = {key: settings.get(key.partition(".")[0], {}).get(key.partition(".")[2]) for key in CODE_SETTINGS}
    return {key: value for key, value in given.items() if isinstance(value, str) and ":" in value}


def asked_by_folder(folder: str, references: Mapping[str, str]) -> None:
    """Record what only a campaign's folder names: it is refused from now on in this process.

    Parameters
    ----------
    folder
        The campaign's folder, for the message.
    references
        Configuration key to package.module:name, or to the address of a cluster. An empty mapping clears the record.
    """
    _asked.clear()
    _asked.update({reference: (key, folder) for key, reference in references.items()})


def refuse_unnamed(references: Iterable[str | None]) -> None:
    """Raise NotNamed where one of the references is named by a folder alone.

    Parameters
    ----------
    references
        package.module:name of each function that would run; None for one that is not set.

    Raises
    ------
    NotNamed
        Its message holds the settings that name them.
    """
    unnamed = [reference for reference in references if reference in _asked]
    if unnamed:
        folder = _asked[unnamed[0]][1]
        settings = " ".join(f"{_asked[reference][0]}={reference}" for reference in unnamed)
        raise NotNamed(
            f"the campaign in {folder} asks to run {', '.join(unnamed)}. Code that a folder names is run only when you "
            f"name it too: add {settings} to the command if you trust it"
        )


def refuse_unnamed_cluster(address: str | None) -> None:
    """Raise NotNamed for a Ray cluster that a folder alone names: what it sends back is unpickled here.

    Parameters
    ----------
    address
        compute.ray_address; None where it is not set.

    Raises
    ------
    NotNamed
    """
    if address in _asked:
        key, folder = _asked[address]
        raise NotNamed(
            f"the campaign in {folder} asks to run on the Ray cluster at {address}, which could run code here. Add "
            f"{key}={address} to the command if it is yours, or {key}=null to use this machine"
        )


def is_unnamed(reference: str | None) -> bool:
    """Whether only a campaign's folder names a function."""
    return reference in _asked
