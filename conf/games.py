"""The section of a configuration that says what evaluates a mask: the game and its settings."""

from __future__ import annotations

from pydantic import Field, field_validator

from conf.section import Section

# Games that bring their own data: the sections `dataset` and `recipe` do not concern them, nor their identity.
WITHOUT_IMAGES: frozenset[str] = frozenset({"trainer", "recorded"})

_FUNCTION = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"


class GameConfig(Section):
    """What evaluates a mask. A game adds what it is to the campaign's identity itself (flows/games)."""

    kind: str = Field(
        default="retraining",
        min_length=1,
        description="The game's name: retraining trains one model per mask; trainer calls a function of your own.",
    )
    function: str | None = Field(
        default=None,
        pattern=_FUNCTION,
        description="For game.kind=trainer: the function called for every mask, package.module:name, with the "
        "arguments (indices, seed, context); it returns one number a target.",
    )
    setup: str | None = Field(
        default=None,
        pattern=_FUNCTION,
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
    output: str = Field(default="output", min_length=1, description="What an output is called in reports.")
    seconds_per_call: float | None = Field(
        default=None, gt=0, description="Longest time of one call in seconds; a longer one fails. No limit when empty."
    )

    @field_validator("players", "targets", "version", mode="before")
    @classmethod
    def _numbers_are_text_here(cls, given: object) -> object:
        # The command line reads game.players=200 as a number.
        return str(given) if isinstance(given, (int, float)) and not isinstance(given, bool) else given
