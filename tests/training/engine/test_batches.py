"""What a member sees is drawn for the full training set from its seed, then restricted to what is present."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from training import Recipe
from training.data.dataset import ImageSet
from training.engine.batches import Batches, channel_statistics, model_draws

FULL = np.ones(30, dtype=bool)


def batches(images: np.ndarray, recipe: Recipe) -> Batches:
    count = len(images)
    part = ImageSet(images, np.zeros(count, dtype=np.int64), np.arange(count))
    return Batches(part, recipe, torch.device("cpu"), torch.float64)


def as_tensors(rows: np.ndarray, words: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(rows)[:, None], torch.from_numpy(words.view(np.int64))[:, None]


def test_an_epoch_shows_every_present_example_once():
    present = FULL.copy()
    present[[1, 4, 22]] = False
    rows = model_draws(7, present, 4 * 27).rows.reshape(4, 27)
    assert all(np.array_equal(np.sort(epoch), np.flatnonzero(present)) for epoch in rows)
    assert len({tuple(epoch) for epoch in rows}) == 4


def test_masks_of_one_seed_share_order_and_augmentation():
    """The order of a subset is the full order with the absent examples taken out; each keeps its words."""
    full = model_draws(7, FULL, 5 * 30)
    present = np.random.default_rng(0).random(30) < 0.5
    part = model_draws(7, present, 5 * int(present.sum()))
    kept = present[full.rows]
    assert np.array_equal(part.rows, full.rows[kept])
    assert np.array_equal(part.words, full.words[kept])


def test_another_seed_has_another_order():
    assert not np.array_equal(model_draws(7, FULL, 30).rows, model_draws(8, FULL, 30).rows)


def test_a_single_example_is_drawn_again_and_again_with_bounded_words():
    present = np.zeros(50_000, dtype=bool)
    present[31_000] = True
    draws = model_draws(0, present, 60_000)
    assert (draws.rows == 31_000).all() and len(draws.words) == 60_000
    assert len(np.unique(draws.words)) == 16


def test_flips_and_shifts_are_those_of_the_padded_picture():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 6, 5, 2), dtype=np.uint8)
    resident = batches(images, Recipe(flip=True, crop_padding=2))
    mean = np.round(channel_statistics(images)[0]).astype(np.uint8)
    rows, words = np.repeat(np.arange(3), 200), rng.integers(0, 2**63, 600, dtype=np.uint64)
    seen, labels = resident.training(*as_tensors(rows, words))
    assert seen.shape == (600, 2, 6, 5) and labels.shape == (600, 1)
    possible = {row: set() for row in range(3)}
    for row in range(3):
        padded = np.empty((10, 9, 2), dtype=np.uint8)
        padded[:] = mean
        padded[2:-2, 2:-2] = images[row]
        mirrored = np.empty((10, 9, 2), dtype=np.uint8)
        mirrored[:] = mean
        mirrored[2:-2, 2:-2] = images[row][:, ::-1]
        for picture in (padded, mirrored):
            for y in range(5):
                for x in range(5):
                    crop = torch.from_numpy(picture[y : y + 6, x : x + 5].transpose(2, 0, 1).copy())
                    possible[row].add(resident.normalise(crop).numpy().tobytes())
    shown = {row: {seen[at].numpy().tobytes() for at in np.flatnonzero(rows == row)} for row in range(3)}
    assert all(shown[row] <= possible[row] for row in range(3))
    assert all(len(shown[row]) >= 45 for row in range(3))  # of 50; 200 draws miss one of them with chance .02


def test_cutout_blanks_one_square_to_the_mean():
    images = np.random.default_rng(0).integers(1, 255, (1, 8, 8, 1), dtype=np.uint8)
    plain, cut = (batches(images, Recipe(cutout=side)) for side in (0, 3))
    rows, words = (
        np.zeros(40, dtype=np.int64),
        np.random.default_rng(1).integers(0, 2**63, 40, dtype=np.uint64),
    )
    before, _ = plain.training(*as_tensors(rows, words))
    after, _ = cut.training(*as_tensors(rows, words))
    for whole, holed in zip(before[:, 0].numpy(), after[:, 0].numpy(), strict=True):
        ys, xs = np.nonzero(holed != whole)
        assert (ys.max() - ys.min(), xs.max() - xs.min()) == (2, 2) and len(ys) == 9
        assert (holed[ys, xs] == 0).all()
    assert len({after[at].numpy().tobytes() for at in range(40)}) > 15


def test_pixels_are_standardised_per_channel_and_a_flat_channel_survives():
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 2), dtype=np.uint8)
    images[..., 1] = 9
    rows, words = np.arange(50), np.zeros(50, dtype=np.uint64)
    seen, _ = batches(images, Recipe()).training(*as_tensors(rows, words))
    assert abs(seen[:, 0].mean().item()) < 1e-12
    assert abs(seen[:, 0].std(unbiased=False).item() - 1) < 1e-12
    assert (seen[:, 1] == 0).all()


def test_normalisation_is_the_same_for_every_member():
    """It comes from the whole training set: a mask never changes how a picture looks to the network."""
    images = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 1), dtype=np.uint8)
    recipe = replace(Recipe(), flip=False)
    both = torch.tensor([[3, 3]])
    seen, _ = batches(images, recipe).training(both, torch.tensor([[0, 5 << 20]]))
    assert torch.equal(seen[:, 0], seen[:, 1])
