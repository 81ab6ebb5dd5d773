"""Which rows of a bank are fitted on, which are held out, and which repeat a held-out mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flows.banks.errors import BankError
from flows.banks.scan import Scan
from flows.store.roles import RowRange

HELD_OUT_SHARE, MOST_HELD_OUT = 0.2, 256
RULE = (
    "{n_holdout:,} of {n_masks:,} distinct masks are held out for faithfulness: first those recorded more than once, "
    "the most "
    "often first, then the last of the bank"
)


@dataclass(frozen=True)
class Assignment:
    """The place of every row of a bank in the campaign.

    Attributes
    ----------
    fit : (n_fit,) int64
        Rows of the bank that are fitted on, ascending.
    holdout : tuple of (n,) int64
        Rows of replicate 0, 1, …, each in the order of the held-out masks; a later one is not longer than an earlier.
    rule : str
        How they were chosen, in a sentence.
    ceiling : str
        What the noise ceiling rests on, in a sentence.
    """

    fit: np.ndarray
    holdout: tuple[np.ndarray, ...]
    rule: str
    ceiling: str

    @property
    def n_holdout(self) -> int:
        """Masks held out."""
        return len(self.holdout[0]) if self.holdout else 0

    def parts(self) -> list[tuple[RowRange, np.ndarray]]:
        """Return (rows of the campaign, rows of the bank), fitted ones first."""
        found = [(RowRange("fit", 0, 0, len(self.fit)), self.fit)]
        found += [(RowRange("holdout", number, 0, len(rows)), rows) for number, rows in enumerate(self.holdout)]
        return [(rows, of_bank) for rows, of_bank in found if len(of_bank)]


def assign(found: Scan, n_holdout: int | None = None) -> Assignment:
    """Set masks aside by a fixed rule: the same bank always gives the same campaign.

    Parameters
    ----------
    found
        The first reading.
    n_holdout
        Masks to hold out; when None, a fifth of the distinct masks, at most 256.

    Returns
    -------
    Assignment

    Raises
    ------
    BankError
        When every mask would be held out.

    Notes
    -----
    A held-out mask takes all its rows along, so that none of them is fitted on. Of a mask that is fitted on, every row
    is a fit row; rows of equal masks share a fold there (`attribution.masks.inputs.check_groups`).
    """
    rows = np.flatnonzero(found.finished[found.mask_of_row])
    _, first, group, counts = np.unique(
        found.mask_key[found.mask_of_row[rows]], return_index=True, return_inverse=True, return_counts=True
    )
    n_masks = len(counts)
    wanted = min(MOST_HELD_OUT, int(HELD_OUT_SHARE * n_masks)) if n_holdout is None else n_holdout
    if not 0 <= wanted < n_masks:
        raise BankError(f"{wanted} of {n_masks} distinct masks cannot be held out. Give --holdout a smaller number")
    chosen = np.lexsort((-first, -counts))[:wanted]  # the most often recorded first, then the last of the bank
    chosen = chosen[np.lexsort((first[chosen], -counts[chosen]))]  # in the bank's order among equals
    held = np.zeros(n_masks, bool)
    held[chosen] = True
    of_mask: dict[int, list[int]] = {int(mask): [] for mask in chosen}
    for at in np.flatnonzero(held[group]):
        of_mask[int(group[at])].append(int(rows[at]))
    # A row without a number comes last, so that replicate 0 has one wherever the bank has one.
    ordered = [sorted(of_mask[int(mask)], key=lambda row: (not found.good[row], row)) for mask in chosen]
    most = max(map(len, ordered), default=0)
    holdout = tuple(
        np.array([held_rows[number] for held_rows in ordered if len(held_rows) > number], np.int64)
        for number in range(most)
    )
    fit = rows[~held[group]]
    n_repeated = len(holdout[1]) if most > 1 else 0
    ceiling = (
        f"{n_repeated:,} held-out masks were recorded more than once: the noise ceiling rests on them" if n_repeated
        else "no mask was recorded twice, so the noise ceiling is unknown"
    )  # fmt: skip
    return Assignment(fit, holdout, RULE.format(n_holdout=wanted, n_masks=n_masks), ceiling)
