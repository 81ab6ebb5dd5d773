"""What `coterie show` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.cli.status import print_interactions
from flows.errors import IncompleteCampaign
from flows.experiments.plans import freeze
from flows.store.queries import experiment_of, kind_of
from flows.store.roles import RowRange
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
    said = r"Explained: 0, 1, 2, 3, 4; -1 \(the mean of all targets\), -3 \(the mean of class “"
    with pytest.raises(IncompleteCampaign, match=f"target 5 was not explained. {said}"):
        print_interactions(str(folder), [], 5, 10)


def test_a_mean_over_targets_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = make_campaign(tmp_path / "toy", interactions=[interaction(-3, [1, 2]), interaction(-1, [1, 2])]).folder
    print_interactions(str(folder), [], -1, 10)
    assert "target -1, the mean of all targets: " in capsys.readouterr().out
    print_interactions(str(folder), [], None, 10)
    out = capsys.readouterr().out
    assert "means over targets: -1 the mean of all targets, -3 the mean of class “" in out


def test_models_of_every_experiment_are_counted_by_its_name(tmp_path: Path) -> None:
    """Verifications, label checks and races share a role."""
    campaign = make_campaign(tmp_path / "toy")
    kinds = ("labels", "race", "verify", "brittleness", "certify")
    for kind in kinds:
        plan = freeze(campaign, kind, "k", 3, {})
        rows = RowRange(plan.rows.role, 0, plan.first, plan.last)
        assert kind_of(rows, experiment_of(campaign)) == kind
    assert kind_of(RowRange("fit", 1, 0, 8), experiment_of(campaign)) == "fit again"
    assert kind_of(RowRange("verify", 0, 10**6, 10**6 + 1), experiment_of(campaign)) == "verify"
