"""SPEX against noise, and gates beside deep copies. Tables: benchmarks/lenses.md.

python benchmarks/lenses/noise_and_gates.py [spex|gates|truth|half]
"""

from __future__ import annotations

import copy
import sys
import time

import numpy as np


def spex() -> None:
    """Recall of planted pairs by noise, n_bits and kind of decoding."""
    from attribution import Spectrum, SpexDesign
    from attribution.spex.decoder import bins_of, decode

    for n_bits in (6, 8):
        design = SpexDesign(200, n_bits, 2, seed=1)
        masks = design.masks()
        for soft in (False, True):
            for ratio in (0.05, 0.08, 0.10, 0.13, 0.16, 0.25):
                truths, outputs = [], []
                for seed in range(4):
                    rng = np.random.default_rng(seed)
                    terms: dict[tuple[int, ...], float] = {}
                    while len(terms) < 20:
                        pair = tuple(sorted(rng.choice(200, 2, replace=False).tolist()))
                        terms[pair] = float(rng.choice([-1, 1]))
                    function = Spectrum.from_terms(terms, 200, 0.5)
                    outputs.append(function.evaluate(masks) + rng.normal(size=len(masks)) / ratio)
                    truths.append(set(terms))
                found = decode(design, bins_of(design, np.stack(outputs, axis=1)), soft=soft)
                hits = sum(len(set(own) & truth) for own, truth in zip(found, truths, strict=True)) / 80
                false = sum(len(set(own) - truth) for own, truth in zip(found, truths, strict=True)) / 4
                kind = "soft" if soft else "hard"
                print(f"b={n_bits} {kind} |F|/sigma={ratio}: recall {hits:.2f}, false {false:.1f}")


def gates() -> None:
    """Processor time of a mask: gates in one forward pass, and one deep copy of the model."""
    import torch

    from ablation import ComponentGame
    from flows.lenses.digits import resnet

    torch.set_num_threads(1)
    model, images, labels = resnet()
    for n_images in (1, 24, 100):
        batch = torch.from_numpy(images[:n_images])
        game = ComponentGame(model, images[:n_images], labels[:n_images], batch_size=256)
        masks = np.random.default_rng(0).random((max(20, 2000 // n_images), game.n_players)) < 0.8
        seconds = []
        for _ in range(3):
            began = time.process_time()
            game.evaluate(masks)
            gated = time.process_time() - began
            began = time.process_time()
            for row in masks:
                modules = dict((own := copy.deepcopy(model)).named_modules())
                for site in game.sites:
                    off = torch.from_numpy(~row[site.first : site.first + site.n_players])
                    modules[site.layer].weight.data[off] = modules[site.layer].bias.data[off] = 0.0
                with torch.inference_mode():
                    own(batch)
            seconds.append((gated, time.process_time() - began))
        fast, slow = np.median(seconds, axis=0) / len(masks) * 1e3
        print(f"{n_images} images: gates {fast:.2f} ms a mask, deep copy {slow:.2f} ms, ratio {slow / fast:.1f}")


def truth() -> None:
    """All masks of 16 regions, and ProxySPEX from a few of them."""
    from ablation import PatchGame
    from attribution import Datamodel, ProxySPEX
    from attribution.spex.decoder import walsh_hadamard
    from flows.lenses.digits import resnet

    model, images, labels = resnet()
    masks = ((np.arange(2**16)[:, None] >> np.arange(16)) & 1).astype(bool)
    outputs = PatchGame(model, images[:24], labels[:24], batch_size=512).evaluate(masks).astype(np.float64)
    order = masks.sum(axis=1)
    exact = walsh_hadamard(outputs) * ((-1.0) ** order)[:, None]
    rng = np.random.default_rng(0)
    for n_masks in (200, 500, 1000, 3000):
        rows = rng.choice(2**16, n_masks, replace=False)
        fitted = ProxySPEX(max_order=3).fit(masks[rows], outputs[rows])
        linear = Datamodel().fit(masks[rows], outputs[rows])
        scores = [
            float(np.mean(1 - ((outputs - one.predict(masks)) ** 2).mean(axis=0) / outputs.var(axis=0)))
            for one in (linear, fitted)
        ]
        found = [
            (one, exact[sum(1 << i for i in one.members), target] * 2**one.order)
            for target in range(24)
            for one in fitted.interactions(target, max_q=0.05)
        ]
        covered = np.mean([abs(one.value - value) <= 1.96 * one.stderr for one, value in found])
        largest = max(abs(one.value - value) for one, value in found)
        print(f"{n_masks}: R2 {scores[0]:.3f} {scores[1]:.3f}, {len(found)} sets, {covered:.3f}, error {largest:.2f}")


def half() -> None:
    """Outputs in bfloat16 beside those in float32: regions, filters and heads, 300 masks of 24 images each."""
    from ablation import ComponentGame, PatchGame
    from flows.lenses.digits import resnet, transformer

    rng = np.random.default_rng(0)
    for name in ("patches", "channels", "heads"):
        model, images, labels = (transformer if name == "heads" else resnet)()
        found, seconds = [], []
        for dtype in ("float32", "bfloat16"):
            if name == "patches":
                game: PatchGame | ComponentGame = PatchGame(model, images[:24], labels[:24], dtype=dtype)
            else:
                game = ComponentGame(model, images[:24], labels[:24], components=name, ablation="mean", dtype=dtype)
            if dtype == "float32":
                masks = rng.random((300, game.n_players)) < (0.5 if name == "patches" else 0.8)
            began = time.process_time()
            found.append(game.evaluate(masks))
            seconds.append(time.process_time() - began)
        apart = np.abs(found[1] - found[0])
        flips = np.mean((found[0] > 0) != (found[1] > 0))
        print(
            f"{name}: outputs of standard deviation {found[0].std():.2f} differ by {apart.max():.3f} at most, "
            f"{apart.mean():.4f} in the mean; {flips:.2%} cross zero; {seconds[1] / seconds[0]:.1f} times "
            "the processor time"
        )


if __name__ == "__main__":
    for name in sys.argv[1:] or ["spex", "gates", "truth", "half"]:
        {"spex": spex, "gates": gates, "truth": truth, "half": half}[name]()
