"""The `outputs` table: rows of trained models, and of models that failed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from flows.runtime.versions import code_version
from flows.store.campaign import Campaign
from flows.store.roles import RowRange


def outputs_table(campaign: Campaign, rows: RowRange, columns: dict[str, Any]) -> pa.Table:
    """One shard's rows. A model that diverged keeps its status and has no number."""
    n_models = len(rows)
    diverged = np.array([status != "ok" for status in columns["status"]])
    values = pa.array(np.ascontiguousarray(columns["outputs"], dtype=np.float32).reshape(-1))
    return pa.table(
        {
            **_keys(campaign, rows),
            "status": columns["status"],
            "reason": ["loss was not finite" if bad else "" for bad in diverged],
            "outputs": pa.FixedSizeListArray.from_arrays(values, campaign.n_targets, mask=pa.array(diverged)),
            **{
                name: pa.array(np.asarray(columns[name], np.float32), mask=diverged)
                for name in ("train_accuracy", "target_accuracy", "audit_accuracy")
            },
            "train_seconds": np.asarray(columns["train_seconds"], np.float32),
            "ensemble_size": np.broadcast_to(np.asarray(columns["ensemble_size"], np.int32), n_models),
            **{name: [columns[name]] * n_models for name in ("mode", "host", "device")},
            "code_version": [code_version()] * n_models,
        }
    ).select(campaign.schema("outputs").names)


def failure_table(campaign: Campaign, rows: RowRange, reason: str) -> pa.Table:
    """Rows of a shard that failed: a status and a reason, no numbers."""
    schema = campaign.schema("outputs")
    known = {**_keys(campaign, rows), "status": ["failed"] * len(rows), "reason": [reason] * len(rows)}
    known["code_version"] = [code_version()] * len(rows)
    return pa.table(
        {name: known[name] if name in known else pa.nulls(len(rows), schema.field(name).type) for name in schema.names},
        schema=schema,
    )


def _keys(campaign: Campaign, rows: RowRange) -> dict[str, Any]:
    return {
        "mask_id": np.arange(rows.mask_ids.start, rows.mask_ids.stop, dtype=np.int64),
        "replicate": np.full(len(rows), rows.replicate, np.int32),
        "shard": np.full(len(rows), rows.first // campaign.shard_size, np.int64),
    }
