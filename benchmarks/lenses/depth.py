"""Where interactions live: energy by order in every layer alone, and by pair of layers.

    python benchmarks/lenses/depth.py heads [seed ...] [-images]    all 65,536 masks of 16 heads of a small vision
                                                                    transformer of four layers
    python benchmarks/lenses/depth.py deep [seed ...]     all 4,096 masks of 12 heads of one of six layers of two heads
    python benchmarks/lenses/depth.py channels            ProxySPEX on the filters of the small ResNet, layer by layer

Tables: benchmarks/lenses.md.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import nn

from ablation import ComponentGame
from attribution import Datamodel, ProxySPEX
from attribution.spex.decoder import walsh_hadamard
from flows.lenses.digits import DigitsTransformer, _trained, resnet, transformer


class SixLayers(DigitsTransformer):
    """Six layers of two heads, otherwise as the transformer that ships."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True, norm_first=True) for _ in range(6))
        )


def deep(*seeds: str, n_images: int = 24) -> None:
    """As `heads`, of a deeper network."""
    for seed in map(int, seeds or "0"):
        energies(seed, *_trained(SixLayers, seed, epochs=30, learning_rate=0.004), n_images)


def heads(*given: str) -> None:
    """Exact energies of a model of each seed: by order, within and between layers, and within each layer alone."""
    numbers = [int(one) for one in given]
    n_images = next((-one for one in numbers if one < 0), 8)
    for seed in [one for one in numbers if one >= 0] or [0]:
        energies(seed, *transformer(seed), n_images)


def energies(seed: int, model: nn.Module, images: np.ndarray, labels: np.ndarray, n_images: int) -> None:
    """Print the energies of one model."""
    with torch.inference_mode():
        right = float((model(torch.from_numpy(images)).argmax(1).numpy() == labels).mean())
    game = ComponentGame(model, images[:n_images], labels[:n_images], components="heads", ablation="mean",
                         batch_size=1024)  # fmt: skip
    layers = np.array([player.depth for player in game.players])
    n = game.n_players
    masks = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(bool)
    order = masks.sum(axis=1)
    energy = (walsh_hadamard(game.evaluate(masks).astype(np.float64)) ** 2).mean(axis=1)
    total = energy[order > 0].sum()
    by_order = [energy[order == k].sum() / total for k in range(1, 6)]
    print(
        f"model {seed} ({right:.1%} right, {n_images} images): energy by order "
        + " ".join(f"{share:.1%}" for share in by_order)
    )
    between = np.zeros((layers.max() + 1,) * 2)
    for row in np.flatnonzero(order >= 2):
        own = layers[masks[row]]
        pairs = [(a, b) for i, a in enumerate(own) for b in own[i + 1 :]]
        for a, b in pairs:
            between[a, b] += energy[row] / len(pairs) / 2
            between[b, a] += energy[row] / len(pairs) / 2
    between /= between.sum()
    print(f"  within one layer {np.trace(between):.1%} (a pair drawn at random: {_chance(layers):.1%})")
    print(np.array2string(100 * between, precision=1, suppress_small=True, prefix="  "))
    for layer in range(layers.max() + 1):
        inside = masks[:, layers != layer].all(axis=1)  # the other layers whole
        own = walsh_hadamard(game.evaluate(masks[inside]).astype(np.float64)) ** 2
        alone = order[inside] - (n - (layers == layer).sum())
        of = own.mean(axis=1)
        share = of[alone >= 2].sum() / of[alone > 0].sum()
        print(f"  layer {layer} alone: {share:.1%} beyond order one", flush=True)


def channels(n_images: int = 24, n_masks: int = 1000) -> None:
    """Share of the variance that is not linear in every layer alone, on unseen masks, at alpha one half."""
    model, images, labels = resnet()
    whole = ComponentGame(model, images[:n_images], labels[:n_images], components="channels", ablation="mean")
    for site in whole.sites:
        game = ComponentGame(model, images[:n_images], labels[:n_images], within=[site.owner], ablation="mean",
                             components="channels", batch_size=512)  # fmt: skip
        rng = np.random.default_rng(0)
        masks, unseen = (rng.random((m, game.n_players)) < 0.5 for m in (n_masks, 500))
        outputs, held = game.evaluate(masks), game.evaluate(unseen)
        scores = []
        for one in (Datamodel(), ProxySPEX(max_order=3)):
            left = held - one.fit(masks, outputs).predict(unseen)
            scores.append(float(np.median(1 - (left**2).mean(axis=0) / held.var(axis=0))))
        print(
            f"{site.owner}: {game.n_players} filters, output sd {held.std(axis=0).mean():.2f}, median R2 linear "
            f"{scores[0]:.3f}, ProxySPEX {scores[1]:.3f}", flush=True,
        )  # fmt: skip


def _chance(layers: np.ndarray) -> float:
    """Share of pairs of different players that are of one layer."""
    same = layers[:, None] == layers[None]
    return float((same.sum() - len(layers)) / (len(layers) * (len(layers) - 1)))


if __name__ == "__main__":
    {"heads": heads, "deep": deep, "channels": channels}[sys.argv[1]](*sys.argv[2:])
