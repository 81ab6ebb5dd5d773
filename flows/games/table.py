"""The games there are, by the name that `game.kind` gives. A further game is one module and one line here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from conf.schema import CampaignConfig, identity_settings
from flows.errors import CoterieError
from flows.games.base import Game, HasFindings
from flows.games.recorded import NoTrainer
from flows.games.trainer import own_code
from flows.runtime import trust
from flows.runtime.preflight import is_of_this_machine
from flows.runtime.wording import Work, work_on
from training import TrainingInputError

if TYPE_CHECKING:
    from flows.games.retraining import Retraining
    from flows.store.campaign import Campaign

# Name -> `module:function`; the function takes a CampaignConfig. Imported when used, because a game may need torch.
GAMES: dict[str, str] = {
    "retraining": "flows.games.retraining:from_config",
    "recorded": "flows.games.recorded:from_config",
    "trainer": "flows.games.trainer.game:from_config",
    "value": "flows.games.value:from_config",
    "patches": "flows.games.lenses:from_config",
    "components": "flows.games.lenses:from_config",
}

# Stages that ask one fixed model again: the games they can do, and what they do that others cannot.
FIXED_MODEL_STAGES: dict[str, tuple[tuple[str, ...], str]] = {
    "prune": (("components",), "switches parts of one fixed model off"),
    "flip": (("patches", "components", "value"), "asks one fixed model again, without some players"),
}

_kept: dict[str, Game] | None = None


def work_of(config: CampaignConfig) -> Work:
    """Return what the evaluation of one mask is called in a campaign that need not exist yet."""
    return work_on(any(config.game.kind in kinds for kinds, _ in FIXED_MODEL_STAGES.values()))


class UnknownGame(CoterieError):
    """A game that does not exist, or one that a stage cannot use."""

    exit_code = 2


def make_game(config: CampaignConfig) -> Game:
    """Make the game a configuration names; inside `games_kept` each is made once.

    Parameters
    ----------
    config
        `game.kind` chooses the game; a game reads its own sections.

    Raises
    ------
    UnknownGame
        When no game has that name.
    """
    if config.game.kind not in GAMES:
        raise UnknownGame(f"game.kind is {config.game.kind!r}; the games are: {', '.join(sorted(GAMES))}")
    key = config.model_dump_json(include={"game", "dataset", "players", "recipe", "sampler", "compute"})
    if _kept is not None and key in _kept:
        return _kept[key]
    module, _, function = GAMES[config.game.kind].partition(":")
    make: Callable[[CampaignConfig], Game] = getattr(importlib.import_module(module), function)
    game = make(config)
    if _kept is not None:
        _kept[key] = game
    return game


@contextmanager
def games_kept() -> Iterator[None]:
    """Make every game once within the block, so that one command loads its images once. Blocks may be nested."""
    global _kept
    if _kept is not None:
        yield
        return
    _kept = {}
    try:
        yield
    finally:
        _kept = None


def trust_what_is_named(folder: str, config: CampaignConfig, overrides: Sequence[str] = ()) -> None:
    """Record which functions of a folder's configuration the user has not named: they are not run.

    Parameters
    ----------
    folder
        The campaign's folder as the user named it.
    config
        What the folder holds, with the overrides applied.
    overrides
        The settings that the user gave, `key=value`.
    """
    named = {text.partition("=")[0].lstrip("+") for text in overrides}
    asked = trust.code_named(config.model_dump(include={"game", "dataset"}))
    if config.compute.ray_address and not is_of_this_machine(config.compute.ray_address):
        asked["compute.ray_address"] = config.compute.ray_address
    trust.asked_by_folder(folder, {key: given for key, given in asked.items() if key not in named})


def runs_unnamed_code(config: CampaignConfig) -> bool:
    """Whether making or evaluating this configuration's game would run a function that only a folder names."""
    game = config.game
    named = {"retraining": config.dataset.source, "trainer": game.function, "value": game.function,
             "patches": game.model, "components": game.model}  # fmt: skip
    return trust.is_unnamed(named.get(game.kind))


def own_modules(config: CampaignConfig) -> tuple[Path, ...]:
    """Return the packages and modules of the user's own that evaluating a configuration needs on every node."""
    of_game = {
        "trainer": [config.game.function, config.game.setup],
        "value": [config.game.function, config.game.setup],
        "recorded": [config.game.function, config.game.setup],
        "patches": [config.game.model],
        "components": [config.game.model],
    }
    given = of_game.get(config.game.kind, [])
    return own_code.travelling(
        reference for reference in given if reference is not None and not trust.is_unnamed(reference)
    )


def full_identity(config: CampaignConfig, game: Game) -> dict[str, object]:
    """Return everything that makes two runs the same campaign: the configuration's part and the game's."""
    return {**identity_settings(config), **game.identity()}


def refuse_without_audit(config: CampaignConfig, game: Game) -> None:
    """Refuse a new campaign whose targets leave no audit example, unless that was asked for.

    Parameters
    ----------
    config : CampaignConfig
    game : Game
        What `config` makes.

    Raises
    ------
    TrainingInputError
        The split belongs to a campaign's identity: noticed later, every model would be lost.
    """
    if game.n_audit or config.dataset.n_audit is not None or not isinstance(game, HasFindings):
        return
    raise TrainingInputError(
        f"dataset.n_targets = {game.n_targets} leaves no test picture for the audit set, and without one no decision "
        f"can ever be verified. Set dataset.n_targets={max(1, game.n_targets // 2)} or less; dataset.n_audit=0 if that "
        f"is meant."
    )


def require_evaluation(config: CampaignConfig, what: str, *, accepts_trainer: bool = False) -> None:
    """Refuse a recorded bank where something needs new evaluations.

    Parameters
    ----------
    config : CampaignConfig
    what : str
        What needs them, for the message, such as `coterie certify`.
    accepts_trainer : bool
        Whether a function of the user's own (game.function) may evaluate them.

    Raises
    ------
    NoTrainer
    """
    if config.game.kind == "recorded" and not (accepts_trainer and config.game.function is not None):
        raise NoTrainer.of(what, accepts_trainer)


def evaluator(config: CampaignConfig, campaign: Campaign) -> Game:
    """Return the game that evaluates further masks of a campaign; of a recorded bank, the trainer that the user names.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign
        One that exists.

    Returns
    -------
    Game

    Raises
    ------
    CampaignMismatch
        When the folder belongs to another campaign.
    UnknownGame
        When a trainer has other players or targets than the bank.
    """
    from flows.games.trainer.game import Trainer

    game = make_game(config)
    campaign.check_identity(full_identity(config, game))
    if config.game.kind != "recorded" or config.game.function is None:
        return game
    counts = {"players": campaign.n_players, "targets": campaign.n_targets}
    own = {what: getattr(config.game, what) or str(count) for what, count in counts.items()}
    if config.game.targets is None:  # a trainer returns the outputs of the bank's audit rows as well
        own["targets"] = str(campaign.n_targets + campaign.meta.n_audit)
    settings = config.game.model_copy(update={"kind": "trainer", **own})
    trainer = make_game(config.model_copy(update={"game": settings}))
    if config.game.targets is None and isinstance(trainer, Trainer):
        trainer = trainer.with_audit(_audit_rows(campaign))
    if (trainer.n_players, trainer.n_targets) != (campaign.n_players, campaign.n_targets):
        raise UnknownGame(
            f"game.function={config.game.function} has {trainer.n_players} players and {trainer.n_targets} targets, "
            "the bank "
            f"{campaign.n_players} and {campaign.n_targets}. It must take the bank's players and return its targets"
        )
    return trainer


def _audit_rows(campaign: Campaign) -> np.ndarray:
    """(n_targets + n_audit,) bool of the table of targets that a bank was imported with: true for audit rows."""
    rows = campaign.read("examples", ["split", "source_index"])
    split = np.asarray(rows["split"].to_pylist())
    places = rows["source_index"].to_numpy()
    audit = np.zeros(campaign.n_targets + campaign.meta.n_audit, bool)
    audit[places[split == "audit"]] = True
    return audit


def refuse_other_games(config: CampaignConfig, stage: str) -> None:
    """Raise UnknownGame unless the campaign's game is retraining; stage: what only retraining can do."""
    require_evaluation(config, f"`coterie {stage}`")
    if config.game.kind != "retraining":
        own = next((name for name, (kinds, _) in FIXED_MODEL_STAGES.items() if config.game.kind in kinds), None)
        raise UnknownGame(
            f"`coterie {stage}` trains models on other data or by another recipe, which game.kind={config.game.kind} "
            "cannot do. It needs a campaign with game.kind=retraining"
            + (f"; what was found of one fixed model is decided and tried by `coterie {own}`" if own else "")
        )


def require_kind(config: CampaignConfig, stage: str) -> None:
    """Refuse a stage that asks one fixed model again for the games that have none.

    Parameters
    ----------
    config : CampaignConfig
    stage : str
        Its command, a key of `FIXED_MODEL_STAGES`.

    Raises
    ------
    UnknownGame
    """
    kinds, does = FIXED_MODEL_STAGES[stage]
    if config.game.kind not in kinds:
        raise UnknownGame(
            f"`coterie {stage}` {does}, which game.kind={config.game.kind} does not have. It needs a campaign with "
            f"game.kind={' or '.join(kinds)}"
        )


def require_retraining(config: CampaignConfig, stage: str) -> Retraining:
    """Return the campaign's game for a stage that changes the training itself.

    Parameters
    ----------
    config
        The campaign's configuration.
    stage
        Name of the stage, for the message.

    Raises
    ------
    UnknownGame
        When the campaign's game is not retraining.
    """
    from flows.games.retraining import Retraining

    refuse_other_games(config, stage)
    game = make_game(config)
    assert isinstance(game, Retraining)  # the table's own entry
    return game
