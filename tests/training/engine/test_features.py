"""Features are what the last layer reads, and copies have the same ones."""

from __future__ import annotations

import numpy as np
import pytest

from training import Recipe, TrainingInputError, load_dataset, retrain
from training.data.planting import plant
from training.engine.features import embed

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


def test_masks_keep_examples_out_of_training() -> None:
    dataset = load_dataset("digits", n_train=60, n_targets=10, n_audit=10)
    masks = np.ones((1, 60), bool)
    masks[0, :30] = False
    _, part = embed(dataset, RECIPE, [5], masks=masks)
    _, whole = embed(dataset, RECIPE, [5])
    assert not np.allclose(part, whole, atol=1e-2)
    with pytest.raises(TrainingInputError, match="one mask per seed"):
        embed(dataset, RECIPE, [5, 6], masks=masks)
