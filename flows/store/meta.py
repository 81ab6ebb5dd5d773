"""What a campaign is: the contents of campaign.json, with types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flows.errors import StoreError

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class CampaignMeta(Mapping[str, Any]):
    """Facts of a campaign that never change; also a mapping of what campaign.json holds, by key.

    Parameters
    ----------
    identity_hash, identity
        What makes two runs the same campaign, as a SHA-256 digest and as {dotted key: value}.
    name
        The campaign's name.
    n_players, n_targets
        Columns of the masks and of the outputs.
    shard_size
        Rows evaluated as one task.
    created
        Time of the first plan, ISO 8601.
    n_train, n_audit
        Training examples behind the players, and audit examples.
    class_names, player_names
        Names by label and by player.
    alpha
        Probability that a mask includes a player; NaN for masks that were not drawn.
    alphas
        All probabilities, where the campaign has several; else None.
    sampler
        How masks are drawn.
    output
        Kind of output, such as margin_lse.
    """

    identity_hash: str
    identity: Mapping[str, Any]
    name: str
    n_players: int
    n_targets: int
    shard_size: int
    created: str = ""
    n_train: int = 0
    n_audit: int = 0
    class_names: tuple[str, ...] = ()
    player_names: tuple[str, ...] = ()
    alpha: float = float("nan")
    alphas: tuple[float, ...] | None = None
    sampler: str = ""
    output: str = ""
    content: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_content(cls, content: Any, where: str) -> CampaignMeta:
        """Read the contents of campaign.json.

        Parameters
        ----------
        content : Any
            The JSON value.
        where : str
            The file, for the message.

        Returns
        -------
        CampaignMeta

        Raises
        ------
        StoreError
            When the content is of another format or lacks a fact.
        """
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise StoreError(f"{where} is not of format {FORMAT}. Use the version that wrote it")
        known = {name: content[name] for name in cls.__dataclass_fields__ if name in content and name != "content"}
        for name in ("class_names", "player_names", "alphas"):
            if known.get(name) is not None:
                known[name] = tuple(known[name])
        try:
            return cls(**known, content=content)
        except TypeError as error:
            raise StoreError(f"{where} is incomplete ({error}). Restore it, or use a new campaign.folder") from error

    @property
    def is_fixed_model(self) -> bool:
        """Whether one fixed model is asked, so that a mask has one output and nothing is trained.

        Returns
        -------
        bool
        """
        return bool(self.content.get("deterministic"))

    def __getitem__(self, key: str) -> Any:
        return self.content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)


@dataclass(frozen=True)
class TrainingPairs:
    """Masks and outputs that belong together; unpacks as `masks, outputs, mask_ids`.

    masks (m, n_players) bool; outputs (m, n_targets) float32; mask_ids (m,) int64, ascending;
    n_left_out: rows that diverged or failed and have no number.
    """

    masks: np.ndarray
    outputs: np.ndarray
    mask_ids: np.ndarray
    n_left_out: int

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.masks, self.outputs, self.mask_ids))
