"""The torch booster, here on torch's CPU device, grows the trees of the NumPy one; on a GPU where there is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from attribution import BoostedProxy
from attribution.device import exact_products, torch_device
from attribution.errors import AttributionError
from attribution.proxy.boosted_trees import BoostedTrees, BoosterSettings
from attribution.proxy.booster import fit_booster
from attribution.proxy.booster_torch import _Masks, fit_on_device
from attribution.proxy.fit import fit_proxy
from tests.games import planted_interactions, random_trees

TORCH_CPU = "cpu:0"  # torch's own name for it; "cpu" is NumPy
HAS_GPU = torch.cuda.is_available()
needs_gpu = pytest.mark.skipif(not HAS_GPU, reason="torch finds no GPU")


def campaign(n_targets: int = 5, n_masks: int = 700, n_players: int = 40):
    """Games of pairs, triples and random trees, with noise; a sixth of the masks held out."""
    games = [planted_interactions(n_players, seed, noise_ceiling=0.6, n_pairs=6, n_triples=2) for seed in range(3)]
    games += [random_trees(n_players, 12, 3, seed, noise_sd=1.0) for seed in range(n_targets - 3)]
    masks = games[0].draw_masks(n_masks, seed=5)
    outputs = np.column_stack([game.observe(masks, seed) for seed, game in enumerate(games)])
    return masks, outputs * np.geomspace(1e-3, 1e3, n_targets) + 7.0, np.arange(n_masks) % 6 == 0


def differences(found: BoostedTrees, expected: BoostedTrees, masks: np.ndarray, outputs: np.ndarray) -> float:
    """Check that the trees are the same; the largest difference of predictions in units of each target's spread."""
    assert found.n_trees.tolist() == expected.n_trees.tolist()
    assert found.players.shape == expected.players.shape
    for target, n_trees in enumerate(expected.n_trees):
        assert np.array_equal(found.players[:n_trees, target], expected.players[:n_trees, target])
    return float((np.abs(found.predict(masks) - expected.predict(masks)) / outputs.std(axis=0)).max())


# A leaf is a float32 sum of at most 700 residuals of size 1 over their count: off by some 1e-7 whatever the order of
# the additions. Each round starts from what the one before left, so the errors of 100 rounds add up to 1e-5 at most.
ROUNDING = 1e-5


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("stopped_early", [False, True])
def test_the_trees_are_those_of_the_numpy_booster(depth: int, weighted: bool, stopped_early: bool) -> None:
    masks, outputs, held = campaign()
    weight = np.random.default_rng(0).uniform(0.5, 2.0, len(masks)) if weighted else None
    patience = 12 if stopped_early else 0
    settings = {"max_depth": depth, "learning_rate": 0.1, "n_estimators": 100, "early_stopping_rounds": patience}
    found, expected = (
        fit_booster(masks, outputs, BoosterSettings(**settings, device=device), validation=held, sample_weight=weight)
        for device in (TORCH_CPU, "cpu")
    )
    if stopped_early:
        assert len(set(expected.n_trees.tolist())) > 1 and expected.n_trees.min() < 100
        assert np.allclose(found.validation_error, expected.validation_error, rtol=1e-4, equal_nan=True)
    assert differences(found, expected, masks, outputs) < ROUNDING


def test_with_a_penalty_on_leaves_and_large_children_the_trees_are_the_same() -> None:
    masks, outputs, held = campaign(n_masks=400)
    trees = {"max_depth": 3, "n_estimators": 40, "early_stopping_rounds": 8}
    settings = {"reg_lambda": 2.0, "min_child_samples": 45, **trees}
    found, expected = (
        fit_booster(masks, outputs, BoosterSettings(**settings, device=device), validation=held)
        for device in (TORCH_CPU, "cpu")
    )
    assert (expected.players == -1).any()  # nodes too small to split
    assert differences(found, expected, masks, outputs) < ROUNDING


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_blocks_of_any_size_give_the_same_trees(at_once: int) -> None:
    masks, outputs, held = campaign()
    settings = BoosterSettings(learning_rate=0.1, n_estimators=60, early_stopping_rounds=6, device=TORCH_CPU)
    per_target = _Masks(masks, held, None, settings).bytes_per_target(settings.max_depth)
    found = fit_on_device(masks, outputs, held, None, settings, block_bytes=at_once * per_target)
    whole = fit_on_device(masks, outputs, held, None, settings)
    assert differences(found, whole, masks, outputs) < ROUNDING


def test_spectra_are_those_of_the_numpy_booster() -> None:
    masks, outputs, held = campaign()
    proxies = [
        fit_proxy(
            masks,
            outputs,
            BoosterSettings(n_estimators=80, early_stopping_rounds=10, device=device),
            validation=held,
        )
        for device in (TORCH_CPU, "cpu")
    ]
    for target in range(outputs.shape[1]):
        found, expected = (proxy.spectrum(target, 0.3).terms for proxy in proxies)
        assert found.keys() == expected.keys()
        largest = max(abs(found[members] - expected[members]) for members in expected)
        assert largest < ROUNDING * outputs[:, target].std()


def test_constant_outputs_get_their_constant_and_no_split() -> None:
    masks = np.random.default_rng(0).random((100, 8)) < 0.5
    settings = BoosterSettings(n_estimators=5, early_stopping_rounds=0, device=TORCH_CPU)
    trees = fit_booster(masks, np.full((100, 1), 2.5), settings)
    assert (trees.players == -1).all()
    assert np.allclose(trees.predict(masks), 2.5)


def test_a_device_that_is_not_there_is_named_with_what_to_do() -> None:
    masks, outputs, _ = campaign(n_masks=60)
    absent = f"cuda:{torch.cuda.device_count()}" if HAS_GPU else "cuda"
    with pytest.raises(AttributionError, match=rf"device is '{absent}', but torch .* GPUs on this machine.*device=cpu"):
        fit_booster(masks, outputs, BoosterSettings(device=absent))
    with pytest.raises(AttributionError, match="'cuda' or another name of a torch device; got 'gpu'"):
        BoostedProxy(device="gpu").fit(masks, outputs)


def test_products_are_exact_inside_and_the_setting_is_put_back() -> None:
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    try:
        settings.fp32_precision = "tf32"
        with pytest.raises(KeyError), exact_products():
            assert settings.fp32_precision == "ieee"
            raise KeyError
        assert settings.fp32_precision == "tf32"
    finally:
        settings.fp32_precision = before


def test_torch_is_loaded_for_a_device_only() -> None:
    code = (
        "import sys, numpy as np; from attribution.proxy.booster import BoosterSettings, fit_booster\n"
        "masks = np.random.default_rng(0).random((60, 5)) < .5\n"
        "fit = lambda device: fit_booster(masks, masks[:, :2] * 1., BoosterSettings(n_estimators=2, device=device))\n"
        "fit('cpu'); assert 'torch' not in sys.modules\nfit('cpu:0'); assert 'torch' in sys.modules"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@needs_gpu
@pytest.mark.gpu
def test_on_a_gpu_the_trees_are_those_of_the_numpy_booster() -> None:
    masks, outputs, held = campaign(n_masks=3000)
    settings = {"learning_rate": 0.1, "n_estimators": 100, "early_stopping_rounds": 12}
    found, expected = (
        fit_booster(masks, outputs, BoosterSettings(**settings, device=device), validation=held)
        for device in ("cuda", "cpu")
    )
    assert torch_device("cuda").type == "cuda"
    assert differences(found, expected, masks, outputs) < ROUNDING
