"""R^2, LDS and the noise ceiling are their definitions, and their intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import r2_score

from attribution.errors import AttributionError
from attribution.statistics.faithfulness import lds, noise_ceiling, r2, r2_interval


def campaign(n_masks=256, n_targets=4, ceiling=0.4, seed=0):
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n_masks, n_targets)) * np.sqrt(ceiling)
    noise = np.sqrt(1 - ceiling)
    return signal, *(signal + noise * rng.normal(size=signal.shape) for _ in range(2))


def test_r2_and_lds_equal_the_libraries():
    signal, outputs, _ = campaign()
    predicted = np.round(signal, 1)  # ties
    assert np.allclose(r2(outputs, predicted), r2_score(outputs, predicted, multioutput="raw_values"))
    expected = [spearmanr(outputs[:, k], predicted[:, k]).statistic for k in range(4)]
    assert np.allclose(lds(outputs, predicted), expected)


def test_outputs_that_do_not_vary_have_no_score():
    outputs = np.ones((20, 1))
    predicted = np.random.default_rng(0).normal(size=(20, 1))
    assert np.isnan(r2(outputs, predicted)).all() and np.isnan(lds(outputs, predicted)).all()
    assert lds(predicted, outputs) == 0.0
    interval = r2_interval(outputs, predicted)
    assert np.isnan(interval.low).all()


def test_noise_ceiling_interval_covers_the_truth():
    inside = total = 0
    width = []
    for seed in range(60):
        _, first, second = campaign(n_targets=20, ceiling=0.3, seed=seed)
        interval = noise_ceiling(first, second)
        inside += ((interval.low <= 0.3) & (interval.high >= 0.3)).sum()
        width.append(interval.high - interval.low)
        total += 20
    assert 0.93 <= inside / total <= 0.97
    assert 0.18 < np.mean(width) < 0.28


def test_r2_interval_covers_the_r2_of_many_masks():
    signal, outputs, _ = campaign(n_masks=200_000, n_targets=1, ceiling=0.5)
    truth = r2(outputs, signal)[0]
    inside = 0
    for k in range(200):
        rows = slice(256 * k, 256 * (k + 1))
        interval = r2_interval(outputs[rows], signal[rows], n_resamples=200, seed=k)
        inside += interval.low[0] <= truth <= interval.high[0]
    assert 0.89 <= inside / 200 <= 0.99


def test_a_perfect_function_of_the_mask_reaches_the_ceiling():
    signal, first, second = campaign(n_masks=4000, ceiling=0.6, seed=3)
    assert np.abs(noise_ceiling(first, second).value - r2(first, signal)).max() < 0.05


def test_masks_trained_once_leave_the_ceiling_to_the_others():
    _, first, second = campaign()
    holes = second.copy()
    holes[40:] = np.nan
    assert np.allclose(noise_ceiling(first, holes).value, noise_ceiling(first[:40], second[:40]).value)
    unknown = noise_ceiling(first, None)
    assert np.isnan(unknown.value).all() and np.isnan(unknown.high).all()
    assert np.isnan(noise_ceiling(first[:5], second[:5]).value).all()
    with pytest.raises(AttributionError, match="row by row"):
        noise_ceiling(first, second[:10])
