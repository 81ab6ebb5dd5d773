"""Weights far from equal: how many masks they are worth, and what errors and p-values make of it."""

import numpy as np
import pytest

from attribution import ProxySPEX
from attribution.errors import AttributionError, AttributionWarning
from attribution.estimators import SampleReuseBanzhaf
from attribution.masks.weights import effective_groups, weighted_df
from attribution.statistics.p_values import clustered_mean, gate_p_values, two_sided_p


def weights_worth(rng, n_masks, effective):
    """Lognormal weights of a given effective number."""
    spread, normal = (0.0, 8.0), rng.standard_normal(n_masks)
    for _ in range(60):
        middle = sum(spread) / 2
        weight = np.exp(middle * normal)
        large = effective_groups(weight, np.arange(n_masks)) > effective
        spread = (middle, spread[1]) if large else (spread[0], middle)
    return weight


def planted(seed, n_masks=400, effective=None):
    rng = np.random.default_rng(seed)
    masks = rng.random((n_masks, 10)) < 0.5
    weight = np.ones(n_masks) if effective is None else weights_worth(rng, n_masks, effective)
    noise = 0.3 * rng.standard_normal(n_masks) / np.sqrt(weight / weight.mean())
    return masks, masks @ np.arange(10.0) + (masks[:, 2] | masks[:, 5]) + noise, weight


def test_equal_weights_of_any_size_change_nothing():
    masks, outputs, _ = planted(0)
    with_none, with_sevens = ProxySPEX().fit(masks, outputs), ProxySPEX().fit(masks, outputs, sample_weight=[7.0] * 400)
    np.testing.assert_array_equal(with_none.effect_stderrs_, with_sevens.effect_stderrs_)
    np.testing.assert_array_equal(with_none.gate_p_, with_sevens.gate_p_)
    assert with_none.interactions() == with_sevens.interactions()


def test_groups_of_equal_size_are_worth_their_number():
    groups = np.arange(24) // 2
    assert effective_groups(None, groups) == effective_groups(np.full(24, 0.7), groups) == 12
    assert weighted_df(None, groups) is None


@pytest.mark.parametrize("effective", [15, 40])
def test_p_values_of_few_effective_masks_are_not_too_small(effective):
    """With normal p-values 2 (40 effective) to 3 times (15) as many lie below .001 as should."""
    rng = np.random.default_rng(1)
    m, count = 300, 20_000
    weight, groups = weights_worth(rng, m, effective), np.arange(300)
    values = rng.standard_normal((m, count)) / np.sqrt(weight)[:, None]
    mean, stderr = clustered_mean(values, weight, groups)
    p = two_sided_p(mean / stderr, weighted_df(weight, groups))
    assert 0.8 * 0.05 * count < (p <= 0.05).sum() < 0.05 * count + 4 * np.sqrt(0.05 * count)
    assert (p <= 0.001).sum() < 0.001 * count + 4 * np.sqrt(0.001 * count)


def test_the_interaction_test_counts_effective_masks():
    """A gain of 3.3 standard errors: p = .0005 of a normal variable, and .0018 with 19 degrees of freedom."""
    rng = np.random.default_rng(2)
    weight, groups = weights_worth(rng, 300, 20.0), np.arange(300)
    gain = rng.standard_normal((300, 1)) / np.sqrt(weight)[:, None]
    mean, stderr = clustered_mean(gain, weight, groups)
    gain += 3.3 * stderr - mean
    datamodel = np.full((300, 1), 30.0)  # (y - d)^2 - (y - s)^2 = gain with y = 0, s = sqrt(900 - gain)
    spectrum = np.sqrt(900.0 - gain)
    p = gate_p_values(np.zeros((300, 1)), datamodel, spectrum, weight, groups)
    assert p[0] == pytest.approx(0.0019, abs=2e-4)


def test_intervals_hold_the_truth_with_few_effective_masks():
    inside = {"spectrum": 0, "sample reuse": 0}
    for seed in range(30):
        masks, outputs, weight = planted(seed, 300, 25.0)
        truth = np.arange(10.0)
        truth[[2, 5]] += 0.5
        with pytest.warns(AttributionWarning, match="2[2-5] effective masks of 300"):
            model = ProxySPEX(max_order=2).fit(masks, outputs, sample_weight=weight)
            reuse = SampleReuseBanzhaf().fit(masks, outputs, sample_weight=weight)
        inside["spectrum"] += int((np.abs(model.effects_[0] - truth) <= 1.96 * model.effect_stderrs_[0]).sum())
        inside["sample reuse"] += int((np.abs(reuse.coef_[0] - truth) <= 1.96 * reuse.stderr_[0]).sum())
    for covered in inside.values():
        assert covered >= 300 * 0.95 - 3 * np.sqrt(300 * 0.95 * 0.05)


def test_too_few_effective_masks_are_refused():
    masks, outputs, weight = planted(3, 300, 9.0)
    with pytest.raises(AttributionError, match="leaves 9 effective masks of 300.*at least 12"):
        ProxySPEX().fit(masks, outputs, sample_weight=weight)


def test_no_warning_where_weights_are_not_the_reason():
    masks, outputs, _ = planted(4, 60)
    weight = np.linspace(0.9, 1.1, 60)
    ProxySPEX(max_order=2).fit(masks, outputs, sample_weight=weight)


@pytest.mark.filterwarnings("ignore:sample_weight")
@pytest.mark.parametrize("seed", [11, 16, 18, 22])
def test_weights_far_from_equal_make_no_interactions(seed):
    """Main effects only, and 38 effective masks of 500: with normal errors these four had a q-value of at most .05."""
    rng = np.random.default_rng((seed, 7))
    masks = rng.random((500, 24)) < 0.5
    weight = weights_worth(rng, 500, 38.0)
    outputs = masks @ rng.standard_normal(24) + 2 * rng.standard_normal(500) / np.sqrt(weight / weight.mean())
    model = ProxySPEX().fit(masks, outputs, sample_weight=weight)
    assert model.interactions(max_q=0.05) == []
