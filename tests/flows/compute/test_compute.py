"""A campaign chooses its execution mode once and keeps it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from conf.compose import compose
from flows.compute.execution_mode import recorded_mode, resolve_mode
from flows.compute.ray_cluster import Outcome
from flows.games.retraining import Retraining
from flows.plan import plan
from flows.players.load import load
from flows.store.campaign import Campaign
from tests.flows.small_campaign import small_config

LOG = logging.getLogger("coterie")


class Here:
    """Runs units in this process, as the cluster's map would on a node."""

    def __init__(self) -> None:
        self.asked = 0

    def map(self, function: Any, shared: Any, units: list[Any], _resources: Any) -> list[Outcome]:
        self.asked += 1
        return [Outcome(index, function(shared, unit), None) for index, unit in enumerate(units)]


class Broken(Here):
    def map(self, function: Any, shared: Any, units: list[Any], _resources: Any) -> list[Outcome]:
        return [Outcome(0, None, "ValueError: no")]


def prepared(folder: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> tuple[Any, Campaign, Retraining]:
    monkeypatch.setenv("COTERIE_CACHE", str(folder / "cache"))
    monkeypatch.setenv("CXX", "no-such-compiler")  # nothing is compiled for a test of choices
    config = small_config(folder / "campaign", "compute.calibration_seconds=0", *overrides)
    plan.fn(config)
    recipe = {**config.recipe.model_dump(), "nominal_alpha": config.sampler.alpha}
    job = Retraining(load(config), recipe, config.compute.ensemble_size, "cpu")
    return config, Campaign(config.campaign.folder), job


def test_the_choice_is_measured_once_and_kept_with_the_campaign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, campaign, job = prepared(tmp_path, monkeypatch)
    cluster = Here()
    first = resolve_mode(config, campaign, cluster, job, LOG)
    assert first.mode.startswith("grouped") and 1 <= first.ensemble_size <= config.campaign.shard_size
    kept = recorded_mode(campaign, job)
    assert kept is not None and kept["mode"] == first.mode and kept["seconds_per_model"] > 0
    # Resumed where everything else would be chosen: the campaign's own choice counts, and nothing is measured.
    (tmp_path / "cache").rename(tmp_path / "gone")
    again = resolve_mode(config, Campaign(campaign.folder), cluster, job, LOG)
    assert (again.mode, again.ensemble_size, again.threads) == (first.mode, first.ensemble_size, first.threads)
    assert cluster.asked == 1


def test_what_the_configuration_fixes_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, campaign, job = prepared(tmp_path, monkeypatch, "compute.mode=batched", "compute.ensemble_size=5")
    cluster = Here()
    settled = resolve_mode(config, campaign, cluster, job, LOG)
    assert (settled.mode, settled.ensemble_size, cluster.asked) == ("batched", 5, 0)
    assert recorded_mode(campaign, job) is None


def test_another_network_of_the_same_campaign_has_its_own_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, campaign, job = prepared(tmp_path, monkeypatch)
    cluster = Here()
    resolve_mode(config, campaign, cluster, job, LOG)
    resolve_mode(config, campaign, cluster, Retraining(job.dataset, {**job.recipe, "width": 6}, 8, "cpu"), LOG)
    assert cluster.asked == 2


def test_a_calibration_that_fails_is_said_and_grouped_convolutions_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config, campaign, job = prepared(tmp_path, monkeypatch)
    with caplog.at_level(logging.WARNING, logger="coterie"):
        assert resolve_mode(config, campaign, Broken(), job, LOG).mode == "grouped"
    assert "calibration failed (ValueError: no)" in caplog.text


def test_a_mode_that_does_not_exist_is_refused_before_anything_runs() -> None:
    with pytest.raises(Exception, match="compute.mode"):
        compose("quickstart", ["compute.mode=magic"])
