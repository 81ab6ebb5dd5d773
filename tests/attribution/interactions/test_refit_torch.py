"""The refits of all targets at once, here on torch's CPU device, are those that NumPy solves one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attribution.errors import AttributionError
from attribution.fourier.basis import basis
from attribution.interactions.refit import Design, Fit, OnDemandSolver, Request
from attribution.interactions.refit_torch import solve_on_device
from attribution.screening.screen import set_columns
from tests.games import planted_interactions

TORCH_CPU = "cpu:0"  # torch's own name for it; "cpu" is NumPy
N_PLAYERS, N_FOLDS, N_LEVELS = 40, 6, 3
# Both stop at the same iteration; what is left is the rounding of float32, relative to outputs of spread 1.
ROUNDING = 1e-5


def campaign(weighted: bool, seed: int = 0) -> tuple[Design, list[Request]]:
    """Four targets of different units with 2 to 9 candidates, of which each fit uses some, in an order of its own."""
    rng = np.random.default_rng(seed)
    games = [planted_interactions(N_PLAYERS, k, noise_ceiling=0.8, n_pairs=5, n_triples=2) for k in range(4)]
    masks = games[0].draw_masks(500, seed=5)
    phi, folds = basis(masks, 0.5), np.minimum(rng.integers(0, 7, 500), 5)
    design = Design.of(phi, rng.uniform(0.5, 2.0, 500) if weighted else None, folds)
    requests = []
    for target, game in enumerate(games):
        others = [tuple(sorted(rng.choice(N_PLAYERS, 2, replace=False))) for _ in range(2 * target + 1)]
        sets = np.array([(*members, -1)[:3] for members in dict.fromkeys([game.planted[0], *others])])
        outputs = (game.observe(masks, target) + 3.0) * 10.0**target
        unit = outputs.std()
        fits = []
        for fold in (*range(N_FOLDS), None):
            used = rng.permutation(len(sets))[: rng.integers(0, len(sets) + 1)]
            penalties = rng.uniform(0.0, 0.05, (N_LEVELS, len(used))) * unit
            penalties[rng.random(penalties.shape) < 0.2] = np.inf
            main = np.where(rng.random(N_PLAYERS) < 0.1, np.inf, rng.uniform(0.01, 0.05) * unit)
            fits.append(Fit(fold, used, penalties, main, rng.normal(size=N_PLAYERS) * 0.05 * unit))
        requests.append(Request(set_columns(phi, sets), outputs, fits))
    return design, requests


def compare(design: Design, requests: list[Request], device: str, **options: int) -> None:
    solved = list(solve_on_device(device, design, requests, **options))
    assert len(solved) == len(requests)
    every = np.arange(N_LEVELS)
    n_zero = n_found = 0
    for request, together in zip(requests, solved, strict=True):
        alone, unit = OnDemandSolver(design, request), request.outputs.std()
        for fit in range(N_FOLDS + 1):
            expected, found = alone.solve(fit, every), together.solve(fit, every)
            for one, other in zip(found, expected, strict=True):
                assert one.shape == other.shape
                assert np.abs(one - other).max(initial=0.0) < ROUNDING * unit
            assert ((found[0] == 0) == (expected[0] == 0)).mean() > 0.99
            n_zero, n_found = n_zero + int((expected[1] == 0).sum()), n_found + int((expected[1] != 0).sum())
    assert n_zero and n_found  # sets were kept out, and let in


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_target_gets_the_solutions_it_gets_alone(weighted: bool, seed: int) -> None:
    compare(*campaign(weighted, seed), TORCH_CPU)


def test_blocks_of_targets_change_nothing() -> None:
    for block_bytes in (1, 500_000, 900_000):
        compare(*campaign(False), TORCH_CPU, block_bytes=block_bytes)


def test_a_row_of_penalties_can_be_asked_for_alone() -> None:
    design, requests = campaign(True)
    together = next(solve_on_device(TORCH_CPU, design, requests))
    whole, row = together.solve(2, np.arange(N_LEVELS)), together.solve(2, np.array([1]))
    for all_rows, one in zip(whole, row, strict=True):
        assert np.array_equal(all_rows[[1]], one)


def test_nothing_asked_for_is_nothing_solved() -> None:
    design, _ = campaign(False)
    assert list(solve_on_device(TORCH_CPU, design, [])) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a GPU here")
def test_a_device_that_is_not_there_is_an_error() -> None:
    with pytest.raises(AttributionError, match="device is 'cuda'"):
        next(solve_on_device("cuda", *campaign(False)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
def test_on_a_gpu_the_solutions_are_those_of_numpy() -> None:
    compare(*campaign(True), "cuda")
