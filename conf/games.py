"""The section of a configuration that says what evaluates a mask: the game and its settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from conf.section import Section

# Games that bring their own data: the sections `dataset` and `recipe` do not concern them, nor their identity.
WITHOUT_IMAGES: frozenset[str] = frozenset({"trainer", "value", "recorded", "patches", "components"})
# Games that are a function of the user's own (game.function), with rows of players and targets.
OWN_FUNCTION: frozenset[str] = frozenset({"trainer", "value"})
# Games of one fixed model or function: a mask has one output.
FIXED: frozenset[str] = frozenset({"value", "patches", "components"})

FUNCTION = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"


class GameConfig(Section):
    """What evaluates a mask. A game adds what it is to the campaign's identity itself (flows/games)."""

    kind: str = Field(
        default="retraining",
        min_length=1,
        description="The game's name: retraining trains one model per mask; trainer calls a function of your own; "
        "value calls one that is given many masks; patches and components mask one fixed model.",
    )
    function: str | None = Field(
        default=None,
        pattern=FUNCTION,
        description="The function of your own, package.module:name. game.kind=trainer calls it for every mask as "
        "function(indices, seed, context): one number a target; game.kind=value for many masks as function(masks, "
        "context): a row a mask, a column a target.",
    )
    setup: str | None = Field(
        default=None,
        pattern=FUNCTION,
        description="Function without arguments, called once a process; context.data holds what it returns. When "
        "empty, `setup` of the function's module, if there is one.",
    )
    players: str | None = Field(
        default=None,
        description="Players: a CSV or Parquet file with a row each (name, class, group, text, picture), a function "
        "that returns such a table, or a number. When empty, `players` of the function's module.",
    )
    targets: str | None = Field(
        default=None,
        description="Targets: as players; rows whose column `audit` is true are audit examples, which no fit or "
        "decision uses. When empty, `targets` of the function's module.",
    )
    group_by: str | None = Field(
        default=None,
        description="Column of the players' table whose values name the players: rows of one value are one player. "
        "The column `group` when empty, where there is one.",
    )
    version: str | None = Field(
        default=None,
        description="Any text, part of the campaign's identity: change it when something changes that the function "
        "uses and its own module does not show.",
    )
    higher_is_better: bool = Field(
        default=True, description="False for outputs such as losses: what is stored and explained is minus the output."
    )
    margins: bool = Field(
        default=False,
        description="True for outputs that are margins of the right class: above 0 means right. Then accuracies are "
        "known, and brittleness and the verdicts of verify are about being right.",
    )
    output: str = Field(default="output", min_length=1, description="What an output is called in reports.")
    seconds_per_call: float | None = Field(
        default=None, gt=0, description="Longest time of one call in seconds; a longer one fails. No limit when empty."
    )

    model: str | None = Field(
        default=None,
        pattern=FUNCTION,
        description="For patches and components: a function without arguments, package.module:name, that returns "
        "(module, images, labels), the module in evaluation mode. A small network on digits when empty.",
    )
    n_images: int = Field(
        default=24, ge=1, le=100_000, description="For patches and components: the first images, which are explained."
    )
    n_unseen: int = Field(
        default=500, ge=0, description="For patches and components: the images after them, which judge decisions."
    )
    margin: Literal["margin_max", "margin_lse", "logit"] = Field(
        default="margin_max",
        description="For patches and components: correct logit less the largest other, less logsumexp of the others, "
        "or alone.",
    )
    batch_size: int = Field(
        default=256, ge=1, description="For patches and components: (mask, image) pairs in one forward pass."
    )
    regions: str = Field(
        default="4x4",
        description="For patches: a grid (4x4), a number of superpixels (16), or a .npy file with the region of every "
        "pixel.",
    )
    fill: Literal["mean", "grey", "black", "blur", "noise"] = Field(
        default="mean", description="For patches: what a region that is left out shows."
    )
    components: str | tuple[str, ...] = Field(
        default="channels",
        description="For components: channels, blocks (branches of residual blocks), heads, or a list of module names.",
    )
    within: tuple[str, ...] | None = Field(
        default=None, description="For components: only those inside these modules; everywhere when empty."
    )
    ablation: Literal["zero", "mean"] = Field(
        default="mean", description="For components: zero, or the mean over the images, in place of what is left out."
    )

    @field_validator("components", "within", mode="before")
    @classmethod
    def _numbered_modules_are_text_here(cls, given: object) -> object:
        return tuple(str(name) for name in given) if isinstance(given, (list, tuple)) else given

    @field_validator("regions", mode="before")
    @classmethod
    def _a_number_of_superpixels_is_text_here(cls, given: object) -> object:
        return str(given) if isinstance(given, int) and not isinstance(given, bool) else given

    @field_validator("players", "targets", "version", mode="before")
    @classmethod
    def _numbers_are_text_here(cls, given: object) -> object:
        # The command line reads game.players=200 as a number.
        return str(given) if isinstance(given, (int, float)) and not isinstance(given, bool) else given
