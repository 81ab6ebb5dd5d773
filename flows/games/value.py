"""A value function of the user's own as a game: many masks a call, outputs of each; words of a text, or any players.

The sibling of `flows.games.trainer`: its code is found, trusted, sent to nodes and refused alike, and rows of players
and targets are read alike. Nothing is trained: a mask has one output, so there are no seeds and no replicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from conf.schema import CampaignConfig
from flows.games.base import Evaluation
from flows.games.trainer.calls import Context, call_on_masks, prepare
from flows.games.trainer.game import Trainer, make

WORDS = {
    "training picture": "player", "training example": "player", "test picture": "target",
    "audit picture": "audit target", "picture": "player",
}  # fmt: skip


@dataclass(frozen=True)
class ValueFunction(Trainer):
    """Call the user's function name(masks, context) for many masks at a time.

    Parameters are those of `Trainer`. The function is given (n_masks, n_rows) bool, a column for each row of players,
    and returns (n_masks, n_targets) numbers, with one target also (n_masks,).
    """

    deterministic = True
    kind: ClassVar[str] = "value"
    arguments: ClassVar[tuple[str, ...]] = ("masks", "context")
    when_two_calls_differ: ClassVar[str] = (
        "is no function of the mask alone: two calls with the same masks differ by up to {} here. Fix its random "
        "numbers, and let a mask's outputs not depend on the masks beside it"
    )

    @property
    def facts(self) -> dict[str, Any]:
        """What campaign.json keeps: that outputs are exact, whether they are margins, and words for people."""
        drawn = any(picture is not None for picture in (*self.players.pictures, *self.targets.pictures))
        shown = {"game": self.kind, "deterministic": True, "margins": self.margins}
        return shown | ({} if drawn else {"words": WORDS})

    def evaluate(self, masks: np.ndarray, seeds: Sequence[int]) -> Evaluation:
        """Call the function once for all masks; seeds have no effect. A call that fails is a failed row for each."""
        function, data = prepare(self.function, self.setup, self.folders, self.source, self.arguments)
        context = Context(data, self.device, len(self.targets), self.players.names)
        rows = np.asarray(masks, dtype=bool)[:, self.players.player_of_row]
        return self._evaluation(call_on_masks(function, rows, context, self.seconds_per_call) if len(rows) else [])


def from_config(config: CampaignConfig) -> ValueFunction:
    """Make the game of a configuration; parameters and errors are those of `flows.games.trainer.game.from_config`.

    Parameters
    ----------
    config
        Its section `game`.

    Returns
    -------
    ValueFunction
    """
    return make(ValueFunction, config)
