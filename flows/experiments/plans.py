"""Frozen plans of experiments beyond the campaign's own rows, and the training of their models.

    plans/<kind>-<first>-<last>.json   what is trained and why; written before anything is trained, never changed
    masks/                             their masks, as rows of role certify or verify: no fit ever reads them
    outputs/                           certify: trained like every row of the campaign
    results/                           verify, brittleness, labels, score: other examples evaluated, or another network
    certification.parquet, decisions.parquet, verification.parquet, comparisons.parquet, brittleness.parquet
                                       what came of it, each with a .json of what it was made from

A plan's name holds its rows, so a listing of names answers what is missing: killed half-way and started again, an
experiment trains the rest and writes the same tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from flows.errors import StoreError
from flows.storage.files import read_json, write_json
from flows.storage.mask_column import mask_column
from flows.store.campaign import Campaign
from flows.store.derived import timestamp
from flows.store.roles import RowRange, missing_shards

ROLE = {
    "certify": "certify", "verify": "verify", "brittleness": "verify", "labels": "verify", "race": "verify",
    "score": "verify",
}  # fmt: skip
MasksOf = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Plan:
    """A frozen plan: the rows of its role and its content.

    Attributes
    ----------
    kind : str
        Experiment, a key of ROLE.
    key : str
        Name of the experiment: a digest of its settings.
    first, last : int
        Rows [first, last) of its role.
    content : dict
        What is trained and why, as plain JSON.
    """

    kind: str
    key: str
    first: int
    last: int
    content: dict[str, Any]

    @property
    def rows(self) -> RowRange:
        """Rows of the plan's models.

        Returns
        -------
        RowRange
        """
        return RowRange(ROLE[self.kind], 0, self.first, self.last)


def plans(campaign: Campaign, kind: str) -> list[Plan]:
    """Return every plan of a kind, oldest first.

    Parameters
    ----------
    campaign : Campaign
    kind : str
        A key of ROLE.

    Returns
    -------
    list of Plan

    Raises
    ------
    StoreError
        For a file in plans/ that holds no plan.
    """
    found = []
    for path in sorted((campaign.folder / "plans").glob(f"{kind}-*.json")):
        content = read_json(path)
        try:
            _, first, last = path.stem.rsplit("-", 2)
            found.append(Plan(kind, str(content["key"]), int(first), int(last), content))
        except (KeyError, ValueError, TypeError) as error:
            raise StoreError(f"{path} is no plan of this campaign ({error}). Move it elsewhere") from error
    return found


def freeze(campaign: Campaign, kind: str, key: str, n_rows: int, content: dict[str, Any]) -> Plan:
    """Write a plan to rows of its role that no plan holds yet; the campaign must be locked.

    Parameters
    ----------
    campaign : Campaign
    kind : str
        A key of ROLE.
    key : str
        Name of the experiment.
    n_rows : int
        Models to train.
    content : dict
        What is trained and why, as plain JSON.

    Returns
    -------
    Plan
    """
    role = ROLE[kind]
    # An empty plan has a name of its own too: it takes a shard's place, so that no other plan begins where it does.
    frozen = [plan for other, of in ROLE.items() if of == role for plan in plans(campaign, other)]
    taken = [max(plan.last, plan.first + 1) for plan in frozen]
    # The masks and models of a plan that was lost stay another experiment's.
    existing = (*campaign.planned(), *campaign.with_outcome())
    taken += [rows.last for rows in existing if rows.role == role]
    size = campaign.shard_size
    first = -(-max(taken, default=0) // size) * size  # plans begin at shard boundaries: no shard belongs to two
    plan = Plan(kind, key, first, first + n_rows, {"key": key, "created": timestamp(), **content})
    write_json(campaign.folder / "plans" / f"{kind}-{plan.first:09d}-{plan.last:09d}.json", plan.content)
    return plan


def draw_masks(campaign: Campaign, plan: Plan, masks_of: MasksOf) -> None:
    """Write the masks of a plan where they are missing.

    Parameters
    ----------
    campaign : Campaign
    plan : Plan
    masks_of : callable
        Pure function from mask_ids (m,) to masks (m, n_players) bool and seed groups (m,) int64.
    """
    for rows in missing_shards([plan.rows], campaign.planned(), max(1, len(plan.rows))):
        ids = np.arange(rows.mask_ids.start, rows.mask_ids.stop, dtype=np.int64)
        masks, groups = masks_of(np.arange(plan.rows.mask_ids.start, plan.rows.mask_ids.stop, dtype=np.int64))
        inside = ids - plan.rows.mask_ids.start
        campaign.write_masks(
            rows,
            pa.table(
                {
                    "mask_id": ids,
                    "replicate": np.zeros(len(ids), np.int32),
                    "role": [rows.role] * len(ids),
                    "seed_group": groups[inside].astype(np.int64),
                    "mask": mask_column(masks[inside]),
                }
            ),
        )
