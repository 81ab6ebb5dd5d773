"""The user's function is found, called and judged as documented; every fault is a row or one sentence."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from conf.compose import ConfigError, compose
from conf.schema import CampaignConfig, identity_settings
from flows.cli.configuration import configuration
from flows.games.table import full_identity, make_game, own_modules
from flows.games.trainer.calls import Called, Context, call
from flows.games.trainer.game import Trainer
from flows.games.trainer.own_code import OwnCodeError, locate
from flows.games.user_rows import BadRows, read_rows
from flows.runtime.trust import NotNamed, asked_by_folder
from tests.flows.games import own_trainer
from tests.flows.games.own_trainer import N_PLAYERS, N_TARGETS

MODULE = "tests.flows.games.own_trainer"
CONTEXT = Context({"n_players": N_PLAYERS}, "cpu", N_TARGETS)


def config_of(*overrides: str, function: str = f"{MODULE}:train") -> CampaignConfig:
    return compose("trainer", [f"game.function={function}", *overrides])


def trainer(*overrides: str, function: str = f"{MODULE}:train") -> Trainer:
    game = make_game(config_of(*overrides, function=function))
    assert isinstance(game, Trainer)
    return game


def called(name: str, indices: tuple[int, ...] = (0, 1), seconds: float | None = None) -> Called:
    return call(getattr(own_trainer, name), np.array(indices), 7, CONTEXT, seconds)


# --- calls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["train", "as_list", "as_tensor", "with_score"])
def test_arrays_lists_and_tensors_give_the_same_outputs(name: str) -> None:
    found = called(name)
    assert found.status == "ok" and np.array_equal(found.outputs, called("train").outputs)
    assert (found.score == 0.25) if name == "with_score" else np.isnan(found.score)


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("not_a_number", "diverged", r"output 2 is nan \(1 of 5 are not finite\)"),
        ("always_raises", "failed", "RuntimeError: no licence"),
        ("too_short", "failed", r"outputs of shape \(3,\); there are 5 targets"),
        ("returns_none", "failed", "returned None; it must return 5 numbers"),
        ("returns_text", "failed", "returned a list of 5; it must return 5 numbers"),
    ],
)
def test_every_fault_of_a_call_is_a_status_with_a_reason(name: str, status: str, reason: str) -> None:
    import re

    found = called(name)
    assert found.status == status and re.search(reason, found.reason)
    assert np.isnan(found.outputs).all() and found.outputs.shape == (N_TARGETS,)
    assert ("Traceback" in found.log and "own_trainer.py" in found.log) == (name == "always_raises")


def test_one_target_may_be_a_plain_number() -> None:
    one = Context(None, "cpu", 1)
    assert call(lambda i, s, c: 3, np.arange(2), 0, one).outputs.tolist() == [3.0]
    assert call(lambda i, s, c: (np.float32(2), 1), np.arange(2), 0, Context(None, "cpu", 2)).outputs.tolist() == [2, 1]


def test_a_call_over_its_time_limit_fails_and_the_next_one_runs() -> None:
    found = called("sleeps", (0, 1), seconds=0.05)
    assert found.status == "failed" and "took longer than game.seconds_per_call = 0.05 s" in found.reason
    assert called("sleeps", (1, 2), seconds=5.0).status == "ok"


def test_a_time_limit_leaves_somebody_elses_alarm_set() -> None:
    before = signal.setitimer(signal.ITIMER_REAL, 100.0)  # pytest-timeout has one
    try:
        called("sleeps", (1, 2), seconds=5.0)
        assert 50.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100.0
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)


# --- the game --------------------------------------------------------------------------------------------------


def test_rows_audit_and_classes_come_from_the_module_of_the_function() -> None:
    game = trainer()
    assert (game.n_players, game.n_targets, game.n_audit) == (N_PLAYERS, N_TARGETS - 1, 1)
    assert game.class_names == ("ill", "well") and game.setup == f"{MODULE}:setup"
    examples = game.examples()
    assert examples["split"].to_pylist() == ["train"] * 16 + ["target"] * 4 + ["audit"]
    assert examples["text"][3].as_py() == "age 43" and examples["image"].null_count == 21


def test_an_evaluation_is_the_function_called_for_every_mask() -> None:
    masks, seeds = np.random.default_rng(0).random((6, N_PLAYERS)) < 0.5, list(range(6))
    found, plain = trainer().evaluate(masks, seeds), own_trainer.outputs_of(masks, np.array(seeds))
    assert np.array_equal(found.outputs, plain[:, :4].astype(np.float32))
    assert np.array_equal(found.audit_accuracy, plain[:, 4].astype(np.float32))
    minus = trainer("game.higher_is_better=false").evaluate(masks, seeds)
    assert np.array_equal(minus.outputs, -found.outputs)
    judged = trainer().on_audit().evaluate(masks, seeds)
    assert np.array_equal(judged.outputs[:, 0], plain[:, 4].astype(np.float32))


def test_rows_of_one_group_are_one_player(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("name,clinic\n" + "".join(f"row {n},{'ABC'[n % 3]}\n" for n in range(9)))
    game = trainer(f"game.players={table}", "game.group_by=clinic")
    assert game.player_names == ("A", "B", "C") and len(game.players) == 9
    seen: list[list[int]] = []
    own_trainer.spy = lambda i, s, c: (seen.append(i.tolist()), np.zeros(5))[1]  # type: ignore[attr-defined]
    from dataclasses import replace

    replace(game, function=f"{MODULE}:spy", source="spy").evaluate(np.array([[True, False, True]]), [0])
    assert seen == [[0, 2, 3, 5, 6, 8]]
    assert game.examples()["player"].to_pylist()[:4] == [0, 1, 2, 0]


def test_files_of_rows_are_found_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.store.campaign import Campaign
    from flows.store.configuration import keep_configuration, kept_configuration

    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("name\n" + "".join(f"row {n}\n" for n in range(9)))
    (tmp_path / "c").mkdir()
    keep_configuration(Campaign("c"), config_of("game.players=rows.csv", "game.targets=5"))
    kept = kept_configuration(Campaign("c"), "c")["game"]
    assert (kept["players"], kept["targets"]) == (str(tmp_path / "rows.csv"), "5")


def test_identity_covers_source_rows_and_declared_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def identity(*overrides: str) -> dict[str, object]:
        config = config_of("game.players=6", "game.targets=2", *overrides, function="edited:train")
        return full_identity(config, make_game(config))

    monkeypatch.syspath_prepend(str(tmp_path))
    source = tmp_path / "edited.py"
    source.write_text("def train(indices, seed, context):\n    return [0, 1]\n")
    first = identity()
    assert identity("game.seconds_per_call=5", "name=other", "compute.gpus_per_shard=1") == first
    for changed in ("game.version=2", "game.higher_is_better=false", "game.players=7", "game.targets=3"):
        assert identity(changed) != first
    source.write_text("def train(indices, seed, context):\n    return [0, 2]\n")
    assert {key for key, value in identity().items() if value != first[key]} == {"game.source"}
    assert not any(key.startswith(("dataset", "recipe")) for key in first)


# --- code of somebody else ---------------------------------------------------------------------------------------


def test_a_module_is_found_without_being_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap" / "__init__.py").write_text("raise SystemExit('it ran')")
    (tmp_path / "trap" / "inner.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert locate("trap.inner") == tmp_path / "trap" / "inner.py"
    config = config_of("game.players=6", "game.targets=2", function="trap.inner:train")
    assert own_modules(config) == (tmp_path / "trap",)
    make_game(config)
    assert "trap" not in sys.modules


def test_what_only_a_folder_names_is_not_run(tmp_path: Path) -> None:
    from flows.plan import create
    from flows.store.campaign import Campaign
    from flows.store.configuration import keep_configuration

    config = config_of(f"campaign.folder={tmp_path / 'c'}")
    campaign = Campaign(config.campaign.folder)
    create(campaign, config, make_game(config))
    keep_configuration(campaign, config)
    try:
        from_folder = configuration(str(tmp_path / "c"))
        with pytest.raises(NotNamed, match=f"add game.function={MODULE}:train to the command if you trust it"):
            make_game(from_folder)
        named = configuration(str(tmp_path / "c"), [f"game.function={MODULE}:train"])
        assert identity_settings(named) == identity_settings(from_folder) and make_game(named).n_players == N_PLAYERS
        with pytest.raises(NotNamed, match=f"add game.setup={MODULE}:setup"):
            asked_by_folder("there", {"game.setup": f"{MODULE}:setup"})
            make_game(named)
    finally:
        asked_by_folder("", {})


# --- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nowhere.at_all:train", "there is no module 'nowhere.at_all'.*looked in"),
        (f"{MODULE}:trane", "own_trainer.py has no 'trane'; its functions are: .*"),
        (f"{MODULE}:not_a_function", "is a int, not a function"),
        (f"{MODULE}:needs_more", r"called with indices, seed, context, but takes \(indices, seed, context, learning"),
    ],
)
def test_a_function_that_cannot_be_called_is_named_with_the_reason(function: str, message: str) -> None:
    with pytest.raises(OwnCodeError, match=message):
        trainer("game.players=6", "game.targets=5", function=function).check()


def test_a_function_that_cannot_be_called_makes_no_campaign(tmp_path: Path) -> None:
    from flows.cli.run_stage import drive
    from flows.store.campaign import Campaign

    for function, message in (("trane", "has no 'trane'"), ("needs_more", "but takes .*learning_rate")):
        with pytest.raises(OwnCodeError, match=message):
            drive("plan", config_of(f"campaign.folder={tmp_path / 'c'}", function=f"{MODULE}:{function}"), False)
    assert not Campaign(tmp_path / "c").exists
    with pytest.raises(ConfigError, match="game.function must be written package.module:name; got 'train'"):
        config_of(function="train")


def test_a_module_that_raises_or_lacks_a_package_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_one.py").write_text("import not_installed_here\n")
    (tmp_path / "broken_two.py").write_text("1 / 0\n")
    for name, message in (("one", "imports 'not_installed_here', which is not"), ("two", "raised ZeroDivisionError")):
        with pytest.raises(OwnCodeError, match=message):
            trainer("game.players=6", "game.targets=5", function=f"broken_{name}:train").check()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": ["a", "a"]}, "the name 'a' is given to several rows"),
        ({"name": ["a", "b"], "class": ["x"]}, "different lengths"),
        ({"name": ["a"], "audit": ["perhaps"]}, "audit is 'perhaps'; it must be true or false"),
        ([], "there are no players"),
        (3.5, "players are a float; a table is needed"),
        ("no/such/file.csv", "does not exist"),
    ],
)
def test_rows_that_cannot_be_used_are_refused_in_one_sentence(given: object, message: str) -> None:
    with pytest.raises(BadRows, match=message):
        read_rows("players", given)


def test_tables_of_every_form_give_the_same_rows(tmp_path: Path) -> None:
    import pandas as pd
    import pyarrow.parquet as pq

    columns = {"name": ["a", "b"], "class": ["x", "y"], "age": [3, 4]}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("name,class,age\na,x,3\nb,y,4\n")
    (tmp_path / "excel.csv").write_text("name;class;age\na;x;3\nb;y;4\n", encoding="utf-8-sig")
    forms = [
        columns, pa.table(columns), pd.DataFrame(columns), tmp_path / "rows.parquet", str(tmp_path / "rows.csv"),
        tmp_path / "excel.csv",
        [{"name": "a", "class": "x", "age": 3}, {"name": "b", "class": "y", "age": 4}],
    ]  # fmt: skip
    found = [read_rows("players", form) for form in forms]
    assert {(rows.names, rows.classes, rows.texts) for rows in found} == {(("a", "b"), ("x", "y"), ("age 3", "age 4"))}
    missing = pd.DataFrame({"text": ["long", float("nan")]})
    assert read_rows("targets", missing).texts == ("long", "")
    assert read_rows("targets", 2).names == ("target 0", "target 1") == read_rows("targets", "2").names
