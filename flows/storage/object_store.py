"""Campaigns in object stores: the few things a folder can do, done on s3://, gs:// and whatever pyarrow can reach.

An object appears whole when its upload has been completed, or not at all: the promise that a rename gives on a disk.
There is no lock that a store's server would release when its holder dies, so a driver holds a *lease*: an object that
it writes again every few seconds and that counts for nothing once it has not been for a while. Credentials come from
where the store's own tools find them (environment, instance role); they are never part of a URI.
"""

from __future__ import annotations

import fnmatch
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

from flows.errors import CampaignBusy, StoreError

LEASE_SECONDS = 60.0  # a lease not renewed for so long is over
RENEW_SECONDS = 10.0
SETTLE_SECONDS = 2.0  # between writing a lease and believing in it


def place(folder: str | Path) -> Path:
    """Return a folder on disk, or an object store's prefix that behaves as one where campaigns need it.

    Parameters
    ----------
    folder : str or Path
        A path (a leading ~ is expanded), or a URI such as s3://bucket/campaigns/digits.

    Returns
    -------
    Path
        An ObjectPath for a URI.

    Raises
    ------
    StoreError
        For a URI that carries credentials, names no bucket or names no known store.
    """
    text = str(folder)
    if "://" not in text:
        return Path(folder).expanduser()
    return cast(Path, ObjectPath.from_uri(text))  # it has those of Path's methods that are used


@cache
def _filesystem(scheme: str, bucket: str, query: str) -> Any:
    from pyarrow import fs

    settings = dict(parse_qsl(query))
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if scheme == "s3" and endpoint and "endpoint_override" not in settings:
        parts = urlsplit(endpoint)
        settings.update(endpoint_override=parts.netloc, scheme=parts.scheme)
    if scheme == "s3":
        # Small files go up in one PUT; larger ones in parts, which make an object when the last call completes them.
        settings.setdefault("allow_delayed_open", "true")
    text = f"{scheme}://{bucket}" + (f"?{urlencode(settings)}" if settings else "")
    try:
        return fs.FileSystem.from_uri(text)[0]
    except (OSError, ValueError) as error:
        raise StoreError(f"no object store at {scheme}://{bucket}: {error}. Check campaign.folder") from error


@dataclass(frozen=True, order=True)
class _Stat:
    st_mtime: float
    st_mtime_ns: int
    st_size: int


class ObjectPath:
    """Name a key in an object store, with the methods of pathlib.Path that the campaign store uses.

    Parameters
    ----------
    filesystem : pyarrow.fs.FileSystem
    scheme : str
        Of the URI, such as s3.
    key : str
        Bucket and key; a slash at its end is removed.
    """

    def __init__(self, filesystem: Any, scheme: str, key: str) -> None:
        self.filesystem, self._scheme, self.key = filesystem, scheme, key.rstrip("/")

    @classmethod
    def from_uri(cls, uri: str) -> ObjectPath:
        """Read a URI.

        Parameters
        ----------
        uri : str
            Such as s3://bucket/campaigns/digits.

        Returns
        -------
        ObjectPath

        Raises
        ------
        StoreError
            For a URI that carries credentials, names no bucket or names no known store.
        """
        parts = urlsplit(uri)
        if parts.username or parts.password:
            raise StoreError(
                "campaign.folder must not carry credentials: they would be stored with every run. "
                "Leave them out of the URI and set them in the environment (AWS_ACCESS_KEY_ID, …)"
            )
        secret = [name for name, _ in parse_qsl(parts.query) if "key" in name or "token" in name or "secret" in name]
        if secret:
            raise StoreError(f"campaign.folder must not carry credentials ({', '.join(secret)}); set the environment")
        if not parts.netloc:
            raise StoreError(f"campaign.folder names no bucket: {uri!r}. Example: s3://bucket/campaigns/digits")
        key = (parts.netloc + parts.path).rstrip("/")
        return cls(_filesystem(parts.scheme, parts.netloc, parts.query), parts.scheme, key)

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(self.filesystem, self._scheme, f"{self.key}/{name}")

    def __str__(self) -> str:
        return f"{self._scheme}://{self.key}"

    def __repr__(self) -> str:
        return f"ObjectPath({str(self)!r})"

    def __fspath__(self) -> str:
        raise StoreError(f"{self} is not on a disk")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and str(self) == str(other)

    def __lt__(self, other: ObjectPath) -> bool:
        return self.key < other.key

    def __hash__(self) -> int:
        return hash(str(self))

    @property
    def name(self) -> str:
        """Return the last part of the key."""
        return self.key.rsplit("/", 1)[-1]

    @property
    def stem(self) -> str:
        """Return the name without its last suffix."""
        return self.name.rsplit(".", 1)[0]

    @property
    def parent(self) -> ObjectPath:
        """Return the prefix that holds this key."""
        return ObjectPath(self.filesystem, self._scheme, self.key.rsplit("/", 1)[0])

    def relative_to(self, other: ObjectPath) -> str:
        """Return the part of the key after a prefix; the whole key where it does not begin with it."""
        return self.key.removeprefix(f"{other.key}/")

    def resolve(self) -> ObjectPath:
        """Return the path itself: a key is always absolute."""
        return self

    def with_name(self, name: str) -> ObjectPath:
        """Return the key with another last part."""
        return self.parent / name

    def mkdir(self, **_: object) -> None:
        """Do nothing: prefixes need no making."""

    def _info(self) -> Any:
        return self._try(lambda: self.filesystem.get_file_info(self.key))

    def _try(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except OSError as error:
            raise StoreError(f"{self}: {str(error).splitlines()[0]}. Check the store, and run again") from error

    def exists(self) -> bool:
        """Check whether there is an object or a prefix of this key."""
        return bool(self._info().type.name != "NotFound")

    def is_file(self) -> bool:
        """Check whether there is an object of this key."""
        return bool(self._info().is_file)

    def is_dir(self) -> bool:
        """Check whether there is a prefix of this key."""
        return self.exists() and not self.is_file()

    def stat(self) -> _Stat:
        """Return the time of the last writing and the size in bytes; zeros where there is no object."""
        info = self._info()
        return _Stat(info.mtime_ns / 1e9, info.mtime_ns, info.size) if info.is_file else _Stat(0.0, 0, 0)

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Find the objects directly under this prefix whose name fits a pattern; case counts.

        Parameters
        ----------
        pattern : str
            As of `fnmatch`.

        Yields
        ------
        ObjectPath

        Raises
        ------
        StoreError
            When the store does not list its objects.
        """
        from pyarrow import fs

        selector = fs.FileSelector(self.key, allow_not_found=True)
        for info in self._try(lambda: self.filesystem.get_file_info(selector)):
            if fnmatch.fnmatchcase(info.base_name, pattern):
                yield self / info.base_name

    def read_bytes(self) -> bytes:
        """Read the object."""
        with self.filesystem.open_input_stream(self.key) as stream:
            return bytes(stream.read())

    def read_text(self, encoding: str = "utf-8") -> str:
        """Read the object as text."""
        return self.read_bytes().decode(encoding)

    def put(self, content: bytes) -> None:
        """Upload; the object is there when this returns, whole, and not before.

        Parameters
        ----------
        content : bytes

        Raises
        ------
        StoreError
            When the upload fails.
        """

        def upload() -> None:
            # Not in a `with`: its end would complete an upload that failed half-way.
            stream = self.filesystem.open_output_stream(self.key)
            stream.write(content)
            stream.close()

        self._try(upload)

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object.

        Parameters
        ----------
        missing_ok : bool
            Whether to do nothing where there is no such object.

        Raises
        ------
        StoreError
            When the store does not delete it.
        """
        if not missing_ok or self.is_file():
            self._try(lambda: self.filesystem.delete_file(self.key))

    def rename_to(self, other: ObjectPath) -> None:
        """Copy, then delete: a crash in between leaves both, which is safe.

        Parameters
        ----------
        other : ObjectPath
            The new key, in the same store.

        Raises
        ------
        StoreError
            When the store does not copy or delete the object.
        """
        self._try(lambda: self.filesystem.copy_file(self.key, other.key))
        self._try(lambda: self.filesystem.delete_file(self.key))


@contextmanager
def lease(path: ObjectPath, what: str) -> Iterator[Callable[[], None]]:
    """Hold a lease while in the block.

    Parameters
    ----------
    path : ObjectPath
        The object that holds the lease.
    what : str
        What the lease protects, for the message.

    Yields
    ------
    callable
        A check that raises CampaignBusy once the lease has been lost.

    Raises
    ------
    CampaignBusy
        When another holder renewed the lease within LEASE_SECONDS.
    StoreError
        When the store does not answer.

    Notes
    -----
    Two drivers that start in the same moment both write; after SETTLE_SECONDS both read, and only the one whose
    lease stands goes on.
    """
    token = uuid.uuid4().hex
    mine = {"token": token, "owner": f"process {os.getpid()} on {socket.gethostname()}"}
    standing = _standing(path)
    if standing is not None:
        raise _busy(what, standing)
    _renew(path, mine)
    time.sleep(SETTLE_SECONDS)
    standing = _standing(path)
    if standing is None or standing["token"] != token:
        raise _busy(what, standing or {})
    lost = threading.Event()
    ended = threading.Event()
    renewer = threading.Thread(target=_keep_renewing, args=(path, mine, ended, lost), name="lease", daemon=True)
    renewer.start()

    def check() -> None:
        if lost.is_set():
            raise CampaignBusy(f"{what} was taken over by another driver while this one could not renew its lease")

    try:
        yield check
    finally:
        ended.set()
        renewer.join()
        if not lost.is_set():
            path.unlink(missing_ok=True)


def _busy(what: str, standing: dict[str, Any]) -> CampaignBusy:
    owner = standing.get("owner", "another process")
    return CampaignBusy(
        f"{what} is being written by {owner}. Wait until it ends; if it has died, {LEASE_SECONDS:.0f} s from its "
        "last sign of life, then run again"
    )


def _standing(path: ObjectPath) -> dict[str, Any] | None:
    """The lease that counts now; None when there is none. The drivers' clocks must agree within some seconds."""
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text())
        age = (datetime.now(UTC) - datetime.fromisoformat(found["renewed"])).total_seconds()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if age < LEASE_SECONDS else None


def _renew(path: ObjectPath, mine: dict[str, str]) -> None:
    path.put(json.dumps({**mine, "renewed": datetime.now(UTC).isoformat()}).encode())


def _keep_renewing(path: ObjectPath, mine: dict[str, str], ended: threading.Event, lost: threading.Event) -> None:
    last = time.monotonic()
    while not ended.wait(RENEW_SECONDS):
        try:
            standing = _standing(path)
            if (standing is not None and standing["token"] != mine["token"]) or time.monotonic() - last > LEASE_SECONDS:
                lost.set()
                return
            _renew(path, mine)
            last = time.monotonic()
        except StoreError:  # the store does not answer: try again until the lease has run out
            if time.monotonic() - last > LEASE_SECONDS:
                lost.set()
                return
