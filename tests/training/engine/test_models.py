"""The networks and the optimiser are the ordinary ones, written for K members."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from training import Recipe
from training.engine.engine import FlatParameters
from training.engine.models import build_model, initialise


def n_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def member(model: nn.Module, which: int, ensemble_size: int) -> dict[str, torch.Tensor]:
    """The weights of one of K members, in the layout of a network of one."""
    state = {}
    for name, values in model.state_dict().items():
        state[name] = values if values.ndim == 0 else values.chunk(ensemble_size, dim=0)[which]
    return state


@pytest.mark.parametrize(
    ("recipe", "shape", "n_classes"),
    [
        (Recipe(), (8, 8, 1), 10),
        (Recipe(width=4, blocks=2), (9, 7, 3), 3),
        (Recipe(architecture="resnet9", width=4), (16, 16, 3), 5),
    ],
    ids=["digits", "odd sizes", "resnet9"],
)
def test_k_members_compute_what_each_computes_alone(recipe, shape, n_classes):
    height, width, channels = shape
    together = build_model(recipe, 3, shape, n_classes).double()
    initialise(together, [11, 12, 13])
    images = torch.randn(
        6, 3 * channels, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    logits = together(images)
    assert logits.shape == (3, 6, n_classes)
    for which in range(3):
        alone = build_model(recipe, 1, shape, n_classes).double()
        alone.load_state_dict(member(together, which, 3), strict=False)
        own = alone(images[:, which * channels : (which + 1) * channels])[0]
        torch.testing.assert_close(logits[which], own, rtol=0, atol=1e-12)


def test_initial_weights_come_from_the_seed_and_not_from_the_place():
    first = build_model(Recipe(), 3, (8, 8, 1), 10)
    initialise(first, [1, 2, 3])
    second = build_model(Recipe(), 2, (8, 8, 1), 10)
    initialise(second, [3, 1])
    for name, values in member(first, 0, 3).items():
        assert torch.equal(values, member(second, 1, 2)[name])
    for name, values in member(first, 2, 3).items():
        assert torch.equal(values, member(second, 0, 2)[name])
    assert not torch.equal(member(first, 0, 3)["stem.0.weight"], member(first, 1, 3)["stem.0.weight"])


def test_initial_weights_have_the_variance_of_he_et_al():
    model = build_model(Recipe(width=32), 1, (8, 8, 3), 10)
    initialise(model, [0])
    weights = model.blocks[1].second[0].weight
    assert weights.std().item() == pytest.approx(np.sqrt(2 / (64 * 9)), rel=0.02)
    assert abs(weights.mean().item()) < 1e-3


def test_sizes_are_those_documented():
    assert n_parameters(build_model(Recipe(), 1, (8, 8, 1), 10)) == 19_074
    # Datamodels' ResNet-9, layer by layer: convolutions, two numbers of normalisation per channel, the last
    # layer.
    convolutions = 9 * 3 * 64 + 25 * 64 * 128 + 2 * 9 * 128**2 + 9 * 128 * 256 + 2 * 9 * 256**2 + 9 * 256 * 128
    normalisation = 2 * (64 + 128 + 2 * 128 + 256 + 2 * 256 + 128)
    resnet9 = build_model(Recipe(architecture="resnet9", width=64), 1, (32, 32, 3), 10)
    assert n_parameters(resnet9) == convolutions + normalisation + 128 * 10


@pytest.mark.parametrize("nesterov", [True, False])
def test_a_step_is_a_step_of_torch_s_own_sgd(nesterov):
    recipe = Recipe(nesterov=nesterov, weight_decay=1e-2)
    ours = build_model(recipe, 1, (8, 8, 1), 4).double()
    initialise(ours, [0])
    theirs = build_model(recipe, 1, (8, 8, 1), 4).double()
    theirs.load_state_dict(ours.state_dict())
    flat = FlatParameters(ours)
    optimiser = torch.optim.SGD(theirs.parameters(), lr=1.0, momentum=0.9, weight_decay=1e-2, nesterov=nesterov)
    generator = torch.Generator().manual_seed(0)
    for rate in (0.1, 0.3, 0.2, 0.05):
        images = torch.randn(10, 1, 8, 8, dtype=torch.float64, generator=generator)
        labels = torch.randint(0, 4, (10,), generator=generator)
        flat.zero_grad()
        F.cross_entropy(ours(images)[0], labels).backward()
        flat.sgd_step(rate, recipe)
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        F.cross_entropy(theirs(images)[0], labels).backward()
        optimiser.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)
