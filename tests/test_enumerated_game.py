"""A real retraining game, every training set of six digits: indices and the estimator beside the enumerated truth."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest

from attribution import Datamodel, ProxySPEX
from attribution.fourier.spectrum import Spectrum
from tests.games import all_masks
from training import Recipe, load_dataset, retrain

N = 6
SEEDS = 12
RECIPE = Recipe(width=2, epochs=12, batch_size=3, learning_rate=0.1, average_last=0.5)


@pytest.fixture(scope="module")
def runs() -> np.ndarray:
    """(seeds, 2^6, targets): outputs of every subset, the empty one included, from every seed."""
    dataset = load_dataset("digits", classes=["0", "1"], n_train=N, n_targets=8, n_audit=2)
    masks = np.tile(all_masks(N), (SEEDS, 1))
    outputs = retrain(dataset, masks, range(len(masks)), RECIPE, ensemble_size=64).outputs
    return outputs.reshape(SEEDS, 2**N, -1).astype(np.float64)


@pytest.fixture(scope="module")
def truth(runs: np.ndarray) -> np.ndarray:
    return runs.mean(axis=0)


def spectrum_of(values: np.ndarray) -> Spectrum:
    phi = 2.0 * all_masks(N) - 1.0
    sets = [members for order in range(N + 1) for members in combinations(range(N), order)]
    terms = {members: float((values * phi[:, list(members)].prod(axis=1)).mean()) for members in sets}
    return Spectrum.from_terms(terms, N, 0.5)


def row_of(members: frozenset[int]) -> int:
    wanted = np.isin(np.arange(N), list(members))
    return int(np.flatnonzero((all_masks(N) == wanted).all(axis=1))[0])


def test_the_exact_spectrum_is_the_table(truth: np.ndarray) -> None:
    for values in truth.T:
        np.testing.assert_allclose(spectrum_of(values).evaluate(all_masks(N)), values, atol=1e-10)


def test_shapley_values_of_the_retrained_game(truth: np.ndarray) -> None:
    values = truth[:, 0]
    shapley = np.zeros(N)
    for player in range(N):
        others = [other for other in range(N) if other != player]
        for size in range(N):
            weight = factorial(size) * factorial(N - size - 1) / factorial(N)
            for coalition in map(frozenset, combinations(others, size)):
                shapley[player] += weight * (values[row_of(coalition | {player})] - values[row_of(coalition)])
    np.testing.assert_allclose(spectrum_of(values).shapley(), shapley, atol=1e-10)
    assert shapley.sum() == pytest.approx(values[row_of(frozenset(range(N)))] - values[row_of(frozenset())])


def test_banzhaf_interactions_of_the_retrained_game(truth: np.ndarray) -> None:
    values, masks = truth[:, 1], all_masks(N)
    for i, j in combinations(range(N), 2):
        signs = (2 * masks[:, i] - 1) * (2 * masks[:, j] - 1)
        assert spectrum_of(values).banzhaf((i, j)) == pytest.approx(4 * (signs * values).mean(), abs=1e-10)


def test_from_single_runs_the_estimator_comes_close_to_the_truth(runs: np.ndarray, truth: np.ndarray) -> None:
    """Fitted on half of the seeds, one row a run; the truth is the other half's mean, so no noise is shared."""
    fitted, held = runs[: SEEDS // 2], runs[SEEDS // 2 :].mean(axis=0)
    masks = np.tile(all_masks(N), (SEEDS // 2, 1))
    model = ProxySPEX(alpha=0.5).fit(masks, fitted.reshape(len(masks), -1))
    main = np.array([[spectrum_of(values).banzhaf((i,)) for i in range(N)] for values in held.T])
    assert np.corrcoef(model.effects_.ravel(), main.ravel())[0, 1] > 0.9
    linear = Datamodel(alpha=0.5).fit(masks, fitted.reshape(len(masks), -1))
    errors = [((found.predict(all_masks(N)) - held) ** 2).sum() for found in (model, linear)]
    assert errors[0] < 0.75 * errors[1]
