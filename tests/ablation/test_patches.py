"""Regions, fills and what the model sees under a mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ablation import AblationError, PatchGame
from ablation.fills import FILLS
from tests.ablation.networks import SmallResNet, ready

IMAGES = np.random.default_rng(0).normal(size=(3, 1, 6, 6)).astype(np.float32)
LABELS = np.array([0, 1, 2])


def resnet() -> nn.Module:
    torch.manual_seed(0)
    return ready(SmallResNet())


def test_outputs_are_those_of_the_masked_images() -> None:
    game = PatchGame(resnet(), IMAGES, LABELS, regions=(3, 3), batch_size=4)
    masks = np.random.default_rng(1).random((5, 9)) < 0.5
    seen = np.stack([[game.masked_image(mask, image) for image in range(3)] for mask in masks])
    with torch.no_grad():
        logits = game.fixed.model(torch.from_numpy(seen.reshape(15, 1, 6, 6))).numpy().reshape(5, 3, 3)
    for image, label in enumerate(LABELS):
        others = np.delete(logits[:, image], label, axis=1).max(1)
        np.testing.assert_allclose(game.evaluate(masks)[:, image], logits[:, image, label] - others, atol=1e-5)
    assert (game.predictions(masks) == logits.argmax(2)).all()


def test_a_mask_shows_the_image_where_it_is_true_and_the_fill_elsewhere() -> None:
    game = PatchGame(resnet(), IMAGES, LABELS, regions=(2, 2), fill="mean")
    seen = game.masked_image([True, False, False, True], 1)
    assert (seen[:, :3, :3] == IMAGES[1][:, :3, :3]).all()
    np.testing.assert_allclose(seen[:, :3, 3:], IMAGES[1].mean(), atol=1e-6)
    assert game.attribution_map([1.0, 2, 3, 4])[0, 5] == 2.0


@pytest.mark.parametrize("fill", FILLS)
def test_every_fill_changes_the_image(fill: str) -> None:
    game = PatchGame(resnet(), IMAGES, LABELS, regions=(2, 2), fill=fill)
    assert np.isfinite(game.evaluate(np.zeros((1, 4), bool))).all()
    assert np.abs(game.masked_image([False] * 4, 2) - IMAGES[2]).max() > 0.1


def test_another_image_is_a_fill_and_results_do_not_depend_on_the_batching() -> None:
    masks = np.random.default_rng(1).random((9, 4)) < 0.5
    found = [
        PatchGame(resnet(), IMAGES, LABELS, regions=4, fill=IMAGES[0] * 0.5, batch_size=size).evaluate(masks)
        for size in (1, 5, 100)
    ]
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)
    np.testing.assert_allclose(found[1], found[2], atol=1e-5)


def test_superpixels_follow_the_colours() -> None:
    image = np.zeros((1, 1, 6, 6), np.float32)
    image[0, 0, :, 2:] = 5.0
    maps = PatchGame(resnet(), image, [0], regions=2, fill="blur").maps[0]
    assert len(set(maps[:, :2].ravel())) == len(set(maps[:, 2:].ravel())) == 1
    assert maps[0, 0] != maps[0, 5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regions": np.repeat([0, 0, 1, 1, 3, 3], 6).reshape(6, 6)}, "region 2 of image 0 has no pixel"),
        ({"regions": np.zeros((5, 5), int)}, r"must have shape \(6, 6\)"),
        ({"regions": (7, 7)}, "7 x 7 regions does not fit an image of 6 x 6"),
        ({"regions": (1, 1)}, "one region is the whole image"),
        ({"fill": IMAGES[2]}, "the fill equals image 2 in every pixel, so nothing would be ablated"),
        ({"fill": "zeros"}, "fill must be one of mean, grey, black, blur, noise"),
        ({"fill": np.zeros((1, 4, 4))}, "a fill image must have shape"),
        ({"output": "loss"}, "output must be one of"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_sentence(settings: dict, message: str) -> None:
    with pytest.raises(AblationError, match=message):
        PatchGame(resnet(), IMAGES, LABELS, **settings)


def test_images_of_another_size_are_refused_with_what_the_model_said() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    with pytest.raises(AblationError, match=r"does not take images of shape \(1, 6, 6\).* the model was trained on"):
        PatchGame(model, IMAGES, LABELS)


@pytest.mark.parametrize(
    ("labels", "message"), [([0, 1, 3], "labels reach 3 and the model has 3 classes"), ([0, 1], "3 class numbers")]
)
def test_labels_that_do_not_fit_are_refused(labels: list, message: str) -> None:
    with pytest.raises(AblationError, match=message):
        PatchGame(resnet(), IMAGES, labels)
