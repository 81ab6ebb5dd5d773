"""Slot-aligned batches: nothing shifts, and who is absent has no say in anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from training import Dataset, Recipe, retrain
from training.engine.slots import PresentBatchNorm, n_slots, slot_draws

RECIPE = Recipe(width=2, epochs=2, batch_size=8, batching="slot_aligned")


def half(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((1, n)) < 0.5


def trained(dataset: Dataset, masks: np.ndarray, recipe: Recipe, seeds: list[int], k: int = 4) -> np.ndarray:
    return retrain(dataset, masks, seeds, recipe, ensemble_size=k, dtype="float64").outputs


def test_a_batch_has_room_for_batch_size_present_examples_on_average() -> None:
    assert n_slots(Recipe(batch_size=25, nominal_alpha=0.5)) == 50
    assert n_slots(Recipe(batch_size=25, nominal_alpha=1.0)) == 25


def test_every_epoch_has_a_slot_for_every_example_whatever_is_present() -> None:
    rows = slot_draws(7, 30, 3 * 30).rows.reshape(3, 30)
    assert (np.sort(rows, axis=1) == np.arange(30)).all()


def test_with_everybody_present_it_is_packed_training(small_digits: Dataset) -> None:
    recipe = replace(RECIPE, nominal_alpha=1.0)
    masks = np.ones((2, small_digits.n_players), bool)
    both = [trained(small_digits, masks, replace(recipe, batching=mode), [1, 2]) for mode in ("packed", "slot_aligned")]
    assert both[0] == pytest.approx(both[1], rel=1e-5)


def test_an_absent_example_may_be_anything(small_digits: Dataset) -> None:
    """Two absent examples that swap their pictures change nothing at all, to the last bit."""
    masks = half(small_digits.n_players)
    absent = np.flatnonzero(~masks[0])
    a, b = absent[0], absent[-1]
    images = small_digits.train.images.copy()
    images[[a, b]] = images[[b, a]]
    swapped = replace(small_digits, train=replace(small_digits.train, images=images))
    assert np.array_equal(trained(small_digits, masks, RECIPE, [3]), trained(swapped, masks, RECIPE, [3]))
    present = np.flatnonzero(masks[0])
    images = small_digits.train.images.copy()
    images[[present[0], present[-1]]] = images[[present[-1], present[0]]]
    swapped = replace(small_digits, train=replace(small_digits.train, images=images))
    assert not np.array_equal(trained(small_digits, masks, RECIPE, [3]), trained(swapped, masks, RECIPE, [3]))


def test_a_member_is_what_it_is_alone(small_digits: Dataset) -> None:
    masks = np.concatenate([half(small_digits.n_players, seed) for seed in range(5)])
    together = trained(small_digits, masks, RECIPE, [*range(5)], k=5)
    alone = trained(small_digits, masks[3:4], RECIPE, [3], k=1)
    assert together[3] == pytest.approx(alone[0], rel=1e-5)


def test_nobody_present_in_a_batch_is_no_error(small_digits: Dataset) -> None:
    masks = np.zeros((1, small_digits.n_players), bool)
    masks[0, 3] = True
    assert np.isfinite(trained(small_digits, masks, RECIPE, [0])).all()


def test_statistics_are_those_of_the_present_rows_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 4, 3, 3, dtype=torch.float64, generator=generator)
    present = torch.tensor([[1, 1], [0, 1], [1, 0], [1, 0], [0, 1], [1, 1]], dtype=torch.float64)
    ours = PresentBatchNorm(4).double()
    ours.present = present
    found = ours(x)
    for member in range(2):
        channels = slice(2 * member, 2 * member + 2)
        rows = present[:, member] == 1
        own = nn.BatchNorm2d(2).double()
        assert torch.allclose(found[rows, channels], own(x[rows, channels]))
        assert torch.allclose(ours.running_mean[channels], own.running_mean)
        assert torch.allclose(ours.running_var[channels], own.running_var)
    before = ours.running_var.clone()
    ours.present = torch.zeros_like(present)
    assert torch.isfinite(ours(x)).all()
    assert torch.equal(ours.running_var, before)
