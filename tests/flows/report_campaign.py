"""A campaign folder with small tables for the report's tests, written the way the flows write it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from flows.reporting.page import build_report
from flows.storage.mask_column import mask_column
from flows.store import schemas
from flows.store.campaign import Campaign
from flows.store.faithfulness import Score, TargetScores, faithfulness_table
from flows.store.roles import RowRange

N_PLAYERS, N_TARGETS = 8, 6
CLASS_NAMES = ["cat", "<script>alert(1)</script>", "a class with a rather long name, longer than its place"]
CONFIG = {
    "name": "toy",
    "dataset": {"source": "image_folder", "seed": 3},
    "recipe": {"architecture": "resnet", "width": 8, "epochs": 15.0, "batch_size": 25, "learning_rate": 0.2},
    "sampler": {"kind": "bernoulli", "alpha": 0.3},
    "campaign": {"seed": 11},
    "attribution": {"fdr_level": 0.1, "seed": 5},
}
RUN = {
    "started": "2026-03-01T10:00:00+00:00",
    "finished": "2026-03-01T10:05:00+00:00",
    "versions": {"torch": "2.15.0"},
    "trained_models": 24,
    "seconds_by_stage": {"retrain": 200.0},
}


def png(seed: int, size: tuple[int, int] = (8, 8), channels: int = 1) -> bytes:
    shape = (size[1], size[0]) if channels == 1 else (size[1], size[0], channels)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "PNG")
    return packed.getvalue()


def interaction(target: int, members: list[int], **changes: object) -> dict:
    row = {
        "target": target,
        "members": members,
        "order": len(members),
        "value": -0.75,
        "shrunken": -0.5,
        "stderr": 0.1,
        "raw": -0.8,
        "raw_stderr": 0.09,
        "p_value": 1e-9,
        "q_value": 1e-6,
        "moebius": -0.9,
        "joint_surplus": -0.75,
        "kind": "redundancy",
        "class_split": "target_class",
        "main_effects": [0.6, 0.4, 0.3][: len(members)],
        "main_effect_stderrs": [0.1] * len(members),
        "in_spectrum": True,
        "gate_open": True,
        "proposed_by": "heredity",
        "also_proposed_by": ["proxy", "screen"],
    }
    row |= changes
    parts = {
        "saturation": 0.0, "specific": row["value"], "saturation_stderr": 0.0, "specific_stderr": row["stderr"],
        "specific_p_value": row["p_value"], "specific_q_value": row["q_value"],
        "specific_surplus": row["joint_surplus"],
    }  # fmt: skip
    return parts | row


INTERACTIONS = [
    interaction(0, [1, 2]),
    interaction(0, [3, 4], value=0.4321, joint_surplus=0.4321, kind="synergy", q_value=0.0421),
    interaction(2, [1, 2], value=-0.55, q_value=1e-4),
    interaction(2, [0, 5], kind="boundary_synergy", value=0.31, class_split="cross_class", q_value=0.05),
    interaction(2, [0, 6], kind="uncertain", q_value=0.06),
    interaction(2, [1, 2, 7], kind="redundancy", value=0.2, joint_surplus=-1.25, q_value=0.09),
    interaction(2, [4, 5], q_value=0.8),  # does not pass the level
    interaction(4, [6, 7], gate_open=False, q_value=0.01),  # passes, behind a closed gate
    interaction(-1, [1, 2], value=-0.2),
    interaction(-3, [3, 4], value=-0.1, q_value=0.03),
]


SCORED = (("none", "noise_ceiling"), ("datamodel", "r2"), ("proxy", "r2"), ("spectrum", "r2"))


def faithfulness_row(target: int, is_open: bool, *, measured: bool = True) -> TargetScores:
    scores = {key: Score() for key in SCORED} | {(name, "lds"): Score() for name, _ in SCORED[1:]}
    if measured:
        for offset, key in enumerate(SCORED):
            value = 0.6123 - 0.05 * offset + 0.01 * target
            scores[key] = Score(value, value - 0.1, value + 0.1)
        scores |= {("datamodel", "lds"): Score(0.5), ("proxy", "lds"): Score(0.5), ("spectrum", "lds"): Score(0.6)}
    scores |= {
        ("none", "output_sd"): Score(1.3),
        ("spectrum", "n_interactions"): Score(2.0),
        ("spectrum", "gate_p"): Score(0.01),
        ("spectrum", "gate_q"): Score(0.02 if is_open else 0.5),
        ("spectrum", "gate_open"): Score(float(is_open)),
    }
    return TargetScores(target, scores)


FAITHFULNESS = [faithfulness_row(target, target in (0, 2, -1)) for target in (0, 1, 2, 3, 4, -1, -3)]


def make_campaign(
    folder: Path,
    *,
    interactions: list[dict] = INTERACTIONS,
    faithfulness: list[TargetScores] = FAITHFULNESS,
    examples_per_player: int = 1,
    size: tuple[int, int] = (8, 8),
    channels: int = 1,
    n_diverged: int = 2,
    sets: list[dict] | None = None,
    n_audit: int = 3,
) -> Campaign:
    """A campaign folder with small tables, written the way the flows write them."""
    campaign = Campaign(folder)
    names = [f"group {p}" if examples_per_player > 1 else str(p) for p in range(N_PLAYERS)]
    campaign.create(
        {"dataset.fingerprint": "0" * 64, "campaign.seed": 11},
        {
            "name": "toy",
            "n_players": N_PLAYERS,
            "n_train": N_PLAYERS * examples_per_player,
            "alpha": 0.3,
            "n_targets": N_TARGETS,
            "n_audit": n_audit,
            "class_names": CLASS_NAMES,
            "player_names": names,
            "shard_size": 8,
            "created": "2026-03-01T10:00:00+00:00",
        },
    )
    splits = [("train", N_PLAYERS * examples_per_player), ("target", N_TARGETS), ("audit", n_audit)]
    rows = [
        {
            "split": split,
            "position": at,
            "name": f"{split}/{at}.png",
            "group": names[at // examples_per_player] if split == "train" and examples_per_player > 1 else None,
            "source_index": at,
            "label": at % 3,
            "class_name": CLASS_NAMES[at % 3],
            "player": at // examples_per_player if split == "train" else -1,
            "image": png(1000 * first + at, size, channels),
        }
        for first, (split, n) in enumerate(splits)
        for at in range(n)
    ]
    campaign.write_examples(pa.Table.from_pylist(rows, schema=schemas.EXAMPLES))
    drawn = np.random.default_rng(0).random((24, N_PLAYERS)) < 0.3
    masks = {
        "mask_id": range(24), "replicate": [0] * 24, "role": ["fit"] * 24, "seed_group": range(24),
        "mask": mask_column(drawn),
    }  # fmt: skip
    campaign.write_masks(RowRange("fit", 0, 0, 24), pa.table(masks))
    outputs = [
        {
            "mask_id": at,
            "replicate": 0,
            "status": "diverged" if at < n_diverged else "ok",
            "reason": None,
            "outputs": None if at < n_diverged else [0.5] * N_TARGETS,
            "train_accuracy": 1.0,
            "target_accuracy": 0.8 + 0.004 * at,
            "audit_accuracy": 0.7 + 0.004 * at,
            "train_seconds": 0.25,
            "shard": 0,
            "ensemble_size": 8,
            "mode": "grouped",
            "host": "here",
            "device": "cpu",
            "code_version": "0",
        }
        for at in range(24)
    ]
    table = pa.Table.from_pylist(outputs, schema=schemas.outputs_schema(N_TARGETS))
    campaign.write_outputs(RowRange("fit", 0, 0, 24), table)
    effects = [
        {
            "target": target,
            "player": player,
            "effect": 0.1 * player - 0.35,
            "shrunken": 0.0,
            "stderr": 0.1,
            "p_value": 0.5,
            "q_value": 0.5,
        }
        for target in (0, 1, 2, 3, 4)
        for player in range(N_PLAYERS)
    ]
    campaign.publish_analysis(
        "k1",
        {
            "effects": pa.Table.from_pylist(effects, schema=schemas.EFFECTS),
            "interactions": pa.Table.from_pylist(interactions, schema=schemas.INTERACTIONS),
            "faithfulness": faithfulness_table(faithfulness),
            "sets": pa.Table.from_pylist(sets or [], schema=schemas.SETS),
        },
        {
            "settings": {},
            "n_fit": 22,
            "n_holdout": 4,
            "n_left_out": 2,
            "created": "2026-03-01T10:04:00+00:00",
            "seconds": 3.5,
            "family_size": 123456,
            "n_untestable": 4321,
            "fdr_method": "by",
        },
    )
    return campaign


def render(campaign: Campaign, **changes: object) -> str:
    settings: dict = {"n_targets": 12, "sets_per_target": 6, "config": CONFIG, "runs": [RUN]}
    return build_report(campaign, **(settings | changes))
