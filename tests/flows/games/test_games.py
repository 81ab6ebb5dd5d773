"""A game that trains nothing goes through the same campaign as retraining does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conf.schema import CampaignConfig, identity_settings
from flows.audit.fragments import audit
from flows.certify import certify
from flows.compute.ray_cluster import Cluster
from flows.curate import curate
from flows.errors import CampaignMismatch
from flows.games.base import HasModes
from flows.games.retraining import Retraining
from flows.games.table import GAMES, UnknownGame, full_identity, games_kept, make_game
from flows.store.campaign import Campaign
from flows.store.derived import read_derived
from tests.flows.games.toy_game import N_PLAYERS, N_TARGETS, REDUNDANT, SYNERGY, ToyGame, outputs_of
from tests.flows.toy import run_stages, stamps, toy, without_lock

TOY_GAME = (
    "game.kind=toy", "campaign.n_fit=256", "campaign.n_holdout=32", "campaign.n_replicates=0", "campaign.shard_size=32",
    "attribution.n_targets=4", "attribution.published_targets=0",
)  # fmt: skip


@pytest.fixture(autouse=True)
def toy_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A further game is one module and one line of the table."""
    monkeypatch.setitem(GAMES, "toy", "tests.flows.games.toy_game:from_config")


@pytest.fixture(scope="module")
def evaluated(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole campaign of the toy game; the tests that use it write nothing to it."""
    folder = tmp_path_factory.mktemp("toy") / "campaign"
    GAMES["toy"] = "tests.flows.games.toy_game:from_config"
    run_stages(toy(folder, *TOY_GAME))
    return folder


@pytest.mark.ray
def test_a_game_goes_from_plan_to_report(evaluated: Path) -> None:
    campaign = Campaign(evaluated)
    assert (campaign.n_players, campaign.n_targets) == (N_PLAYERS, N_TARGETS)
    assert campaign.meta["player_names"][3] == "player 3" and campaign.meta["class_names"] == ["left", "right"]
    pairs = campaign.training_pairs("fit")
    assert len(pairs.masks) == 256 and np.array_equal(pairs.outputs, outputs_of(pairs.masks))
    assert set(campaign.read("outputs")["mode"].to_pylist()) == {"closed form"}
    found = {
        (row["target"], tuple(row["members"])): row["kind"]
        for row in campaign.read("interactions").to_pylist()
        if row["gate_open"] and row["q_value"] < 0.01
    }
    assert found[0, REDUNDANT] == "redundancy" and found[1, SYNERGY] == "synergy"
    page = (evaluated / "report.html").read_text()
    assert "<html" in page and "redundancy" in page and "nan" not in page.lower().split()


@pytest.mark.ray
def test_a_second_run_of_a_game_writes_nothing_and_an_audit_finds_nothing(evaluated: Path) -> None:
    config, before = toy(evaluated, *TOY_GAME), without_lock(stamps(evaluated))
    run_stages(config)
    assert without_lock(stamps(evaluated)) == before
    report = audit(Campaign(evaluated), config, sample=2)
    assert report.findings == [] and report.n_retrained == 64


@pytest.mark.ray
def test_certify_evaluates_the_game_itself(evaluated: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(evaluated, tmp_path / "c"))
    certify.fn(toy(folder, *TOY_GAME, "certify.members=[0,1]", "certify.target=0", "certify.n_bases=4"))
    (row,) = read_derived(Campaign(folder), "certification").to_pylist()
    assert row["measured"] == pytest.approx(-2.0, abs=1e-5) and row["measured_kind"] == "redundancy"


@pytest.mark.ray
def test_what_only_retraining_can_do_is_refused_with_a_reason(evaluated: Path) -> None:
    with pytest.raises(UnknownGame, match="coterie curate.*game.kind=toy cannot do.*game.kind=retraining"):
        curate.fn(toy(evaluated, *TOY_GAME))


@pytest.mark.ray
def test_the_folder_of_another_game_is_refused(evaluated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CampaignMismatch, match="dataset.fingerprint"):
        run_stages(toy(evaluated, *TOY_GAME, "game.kind=retraining"), "plan")
    monkeypatch.setitem(GAMES, "toy", "tests.flows.games.toy_game:another_scale")
    with pytest.raises(CampaignMismatch, match=r"game.scale: the folder has 1.0, the configuration 2.0"):
        run_stages(toy(evaluated, *TOY_GAME), "plan")


def test_an_unknown_game_is_named_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(UnknownGame, match="game.kind is 'chess'; the games are: .*retraining, toy"):
        make_game(toy(tmp_path, "game.kind=chess"))


def test_retraining_is_a_game_whose_identity_is_the_configuration_and_the_bytes_of_the_data(tmp_path: Path) -> None:
    config = toy(tmp_path)
    game = make_game(config)
    assert isinstance(game, Retraining) and isinstance(game, HasModes) and not isinstance(ToyGame(), HasModes)
    assert full_identity(config, game) == {
        **identity_settings(config), "dataset.fingerprint": game.dataset.fingerprint()
    }  # fmt: skip
    assert not any(key.startswith("game") for key in full_identity(config, game))
    assert (game.n_players, game.n_targets, game.n_audit, len(game.class_names)) == (16, 8, 8, 10)


def test_one_command_loads_its_images_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[CampaignConfig] = []

    def load(config: CampaignConfig) -> object:
        loaded.append(config)
        return object()

    monkeypatch.setattr("flows.games.retraining.load", load)
    config = toy(tmp_path)
    with games_kept():
        with games_kept():
            first = make_game(config)
        assert make_game(config) is first and len(loaded) == 1
        assert make_game(toy(tmp_path, "dataset.seed=1")) is not first
    assert make_game(config) is not first and len(loaded) == 3
