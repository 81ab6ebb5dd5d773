"""Standard errors, intervals, q-values and shrinkage keep their nominal levels."""

from __future__ import annotations

import numpy as np
import pytest

from attribution.errors import AttributionError
from attribution.statistics.empirical_bayes import EffectPrior
from attribution.statistics.false_discovery import QValues, adjust, fit_q_values
from attribution.statistics.p_values import clustered_mean, gate_p_values, two_sided_p, z_of
from attribution.statistics.selective_intervals import conditional_estimate, conditional_interval
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP, Stratum, ZHistograms, add_to_histogram


def test_clustered_error_of_replicates_is_that_of_their_means():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(50, 3))
    mean, error = clustered_mean(np.repeat(means, 4, axis=0), None, np.repeat(np.arange(50), 4))
    assert np.allclose(mean, means.mean(axis=0))
    assert np.allclose(error, means.std(axis=0, ddof=1) / np.sqrt(50))


def test_labels_of_groups_may_be_any_integers():
    rng = np.random.default_rng(8)
    values, groups = rng.normal(size=(60, 2)), rng.integers(-1, 12, 60)
    first, second = clustered_mean(values, None, groups), clustered_mean(values, None, groups + 5)
    assert -1 in groups and np.array_equal(first[1], second[1])


def test_weighted_mean_and_its_error_do_not_depend_on_the_scale_of_weights():
    rng = np.random.default_rng(1)
    values, weight, groups = rng.normal(size=(80, 2)), rng.uniform(0.2, 3, 80), rng.permutation(80)
    first, second = (clustered_mean(values, weight * k, groups) for k in (1.0, 7.0))
    assert np.allclose(first[0], np.average(values, axis=0, weights=weight))
    assert np.allclose(first[1], second[1])


def test_adjusted_p_values_equal_the_textbook():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert np.allclose(adjust(p, "BH"), [0.02, 0.04, 0.04, 0.02])
    assert np.allclose(adjust(p, "BY"), np.array([0.02, 0.04, 0.04, 0.02]) * (25 / 12), rtol=1e-14)
    assert adjust(np.zeros(0)).shape == (0,)
    with pytest.raises(AttributionError, match="BY"):
        adjust(p, "FWER")


def histogram(z: np.ndarray) -> np.ndarray:
    counts = np.zeros(N_Z_BINS, dtype=np.int64)
    add_to_histogram(counts, z)
    return counts


def test_q_values_from_histograms_are_those_of_all_p_values_and_never_smaller():
    rng = np.random.default_rng(2)
    z = np.abs(np.concatenate([rng.normal(size=20_000), rng.normal(4.5, 1, 60)]))
    p = two_sided_p(z)
    exact = adjust(p, "BH")
    rule = QValues.fit({Stratum(2): histogram(z)}, "BH")
    found = rule.of(p, Stratum(2))
    assert (found >= exact - 1e-9).all()
    small = exact < 0.2
    assert (found[small] < 1.05 * exact[small] + 1e-4).all()


@pytest.mark.parametrize("n", [1, 2, 4, 50])
def test_the_rule_from_histograms_has_the_harmonic_factor_of_benjamini_and_yekutieli(n):
    counts = {Stratum(2): histogram(np.full(n, 4.0))}
    ratio = QValues.fit(counts, "BY").q[Stratum(2)][2000] / QValues.fit(counts, "BH").q[Stratum(2)][2000]
    assert ratio == pytest.approx(sum(1 / k for k in range(1, n + 1)), rel=1e-12)


def test_blocks_of_targets_give_the_q_values_of_one_family():
    rng = np.random.default_rng(3)
    z = np.abs(np.concatenate([rng.normal(size=9000), rng.normal(5, 1, 30)]))
    rng.shuffle(z)
    blocks = []
    for part in np.split(z, 6):
        block = ZHistograms()
        block.add_tests(Stratum(2), part)
        blocks.append(block)
    whole = ZHistograms()
    whole.add_tests(Stratum(2), z)
    together, alone = fit_q_values(blocks, "BH")[1], fit_q_values([whole], "BH")[1]
    assert together.n_tests == alone.n_tests == 9030
    assert np.array_equal(together.q[Stratum(2)], alone.q[Stratum(2)])


def test_a_million_triples_do_not_drown_the_pairs_and_both_count():
    pairs, triples = histogram(np.array([4.6] * 4 + [0.5] * 996)), histogram(np.full(1_000_000, 0.5))
    both = QValues.fit({Stratum(2): pairs, Stratum(3): triples}, "BH")
    alone = QValues.fit({Stratum(2): pairs}, "BH")
    p = two_sided_p(np.array([4.6]))
    assert both.of(p, Stratum(2))[0] <= 2.01 * alone.of(p, Stratum(2))[0]
    assert both.of(p, Stratum(3))[0] > 0.5


def test_discoveries_of_main_effects_do_not_license_interactions():
    block = ZHistograms()
    block.add_tests(Stratum(1), np.full(500, 8.0))
    block.add_tests(Stratum(2), np.concatenate([[3.9], np.full(10_000, 0.3)]))
    main, larger = fit_q_values([block], "BH")
    p = two_sided_p(np.array([3.9]))
    assert larger.of(p, Stratum(2))[0] > 0.5
    assert main.of(two_sided_p(np.array([8.0])), Stratum(1))[0] < 1e-10


def test_a_replaced_test_is_counted_once():
    block = ZHistograms()
    block.add_tests(Stratum(2), np.array([1.0, 2.0, 3.0]))
    block.replace(Stratum(2), np.array([2.0]), np.array([5.0]))
    assert block.n_tests(Stratum(2)) == 3
    assert block.counts[Stratum(2)][int(5.0 / Z_STEP)] == 1


def test_p_and_z_are_inverse_and_unknown_is_no_evidence():
    z = np.array([0.0, 1.0, 5.0, 20.0])
    assert np.allclose(z_of(two_sided_p(z)), z, atol=1e-8)
    assert two_sided_p(np.array([np.nan])) == 1.0


@pytest.mark.parametrize("truth", [0.0, 2.0, 3.5, 5.0])
def test_conditional_intervals_cover_the_truth_among_what_is_reported(truth):
    z = truth + np.random.default_rng(4).normal(size=60_000 if truth else 3_000_000)
    z = z[np.abs(z) >= 3.0]
    centre, error = conditional_estimate(z, np.full(len(z), 3.0))
    covered = (np.abs(centre - truth) <= 1.959964 * error).mean()
    assert abs(covered - 0.95) < 4 * np.sqrt(0.05 * 0.95 / len(z))


def test_far_above_the_threshold_the_conditional_interval_is_the_ordinary_one():
    low, high = conditional_interval(np.array([12.0, -12.0]), np.array([3.5, 3.5]))
    assert np.allclose(low, [10.04, -13.96], atol=5e-3) and np.allclose(high, [13.96, -10.04], atol=5e-3)


def test_shrinkage_recovers_the_mean_of_what_was_drawn():
    rng = np.random.default_rng(5)
    truth = np.where(rng.random(200_000) < 0.02, rng.normal(0, 4, 200_000), 0.0)
    z = truth + rng.normal(size=200_000)
    prior = EffectPrior.fit(histogram(z), Z_STEP)
    mean, p_null = prior.shrink(z)
    assert abs(prior.weights[0] - 0.98) < 0.006
    assert ((mean - truth) ** 2).mean() < 0.5 * ((np.where(np.abs(z) > 3, z, 0) - truth) ** 2).mean() + 0.03
    largest = np.argsort(-np.abs(z))[:2000]
    assert abs((np.abs(mean) - np.sign(z) * truth)[largest].mean()) < 0.1  # selected, and yet not inflated
    confident = p_null < 0.05
    assert (truth[confident] == 0).mean() < 0.05


def test_noise_alone_is_shrunk_to_nothing():
    z = np.random.default_rng(6).normal(size=50_000)
    mean, p_null = EffectPrior.fit(histogram(z), Z_STEP).shrink(z)
    assert np.abs(mean).max() < 0.7
    assert p_null.min() > 0.6


def test_the_gate_opens_for_a_better_model_and_not_for_an_equal_or_a_worse_one():
    rng = np.random.default_rng(7)
    signal = rng.normal(size=(900, 3))
    outputs = signal + rng.normal(size=(900, 3))
    worse = signal + 0.5 * rng.normal(size=(900, 3))
    p = gate_p_values(outputs, worse, signal, None, np.arange(900))
    assert (p < 1e-4).all()
    assert (gate_p_values(outputs, signal, worse, None, np.arange(900)) > 0.99).all()
    assert (gate_p_values(outputs, signal, signal, None, np.arange(900)) == 1.0).all()


def test_the_gate_keeps_its_level_where_two_predictions_differ_on_few_masks_of_skewed_outputs() -> None:
    # 18 of 900 masks, as in a rare cell: the t-test alone rejects .11, .04, .007 here.
    rng = np.random.default_rng(9)
    p = []
    for _ in range(10):
        outputs = rng.exponential(1.0, (900, 200)) - 1
        differ = np.repeat(np.where(rng.random((900, 1)) < 0.02, -1e-3, 2e-5), 200, axis=1)
        p.append(gate_p_values(outputs, np.zeros((900, 200)), differ, None, np.arange(900)))
    for level in (0.05, 0.01, 0.001):
        assert np.mean(np.array(p) <= level) <= level
