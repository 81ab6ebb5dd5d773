"""Features are what the last layer reads, and copies have the same ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from training import Recipe, TrainingInputError, load_dataset, retrain
from training.data.planting import plant
from training.engine.features import embed
from training.engine.native.library import NoLibrary, library
from training.engine.outputs import margin_lse

RECIPE = Recipe(epochs=2)


def test_copies_have_equal_features_and_logits_agree_with_retrain() -> None:
    dataset, truth = plant(load_dataset("digits", n_train=60, n_targets=10, n_audit=10), clusters=3)
    features, logits = embed(dataset, RECIPE, [5, 6])
    assert features.shape == (2, 60, 32)
    assert logits.shape == (2, 60, 10)
    for original, copy in truth.clusters:
        assert np.allclose(features[:, original], features[:, copy], atol=1e-5)
    assert not np.allclose(features[0], features[1], atol=1e-2)
    accuracy = (logits.argmax(axis=2) == dataset.train.labels).mean(axis=1)
    trained = retrain(dataset, np.ones((2, 60), bool), [5, 6], RECIPE, ensemble_size=2)
    assert accuracy == pytest.approx(trained.train_accuracy, abs=1e-6)


@pytest.mark.parametrize("mode", ["native", "batched", "vmap", "grouped+channels_last"])
@pytest.mark.parametrize("flip_at_test", [False, True])
def test_every_mode_gives_the_features_of_grouped_convolutions(mode: str, flip_at_test: bool) -> None:
    """Two float32 steps of training: differences of rounding only."""
    if mode == "native":
        try:
            library("float32")
        except NoLibrary as error:
            pytest.skip(f"no compiled code here: {error}")
    dataset = load_dataset("digits", n_train=60, n_targets=10, n_audit=10)
    recipe = Recipe(epochs=1, learning_rate=0.01, flip_at_test=flip_at_test)
    assert recipe.steps(60) == 1
    expected = embed(dataset, recipe, [5, 6, 7])
    found = embed(dataset, recipe, [5, 6, 7], mode=mode)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5)


def test_features_of_native_belong_to_the_weights_it_trained() -> None:
    """The last layer's result on native's features is what native's own evaluation records."""
    try:
        library("float32")
    except NoLibrary as error:
        pytest.skip(f"no compiled code here: {error}")
    dataset = load_dataset("digits", n_train=60, n_targets=10, n_audit=10)
    dataset = replace(dataset, targets=dataset.train)
    _, logits = embed(dataset, RECIPE, [5, 6], mode="native")
    trained = retrain(dataset, np.ones((2, 60), bool), [5, 6], RECIPE, mode="native")
    labels = torch.tensor(dataset.train.labels)
    recorded = margin_lse(torch.tensor(logits), labels).numpy()
    np.testing.assert_allclose(recorded, trained.outputs, rtol=0, atol=1e-4)


def test_the_ensemble_size_only_says_how_many_are_trained_at_a_time() -> None:
    dataset = load_dataset("digits", n_train=60, n_targets=10, n_audit=10)
    together = embed(dataset, RECIPE, [5, 6, 7])
    in_parts = embed(dataset, RECIPE, [5, 6, 7], ensemble_size=2)
    for one, other in zip(together, in_parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-3)
    with pytest.raises(TrainingInputError, match="ensemble_size must be at least 1; got 0"):
        embed(dataset, RECIPE, [5], ensemble_size=0)


def test_a_network_that_diverged_has_no_features() -> None:
    dataset = load_dataset("digits", n_train=60, n_targets=10, n_audit=10)
    wild = Recipe(epochs=8, batch_size=10, learning_rate=1e8, weight_decay=1.0)
    for found in embed(dataset, wild, [5]):
        assert np.isnan(found).all()


def test_masks_keep_examples_out_of_training() -> None:
    dataset = load_dataset("digits", n_train=60, n_targets=10, n_audit=10)
    masks = np.ones((1, 60), bool)
    masks[0, :30] = False
    _, part = embed(dataset, RECIPE, [5], masks=masks)
    _, whole = embed(dataset, RECIPE, [5])
    assert not np.allclose(part, whole, atol=1e-2)
    with pytest.raises(TrainingInputError, match="one mask per seed"):
        embed(dataset, RECIPE, [5, 6], masks=masks)
