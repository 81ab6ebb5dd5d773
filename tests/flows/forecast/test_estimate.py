"""`coterie plan --estimate`: what is forecast of a campaign, held against what a campaign then is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from conf.compose import ConfigError
from conf.schema import CampaignConfig
from flows.cli.commands import app
from flows.forecast.cost import estimate, forecast_time
from flows.forecast.disk_space import disk_space
from flows.forecast.faithfulness import level, prior
from flows.plan import plan
from flows.players.load import load
from flows.store.campaign import Campaign
from flows.store.outputs_table import outputs_table
from flows.store.roles import RowRange
from flows.store.wanted import missing_models
from tests.flows.small_campaign import SMALL, small_config, train_missing
from training.calibration.calibrate import Calibration, calibrate


def size_of(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


# --- disk --------------------------------------------------------------------------------------------------------


def test_the_disk_space_of_a_real_campaign_was_forecast(tmp_path: Path) -> None:
    """Masks, outputs and images, each within an eighth of what the files then weigh."""
    config = small_config(
        tmp_path / "c", "dataset.n_train=120", "dataset.n_targets=150", "dataset.n_audit=100", "campaign.n_fit=128",
        "campaign.n_holdout=32", "campaign.shard_size=32", "compute.ensemble_size=32",
    )  # fmt: skip
    forecast = disk_space(config, load(config)).by_table
    campaign = train_missing(config)
    for table, pattern in (("masks", "masks/*"), ("outputs", "outputs/*"), ("examples", "examples.parquet")):
        assert forecast[table] == pytest.approx(size_of(campaign.folder, pattern), rel=0.125), table


def test_twice_the_models_take_twice_the_space_and_images_none(tmp_path: Path) -> None:
    few = small_config(tmp_path, "campaign.n_fit=4096", "campaign.shard_size=32")
    many = small_config(tmp_path, "campaign.n_fit=8192", "campaign.shard_size=32")
    dataset = load(few)
    first, second = disk_space(few, dataset), disk_space(many, dataset)
    grown = sum(second.by_table[table] - first.by_table[table] for table in ("masks", "outputs"))
    assert grown == pytest.approx(4096 * first.per_model, rel=0.01)
    assert first.by_table["examples"] == second.by_table["examples"]


# --- time --------------------------------------------------------------------------------------------------------


def calibration(seconds_per_model: float, device: str = "cpu", threads: int = 1) -> Calibration:
    return Calibration("grouped", 8, threads, seconds_per_model, device, "a processor", (), False, 0.0)


def timed(config: CampaignConfig, n_missing: int, **known: object) -> object:
    return forecast_time(config, load(config), n_missing, calibration(**known))  # type: ignore[arg-type]


def test_time_is_models_times_seconds_over_workers(tmp_path: Path) -> None:
    one = timed(small_config(tmp_path, "compute.workers=1"), 800, seconds_per_model=0.5)
    two = timed(small_config(tmp_path, "compute.workers=2"), 800, seconds_per_model=0.5)
    assert (one.training_seconds, one.core_hours) == (pytest.approx(400), pytest.approx(400 / 3600))
    assert (two.training_seconds, two.core_hours) == (pytest.approx(200), one.core_hours)
    assert two.models_per_second == pytest.approx(4) and two.gpu_hours == 0


def test_a_shard_is_not_divided(tmp_path: Path) -> None:
    """24 models in three shards of 8 on two workers: the last round leaves one of them idle."""
    found = timed(small_config(tmp_path, "compute.workers=2"), 24, seconds_per_model=1.0)
    assert found.training_seconds == pytest.approx(16)
    alone = timed(small_config(tmp_path, "compute.workers=2"), 5, seconds_per_model=1.0)
    assert alone.training_seconds == pytest.approx(5)


def test_nothing_missing_takes_no_time_and_a_gpu_is_counted_by_its_share(tmp_path: Path) -> None:
    assert timed(small_config(tmp_path), 0, seconds_per_model=1.0).training_seconds == 0
    shared = small_config(tmp_path, "compute.workers=2", "compute.gpus_per_shard=0.5")
    found = timed(shared, 3600, seconds_per_model=1.0, device="cuda")
    assert found.gpu_hours == pytest.approx(0.5)


def test_a_gpu_that_is_not_here_leaves_the_rest_of_the_estimate(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("torch sees a GPU here")
    found = estimate(small_config(tmp_path / "c", "compute.device=cuda"))
    assert found.time is None and "no GPU here" in found.time_unknown
    assert found.disk.total > 0 and found.faithfulness.rows


def test_seconds_a_model_are_near_what_training_takes(tmp_path: Path) -> None:
    """Processor seconds, as other programs may be at work; within a factor of two."""
    import time

    import torch

    from training import Recipe, retrain, sample_masks

    torch.set_num_threads(1)
    config = small_config(tmp_path, "recipe.epochs=60", "recipe.width=8", "dataset.n_targets=100")
    dataset, recipe = load(config), Recipe(**config.recipe.model_dump())
    found = calibrate(dataset, recipe, modes=("grouped",), ensemble_size=8, cache=tmp_path)
    masks = sample_masks(20, count=16, alpha=0.5, seed=0)
    retrain(dataset, masks[:8], range(8), recipe, ensemble_size=8)
    began = time.process_time()
    retrain(dataset, masks, range(16), recipe, ensemble_size=8)
    assert 0.5 < found.seconds_per_model / ((time.process_time() - began) / 16) < 2


# --- faithfulness ------------------------------------------------------------------------------------------------


def played(folder: Path, share: float) -> CampaignConfig:
    """A campaign whose outputs are a linear game: `share` of their variance is the mask's, the rest is noise."""
    config = small_config(folder, "campaign.n_fit=256", "campaign.n_holdout=128", "campaign.shard_size=64")
    plan.fn(config)
    campaign, rng = Campaign(folder), np.random.default_rng(0)
    effects = rng.standard_normal((20, 6))
    effects *= np.sqrt(4 * share / (effects**2).sum(axis=0))
    for rows in missing_models(config, campaign):
        masks, _ = campaign.masks(rows)
        noise = np.sqrt(1 - share) * rng.standard_normal((len(rows), 6))
        number = np.ones(len(rows), np.float32)
        columns = {
            "status": ["ok"] * len(rows), "outputs": (masks - 0.5) @ effects + noise, "ensemble_size": 1,
            "mode": "none", "host": "here", "device": "cpu",
            **{name: number for name in ("train_accuracy", "target_accuracy", "audit_accuracy", "train_seconds")},
        }  # fmt: skip
        campaign.write_outputs(rows, outputs_table(campaign, rows, columns))
    return config


def test_a_campaigns_own_masks_tell_what_more_of_them_would_give(tmp_path: Path) -> None:
    found = estimate(played(tmp_path / "c", share=0.6), cache=tmp_path)
    forecast = found.faithfulness
    assert (forecast.is_prior, forecast.source, forecast.n_masks_used) == (False, "this campaign", 256)
    assert [row["n_fit"] for row in forecast.rows] == [64, 128, 256, 512, 1024]
    value, low, high = forecast.rows[-1]["datamodel"]
    assert low <= 0.6 <= high and high - low < 0.3
    values = [row["datamodel"][0] for row in forecast.rows]
    assert values == sorted(values)
    assert found.n_missing == 0 and found.time is not None and found.time.training_seconds == 0


def test_without_models_it_is_a_prior_and_says_so(tmp_path: Path) -> None:
    found = estimate(small_config(tmp_path / "c"), cache=tmp_path)
    assert found.faithfulness.is_prior and "cifar2" in found.faithfulness.source
    assert found.faithfulness.n_masks_used == 0 and not (tmp_path / "c").exists()


def test_the_prior_counts_masks_a_player(tmp_path: Path) -> None:
    """What 1,792 masks gave with 200 players is expected of 17,920 with 2,000."""
    assert prior([1792], 200).rows[0]["spectrum"] == pytest.approx(prior([17920], 2000).rows[0]["spectrum"])


# --- the command -------------------------------------------------------------------------------------------------


def command(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["plan", "quickstart", *SMALL, f"campaign.folder={folder}", *arguments])


def test_the_command_prints_a_table_or_json_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COTERIE_CACHE", str(tmp_path / "cache"))
    done = command(tmp_path / "c", "--estimate")
    assert done.exit_code == 0, done.output
    for word in ("core-hours", "models/s", "disk", "prior", "datamodel", "36 models"):
        assert word in done.output, word
    as_json = command(tmp_path / "c", "--estimate", "--json")
    found = json.loads(as_json.stdout)
    assert found["n_models"] == found["n_missing"] == 36
    assert found["disk"]["total"] == sum(found["disk"]["by_table"].values())
    assert found["time"]["seconds_per_model"] > 0 and found["faithfulness"]["is_prior"]
    assert not (tmp_path / "c").exists()


def test_json_and_a_dry_run_of_a_plan_are_wrong_usage(tmp_path: Path) -> None:
    done = command(tmp_path / "c", "--json", "--dry-run")
    assert isinstance(done.exception, ConfigError) and "--json reports what a stage wrote" in str(done.exception)
    assert not (tmp_path / "c").exists()


def test_the_rows_of_a_plan_are_all_counted(tmp_path: Path) -> None:
    found = estimate(train_missing(small_config(tmp_path / "c")) and small_config(tmp_path / "c", "campaign.n_fit=28"))
    assert found.n_models == 28 + 8 + 8 and found.n_missing == len(RowRange("fit", 0, 20, 28))
    assert found.time is not None and found.time.seconds_per_model_so_far is not None


def test_few_targets_take_over_the_level_of_all() -> None:
    scores = np.array([0.6, 0.2, 0.4, 0.2])
    assert level(scores, slice(None, None, 2)) == pytest.approx(0.35 / 0.5)
    assert level(np.array([0.01, 0.3]), slice(None, None, 2)) == 1, "nothing is scaled by what is nearly zero"
