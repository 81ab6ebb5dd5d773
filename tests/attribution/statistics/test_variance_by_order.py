"""Shares of variance by order: the kernels against enumeration, the estimate against its definition, its errors."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from attribution import AttributionError
from attribution.fourier.spectrum import Spectrum
from attribution.masks.inputs import check_groups
from attribution.statistics.variance_by_order import _Kernel, order_weights, zonal_polynomials
from tests import games
from tests.games import all_masks, mask_probabilities


@pytest.mark.parametrize("alpha", [0.25, 0.5])
def test_over_all_pairs_of_masks_the_kernel_gives_the_spectrums_energy(alpha):
    game = games.sum_of_unanimity(6, 20, 5, seed=0, alpha=alpha)
    masks = all_masks(6)
    weighted = mask_probabilities(masks, alpha) * game.evaluate(masks)
    energy = game.spectrum.energy_by_order()
    for order, kernel in enumerate(_Kernel(masks, alpha, False).block(slice(0, 64), 4), start=1):
        assert weighted @ np.broadcast_to(kernel, (64, 64)) @ weighted == pytest.approx(energy[order], rel=1e-4)


@pytest.mark.parametrize("size", [2, 3])
def test_among_masks_of_one_size_it_is_what_each_order_adds_to_the_best_fit(size):
    game = games.sum_of_unanimity(6, 20, 4, seed=1)
    masks = all_masks(6)
    masks = masks[masks.sum(axis=1) == size]
    values = game.evaluate(masks)
    explained = [0.0]
    for order in range(1, size + 1):
        columns = [masks[:, list(s)].all(axis=1) for k in range(order + 1) for s in combinations(range(6), k)]
        design = np.column_stack(columns).astype(float)
        fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]
        explained.append(float(((fitted - values.mean()) ** 2).mean()))
    kernels = _Kernel(masks, 0.5, True).block(slice(0, len(masks)), 3)
    for order in range(1, size + 1):
        found = values @ kernels[order - 1].astype(float) @ values / len(masks) ** 2
        assert found == pytest.approx(explained[order] - explained[order - 1], abs=1e-5)
    if size == 2:
        assert not kernels[2].any()


def test_zonal_polynomials_of_two_masks_that_are_one_are_the_dimension():
    table = zonal_polynomials(12, 5, 3)
    np.testing.assert_allclose(table[:, -1], [11, 66 - 12, 220 - 66], rtol=1e-10)


@pytest.mark.parametrize("grouped", [False, True])
def test_it_is_the_mean_over_pairs_of_different_groups(grouped):
    game = games.planted_interactions(9, seed=5, alpha=0.4, n_pairs=3, n_triples=1)
    masks, outputs = game.sample(60, 0)
    groups = np.arange(60) // 2 if grouped else np.arange(60)
    found = order_weights(masks, outputs, 0.4, groups=groups)
    groups = check_groups(groups, masks)  # equal masks form one group in any case
    y = outputs - outputs.mean()
    phi = (masks - 0.4) / 0.24**0.5
    for order in (1, 2):
        total = variance = n_pairs = 0.0
        for a in range(60):
            for b in range(60):
                if groups[a] == groups[b]:
                    continue
                kernel = sum(np.prod(phi[a, list(s)] * phi[b, list(s)]) for s in combinations(range(9), order))
                total, variance, n_pairs = total + y[a] * y[b] * kernel, variance + (y[a] - y[b]) ** 2 / 2, n_pairs + 1
        expected = total / variance / (1 - 2 / 60 + 2 / 60**2)
        assert found.share[order - 1, 0] == pytest.approx(expected, rel=1e-4)
        assert found.variance[0] == pytest.approx(variance / n_pairs)


@pytest.mark.parametrize("alpha", [0.3, 0.5])
def test_it_is_unbiased_and_its_error_is_right(alpha):
    game = games.planted_interactions(20, seed=4, alpha=alpha, n_pairs=4, n_triples=2, interaction_share=0.3)
    energy = game.spectrum.energy_by_order()
    total = game.spectrum.variance() + game.noise_sd**2
    truth = np.array([energy[order] / total for order in (1, 2, 3)])
    found = [order_weights(*game.sample(250, seed), alpha, max_order=3) for seed in range(120)]
    share, stderr = np.array([f.share[:, 0] for f in found]), np.array([f.stderr[:, 0] for f in found])
    spread = share.std(axis=0)
    assert (np.abs(share.mean(axis=0) - truth) < 4 * spread / 120**0.5 + 0.004).all()
    # The error's square, on average; 120 campaigns tell a standard deviation to 6.5%.
    np.testing.assert_allclose(np.sqrt((stderr**2).mean(axis=0)), spread, rtol=0.2)
    assert 0.90 <= (np.abs(share[:, 0] - truth[0]) < 1.96 * stderr[:, 0]).mean() <= 0.99


def test_seed_noise_shared_by_replicates_is_not_counted_as_agreement_of_masks():
    rng = np.random.default_rng(0)
    masks = np.repeat(rng.random((150, 10)) < 0.5, 3, axis=0)
    outputs = np.repeat(rng.normal(size=150), 3)
    found = order_weights(masks, outputs)
    assert abs(found.share[0, 0]) < 4 * found.stderr[0, 0] < 0.3
    assert found.p_values()[0, 0] > 1e-4


def test_pure_pairs_count_as_pairs():
    game = games.from_spectrum(Spectrum.from_terms({(0, 1): 1.0, (2, 3): 1.0}, 15, 0.5), noise_sd=1.0)
    found = order_weights(*game.sample(800, 1))
    assert found.p_values()[0, 0] > 0.01 and found.p_values()[1, 0] < 1e-6
    assert found.share[1, 0] == pytest.approx(2 / 3, abs=0.15)


def test_constant_outputs_have_no_shares_and_bad_input_is_named():
    masks = np.random.default_rng(0).random((100, 8)) < 0.5
    found = order_weights(masks, np.column_stack([masks[:, 0] * 1.0, np.full(100, 2.0)]))
    assert found.share[0, 0] == pytest.approx(1.0, abs=0.5)
    assert np.isnan(found.share[:, 1]).all() and found.variance[1] == 0 and (found.p_values()[:, 1] == 1).all()
    with pytest.raises(AttributionError, match="max_order"):
        order_weights(masks, masks[:, 0] * 1.0, max_order=9)
    with pytest.raises(AttributionError, match="one alpha"):
        order_weights(masks, masks[:, 0] * 1.0, np.full(100, 0.5))
    with pytest.raises(AttributionError, match="not finite"):
        order_weights(masks, np.full(100, np.nan))
