"""Checks of the environment before Ray and Prefect start: what would end in a hang or a traceback is one sentence."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import socket
import sys
import tempfile
from pathlib import Path

from flows.errors import CoterieError

PROXIES = ("http_proxy", "https_proxy", "all_proxy")
LOCAL = ("127.0.0.1", "localhost")
PACKAGES = ("flows", "training", "attribution", "ablation", "conf")
RAY_ANSWERS_WITHIN = 3.0  # seconds; a cluster of one network accepts in milliseconds
LONGEST_TEMPORARY_FOLDER = 40  # characters; Ray adds up to 65, and a Unix socket's path has at most 107


class EnvironmentProblem(CoterieError):
    """This process's environment keeps Ray or Prefect from starting."""

    exit_code = 7


def check_environment() -> None:
    """Raise EnvironmentProblem for what would keep a stage from starting; call before Ray and Prefect are imported.

    Raises
    ------
    EnvironmentProblem
        Where a package of the same name hides one of this project's, a proxy cannot be used, Prefect's folder cannot
        be written, or Prefect's own settings cannot be read.
    """
    check_packages()
    exempt_this_machine_from_proxies()
    _check_proxies()
    _check_prefect_folder()
    _check_prefect_settings()
    short_temporary_folder()


def check_packages() -> None:
    """Check that no other project's package hides one of this project's.

    Raises
    ------
    EnvironmentProblem
        Where one does.
    """
    here = Path(__file__).resolve().parents[2]
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else [Path(place).resolve() for place in spec.submodule_search_locations or ()]
        if places and here / name not in places:
            raise EnvironmentProblem(
                f"the package {name!r} of another project, in {places[0]}, hides the one of coterie in {here / name}. "
                f"Take {places[0].parent} out of PYTHONPATH, or run coterie from another directory"
            )


def exempt_this_machine_from_proxies() -> None:
    """Add this machine's own addresses to no_proxy where a proxy is set: Prefect's temporary server runs on it."""
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in PROXIES):
        return
    for variable in ("no_proxy", "NO_PROXY"):
        given = [part.strip() for part in os.environ.get(variable, "").split(",") if part.strip()]
        os.environ[variable] = ",".join([*given, *(name for name in LOCAL if name not in given)])


def _check_proxies() -> None:
    for name in (*PROXIES, *(proxy.upper() for proxy in PROXIES)):
        value = os.environ.get(name, "")
        if value.lower().startswith("socks") and importlib.util.find_spec("socksio") is None:
            raise EnvironmentProblem(
                f"{name} names a SOCKS proxy ({value}), which Prefect's client cannot use without the package socksio. "
                f"Unset {name} for this command, or install it: pip install 'httpx[socks]'"
            )


def _check_prefect_folder() -> None:
    folder = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise EnvironmentProblem(
            f"Prefect keeps its state in {folder}, which cannot be written to ({error.strerror}). Set PREFECT_HOME to "
            "a folder that can, e.g. PREFECT_HOME=/tmp/prefect"
        ) from error


def _check_prefect_settings() -> None:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):  # Prefect prints an unreadable setting as it is imported
            from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE

            without_server = not PREFECT_API_URL.value() and not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value()
        sys.stderr.write(printed.getvalue())
    except (Exception, SystemExit) as error:  # whatever Prefect raises for a setting or profile it cannot read
        raise EnvironmentProblem(
            f"Prefect's settings cannot be read: {_first_reason(error)}. Correct the variable (PREFECT_…) or profile "
            f"it names (PREFECT_PROFILE is {os.environ.get('PREFECT_PROFILE') or 'not set'})"
        ) from error
    if without_server:
        raise EnvironmentProblem(
            "PREFECT_API_URL is not set and Prefect's temporary server is switched off (by "
            f"PREFECT_SERVER_ALLOW_EPHEMERAL_MODE or the profile {os.environ.get('PREFECT_PROFILE') or 'in use'}). Set "
            "PREFECT_API_URL to a server, or PREFECT_SERVER_ALLOW_EPHEMERAL_MODE=true"
        )


def _first_reason(error: BaseException) -> str:
    """The first thing that is wrong, in one sentence; pydantic lists every setting over several lines."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{place!r} of {error.title}: {first['msg']}; got {first['input']!r}"
    return (" ".join(str(error).split()) or type(error).__name__)[:300]


def check_ray_address(address: str | None) -> None:
    """Check the form of the address of a Ray cluster.

    Parameters
    ----------
    address : str or None
        `compute.ray_address`; RAY_ADDRESS where it is None.

    Raises
    ------
    EnvironmentProblem
        If it is none of "auto", "local", host:port and ray://host:port.
    """
    given = address or os.environ.get("RAY_ADDRESS") or "local"
    if given not in ("auto", "local") and not re.fullmatch(r"ray://\S+|(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d+", given):
        source = "compute.ray_address" if address else "RAY_ADDRESS"
        raise EnvironmentProblem(
            f"{source} must be host:port of a Ray cluster's head, ray://host:port or 'auto'; got {given!r}. Leave it "
            "out to run Ray on this machine"
        )


def is_of_this_machine(address: str) -> bool:
    """Whether an address of Ray lies on this machine: local, auto, or a port of its own."""
    return address in ("auto", "local") or address.removeprefix("ray://").rpartition(":")[0] in LOCAL


def check_ray_answers(address: str | None) -> None:
    """Check that something listens at the address of a Ray cluster, which Ray itself tries for a minute.

    Parameters
    ----------
    address : str or None
        As in `check_ray_address`, in a form that it accepts.

    Raises
    ------
    EnvironmentProblem
        If nothing does.
    """
    given = address or os.environ.get("RAY_ADDRESS") or "local"
    if given in ("auto", "local"):
        return
    host, _, port = given.removeprefix("ray://").split("/")[0].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port or 0)), timeout=RAY_ANSWERS_WITHIN).close()
    except (OSError, ValueError, OverflowError) as error:
        source = "compute.ray_address" if address else "RAY_ADDRESS"
        raise EnvironmentProblem(
            f"no Ray cluster answers at {given!r} ({source}): {error}. Start it (`ray start --head`), correct the "
            "address, or leave it out to run Ray on this machine"
        ) from error


def short_temporary_folder() -> str | None:
    """Return a folder for Ray's sockets where the usual one has too long a path.

    Returns
    -------
    str or None
        None where the usual one is short enough.

    Raises
    ------
    EnvironmentProblem
        If it is too long and no shorter folder can be written to.
    """
    usual = tempfile.gettempdir()
    if len(usual) <= LONGEST_TEMPORARY_FOLDER:
        return None
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        if os.access(place, os.W_OK | os.X_OK):
            return f"{place}/ray-{os.getuid()}"
    raise EnvironmentProblem(
        f"the path of the temporary folder, {usual}, is too long for Ray's sockets. Set TMPDIR to a shorter one"
    )
