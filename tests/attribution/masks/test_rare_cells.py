"""Designs that leave few players out: what they cannot test is refused, counted and said."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from attribution import AttributionWarning, ProxySPEX
from attribution.interactions.setup import BlockSettings, BlockSetup
from attribution.masks.inputs import check_data
from attribution.statistics.p_values import two_sided_p, without_skewness


def null_campaign(alpha: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Main effects, and noise of Student's t with three degrees of freedom."""
    rng = np.random.default_rng(seed)
    masks = rng.random((900, 40)) < alpha
    return masks, masks @ rng.normal(size=(40, 8)) + 2.0 * rng.standard_t(3, size=(900, 8))


def test_pairs_absent_together_in_two_masks_are_not_tested() -> None:
    masks, outputs = null_campaign(0.95, 0)
    with pytest.warns(AttributionWarning, match=r"10,660 sets of 2 to 3 players are not testable here: of \d+"):
        model = ProxySPEX(alpha=0.95).fit(masks, outputs)
    assert model.n_untestable_ == 40 * 39 // 2 + 40 * 39 * 38 // 6
    assert all(model.interactions(target) == [] for target in range(8))
    assert np.isfinite(model.effect_stderrs_).all()


def test_leave_one_out_gives_main_effects_alone() -> None:
    masks = ~np.tile(np.eye(30, dtype=bool), (8, 1))
    outputs = masks @ np.arange(30.0) + np.random.default_rng(0).normal(size=len(masks))
    with pytest.warns(AttributionWarning, match="not testable"):
        model = ProxySPEX(alpha=29 / 30, max_order=2).fit(masks, outputs)
    assert model.n_untestable_ == 435 and model.interactions() == []


def test_at_one_half_everything_is_tested_and_nothing_said() -> None:
    masks, outputs = null_campaign(0.5, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", AttributionWarning)
        model = ProxySPEX(max_order=3).fit(masks, outputs)
    assert model.n_untestable_ == 0


@pytest.mark.parametrize(("alpha", "screened", "by_proxy"), [(0.5, 3, 4), (0.3, 3, 2), (0.4, 3, 3)])
def test_what_a_proxy_proposes_has_cells_enough_on_the_half_that_tests_it(
    alpha: float, screened: int, by_proxy: int
) -> None:
    masks, outputs = null_campaign(alpha, 2)  # at .3 24 masks hold the rarest cell of a triple, 12 on a half
    setup = BlockSetup(check_data(masks, outputs, alpha), BlockSettings(alpha=alpha))
    assert (setup.settings.max_order, setup.settings.proxy_order) == (screened, by_proxy)
    assert setup.n_untestable == 0


def test_p_values_of_skewed_outputs_keep_their_level_where_players_are_mostly_in() -> None:
    """2,200 masks at alpha .9 hold the rarest cell of a pair 22 times; outputs are exponential."""
    rng = np.random.default_rng(0)
    n_masks, n_sets, alpha = 2200, 6000, 0.9
    sigma = (alpha * (1 - alpha)) ** 0.5
    t = np.empty(n_sets)
    for position in range(n_sets):
        pair = (rng.random((2, n_masks)) < alpha) - alpha
        scores = pair[0] * pair[1] / sigma**2 * (rng.exponential(1.0, n_masks) - 1)
        t[position] = scores.mean() / scores.std() * n_masks**0.5
    skewness = np.full(n_sets, ((1 - 2 * alpha) / sigma) ** 2 * 2.0 / n_masks**0.5)
    before, after = two_sided_p(t), two_sided_p(without_skewness(t, skewness))
    assert (before <= 1e-3).mean() > 2e-3 and (before <= 1e-4).mean() > 3e-4  # all of them with the short tail
    assert (after <= 0.05).mean() < 0.05 and (after <= 1e-3).mean() < 1e-3


def test_a_real_pair_is_found_where_players_are_mostly_in_and_outputs_skewed() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((2200, 40)) < 0.9
    outputs = masks @ rng.normal(size=40) + 6.0 * (masks[:, 3] & masks[:, 7]) + 2.0 * rng.exponential(1.0, 2200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AttributionWarning)
        model = ProxySPEX(alpha=0.9, max_order=2).fit(masks, outputs)
    assert [one.members for one in model.interactions(max_q=0.05)] == [(3, 7)]
