"""Short training of a pruned model: what was removed stays removed, and the model that was given stays as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from ablation import AblationError, ComponentGame, fine_tune
from tests.ablation.networks import SmallTransformer
from tests.flows.games.lens_models import tiny


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_a_removed_channel_stays_at_what_replaces_it(ablation: str) -> None:
    model, images, labels = tiny()
    game = ComponentGame(model, images[:4], labels[:4], ablation=ablation)
    before = copy.deepcopy(model.state_dict())
    keep = np.arange(game.n_players) % 3 != 0
    tuned = fine_tune(game, keep, images, labels, epochs=3, learning_rate=0.01)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert not tuned.fixed.model.training and not np.allclose(tuned.logits(keep, images), game.logits(keep, images))
    for site, own in zip(tuned.sites, game.sites, strict=True):
        if ablation == "mean":
            assert site.mean is not None and own.mean is not None and torch.equal(site.mean, own.mean)
        else:
            assert site.mean is None
    # Weights of a removed filter have no gradient, so no step of AdamW moves them.
    trained = dict(tuned.fixed.model.named_parameters())
    first = game.sites[0]
    off = ~keep[first.first : first.first + first.n_players]
    name = f"{first.owner}.weight"
    assert torch.equal(trained[name][torch.from_numpy(off)], before[name][torch.from_numpy(off)])
    assert not torch.equal(trained[name], before[name])


def test_training_lowers_the_loss_of_a_pruned_network_and_repeats_by_seed() -> None:
    model, images, labels = tiny()
    game = ComponentGame(model, images[:4], labels[:4])
    keep = np.arange(game.n_players) != 1

    def loss(of: ComponentGame) -> float:
        found = torch.nn.functional.cross_entropy(torch.from_numpy(of.logits(keep, images)), torch.as_tensor(labels))
        return float(found)

    tuned, again = (fine_tune(game, keep, images, labels, epochs=5, learning_rate=0.01, seed=4) for _ in range(2))
    assert loss(tuned) < loss(game)
    np.testing.assert_array_equal(tuned.logits(keep, images), again.logits(keep, images))
    as_it_was = fine_tune(game, keep, images, labels, epochs=0)
    np.testing.assert_array_equal(as_it_was.logits(keep, images), game.logits(keep, images))


def test_heads_of_a_transformer_are_trained_around() -> None:
    torch.manual_seed(0)
    model = SmallTransformer(torch_layers=True).eval()
    game = ComponentGame(model, torch.rand(3, 1, 6, 6), [0, 1, 2], components="heads", ablation="mean")
    keep = np.arange(game.n_players) != 0
    images, labels = torch.rand(40, 1, 6, 6), torch.arange(40) % 3
    tuned = fine_tune(game, keep, images, labels, epochs=2, batch_size=16, learning_rate=0.01)
    assert np.isfinite(tuned.logits(keep, images)).all()
    assert not np.allclose(tuned.logits(keep, images), game.logits(keep, images))


def test_bad_input_is_named() -> None:
    model, images, labels = tiny()
    game = ComponentGame(model, images[:4], labels[:4])
    everyone = np.ones(game.n_players, bool)
    with pytest.raises(AblationError, match="one label for each image"):
        fine_tune(game, everyone, images[:5], labels[:4])
    with pytest.raises(AblationError, match="learning_rate positive"):
        fine_tune(game, everyone, images, labels, learning_rate=0.0)
    with pytest.raises(AblationError, match="masks must have shape"):
        fine_tune(game, everyone[1:], images, labels)
    with pytest.raises(AblationError, match="the loss is not finite"):
        fine_tune(game, everyone, np.full_like(images, 1e38), labels, learning_rate=0.01)
