"""A network is one class and one line of the table: everything else asks the table what the network can do."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from training import Dataset, Recipe, TrainingInputError, retrain, sample_masks
from training.architectures import ARCHITECTURES, Architecture, another_architecture
from training.engine.factory import make_engine
from training.engine.features import embed
from training.engine.layers import EnsembleLinear, conv_norm
from training.engine.models import EnsembleNetwork, build_model
from training.engine.native.engine import KNOWN_FIELDS, native_unsupported_reason
from training.engine.native.library import NoLibrary, library

MODES = ("grouped", "grouped+channels_last", "batched", "vmap", "native")


class OneLayer(EnsembleNetwork):
    """The network a newcomer writes: one convolution, the mean, logits."""

    def __init__(self, ensemble_size: int, recipe: Recipe, in_channels: int, n_classes: int) -> None:
        super().__init__(ensemble_size, recipe, in_channels, n_classes)
        self.convolution = conv_norm(ensemble_size, in_channels, recipe.width)
        self.last = EnsembleLinear(ensemble_size, recipe.width, n_classes)

    def features(self, images: Tensor) -> Tensor:
        return self.convolution(images).relu().mean(dim=(2, 3))

    def classify(self, features: Tensor) -> Tensor:
        return self.last(features)


@pytest.fixture
def one_layer(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(ARCHITECTURES, "one_layer", Architecture(f"{__name__}:OneLayer", smallest_image=3))
    return "one_layer"


def enlarged(dataset: Dataset, factor: int) -> Dataset:
    def larger(part):
        return replace(part, images=part.images.repeat(factor, axis=1).repeat(factor, axis=2))

    return replace(
        dataset, train=larger(dataset.train), targets=larger(dataset.targets), audit=larger(dataset.audit)
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_network_trains_at_its_smallest_image_in_every_mode_it_is_said_to_support(
    name: str, small_digits: Dataset
) -> None:
    """Two steps in float64: what one network alone computes, the others of an ensemble do not change."""
    architecture = ARCHITECTURES[name]
    side = architecture.smallest_image
    factor = -(-side // 8)
    larger = enlarged(small_digits, factor)

    def cut(part):
        return replace(part, images=np.ascontiguousarray(part.images[:, :side, :side]))

    dataset = replace(larger, train=cut(larger.train), targets=cut(larger.targets), audit=cut(larger.audit))
    recipe = Recipe(architecture=name, width=4, batch_size=10, epochs=1.0)
    masks = sample_masks(40, 2, 0.5, 0)
    alone = retrain(dataset, masks, range(2), recipe, ensemble_size=1, dtype="float64").outputs
    for mode in MODES:
        if mode == "native":
            if not architecture.native:
                continue
            try:
                library("float64")
            except NoLibrary:
                continue
        found = retrain(dataset, masks, range(2), recipe, ensemble_size=2, dtype="float64", mode=mode)
        assert found.mode == mode
        np.testing.assert_allclose(found.outputs, alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_images_below_the_smallest_are_refused_with_what_to_do(name: str) -> None:
    side = ARCHITECTURES[name].smallest_image - 1
    with pytest.raises(TrainingInputError, match=f"at least {side + 1}x{side + 1} pixels; got {side}x40. Choose"):
        build_model(Recipe(architecture=name), 1, (side, 40, 1), 2)


def test_a_network_added_by_one_line_is_trained_read_and_left_to_torch(
    one_layer: str, small_digits: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = Recipe(architecture=one_layer, width=6, batch_size=10, epochs=2.0)
    masks = sample_masks(40, 3, 0.5, 0)
    alone = retrain(small_digits, masks, range(3), recipe, ensemble_size=1, dtype="float64").outputs
    for mode in ("grouped", "batched", "vmap"):
        found = retrain(small_digits, masks, range(3), recipe, ensemble_size=3, dtype="float64", mode=mode).outputs
        np.testing.assert_allclose(found, alone, rtol=0, atol=1e-9)
    features, logits = embed(small_digits, recipe, [0, 1])
    assert features.shape == (2, 40, 6) and logits.shape == (2, 40, 10)
    with caplog.at_level(logging.WARNING, logger="coterie"):
        assert str(make_engine(small_digits, recipe, mode="native").mode) == "grouped"
    assert "it trains the architecture resnet only" in caplog.text


def test_an_unknown_architecture_is_met_with_the_whole_table(one_layer: str) -> None:
    with pytest.raises(TrainingInputError, match=r"must be one of resnet, resnet9, one_layer; got 'vit'\."):
        Recipe(architecture="vit")


def test_another_architecture_is_the_first_that_takes_the_images(one_layer: str) -> None:
    assert another_architecture("resnet", 32) == "resnet9"
    assert another_architecture("resnet9", 32) == "resnet"
    assert another_architecture("resnet", 8) == "one_layer"
    assert another_architecture("resnet", 2) is None


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_the_last_layer_reads_and_makes_of_it_is_what_the_network_computes(name: str) -> None:
    model = build_model(Recipe(architecture=name, width=4), 3, (16, 16, 1), 5)
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    images = torch.randn(2, 3, 16, 16)
    model.eval()
    features = model.features(images)
    assert features.shape[0] == 2 and features.shape[1] % 3 == 0
    assert torch.equal(model.classify(features), model(images))
    assert model(images).shape == (3, 2, 5)


def test_native_names_fields_of_a_recipe_only() -> None:
    """A field that native.cpp does not implement sends a recipe to another mode; a stale name would hide that."""
    assert KNOWN_FIELDS <= set(Recipe.__dataclass_fields__)
    assert native_unsupported_reason(Recipe(batching="slot_aligned"), torch.device("cpu"), torch.float32) == (
        "it trains packed batches only"
    )
