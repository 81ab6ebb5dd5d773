"""A game of closed form: a deterministic function of the mask, with one redundant pair and one synergistic pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from conf.schema import CampaignConfig
from flows.games.base import Evaluation, text_picture
from flows.store import schemas

N_PLAYERS, N_TARGETS = 12, 4
REDUNDANT, SYNERGY = (0, 1), (2, 3)


def outputs_of(masks: np.ndarray) -> np.ndarray:
    """(m, N_TARGETS): target 0 is an OR of two players, target 1 an AND of two; every target has main effects."""
    x = masks.astype(np.float64)
    outputs = x @ np.linspace(0.1, 0.6, N_PLAYERS)[:, None] * np.linspace(1.0, 2.0, N_TARGETS)
    outputs[:, 0] += 2.0 * x[:, list(REDUNDANT)].max(axis=1)
    outputs[:, 1] += 2.0 * x[:, list(SYNERGY)].min(axis=1)
    return outputs.astype(np.float32)


@dataclass(frozen=True)
class ToyGame:
    """Twelve players, four targets, no data, no training."""

    scale: float = 1.0
    name: str = "toy"
    deterministic: bool = True
    player_names: tuple[str, ...] = tuple(f"player {number}" for number in range(N_PLAYERS))
    class_names: tuple[str, ...] = ("left", "right")
    n_players: int = N_PLAYERS
    n_targets: int = N_TARGETS
    n_audit: int = 0

    def identity(self) -> dict[str, Any]:
        return {"game": "toy", "game.scale": self.scale}

    def examples(self) -> pa.Table:
        rows = [("train", number, number % 2, number) for number in range(N_PLAYERS)]
        rows += [("target", number, number % 2, -1) for number in range(N_TARGETS)]
        known = {
            "split": [row[0] for row in rows],
            "position": [row[1] for row in rows],
            "name": [f"{row[0]} {row[1]}" for row in rows],
            "source_index": [row[1] for row in rows],
            "label": [row[2] for row in rows],
            "class_name": [self.class_names[row[2]] for row in rows],
            "player": [row[3] for row in rows],
            "image": [text_picture(f"{row[0]} {row[1]}") for row in rows],
        }
        columns = {
            field.name: pa.array(known.get(field.name, [None] * len(rows)), field.type) for field in schemas.EXAMPLES
        }
        return pa.table(columns, schema=schemas.EXAMPLES)

    def evaluate(self, masks: np.ndarray, seeds: Sequence[int]) -> Evaluation:
        return Evaluation(
            outputs=self.scale * outputs_of(masks),
            status=["ok"] * len(masks),
            train_seconds=np.zeros(len(masks), np.float32),
            mode="closed form",
            device="cpu",
        )


def from_config(config: CampaignConfig) -> ToyGame:
    return ToyGame()


def another_scale(config: CampaignConfig) -> ToyGame:
    return ToyGame(scale=2.0)
