"""Rows of trained models and of failed shards: the `outputs` table, and `results` of experiments.

`outputs` holds models trained and evaluated as the campaign's own. `results` holds models of verify and brittleness:
another recipe, or other examples evaluated. `flows.compute.training_loop` computes and writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from flows.runtime.versions import code_version
from flows.store.campaign import Campaign
from flows.store.roles import RowRange
from flows.store.schemas import results_schema

Columns = Mapping[str, Any]


def outputs_table(campaign: Campaign, rows: RowRange, columns: Columns) -> pa.Table:
    """Build one shard's rows of `outputs`.

    Parameters
    ----------
    campaign : Campaign
    rows : RowRange
    columns : dict
        The shard's columns as arrays.

    Returns
    -------
    pyarrow.Table
        A model that diverged keeps its status and has no number.
    """
    diverged = _diverged(columns)
    return pa.table(
        {
            **_keys(campaign, rows),
            **_outcome(rows, columns, campaign.n_targets),
            **{
                name: pa.array(np.asarray(columns[name], np.float32), mask=diverged)
                for name in ("train_accuracy", "target_accuracy", "audit_accuracy")
            },
        }
    ).select(campaign.schema("outputs").names)


def results_table(rows: RowRange, columns: Columns) -> pa.Table:
    """Build one shard's rows of `results`.

    Parameters
    ----------
    rows : RowRange
    columns : dict
        The shard's columns as arrays.

    Returns
    -------
    pyarrow.Table
        A model that diverged keeps its status and has no number.
    """
    n_examples = columns["outputs"].shape[1]
    known = {"mask_id": _mask_ids(rows), **_outcome(rows, columns, n_examples)}
    schema = results_schema(n_examples)
    return pa.table({name: known[name] for name in schema.names}).cast(schema)


def failed_outputs_table(campaign: Campaign, rows: RowRange, reason: str | Sequence[str]) -> pa.Table:
    """Build the rows of `outputs` of a shard that failed: a status and a reason, no numbers.

    Parameters
    ----------
    campaign : Campaign
    rows : RowRange
    reason : str or sequence of str
        One for all rows, or one a row.

    Returns
    -------
    pyarrow.Table
    """
    return _failed({**_keys(campaign, rows), **_failure(rows, reason)}, campaign.schema("outputs"), len(rows))


def failed_results_table(rows: RowRange, reason: str | Sequence[str], n_examples: int) -> pa.Table:
    """Build the rows of `results` of a shard that failed: a status and a reason, no numbers.

    Parameters
    ----------
    rows : RowRange
    reason : str or sequence of str
        As in `failed_outputs_table`.
    n_examples : int
        Examples that the models were to be evaluated on.

    Returns
    -------
    pyarrow.Table
    """
    return _failed({"mask_id": _mask_ids(rows), **_failure(rows, reason)}, results_schema(n_examples), len(rows))


def _outcome(rows: RowRange, columns: Columns, width: int) -> dict[str, Any]:
    """The columns that both tables have beside their keys."""
    n_models, diverged = len(rows), _diverged(columns)
    values = pa.array(np.ascontiguousarray(columns["outputs"], dtype=np.float32).reshape(-1))
    return {
        "status": columns["status"],
        "reason": columns.get("reasons") or ["loss was not finite" if bad else "" for bad in diverged],
        "outputs": pa.FixedSizeListArray.from_arrays(values, width, mask=pa.array(diverged)),
        "train_seconds": np.asarray(columns["train_seconds"], np.float32),
        "ensemble_size": np.broadcast_to(np.asarray(columns["ensemble_size"], np.int32), n_models),
        **{name: [columns[name]] * n_models for name in ("mode", "host", "device")},
        "code_version": [code_version()] * n_models,
    }


def _failure(rows: RowRange, reason: str | Sequence[str]) -> dict[str, Any]:
    n_models = len(rows)
    reasons = [reason] * n_models if isinstance(reason, str) else list(reason)
    return {"status": ["failed"] * n_models, "reason": reasons, "code_version": [code_version()] * n_models}


def _failed(known: Columns, schema: pa.Schema, n_models: int) -> pa.Table:
    columns = {
        name: known[name] if name in known else pa.nulls(n_models, schema.field(name).type) for name in schema.names
    }
    return pa.table(columns, schema=schema)


def _diverged(columns: Columns) -> np.ndarray:
    return np.array([status != "ok" for status in columns["status"]])


def _mask_ids(rows: RowRange) -> np.ndarray:
    return np.arange(rows.mask_ids.start, rows.mask_ids.stop, dtype=np.int64)


def _keys(campaign: Campaign, rows: RowRange) -> dict[str, Any]:
    return {
        "mask_id": _mask_ids(rows),
        "replicate": np.full(len(rows), rows.replicate, np.int32),
        "shard": np.full(len(rows), rows.first // campaign.shard_size, np.int64),
    }
