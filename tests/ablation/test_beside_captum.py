"""Our integrated gradients and occlusion are captum's, to rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ablation import PatchGame
from flows.lenses.digits import resnet

pytest.importorskip("captum", reason="captum is a development dependency: pip install -e '.[dev]'")


@pytest.fixture(scope="module")
def game() -> PatchGame:
    model, images, labels = resnet()
    return PatchGame(model, images[:6], labels[:6], batch_size=16)


def margin(game: PatchGame, images: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    return game.fixed.read(game.fixed.model(images), label.expand(len(images)))


def test_integrated_gradients_are_captums(game: PatchGame) -> None:
    from captum.attr import IntegratedGradients

    for image in range(game.n_images):
        shown = game.fixed.images[image : image + 1].clone()
        fill = torch.from_numpy(game.masked_image(np.zeros(game.n_players, bool), image))[None]
        label = game.fixed.labels[image : image + 1]
        theirs = IntegratedGradients(lambda given, label=label: margin(game, given, label)).attribute(
            shown, fill, n_steps=32, method="riemann_middle"
        )
        by_region = np.bincount(game.maps[0].ravel(), theirs[0].sum(0).detach().double().ravel())
        assert game.integrated_gradients(image, 32) == pytest.approx(by_region, rel=1e-4, abs=1e-4)


def test_occlusion_is_captums_feature_ablation(game: PatchGame) -> None:
    from captum.attr import FeatureAblation

    whole = game.evaluate(np.ones((1, game.n_players), bool))[0]
    alone = game.evaluate(~np.eye(game.n_players, dtype=bool))
    regions = torch.from_numpy(game.maps[0].astype(np.int64))[None, None]
    for image in range(game.n_images):
        fill = torch.from_numpy(game.masked_image(np.zeros(game.n_players, bool), image))[None]
        label = game.fixed.labels[image : image + 1]
        with torch.no_grad():
            theirs = FeatureAblation(lambda given, label=label: margin(game, given, label)).attribute(
                game.fixed.images[image : image + 1], fill, feature_mask=regions
            )
        each = [float(theirs[0].sum(0)[game.maps[0] == region].flatten()[0]) for region in range(game.n_players)]
        assert whole[image] - alone[:, image] == pytest.approx(each, abs=1e-4)
