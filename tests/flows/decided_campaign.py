"""A campaign whose outputs follow a known game, made without training a model: what decisions are tested on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from attribution.curation.rules import masks_needed
from conf.compose import compose
from conf.schema import CampaignConfig
from flows.plan import plan
from flows.store.campaign import ANALYSIS_TABLES, Campaign
from flows.store.faithfulness import Score, TargetScores, faithfulness_table
from flows.store.outputs_table import outputs_table
from flows.store.roles import RowRange

N_PLAYERS, N_TARGETS = 24, 12
COPIES, SYNERGY, WRONG = (0, 1), (4, 5), 7


def decided_config(folder: Path, *overrides: str, name: str = "quickstart") -> CampaignConfig:
    """24 digits as players; a model trains for a few steps."""
    fixed = [
        f"dataset.n_train={N_PLAYERS}", f"dataset.n_targets={N_TARGETS}", "dataset.n_audit=16", "recipe.epochs=2",
        "recipe.width=2", f"campaign.n_fit={masks_needed(N_PLAYERS, 0.5)}", "campaign.n_holdout=0",
        "campaign.shard_size=8", "compute.ensemble_size=8", "compute.mode=grouped", f"campaign.folder={folder}",
        "curate.label_models=0",
    ]  # fmt: skip
    return compose(name, [*fixed, *overrides])


def game(masks: np.ndarray) -> np.ndarray:
    """Margins (m, targets): players help a little, 0 and 1 are copies, 4 and 5 a synergy, 7 hurts everybody."""
    x = masks.astype(float)
    share = x[:, :, None] * np.random.default_rng(0).uniform(0.0, 0.15, (1, N_PLAYERS, N_TARGETS))
    outputs = share.sum(axis=1) - 1.0 * x[:, [WRONG]]
    outputs[:, 0] += 2.0 * x[:, list(COPIES)].max(axis=1)
    outputs[:, 1] += 2.0 * x[:, list(SYNERGY)].min(axis=1)
    return outputs


def make_decided_campaign(config: CampaignConfig, audit_accuracy: float = 0.9) -> Campaign:
    """Plan for real, then write the game's outputs and the analysis that they would lead to."""
    plan.fn(config)
    campaign = Campaign(config.campaign.folder)
    rows = RowRange("fit", 0, 0, config.campaign.n_fit)
    masks, _ = campaign.masks(rows)
    noise = np.random.default_rng(1).normal(0, 0.5, (len(masks), N_TARGETS))
    accuracies = {name: np.full(len(masks), 0.9) for name in ("train_accuracy", "target_accuracy", "audit_accuracy")}
    accuracies["audit_accuracy"] = np.full(len(masks), audit_accuracy)
    campaign.write_outputs(
        rows,
        outputs_table(
            campaign,
            rows,
            {
                "status": ["ok"] * len(masks), "outputs": game(masks) + noise, **accuracies, "mode": "game",
                "train_seconds": np.full(len(masks), 0.01), "ensemble_size": 8, "host": "here", "device": "cpu",
            },
        ),
    )  # fmt: skip
    found = _analysis()
    tables = {
        name: pa.table(found[name], schema=schema) if name in found else schema.empty_table()
        for name, schema in ANALYSIS_TABLES.items()
    }
    about = {"created": "2026-01-01T00:00:00+00:00", "n_open": 2, "n_explained": N_TARGETS}
    campaign.publish_analysis("known", tables, about)
    return campaign


def _analysis() -> dict[str, dict[str, list]]:
    said = [(0, COPIES, -2.0, "redundancy", [1.0, 1.0]), (1, SYNERGY, 2.0, "synergy", [1.0, 1.0])]
    interactions = {
        "target": [row[0] for row in said],
        "members": [list(row[1]) for row in said],
        "order": [2, 2],
        **{name: [row[2] for row in said] for name in ("value", "raw", "shrunken", "moebius", "joint_surplus")},
        **{name: [0.2, 0.25] for name in ("stderr", "raw_stderr")},
        "p_value": [1e-9, 1e-8],
        "q_value": [1e-6, 1e-5],
        "saturation": [0.0, 0.0],
        "saturation_stderr": [0.0, 0.0],
        **{name: [row[2] for row in said] for name in ("specific", "specific_surplus")},
        "specific_stderr": [0.2, 0.25],
        "specific_p_value": [1e-9, 1e-8],
        "specific_q_value": [1e-6, 1e-5],
        "kind": [row[3] for row in said],
        "class_split": ["cross_class"] * 2,
        "main_effects": [row[4] for row in said],
        "main_effect_stderrs": [[0.1, 0.1] for _ in said],
        "in_spectrum": [True, True],
        "gate_open": [True, True],
        "proposed_by": ["heredity"] * 2,
        "also_proposed_by": [["proxy"]] * 2,
    }
    own = np.full((N_TARGETS, N_PLAYERS), 0.075)
    own[:, WRONG] -= 1.0
    own[0, list(COPIES)] += 1.0
    own[1, list(SYNERGY)] += 1.0
    flat = own.ravel().tolist()
    sure = (np.abs(own) > 0.5).ravel()
    effects = {
        "target": np.repeat(np.arange(N_TARGETS), N_PLAYERS).tolist(),
        "player": np.tile(np.arange(N_PLAYERS), N_TARGETS).tolist(),
        "effect": flat,
        "shrunken": flat,
        "stderr": [0.1] * len(flat),
        "p_value": np.where(sure, 1e-6, 0.5).tolist(),
        "q_value": np.where(sure, 1e-4, 0.9).tolist(),
    }
    half = Score(0.5, 0.5, 0.5)
    faithfulness = faithfulness_table(
        TargetScores(
            target,
            {
                ("none", "noise_ceiling"): half,
                **{(name, metric): half for name in ("datamodel", "proxy", "spectrum") for metric in ("r2", "lds")},
                ("none", "output_sd"): Score(1.0),
                ("spectrum", "n_interactions"): Score(float(target < 2)),
                ("spectrum", "gate_p"): Score(0.001 if target < 2 else 0.5),
                ("spectrum", "gate_q"): Score(0.01 if target < 2 else 0.9),
                ("spectrum", "gate_open"): Score(float(target < 2)),
            },
        )
        for target in range(N_TARGETS)
    ).to_pydict()
    return {"interactions": interactions, "effects": effects, "faithfulness": faithfulness}
