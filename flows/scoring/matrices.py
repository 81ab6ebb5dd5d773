"""Attribution matrices from files: one row a player, one column a target."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flows.banks.arrays import Rows, can_be_transposed, open_rows, transposed
from flows.errors import CoterieError
from flows.store.campaign import Campaign

NAMES = ("attributions", "scores", "attribution")
_NAMED = re.compile(r"([A-Za-z][\w .+-]*)=(.+)")


class BadScore(CoterieError):
    """Attributions that cannot be judged against this campaign.

    Attributes
    ----------
    exit_code : int
        2.
    """

    exit_code = 2


def read_matrices(campaign: Campaign, given: Sequence[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read attribution matrices.

    Parameters
    ----------
    campaign
        Its numbers of players and targets say which side of a matrix is which.
    given
        Files (npy, npz, Parquet); `NAME=FILE` names a method, else the file's stem does. Every array of an npz file is
        a method, unless one is named `FILE:ARRAY`.

    Returns
    -------
    matrices : dict of (n_players, n_targets) float64
        By name. A target whose column is NaN throughout is one the method says nothing about.
    notes : list of str
        What was turned.

    Raises
    ------
    BadScore
        For a matrix of another shape, other values that are not finite, or a name that is used twice.
    """
    found: dict[str, np.ndarray] = {}
    notes: list[str] = []
    for text in given:
        match = _NAMED.fullmatch(text)
        own_name, path = (match[1], match[2]) if match and not Path(text).exists() else (None, text)
        for array in _arrays(path):
            rows = open_rows(array, NAMES)
            name = own_name or _stem(array)
            if own_name and len(_arrays(path)) > 1:
                name = f"{own_name} {array.rpartition(':')[2]}"
            if name in found:
                raise BadScore(f"two attribution matrices are called {name!r}. Name them: first={path} second=…")
            found[name] = _matrix(campaign, rows, name, notes)
    return found, notes


def _matrix(campaign: Campaign, rows: Rows, name: str, notes: list[str]) -> np.ndarray:
    wanted = (campaign.n_players, campaign.n_targets)
    if rows.shape != wanted and rows.shape == wanted[::-1] and can_be_transposed(rows):
        rows = transposed(rows)
        notes.append(
            f"{rows.label} has one row a target, by its lengths: it is read as {wanted[0]} players x {wanted[1]} "
            "targets"
        )
    if rows.shape != wanted:
        raise BadScore(
            f"{rows.label} has shape {rows.shape}; the campaign has {wanted[0]} players and {wanted[1]} targets, one "
            "row and "
            "one column each"
        )
    blocks = [np.asarray(block) for block in rows.blocks(max(1, 2**24 // wanted[1]))]
    if any(block.dtype.kind not in "iufb" for block in blocks):
        raise BadScore(f"{rows.label} holds {blocks[0].dtype}; attributions are numbers")
    values = np.concatenate(blocks).astype(np.float64)
    bad = ~np.isfinite(values)
    partly = bad.any(axis=0) & ~np.isnan(values).all(axis=0)
    if partly.any():
        target = int(partly.argmax())
        raise BadScore(
            f"{rows.label} holds {int(bad[:, target].sum())} values that are not finite for target {target} ({name}). "
            "Give "
            "every player a number, or fill the column with NaN where the method says nothing about a target"
        )
    return values


def _arrays(path: str) -> list[str]:
    """The arrays a file is opened as: each of an npz file by its own name."""
    if path.endswith(".npz") and Path(path).exists():
        with np.load(path, allow_pickle=False) as archive:
            return [f"{path}:{name}" for name in archive.files]
    return [path]


def _stem(path: str) -> str:
    head, _, key = path.rpartition(":")
    return key if head.endswith(".npz") else Path(path).stem
