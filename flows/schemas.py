"""Arrow schemas of the campaign's tables. One place, so that every writer and reader agrees."""

from __future__ import annotations

import pyarrow as pa

_f64 = pa.float64()

EXAMPLES = pa.schema(
    [
        ("split", pa.string()),  # train, target or audit
        ("position", pa.int32()),  # row within the split; a target's position is its target id
        ("source_index", pa.int64()),
        ("label", pa.int32()),
        ("class_name", pa.string()),
        ("player", pa.int32()),  # -1 outside the training split
        ("image", pa.binary()),  # PNG
    ]
)

EFFECTS = pa.schema(
    [
        ("target", pa.int32()),
        ("player", pa.int32()),
        ("effect", _f64),
        ("shrunken", _f64),
        ("stderr", _f64),
        ("p_value", _f64),
        ("q_value", _f64),
    ]
)

INTERACTIONS = pa.schema(
    [
        ("target", pa.int32()),
        ("members", pa.list_(pa.int32())),
        ("order", pa.int8()),
        ("banzhaf", _f64),
        ("shrunken", _f64),
        ("stderr", _f64),
        ("p_value", _f64),
        ("q_value", _f64),
        ("moebius", _f64),
        ("joint_surplus", _f64),
        ("kind", pa.string()),
        ("class_split", pa.string()),
        ("main_effects", pa.list_(_f64)),
        ("gate_open", pa.bool_()),
    ]
)

# One row per member set tested over all explained targets together (attribution/pooled_sets.py).
SETS = pa.schema(
    [
        ("members", pa.list_(pa.int32())),
        ("order", pa.int8()),
        ("statistic", _f64),  # weighted sum of z over targets, in standard errors; above 0: together they do less
        ("largest_z", _f64),  # z on the target where it is largest
        ("p_value", _f64),
        ("q_value", _f64),
        ("n_tested", pa.int32()),  # targets
        ("n_targets", pa.int32()),  # of them, with q <= 0.05 by themselves
        ("strongest_target", pa.int32()),
        ("kind", pa.string()),  # on that target
    ]
)

FAITHFULNESS = pa.schema(
    [
        ("target", pa.int32()),
        ("target_class", pa.int32()),
        ("noise_ceiling", _f64),
        ("noise_ceiling_low", _f64),
        ("noise_ceiling_high", _f64),
        *[
            (f"r2_{model}{bound}", _f64)
            for model in ("datamodel", "proxy", "spectrum")
            for bound in ("", "_low", "_high")
        ],
        ("lds_datamodel", _f64),
        ("lds_proxy", _f64),
        ("lds_spectrum", _f64),
        ("gate_p", _f64),
        ("gate_q", _f64),
        ("verdict", pa.string()),
        ("n_interactions", pa.int32()),
        ("output_sd", _f64),
    ]
)


def masks_schema(n_players: int, several_alphas: bool = False) -> pa.Schema:
    """One row per model to train; masks packed 8 players to a byte, player 0 in the lowest bit. A campaign of several
    alphas tells each mask's."""
    return pa.schema(
        [
            ("mask_id", pa.int64()),
            ("replicate", pa.int32()),
            ("role", pa.string()),
            ("seed_group", pa.int64()),
            ("mask", pa.binary(packed_width(n_players))),
            *([("alpha", pa.float64())] if several_alphas else []),
        ]
    )


def outputs_schema(n_targets: int) -> pa.Schema:
    """One row per trained model; `outputs` is null unless status is "ok"."""
    return pa.schema(
        [
            ("mask_id", pa.int64()),
            ("replicate", pa.int32()),
            ("status", pa.string()),  # ok, diverged or failed
            ("reason", pa.string()),
            ("outputs", pa.list_(pa.float32(), n_targets)),
            ("train_accuracy", pa.float32()),
            ("target_accuracy", pa.float32()),
            ("audit_accuracy", pa.float32()),
            ("train_seconds", pa.float32()),
            ("shard", pa.int64()),
            ("members", pa.int32()),
            ("way", pa.string()),
            ("host", pa.string()),
            ("device", pa.string()),
            ("code_version", pa.string()),
        ]
    )


def packed_width(n_players: int) -> int:
    """Bytes of one packed mask."""
    return (n_players + 7) // 8
