"""What `coterie show` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.cli.status import print_interactions
from flows.errors import IncompleteCampaign
from tests.flows.report_campaign import interaction, make_campaign


def test_sets_are_put_in_words_and_players_go_by_their_names(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = [
        interaction(0, [1, 2]),
        interaction(0, [3, 4], value=0.57, joint_surplus=0.57, main_effects=[-0.6, -0.4], q_value=1e-3),
    ]
    folder = make_campaign(tmp_path / "toy", interactions=rows).folder
    print_interactions(str(folder), [], 0, 10)
    out = capsys.readouterr().out
    assert "target 0: interactions" in out and "proxy 0.512" in out
    assert "help 0.75 less" in out and "hurt 0.57 less" in out
    assert "players: 1 train/1.png, 2 train/2.png, 3 train/3.png, 4 train/4.png" in out
    assert "targets: 0 target/0.png" in out


def test_a_target_that_was_not_explained_is_named_with_those_that_were(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "toy").folder
    with pytest.raises(IncompleteCampaign, match="target 5 was not explained. Explained: -3, -1, 0, 1, 2, 3, 4"):
        print_interactions(str(folder), [], 5, 10)
