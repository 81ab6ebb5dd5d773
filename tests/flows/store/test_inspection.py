"""Plan inspects the data before anything is trained, reports what is wrong by file name, and keeps the findings."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flows.errors import StoreError
from flows.games.retraining import Retraining
from flows.games.table import make_game
from flows.plan import SHOWN_OF_A_KIND, announce_findings, create
from flows.store.campaign import Campaign
from flows.store.examples import inspect_examples, inspection
from tests.flows.toy import run_stages, toy
from tests.training.conftest import random_pictures
from training import TrainingInputError
from training.data.inspection import Finding


def test_findings_are_kept_in_the_campaign_and_made_once(tmp_path: Path) -> None:
    config = toy(tmp_path / "campaign")
    campaign, game = Campaign(config.campaign.folder), make_game(config)
    assert isinstance(game, Retraining)
    names = game.dataset.player_names
    leaking = replace(game, dataset=replace(game.dataset, audit=game.dataset.train.take(np.arange(8))))
    create(campaign, config, game)
    assert inspection(campaign) is None
    found, new = inspect_examples(campaign, leaking.findings)
    assert new and found[0].kind == "leak" and len([f for f in found if f.kind == "leak"]) == 8
    assert found[0].names == (names[found[0].positions[0]],) * 2
    assert inspection(campaign) == found

    def again() -> tuple[Finding, ...]:
        raise AssertionError("inspected twice")

    assert inspect_examples(campaign, again) == (found, False)


def test_plan_inspects_before_it_draws_masks(tmp_path: Path) -> None:
    config = toy(tmp_path / "campaign")
    run_stages(config, "plan")
    found = inspection(Campaign(config.campaign.folder))
    assert found is not None
    assert [f.kind for f in found] == ["small_audit", "class_missing", "class_missing", "small_class"]


def test_a_broken_file_of_findings_is_named(tmp_path: Path) -> None:
    config = toy(tmp_path / "campaign")
    campaign = Campaign(config.campaign.folder)
    create(campaign, config, make_game(config))
    (campaign.folder / "inspection.json").write_text(json.dumps({"findings": [{"kind": "leak", "colour": 3}]}))
    with pytest.raises(StoreError, match="inspection.json holds no findings .*Remove it"):
        inspection(campaign)


def test_the_gravest_are_logged_first_and_in_full(caplog: pytest.LogCaptureFixture) -> None:
    found = tuple(Finding(kind="leak", sentence=f"leak {number}") for number in range(SHOWN_OF_A_KIND + 2))
    found += (Finding(kind="duplicates", sentence="one twice"),)
    log = logging.getLogger("test")
    with caplog.at_level(logging.INFO):
        announce_findings(found, True, log)
        announce_findings(found, False, log)
        announce_findings((), True, log)
    counts = "data inspected: 7 leaks between splits, 1 group of duplicates (all in inspection.json)"
    first = [counts, *(f"leak {number}" for number in range(SHOWN_OF_A_KIND)), "and 2 more of this kind", "one twice"]
    clean = "data inspected: no duplicates, leaks or contradicting labels found"
    assert [record.getMessage() for record in caplog.records] == [*first, counts, clean]
    assert [record.levelname for record in caplog.records][1] == "WARNING"


def test_targets_that_leave_no_audit_example_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for half, count in (("train", 8), ("test", 6)):
        for row, picture in enumerate(random_pictures(count, seed=count)):
            file = tmp_path / "pictures" / half / ("bee", "ant")[row % 2] / f"{row}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture)
    settings = (f"dataset.path={tmp_path / 'pictures'}", "dataset.image_size=null", "dataset.n_targets=6")
    config = toy(tmp_path / "campaign", *settings, "dataset.n_train=null", "dataset.n_audit=null", name="images")
    campaign, game = Campaign(config.campaign.folder), make_game(config)
    with pytest.raises(TrainingInputError, match="n_targets = 6 leaves no test picture .*n_targets=3 or less"):
        create(campaign, config, game)
    assert not campaign.exists and not (tmp_path / "campaign").exists()
    meant = toy(tmp_path / "campaign", *settings, "dataset.n_train=null", "dataset.n_audit=0", name="images")
    create(campaign, meant, make_game(meant))
    assert campaign.exists
    # A campaign that exists keeps its examples, whatever it was planned with.
    create(campaign, meant, make_game(meant))
