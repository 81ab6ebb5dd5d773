"""The sections of a configuration about groups of training images as players: how they are found, and opened."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from conf.section import Section


class PlayersConfig(Section):
    """Which training images are one player. Empty: one each, or the groups of dataset.group_by."""

    by: Literal["similarity", "class", "random", "opened"] | None = Field(
        default=None,
        description="Join images that are similar, of one class, or drawn at random (a control); opened is what "
        "`coterie refine` sets. A column or an index file is dataset.group_by.",
    )
    count: int | None = Field(default=None, ge=2, description="Number of groups.")
    features: Literal["network", "pixels", "embedding"] = Field(
        default="network",
        description="What similar means: features of the campaign's own network trained on everything, principal "
        "components of the pixels, or an embedding of your own (players.embedding).",
    )
    embedding: str | None = Field(
        default=None, description="Parquet file with your embedding, and a column name or a row for every image."
    )
    embedding_column: str = Field(default="embedding", description="Its column: a list of numbers a row.")
    across_classes: bool = Field(default=False, description="Whether a group may hold images of several classes.")
    balance: float = Field(
        default=2.0, ge=1, le=1000, description="Sizes lie within the mean size divided and multiplied by this."
    )
    networks: int = Field(default=4, ge=1, le=64, description="Networks whose features are joined.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Of the clustering and of random groups.")
    parent: str | None = Field(default=None, description="Campaign whose groups are opened; `coterie refine` sets it.")
    opened: tuple[str, ...] | None = Field(
        default=None, description="Names of the parent's groups whose images are players; `coterie refine` sets it."
    )

    @model_validator(mode="after")
    def _belong_together(self) -> PlayersConfig:
        if self.by in ("similarity", "random") and self.count is None:
            raise ValueError(f"players.by = {self.by} needs players.count, the number of groups")
        if self.by in (None, "class") and self.count is not None:
            raise ValueError(
                f"players.count = {self.count} goes with players.by = similarity or random. Set players.by=similarity"
            )
        if (self.features == "embedding") != (self.embedding is not None):
            raise ValueError(
                f"players.features = {self.features} and players.embedding = {self.embedding} do not belong together. "
                "Set players.features=embedding players.embedding=FILE.parquet, or neither"
            )
        if (self.by == "opened") != (self.parent is not None and bool(self.opened)):
            raise ValueError("players.parent and players.opened belong to players.by = opened. Run `coterie refine`")
        return self


class RefineConfig(Section):
    """Which groups of a campaign are opened, and how large the campaign inside them is."""

    groups: tuple[str, ...] | None = Field(default=None, description="Groups of your own choice, by name.")
    top: int = Field(default=12, ge=1, le=10_000, description="Groups to open, when none are named.")
    by: tuple[Literal["harm", "redundancy", "certified"], ...] = Field(
        default=("harm", "redundancy", "certified"),
        description="What the groups are taken for, in turn: the largest harm, the most near-duplicates within the "
        "group, membership of a certified set.",
    )
    masks_per_player: float = Field(
        default=9.0, gt=0, le=10_000, description="Fit masks for each opened image. A context group's effect is known."
    )
    max_models: int | None = Field(
        default=None, ge=16, description="Models the child may train, held-out ones included; the parent's when empty."
    )
