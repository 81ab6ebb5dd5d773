"""A recorded bank as a game: its masks and outputs exist, and nobody can evaluate another mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from conf.schema import CampaignConfig
from flows.errors import CoterieError
from flows.games.base import Evaluation
from flows.store.campaign import Campaign

OF_THE_BANK = ("game.kind", "bank.")  # identity that the bank's files give


class NoTrainer(CoterieError):
    """A stage that evaluates new masks, asked of a recorded bank.

    Attributes
    ----------
    exit_code : int
        2.
    """

    exit_code = 2

    @classmethod
    def of(cls, what: str, accepts_trainer: bool = False) -> NoTrainer:
        """Say what is missing.

        Parameters
        ----------
        what : str
            What needs new evaluations.
        accepts_trainer : bool
            Whether a function of the user's own may do them.
        """
        remedy = (
            "Name one: game.function=package.module:name (score: --set game.function=…), which trains on the bank's "
            "players and returns its targets"
            if accepts_trainer
            else "Recorded outputs allow attribute, report, show, score, curate and export"
        )
        return cls(
            f"{what} evaluates masks that are not in the bank, and a recorded bank has no trainer that could. {remedy}"
        )


@dataclass(frozen=True)
class Recorded:
    """The players and targets of an imported bank.

    Parameters
    ----------
    campaign
        Its folder; everything is read from there.
    """

    campaign: Campaign

    deterministic = False

    @property
    def name(self) -> str:
        return self.campaign.meta.name

    @property
    def player_names(self) -> tuple[str, ...]:
        return self.campaign.meta.player_names

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.campaign.meta.class_names

    @property
    def n_players(self) -> int:
        return self.campaign.n_players

    @property
    def n_targets(self) -> int:
        return self.campaign.n_targets

    @property
    def n_audit(self) -> int:
        return 0

    def identity(self) -> dict[str, Any]:
        """Return the digest of the bank's masks and outputs, and how many are held out."""
        return {key: value for key, value in self.campaign.meta.identity.items() if key.startswith(OF_THE_BANK)}

    def examples(self) -> pa.Table:
        """Return the players and targets that were imported. Raises StoreError when their file is gone."""
        return self.campaign.read("examples")

    def evaluate(self, masks: np.ndarray, seeds: Sequence[int]) -> Evaluation:
        """Raise NoTrainer: there is nothing to evaluate a mask with."""
        raise NoTrainer.of(f"evaluating {len(masks)} masks")


def from_config(config: CampaignConfig) -> Recorded:
    """Return the game of an imported campaign.

    Raises
    ------
    NoTrainer
        When the configuration asks for more rows than the bank has, or there is no imported campaign in its folder.
    """
    campaign = Campaign(config.campaign.folder)
    if not campaign.exists:
        raise NoTrainer(
            f"there is no imported bank in {campaign.folder}, and game.kind=recorded draws no masks. Import one first: "
            f"coterie import {campaign.folder} --masks masks.npy --outputs margins.npy --alpha 0.5"
        )
    has = sum(len(rows) for rows in campaign.planned() if rows.role == "fit")
    if config.campaign.n_fit > has:
        raise NoTrainer.of(f"campaign.n_fit={config.campaign.n_fit}, with {has} fit masks in the bank,")
    return Recorded(campaign)
