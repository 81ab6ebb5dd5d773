"""Averaging the weights over the last steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from training import Dataset, Recipe, TrainingInputError, retrain, sample_masks
from training.engine.averaging import WeightAverage, renew_statistics
from training.engine.engine import Engine, FlatParameters

RECIPE = Recipe(width=2, epochs=6, batch_size=8, average_last=0.5)


def test_the_mean_of_the_last_half_is_what_replaces_the_weights() -> None:
    average, path = WeightAverage(RECIPE, n_steps=5), torch.arange(5.0)[:, None] ** 2
    weights = torch.zeros(1)
    for step, value in enumerate(path):
        weights.copy_(value)
        average.add(step, weights)
    average.into(weights)
    assert weights.item() == path[-2:].mean().item()


@pytest.mark.parametrize("share", [1e-6, 0.2])
def test_of_a_share_below_one_step_the_last_step_is_left(share: float) -> None:
    average, weights = WeightAverage(replace(RECIPE, average_last=share), n_steps=4), torch.zeros(1)
    for step in range(4):
        weights.fill_(float(step))
        average.add(step, weights)
    average.into(weights)
    assert weights.item() == 3.0


def test_renewed_statistics_are_those_of_the_batches_taken_together() -> None:
    norm, batches = nn.BatchNorm2d(3), torch.randn(4, 6, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * 2 + 1
    norm(torch.full((6, 3, 2, 2), 100.0) + batches[0])  # what they were before must not show
    renew_statistics(norm, 4, lambda at: norm(batches[at]))
    by_batch = batches.transpose(1, 2).flatten(2)
    torch.testing.assert_close(norm.running_mean, by_batch.mean(dim=2).mean(dim=0))
    torch.testing.assert_close(norm.running_var, by_batch.var(dim=2).mean(dim=0))
    assert norm.momentum == 0.1


def test_the_engine_records_the_mean_of_the_weights_it_went_through(
    small_digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone_through: list[torch.Tensor] = []
    held: list[torch.Tensor] = []
    step = FlatParameters.sgd_step

    def follow(self: FlatParameters, *arguments: object) -> None:
        step(self, *arguments)  # type: ignore[arg-type]
        gone_through.append(self.values.clone())
        held[:] = [self.values]

    monkeypatch.setattr(FlatParameters, "sgd_step", follow)
    engine = Engine(small_digits, RECIPE, dtype="float64")
    engine.train(np.ones((4, len(small_digits.train)), bool), [1, 2, 3, 4])
    last_half = torch.stack(gone_through[-round(len(gone_through) / 2) :])
    torch.testing.assert_close(held[0], last_half.mean(dim=0))


@pytest.mark.parametrize("batching", ["packed", "slot_aligned"])
def test_averaged_members_together_equal_members_alone(small_digits: Dataset, batching: str) -> None:
    masks, recipe = sample_masks(40, 4, 0.5, 0), replace(RECIPE, batching=batching)
    alone, together = (retrain(small_digits, masks, range(4), recipe, ensemble_size=k, dtype="float64") for k in (1, 4))
    np.testing.assert_allclose(together.outputs, alone.outputs, rtol=0, atol=1e-9)
    plain = retrain(small_digits, masks, range(4), replace(recipe, average_last=0.0), ensemble_size=4, dtype="float64")
    assert np.abs(plain.outputs - together.outputs).min(axis=0).max() > 1e-3


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(TrainingInputError, match="average_last"):
        Recipe(average_last=share)
