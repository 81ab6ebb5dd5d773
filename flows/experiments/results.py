"""Outcomes of experiments as arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from attribution.analysis.target_ids import is_single, targets_of
from flows.errors import IncompleteCampaign
from flows.experiments.plans import Plan
from flows.storage.files import read_table
from flows.store import schemas as tables
from flows.store.campaign import Campaign
from flows.store.fragments import current_fragments
from flows.store.roles import RowRange


def read_results(campaign: Campaign, plan: Plan, n_examples: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read the outcomes of a plan's rows from `results`.

    Parameters
    ----------
    campaign : Campaign
    plan : Plan
    n_examples : int
        Examples that each model was evaluated on.

    Returns
    -------
    outputs : (rows, n_examples) float32
        NaN where a model diverged or failed.
    train_seconds : (rows,) float32
    status : list of str

    Raises
    ------
    IncompleteCampaign
        If models of the plan are missing.
    """
    rows = plan.rows
    outputs = np.full((len(rows), n_examples), np.nan, np.float32)
    seconds, status = np.full(len(rows), np.nan, np.float32), [""] * len(rows)
    for found, path in current_fragments(campaign.folder / "results"):
        if found.role != rows.role or found.last <= rows.first or found.first >= rows.last:
            continue
        table = read_table(path, tables.results_schema(n_examples), identity=campaign.meta.identity_hash)
        at = table["mask_id"].to_numpy() - rows.mask_ids.start
        good = np.array([value == "ok" for value in table["status"].to_pylist()])
        numbers = table["outputs"].combine_chunks().filter(pa.array(good)).flatten()
        outputs[at[good]] = numbers.to_numpy(zero_copy_only=False).reshape(-1, n_examples)
        seconds[at] = table["train_seconds"].to_numpy(zero_copy_only=False)
        for place, value in zip(at.tolist(), table["status"].to_pylist(), strict=True):
            status[place] = value
    missing = status.count("")
    if missing:
        raise IncompleteCampaign(f"{missing} models of {rows.name} are not trained. Run the same command again")
    return outputs, seconds, status


def read_cells(campaign: Campaign, rows: RowRange, targets: Sequence[int], target_classes: np.ndarray) -> np.ndarray:
    """Read the outputs of certify rows on a few targets.

    Parameters
    ----------
    campaign : Campaign
    rows : RowRange
    targets : sequence of int
        Ids of targets; a pooled target's output is the mean over its targets.
    target_classes : (n_targets,) int64

    Returns
    -------
    (rows, len(targets)) float64
        NaN without an output.
    """
    values = np.full((len(rows), len(targets)), np.nan)
    for ids, outputs, _ in campaign.output_blocks(rows.role, rows.replicate):
        at = ids - rows.mask_ids.start
        inside = (at >= 0) & (at < len(rows))
        for column, target in enumerate(targets):
            if is_single(target):
                values[at[inside], column] = outputs[inside, target]
            else:
                values[at[inside], column] = outputs[inside][:, targets_of(target, target_classes)].mean(axis=1)
    return values
