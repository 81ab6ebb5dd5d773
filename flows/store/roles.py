"""Mask ids and what they are for.

A row's role is a fixed function of its mask_id (a range of ids per role), so asking for more models can never turn
a held-out mask into a fit mask. Rows are trained in shards fixed by mask_id, so resuming uses the same shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

ROLES = ("fit", "holdout", "certify", "verify")
IDS_PER_ROLE = 1_000_000_000


def first_id(role: str) -> int:
    """Return the lowest mask_id of a role.

    Parameters
    ----------
    role : str
        One of ROLES.

    Returns
    -------
    int
    """
    return ROLES.index(role) * IDS_PER_ROLE


def role_of(mask_id: int) -> str:
    """Return the role of a mask_id.

    Parameters
    ----------
    mask_id : int

    Returns
    -------
    str

    Raises
    ------
    ValueError
        For an id outside every range.
    """
    index = mask_id // IDS_PER_ROLE
    if not 0 <= index < len(ROLES):
        raise ValueError(f"mask_id must lie in [0, {len(ROLES) * IDS_PER_ROLE}); got {mask_id}")
    return ROLES[index]


@dataclass(frozen=True, order=True)
class RowRange:
    """Rows [first, last) of one role and replicate.

    Attributes
    ----------
    role : str
        One of ROLES.
    replicate : int
        0, or n for the n-th further training of the same masks.
    first, last : int
        Positions within the role, from 0.
    """

    role: str
    replicate: int
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first

    @property
    def mask_ids(self) -> range:
        """Return the mask ids of the rows.

        Returns
        -------
        range
        """
        return range(first_id(self.role) + self.first, first_id(self.role) + self.last)

    @property
    def name(self) -> str:
        """Return the file name stem; a fragment's rows are known from its name, without opening it.

        Returns
        -------
        str
            Such as fit-r0-000000000-000016384.
        """
        return f"{self.role}-r{self.replicate}-{self.first:09d}-{self.last:09d}"

    @classmethod
    def parse(cls, stem: str) -> RowRange:
        """Read a range from a file name stem; the inverse of `name`.

        Parameters
        ----------
        stem : str

        Returns
        -------
        RowRange

        Raises
        ------
        ValueError
            For any other text.
        """
        parts = stem.split("-")
        if len(parts) != 4 or parts[0] not in ROLES or not parts[1].startswith("r"):
            raise ValueError(f"not the name of a fragment: {stem!r}")
        return cls(parts[0], int(parts[1][1:]), int(parts[2]), int(parts[3]))


def wanted_ranges(n_fit: int, n_holdout: int, n_replicates: int) -> list[RowRange]:
    """Return the rows that a configuration asks for: fit masks, held-out masks, and each held-out mask again.

    Parameters
    ----------
    n_fit, n_holdout : int
        Masks of each role.
    n_replicates : int
        Further trainings of every held-out mask.

    Returns
    -------
    list of RowRange
    """
    wanted = [RowRange("fit", 0, 0, n_fit)]
    wanted += [RowRange("holdout", replicate, 0, n_holdout) for replicate in range(n_replicates + 1)]
    return [rows for rows in wanted if len(rows)]


def missing_shards(wanted: Iterable[RowRange], present: Iterable[RowRange], shard_size: int) -> list[RowRange]:
    """Return the rows that are wanted and not present, cut at shard boundaries.

    Parameters
    ----------
    wanted, present : iterable of RowRange
    shard_size : int
        Rows in a shard.

    Returns
    -------
    list of RowRange

    Notes
    -----
    The time is linear in the number of fragments.
    """
    taken: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for rows in present:
        taken.setdefault((rows.role, rows.replicate), []).append((rows.first, rows.last))
    shards: list[RowRange] = []
    for rows in wanted:
        for first, last in _gaps(rows.first, rows.last, sorted(taken.get((rows.role, rows.replicate), []))):
            shards += [RowRange(rows.role, rows.replicate, a, b) for a, b in _cut(first, last, shard_size)]
    return shards


def _gaps(first: int, last: int, taken: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    at = first
    for a, b in taken:
        if a > at:
            yield at, min(a, last)
        at = max(at, b)
        if at >= last:
            return
    if at < last:
        yield at, last


def _cut(first: int, last: int, shard_size: int) -> Iterator[tuple[int, int]]:
    while first < last:
        end = min(last, (first // shard_size + 1) * shard_size)
        yield first, end
        first = end


def count_rows(ranges: Iterable[RowRange]) -> int:
    """Count the rows of ranges that do not overlap.

    Parameters
    ----------
    ranges : iterable of RowRange

    Returns
    -------
    int
    """
    return sum(len(rows) for rows in ranges)
