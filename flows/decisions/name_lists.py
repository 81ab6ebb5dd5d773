"""Plain lists of examples' names, for programs that act on files: what to delete, to keep and to look at."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from flows.storage.files import write_atomically
from training.data.names import original_name

LISTS = {"delete": ("drop",), "keep": ("keep", "review"), "look": ("review",)}  # decisions in each
TXT, NUL = ".txt", ".nul"  # a name a line; each name ended by a NUL, where a line cannot hold one of them


def list_files(folder: Path) -> list[Path]:
    """Return every path that `write_lists` may write in a folder.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of Path
    """
    return [folder / f"{stem}{suffix}" for stem in LISTS for suffix in (TXT, NUL)]


def write_lists(
    folder: Path, decided: Sequence[tuple[str, str]], looked_at: Sequence[int] = ()
) -> tuple[list[Path], tuple[str, ...]]:
    """Write delete, keep and look: names byte for byte as the file system has them.

    Parameters
    ----------
    folder : Path
    decided : sequence of (str, str)
        Name and decision of every example.
    looked_at : sequence of int
        Positions in `decided`, those to look at first in front: the order of look. Empty: as they come.

    Returns
    -------
    paths : list of Path
        The three files; `.nul` instead of `.txt` where a name holds a line break.
    notes : tuple of str
        How to read the files that end each name with a NUL.
    """
    paths = []
    for stem, decisions in LISTS.items():
        ordered = [decided[at] for at in looked_at] if stem == "look" and looked_at else decided
        names = [file_name(name) for name, decision in ordered if decision in decisions]
        in_lines = not any(byte in name for name in names for byte in (b"\n", b"\r"))
        suffix, other = (TXT, NUL) if in_lines else (NUL, TXT)
        _write(folder / f"{stem}{suffix}", b"".join(name + (b"\n" if in_lines else b"\0") for name in names))
        (folder / f"{stem}{other}").unlink(missing_ok=True)  # of an earlier export
        paths.append(folder / f"{stem}{suffix}")
    ended = [path.name for path in paths if path.suffix == NUL]
    if not ended:
        return paths, ()
    verb = "ends" if len(ended) == 1 else "end"
    return paths, (
        f"Some names hold line breaks: {', '.join(ended)} {verb} each name with a NUL (`xargs -0 -a {ended[0]} …`, "
        f"`rsync --from0 --files-from={ended[0]} …`).",
    )


def is_list(path: Path, names: Collection[str]) -> bool:
    """Check that a file holds nothing but names of this campaign, as `write_lists` writes them.

    Parameters
    ----------
    path : Path
    names : collection of str

    Returns
    -------
    bool
    """
    try:
        held = path.read_bytes().split(b"\0" if path.suffix == NUL else b"\n")
    except OSError:
        return False
    return set(held) - {b""} <= {file_name(name) for name in names}


def file_name(name: str) -> bytes:
    r"""Return the bytes that the file system has for a name; a name that no file can have stays as it is written.

    Parameters
    ----------
    name : str
        As `training.data.names.as_name` writes it.

    Returns
    -------
    bytes

    Examples
    --------
    >>> file_name(r"train/a\\b.png"), file_name(r"train/caf\xe9.png")
    (b'train/a\\b.png', b'train/caf\xe9.png')
    """
    try:
        return original_name(name).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return name.encode("utf-8")


def _write(path: Path, content: bytes) -> None:
    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    write_atomically(path, write)
