"""Groups as players of a campaign: part of the identity, kept in the folder, and opened for a child."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conf.compose import ConfigError
from conf.schema import CampaignConfig
from flows.errors import CampaignMismatch, IncompleteCampaign
from flows.games.table import full_identity, make_game
from flows.plan import create
from flows.players import load as loading
from flows.store.campaign import Campaign
from flows.store.examples import player_names
from tests.flows.toy import toy
from training import TrainingInputError

GROUPS = ("dataset.n_train=80", "players.by=similarity", "players.count=20", "players.features=pixels")


def planned(folder: Path, *overrides: str) -> tuple[CampaignConfig, Campaign]:
    """A campaign of groups whose folder exists; nothing is trained."""
    config = toy(folder, *GROUPS, *overrides)
    game = make_game(config)
    campaign = Campaign(folder)
    create(campaign, config, game)
    return config, campaign


def test_groups_are_kept_with_their_names_and_read_instead_of_found_again(tmp_path, monkeypatch) -> None:
    config, campaign = planned(tmp_path / "c")
    names = player_names(campaign)
    assert len(names) == 20 and names[0].endswith("-0")
    before = full_identity(config, make_game(config))
    monkeypatch.setattr(loading, "find_players", lambda *_: pytest.fail("found again"))
    assert full_identity(config, make_game(config)) == before
    assert len(campaign.meta["typical"]) == 20


@pytest.mark.parametrize(
    "override", ["players.count=25", "players.by=random", "players.balance=3", "players.seed=1", "players.by=null"]
)
def test_another_grouping_is_another_campaign(tmp_path, override: str) -> None:
    planned(tmp_path / "c")
    others = (override, "players.count=null") if override.endswith("null") else (override,)
    with pytest.raises(CampaignMismatch, match="belongs to another campaign"):
        config = toy(tmp_path / "c", *GROUPS, *others)
        Campaign(tmp_path / "c").check_identity(full_identity(config, make_game(config)))


def test_groups_and_a_column_of_groups_do_not_go_together(tmp_path) -> None:
    with pytest.raises(ConfigError, match="both make groups"):
        toy(tmp_path / "c", *GROUPS, "dataset.group_by=camera")


def opened(tmp_path, *groups: str) -> CampaignConfig:
    return toy(
        tmp_path / "child", "dataset.n_train=80", "players.by=opened", f"players.parent={tmp_path / 'c'}",
        f"players.opened=[{','.join(groups)}]",
    )  # fmt: skip


def test_the_images_of_an_opened_group_are_players_and_the_other_groups_stay(tmp_path) -> None:
    config, _ = planned(tmp_path / "c")
    parent = make_game(config).dataset
    first, second = parent.player_names[3], parent.player_names[7]
    child = make_game(opened(tmp_path, first, second)).dataset
    inside = np.isin(parent.players, [3, 7])
    assert child.n_players == 18 + inside.sum()
    assert child.player_names[18:] == tuple(parent.train.names[inside].tolist())
    for number, name in enumerate(child.player_names[:18]):
        same = parent.players == parent.player_names.index(name)
        assert np.array_equal(child.players == number, same)


def test_a_child_shows_closed_groups_by_their_medoids_and_opened_images_by_themselves(tmp_path) -> None:
    config, campaign = planned(tmp_path / "c")
    parent = make_game(config).dataset
    of_parent = campaign.meta["typical"]
    child = make_game(opened(tmp_path, parent.player_names[3])).dataset
    closed = [row for number, row in enumerate(of_parent) if number != 3]
    assert child.typical is not None and child.typical[:19].tolist() == closed
    assert child.players[child.typical].tolist() == list(range(child.n_players))


def test_what_cannot_be_opened_is_refused(tmp_path) -> None:
    with pytest.raises(IncompleteCampaign, match="holds no campaign"):
        make_game(opened(tmp_path, "3-0"))
    planned(tmp_path / "c", "players.count=40", "players.balance=3")
    with pytest.raises(TrainingInputError, match="there is no group"):
        make_game(opened(tmp_path, "nobody"))
    config = toy(tmp_path / "c", *GROUPS, "players.count=40", "players.balance=3")
    sizes = np.bincount(make_game(config).dataset.players)
    alone = player_names(Campaign(tmp_path / "c"))[int(np.flatnonzero(sizes == 1)[0])]
    with pytest.raises(TrainingInputError, match="holds one picture"):
        make_game(opened(tmp_path, alone))
