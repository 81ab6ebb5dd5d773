"""A calibration measures once, keeps what it found, and chooses what was fastest."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training import Dataset, Recipe, TrainingInputError, calibrate
from training.calibration.calibrate import Trial
from training.calibration.trials import Budget, TimedMode
from training.engine.factory import make_engine
from training.engine.modes import ExecutionMode

RECIPE = Recipe(epochs=2, batch_size=10, width=2)


def test_the_fastest_trial_is_chosen_and_all_are_kept(small_digits: Dataset, tmp_path: Path) -> None:
    found = calibrate(small_digits, RECIPE, modes=("grouped", "batched"), max_ensemble_size=8, cache=tmp_path)
    assert not found.cached
    assert {ExecutionMode.parse(trial.mode).name for trial in found.trials} <= {"grouped", "batched"}
    best = min(found.trials, key=lambda trial: trial.seconds_per_model(small_digits, RECIPE))
    assert (found.mode, found.ensemble_size) == (best.mode, best.ensemble_size) and 1 <= found.ensemble_size <= 8
    assert found.seconds_per_model == best.seconds_per_model(small_digits, RECIPE) > 0
    (kept,) = tmp_path.glob("calibration-*.json")
    assert len(json.loads(kept.read_text())["trials"]) == len(found.trials)
    again = calibrate(small_digits, RECIPE, modes=("grouped", "batched"), max_ensemble_size=8, cache=tmp_path)
    assert again.cached and again.trials == found.trials and again.mode == found.mode


def test_another_recipe_or_image_size_is_measured_again(small_digits: Dataset, tmp_path: Path) -> None:
    arguments = {"modes": ("grouped",), "ensemble_size": 4, "cache": tmp_path, "seconds": 0.0}
    calibrate(small_digits, RECIPE, **arguments)
    assert not calibrate(small_digits, replace(RECIPE, width=4), **arguments).cached
    # How many steps a model takes does not change what a step costs.
    longer = calibrate(small_digits, replace(RECIPE, epochs=20.0), **arguments)
    assert longer.cached
    assert longer.seconds_per_model > calibrate(small_digits, RECIPE, **arguments).seconds_per_model


def test_a_spoilt_cache_is_measured_again(small_digits: Dataset, tmp_path: Path) -> None:
    arguments = {"modes": ("grouped",), "ensemble_size": 4, "cache": tmp_path, "seconds": 0.0}
    calibrate(small_digits, RECIPE, **arguments)
    (kept,) = tmp_path.glob("calibration-*.json")
    kept.write_text("{")
    assert not calibrate(small_digits, RECIPE, **arguments).cached
    assert calibrate(small_digits, RECIPE, **arguments).cached


def test_without_time_one_trial_is_made(small_digits: Dataset, tmp_path: Path) -> None:
    found = calibrate(small_digits, RECIPE, modes=("grouped", "batched", "vmap"), seconds=0.0, cache=tmp_path)
    assert len(found.trials) == 1


def test_a_cache_that_cannot_be_written_is_no_error(small_digits: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = calibrate(small_digits, RECIPE, modes=("grouped",), seconds=0.0, cache=tmp_path / "file" / "folder")
    assert found.mode == "grouped"


def test_calibrating_leaves_torch_s_threads_as_they_were(small_digits: Dataset, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    calibrate(small_digits, RECIPE, modes=("grouped",), seconds=0.0, threads=2, cache=tmp_path)
    assert torch.get_num_threads() == before


def test_seconds_per_model_are_start_steps_and_evaluations(small_digits: Dataset) -> None:
    trial = Trial("grouped", 4, 1, start_seconds=2.0, step_seconds=0.5, evaluation_seconds=0.01)
    n_examples = len(small_digits.train) + len(small_digits.targets) + len(small_digits.audit)
    expected = 2.0 + RECIPE.steps(40) * 0.5 + n_examples * 0.01
    assert trial.seconds_per_model(small_digits, RECIPE) == pytest.approx(expected)


def test_a_calibration_keeps_to_its_seconds(small_digits: Dataset, tmp_path: Path) -> None:
    began = time.process_time()
    calibrate(small_digits, RECIPE, modes=("grouped", "batched"), seconds=1.0, cache=tmp_path)
    assert time.process_time() - began < 3.0


def test_of_repeated_timings_the_lowest_counts(small_digits: Dataset) -> None:
    timed = TimedMode(make_engine(small_digits, RECIPE), "grouped", 4, 1)
    assert timed.measure(Budget(1.0, on_cpu=True))
    once = dict(timed.lowest)
    for disturbed in (1e3, 1e-9):
        timed.lowest = dict.fromkeys(once, disturbed)
        timed.measure(Budget(1.0, on_cpu=True))
        assert all(seconds <= disturbed for seconds in timed.lowest.values())
    assert set(timed.lowest.values()) == {1e-9} and timed.lowest.keys() == once.keys()


def test_processor_time_is_spent_unless_the_clock_runs_far_ahead() -> None:
    budget, elsewhere = Budget(3.0, on_cpu=True), Budget(3.0, on_cpu=False)
    budget.clock, elsewhere.clock = budget.clock - 6.0, elsewhere.clock - 6.0  # six seconds by the clock, none used
    assert 1.0 < budget.left() <= 3.0 - 6.0 / 5 and elsewhere.left() <= -3.0
    budget.processor -= 4.0
    assert budget.left() <= -1.0


def test_modes_that_are_not_available_are_an_error(small_digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingInputError, match="none of the execution modes native"):
        calibrate(small_digits, replace(RECIPE, batching="slot_aligned"), modes=("native",), cache=tmp_path)
