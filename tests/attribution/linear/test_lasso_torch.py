"""The path solver in torch, here on torch's CPU device, gives the coefficients of the NumPy one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attribution.errors import AttributionError
from attribution.fourier.basis import basis
from attribution.linear.datamodel_fit import fit_linear
from attribution.linear.lasso import Moments, penalty_grid, solve_l1, solve_l1_each
from attribution.linear.lasso_torch import solve_l1_on_device
from attribution.masks.folds import assign_folds
from tests.games import planted_interactions

TORCH_CPU = "cpu:0"  # torch's own name for it; "cpu" is NumPy
# Both stop a target at the same iteration, so that what is left is the rounding of float32 products, some 1e-6 of the
# largest coefficient; that of 1e-5 is what may differ.
ROUNDING = 1e-5


def data(n_targets: int = 7, n_masks: int = 400, n_players: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Masks' basis and outputs of one spread, of games with different noise: targets converge at different times. Two
    players come and go together nearly always: the Gram matrix is far from the identity."""
    games = [
        planted_interactions(n_players, seed, noise_ceiling=ceiling, n_pairs=6, n_triples=2)
        for seed, ceiling in enumerate(np.linspace(0.1, 0.95, n_targets))
    ]
    masks = games[0].draw_masks(n_masks, seed=5)
    masks[:, 1] = masks[:, 0] ^ (np.random.default_rng(0).random(n_masks) < 0.05)
    outputs = np.column_stack([game.observe(masks, seed) for seed, game in enumerate(games)])
    return basis(masks, 0.5), (outputs - outputs.mean(axis=0)) / outputs.std(axis=0)


def problems():
    """Three folds' Gram matrices, covariances, four penalties each and a start."""
    phi, y = data()
    rng = np.random.default_rng(1)
    found = []
    for problem in range(3):
        rows = np.flatnonzero(np.arange(len(phi)) % 3 != problem)
        gram, covariance = Moments.of(phi[rows], y[rows].astype(np.float32)).centred()
        relative = np.ones(phi.shape[1])
        relative[rng.integers(0, 60, 5)] = np.inf  # columns that may not enter
        penalties = penalty_grid(covariance, np.ones(60), 4, 0.05)[:, :, None] * relative
        found.append((gram, covariance, penalties, rng.normal(size=(7, 4, 60)).astype(np.float32) * 0.01))
    return [list(part) for part in zip(*found, strict=True)]


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6])
@pytest.mark.parametrize("started", [False, True])
def test_every_problem_gets_the_coefficients_it_gets_alone_from_numpy(tolerance: float, started: bool) -> None:
    grams, covariances, penalties, starts = problems()
    starts = starts if started else [None] * 3
    found = solve_l1_on_device(TORCH_CPU, grams, covariances, penalties, starts, tolerance=tolerance)
    for problem in range(3):
        expected = solve_l1(
            grams[problem], covariances[problem], penalties[problem], start=starts[problem], tolerance=tolerance
        )
        assert (expected == 0).any() and np.abs(expected).max() > 0.1
        assert np.abs(found[problem] - expected).max() < ROUNDING
        kept_out = np.isinf(penalties[problem][0, 0])
        assert kept_out.any() and (found[problem][:, :, kept_out] == 0).all()


def test_a_problem_that_has_not_converged_returns_its_last_iterate() -> None:
    grams, covariances, penalties, _ = problems()
    found = solve_l1_on_device(TORCH_CPU, grams, covariances, penalties, [None] * 3, tolerance=1e-6, max_iterations=13)
    for problem in range(3):
        expected = solve_l1(
            grams[problem], covariances[problem], penalties[problem], tolerance=1e-6, max_iterations=13
        )
        assert np.abs(found[problem] - expected).max() < ROUNDING


@pytest.mark.parametrize("weighted", [False, True])
def test_the_datamodel_is_that_of_numpy(weighted: bool) -> None:
    phi, y = data()
    weight = np.random.default_rng(2).uniform(0.5, 2.0, len(phi)) if weighted else None
    folds = assign_folds(np.arange(len(phi)), 6, seed=0)
    allowed = np.random.default_rng(3).random((7, 60)) < 0.9
    found, expected = (
        fit_linear(phi, y, folds, weight=weight, allowed=allowed, device=device) for device in (TORCH_CPU, "cpu")
    )
    assert np.array_equal(found.penalty, expected.penalty) and np.array_equal(found.fold_penalty, expected.fold_penalty)
    for name in ("coef", "intercept", "fold_coef", "fold_intercept", "predicted"):
        assert np.abs(getattr(found, name) - getattr(expected, name)).max() < ROUNDING, name
    assert (found.fold_coef == 0).any() and not found.coef[:, ~allowed[-1]].any()


def test_a_device_that_is_not_there_is_an_error() -> None:
    if torch.cuda.is_available():
        pytest.skip("torch finds a GPU")
    with pytest.raises(AttributionError, match="device is 'cuda'"):
        solve_l1_each("cuda", *problems())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
def test_on_a_gpu_the_coefficients_are_those_of_numpy() -> None:
    given = problems()
    for found, expected in zip(solve_l1_each("cuda", *given), solve_l1_each("cpu", *given), strict=True):
        assert np.abs(found - expected).max() < ROUNDING
