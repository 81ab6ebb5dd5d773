"""Gates switch off what they say, image by image, whatever the batching, and leave the model as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from ablation import AblationError, ComponentGame
from tests.ablation.networks import SmallResNet, SmallTransformer, ready

IMAGES = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 1, 6, 6)).astype(np.float32))
LABELS = np.array([0, 1, 2, 0, 1])


def model_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    return ready(SmallResNet() if name == "resnet" else SmallTransformer(torch_layers=name == "torch"))


def margins(logits: torch.Tensor) -> np.ndarray:
    wanted = torch.from_numpy(LABELS)
    correct = logits.gather(1, wanted[:, None])[:, 0]
    return (correct - logits.scatter(1, wanted[:, None], -np.inf).amax(1)).numpy()


@pytest.mark.parametrize(
    ("name", "components", "n_players"),
    [("resnet", "channels", 4 * 3 + 6 * 3), ("resnet", "blocks", 2), ("torch", "heads", 4), ("torch", "blocks", 4),
     ("plain", "heads", 4), ("plain", "blocks", 4)],
)  # fmt: skip
def test_every_component_is_found_and_all_present_is_the_model_itself(
    name: str, components: str, n_players: int
) -> None:
    model = model_of(name)
    with torch.no_grad():
        before = margins(model(IMAGES))
    game = ComponentGame(model, IMAGES, LABELS, components=components)
    assert game.n_players == n_players
    assert [player.depth for player in game.players] == sorted(player.depth for player in game.players)
    np.testing.assert_allclose(game.evaluate(np.ones((1, n_players), bool))[0], before, atol=1e-5)
    assert np.abs(game.evaluate(np.zeros((1, n_players), bool))[0] - before).max() > 1e-3
    with torch.no_grad():
        assert (margins(model(IMAGES)) == before).all()  # no hook and no replaced forward is left


def test_a_channel_is_gated_after_its_batch_norm() -> None:
    model = model_of("resnet")
    game = ComponentGame(model, IMAGES, LABELS, components="channels", within=["block2"])
    mask = np.ones((1, game.n_players), bool)
    off = next(i for i, player in enumerate(game.players) if player.name == "block2.conv1[2]")
    mask[0, off] = False
    copied = copy.deepcopy(model)
    copied.block2.norm1.weight.data[2] = copied.block2.norm1.bias.data[2] = 0.0  # type: ignore[union-attr, operator, index]
    with torch.no_grad():
        np.testing.assert_allclose(game.evaluate(mask)[0], margins(copied(IMAGES)), atol=1e-5)


@pytest.mark.parametrize("name", ["torch", "plain"])
def test_a_head_is_gated_before_the_output_projection(name: str) -> None:
    model = model_of(name)
    game = ComponentGame(model, IMAGES, LABELS, components="heads")
    mask = np.ones((1, 4), bool)
    mask[0, 3] = False  # second head of the second layer: columns 4 to 7 of its projection
    copied = copy.deepcopy(model)
    layer = copied.blocks[1]  # type: ignore[index]
    projection = layer.self_attn.out_proj if name == "torch" else layer.attn.proj
    projection.weight.data[:, 4:] = 0.0
    with torch.no_grad():
        np.testing.assert_allclose(game.evaluate(mask)[0], margins(copied(IMAGES)), atol=1e-5)


def test_a_block_is_gated_on_its_branch() -> None:
    model = model_of("resnet")
    game = ComponentGame(model, IMAGES, LABELS, components="blocks")
    assert [player.name for player in game.players] == ["block1", "block2"]
    with torch.no_grad():
        x = model.stem(IMAGES)  # type: ignore[operator]
        without = model.head(torch.relu(model.block2.shortcut(torch.relu(x))).mean((2, 3)))  # type: ignore[union-attr, operator]
    np.testing.assert_allclose(game.evaluate(np.zeros((1, 2), bool))[0], margins(without), atol=1e-5)


@pytest.mark.parametrize(("name", "components"), [("resnet", "channels"), ("torch", "heads"), ("plain", "blocks")])
def test_results_do_not_depend_on_the_batching(name: str, components: str) -> None:
    masks = np.random.default_rng(1).random((9, 30)) < 0.5
    found = {}
    for batch_size in (1, 7, 64):
        game = ComponentGame(
            model_of(name), IMAGES, LABELS, components=components, ablation="mean", batch_size=batch_size
        )
        own = masks[:, : game.n_players]
        found[batch_size] = game.evaluate(own)
        one_by_one = np.concatenate([game.evaluate(row[None]) for row in own])
        np.testing.assert_allclose(one_by_one, found[batch_size], atol=1e-6)
    np.testing.assert_allclose(found[1], found[64], atol=1e-5)
    np.testing.assert_allclose(found[7], found[64], atol=1e-5)


def test_mean_ablation_puts_the_mean_over_the_reference_in_place_of_a_channel() -> None:
    model = model_of("resnet")
    reference = IMAGES[:3]
    game = ComponentGame(model, IMAGES, LABELS, within=["stem"], ablation="mean", reference=reference)
    with torch.no_grad():
        normed = model.stem[:2](IMAGES)  # type: ignore[index]
        mean = model.stem[:2](reference).mean((0, 2, 3))  # type: ignore[index]
        normed[:, 1] = mean[1]
        wanted = margins(model.head(model.block2(model.block1(torch.relu(normed))).mean((2, 3))))  # type: ignore[operator]
    np.testing.assert_allclose(game.evaluate(np.array([[1, 0, 1, 1]], bool))[0], wanted, atol=1e-5)


def test_the_gradient_of_a_gate_is_that_of_the_loss() -> None:
    game = ComponentGame(model_of("resnet"), IMAGES, LABELS, components="blocks")
    gradient = game.gate_gradients(IMAGES, LABELS)
    gates, step = torch.ones(len(IMAGES), 2), 1e-2
    losses = []
    for sign in (1, -1):
        moved = gates.clone()
        moved[:, 1] += sign * step
        from ablation.components import Gates

        with Gates(game) as gated, torch.no_grad():
            logits = gated.logits(moved, IMAGES)
        losses.append(nn.functional.cross_entropy(logits, torch.from_numpy(LABELS), reduction="none"))
    np.testing.assert_allclose(gradient[:, 1], ((losses[0] - losses[1]) / (2 * step)).numpy(), atol=2e-3)


class SharedLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.other = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 2, 3)
        self.head = nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.other(self.conv(self.conv(x))).flatten(1))


def test_what_cannot_be_gated_is_named_with_the_reason() -> None:
    game = ComponentGame(SharedLayer().eval(), IMAGES, LABELS)
    assert game.refused == {"conv": "it runs 2 times in one forward pass"}
    assert [player.layer for player in game.players] == ["other", "other"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"components": ["block1.conv3", "stem"]}, "no module 'block1.conv3'. Did you mean block1.conv"),
        ({"components": "neurons"}, "components must be one of channels, blocks, heads"),
        ({"components": "heads"}, "0 heads that can be gated"),
        ({"components": "blocks", "within": ["block1"]}, "1 blocks that can be gated within block1"),
        ({"ablation": "noise"}, "ablation must be one of zero, mean; got 'noise'"),
        ({"components": ["stem", "stem"]}, "names stem twice"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_sentence(settings: dict, message: str) -> None:
    with pytest.raises(AblationError, match=message):
        ComponentGame(model_of("resnet"), IMAGES, LABELS, **settings)


def test_a_model_in_training_mode_is_refused() -> None:
    with pytest.raises(AblationError, match=r"in training mode .* Call model.eval\(\)"):
        ComponentGame(SmallResNet(), IMAGES, LABELS)


def test_outputs_that_are_not_finite_are_refused() -> None:
    model = model_of("resnet")
    model.head.weight.data[:] = np.nan  # type: ignore[union-attr, operator, index]
    with pytest.raises(AblationError, match="outputs of the unmasked model are not finite"):
        ComponentGame(model, IMAGES, LABELS)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_results_of_the_cpu() -> None:
    masks = np.random.default_rng(1).random((9, 30)) < 0.5
    on_cpu = ComponentGame(model_of("resnet"), IMAGES, LABELS).evaluate(masks)
    on_gpu = ComponentGame(model_of("resnet"), IMAGES, LABELS, device="cuda").evaluate(masks)
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-2)
