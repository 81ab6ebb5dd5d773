"""Top-ups: how far each firing goes, when it stops, and what a firing does that finds another at work."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.plan import plan
from flows.storage.files import exclusive
from flows.store.campaign import Campaign
from flows.top_up import TopUpRequest, next_goal, top_up, with_n_fit
from tests.flows.small_campaign import SMALL, small_config, train_missing


def request(**values: object) -> TopUpRequest:
    return TopUpRequest.model_validate({"models": 8, **values})


def test_the_first_firing_makes_the_campaign_and_each_later_one_adds_models(tmp_path: Path) -> None:
    config = small_config(tmp_path / "c")
    assert next_goal(config, request()).n_fit == 20
    for expected in (28, 36):
        train_missing(config)
        goal = next_goal(config, request())
        assert goal.n_fit == expected
        config = with_n_fit(config, expected)


def test_a_firing_that_was_cut_short_is_finished_before_anything_is_added(tmp_path: Path) -> None:
    config = small_config(tmp_path / "c")
    train_missing(config)
    plan.fn(with_n_fit(config, 28))
    goal = next_goal(config, request())
    assert goal.n_fit == 28 and "8 of 28 models to go" in goal.why


def test_budget_and_precision_end_it(tmp_path: Path) -> None:
    config = small_config(tmp_path / "c")
    train_missing(config)
    assert next_goal(config, request(budget=24)).n_fit == 24
    assert next_goal(config, request(budget=20)).n_fit is None
    assert next_goal(config, request(precision=100.0)).n_fit is None
    assert next_goal(config, request(precision=0.001)).n_fit == 28


def test_a_firing_that_overlaps_another_leaves_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    overrides = (*SMALL, f"campaign.folder={folder}")
    with exclusive(folder / ".top-up.lock", "a top-up"):
        state = top_up.fn(request(overrides=overrides))
    assert state.name == "Skipped" and "is being written by process" in state.message
    assert not Campaign(folder).exists


@pytest.mark.parametrize("wrong", [{"models": 0}, {"precision": 0}, {"budget": -1}, {"modles": 3}])
def test_a_request_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TopUpRequest.model_validate(wrong)
