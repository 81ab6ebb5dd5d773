"""The user's own trainer as a game: a row of their table is a player (or a group is), a call of their function a model.

Nothing of the user's is imported to make the game of an existing campaign's folder: its tables hold players and targets
already. The function is imported where masks are evaluated, and where a new campaign is planned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np
import pyarrow as pa

from conf.schema import CampaignConfig
from flows.games.base import Evaluation
from flows.games.trainer import own_code
from flows.games.trainer.calls import ARGUMENTS, SEEDS, Called, Context, call, prepare
from flows.games.user_rows import BadRows, UserRows, examples_of, read_rows
from flows.runtime.trust import refuse_unnamed

MODE = "function"
WORDS = {
    "training picture": "example", "test picture": "target", "audit picture": "audit example", "picture": "example",
}  # fmt: skip
Judged = Literal["targets", "audit"]
Made = TypeVar("Made", bound="Trainer")


@dataclass(frozen=True)
class Trainer:
    """Call the user's function once for every mask.

    Parameters
    ----------
    function, setup
        package.module:name; no setup: None.
    players, targets
        The rows that masks and outputs refer to.
    device
        What the context names: "cpu" or "cuda".
    higher_is_better
        False: outputs and score are stored with the opposite sign.
    version
        What the user declares beside the source of their module.
    output
        What an output is called.
    margins
        Whether an output above 0 means that the target is right.
    seconds_per_call
        Longest time of a call, or None.
    folders
        Where the modules were found here.
    source
        Digest of the modules' source.
    judged
        Which of the function's outputs an evaluation returns: those of the targets, or of the audit rows (the score
        where no row is an audit row).
    """

    function: str
    setup: str | None
    players: UserRows
    targets: UserRows
    device: str
    higher_is_better: bool = True
    version: str | None = None
    output: str = "output"
    margins: bool = False
    seconds_per_call: float | None = None
    folders: tuple[str, ...] = ()
    source: str = ""
    judged: Judged = "targets"

    deterministic = False
    kind: ClassVar[str] = "trainer"
    arguments: ClassVar[tuple[str, ...]] = ARGUMENTS
    when_two_calls_differ: ClassVar[str] = (
        "is not deterministic in its seed: two calls with one mask and one seed differ by up to {} here. Draw all its "
        "random numbers from the seed that it is given"
    )

    @property
    def name(self) -> str:
        return self.function

    @property
    def player_names(self) -> tuple[str, ...]:
        return self.players.player_names

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.players.classes, *self.targets.classes]))

    @property
    def n_players(self) -> int:
        return len(self.players.player_names)

    @property
    def n_targets(self) -> int:
        """Length of an evaluation's outputs."""
        return max(1, self.n_audit) if self.judged == "audit" else int((~self.targets.audit).sum())

    @property
    def n_audit(self) -> int:
        return int(self.targets.audit.sum())

    @property
    def facts(self) -> dict[str, Any]:
        """What campaign.json keeps beside the names: words for people, and that outputs are no margins."""
        drawn = any(picture is not None for picture in (*self.players.pictures, *self.targets.pictures))
        return {"margins": self.margins, **({} if drawn else {"words": WORDS})}

    @property
    def references(self) -> tuple[str, ...]:
        """What evaluating runs."""
        return (self.function,) if self.setup is None else (self.function, self.setup)

    @property
    def modules(self) -> tuple[Path, ...]:
        """The user's own packages and modules, which travel to other nodes."""
        return own_code.travelling(self.references)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        return {
            "game": self.kind,
            "game.function": self.function,
            "game.setup": self.setup,
            "game.source": self.source,
            "game.version": self.version,
            "game.players": self.players.digest(),
            "game.targets": self.targets.digest(),
            "game.higher_is_better": self.higher_is_better,
            "game.margins": self.margins,
        }

    def identity(self) -> dict[str, Any]:
        """Return function, source, declared version, and digests of the rows."""
        return self._identity

    def examples(self) -> pa.Table:
        """Return every row of players and targets once, with its text or picture."""
        return examples_of(self.players, self.targets)[0]

    def check(self) -> None:
        """Import the function and compare its arguments. Raises OwnCodeError or NotNamed."""
        found = own_code.load(self.function, "game.function", self.folders)
        own_code.check_arguments(found, "game.function", self.function, self.arguments)
        if self.setup is not None:
            made = own_code.load(self.setup, "game.setup", self.folders)
            own_code.check_arguments(made, "game.setup", self.setup, ())

    def on_audit(self) -> Self:
        """Return the same game evaluated on audit rows, or by its score."""
        return replace(self, judged="audit")

    def with_audit(self, audit: np.ndarray) -> Self:
        """Return the same game with other rows of its targets as audit rows; audit: (n_rows,) bool."""
        return replace(self, targets=replace(self.targets, audit=audit))

    def evaluate(self, masks: np.ndarray, seeds: Sequence[int]) -> Evaluation:
        """Call the function for every mask; a call that fails is a row with a status and a reason."""
        function, data = prepare(self.function, self.setup, self.folders, self.source)
        context = Context(data, self.device, len(self.targets), self.players.names)
        player_of_row = self.players.player_of_row
        called = [
            call(function, np.flatnonzero(mask[player_of_row]), int(seed) % SEEDS, context, self.seconds_per_call)
            for mask, seed in zip(np.asarray(masks, dtype=bool), seeds, strict=True)
        ]
        return self._evaluation(called)

    def _evaluation(self, called: Sequence[Called]) -> Evaluation:
        sign = 1.0 if self.higher_is_better else -1.0
        whole = sign * np.array([one.outputs for one in called]).reshape(len(called), len(self.targets))
        scores = sign * np.array([one.score for one in called])
        audit = self.targets.audit
        if audit.any():
            scores = np.where(np.isnan(scores), whole[:, audit].mean(axis=1), scores)
        status, reasons = [one.status for one in called], [one.reason for one in called]
        right = None
        if self.margins:  # a score of the user's own goes before the accuracy that the margins give
            right = _share_above_0(whole[:, ~audit])
            given = np.isfinite([one.score for one in called])
            scores = np.where(given | (not audit.any()), scores, _share_above_0(whole[:, audit]))
        chosen = whole[:, ~audit]
        if self.judged == "audit":
            chosen = whole[:, audit] if audit.any() else scores[:, None]
            for row in np.flatnonzero(~np.isfinite(chosen).all(axis=1)):
                if status[row] == "ok":
                    status[row], reasons[row] = "diverged", "no audit row and no score (a second returned value)"
        return Evaluation(
            outputs=chosen.astype(np.float32),
            status=status,
            train_seconds=np.array([one.seconds for one in called], np.float32),
            mode=MODE,
            device=self.device,
            target_accuracy=None if right is None else right.astype(np.float32),
            audit_accuracy=scores.astype(np.float32),
            reasons=reasons,
            logs=[one.log for one in called],
        )


def from_config(config: CampaignConfig) -> Trainer:
    """Make the game of a configuration.

    Parameters
    ----------
    config
        Its section `game`.

    Returns
    -------
    Trainer

    Raises
    ------
    OwnCodeError
        When the function or one of the functions that return rows cannot be found, imported or called.
    NotNamed
        When only a campaign's folder names them.
    BadRows
        When players or targets cannot be read.
    """
    return make(Trainer, config)


def make(kind: type[Made], config: CampaignConfig) -> Made:
    """Make a game of a function of the user's own, as `from_config`.

    Parameters
    ----------
    kind
        `Trainer` or a subclass.
    config
        Its section `game`.

    Returns
    -------
    Trainer
        Of that class.
    """
    settings = config.game
    if settings.function is None:
        raise own_code.OwnCodeError("game.function is required: package.module:name of the function to call")
    module = own_code.module_of(settings.function)
    setup = settings.setup or _own(module, "setup")
    sources = {what: getattr(settings, what) or _own(module, what) for what in ("players", "targets")}
    functions = [given for given in sources.values() if given is not None and _is_function(given)]
    references = [settings.function, *([setup] if setup else []), *functions]
    refuse_unnamed(references)
    folders = own_code.search_folders(references)
    game = kind(
        function=settings.function,
        setup=setup,
        players=_rows("players", sources["players"], module, folders, settings.group_by),
        targets=_rows("targets", sources["targets"], module, folders, None),
        device=device_of(config),
        higher_is_better=settings.higher_is_better,
        version=settings.version,
        output=settings.output,
        margins=settings.margins,
        seconds_per_call=settings.seconds_per_call,
        folders=folders,
        source=own_code.source_digest_of([settings.function, *([setup] if setup else [])]),
    )
    if game.targets.audit.all():
        raise BadRows(f"all {game.n_audit} rows of targets are audit rows. Leave some of them to be explained")
    return game


def _share_above_0(margins: np.ndarray) -> np.ndarray:
    """(n,) share of a row's margins that are above 0; NaN for a row without numbers."""
    if not margins.shape[1]:
        return np.full(len(margins), np.nan)
    return np.where(np.isfinite(margins).all(axis=1), (margins > 0).mean(axis=1), np.nan)


def device_of(config: CampaignConfig) -> str:
    """Return the device of the context: with `auto`, a GPU where a shard asks for one (compute.gpus_per_shard)."""
    if config.compute.device != "auto":
        return config.compute.device
    return "cuda" if config.compute.gpus_per_shard > 0 else "cpu"


def _is_function(given: str) -> bool:
    module, colon, name = given.partition(":")
    return bool(colon) and name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def _own(module: str, name: str) -> str | None:
    """The function of that name in the module of game.function, if there is one."""
    return f"{module}:{name}" if own_code.has_function(module, name) else None


def _rows(
    what: Literal["players", "targets"], given: str | None, module: str, folders: tuple[str, ...], group_by: str | None
) -> UserRows:
    if given is None:
        if own_code.locate(module) is None:
            raise own_code.OwnCodeError(f"game.function={module}:…: {own_code.not_found(module)}")
        raise BadRows(
            f"game.{what} is not set and {module} has no function {what}(). Set game.{what} to a CSV or Parquet file, "
            f"a function that returns such a table, or a number of {what}"
        )
    if not _is_function(given):
        return read_rows(what, given, group_by)
    function = own_code.load(given, f"game.{what}", folders)
    own_code.check_arguments(function, f"game.{what}", given, ())
    try:
        returned = function()
    except Exception as error:  # the user's code
        raise own_code.OwnCodeError(f"game.{what}={given} raised {type(error).__name__}: {error}") from error
    return read_rows(what, returned, group_by)
