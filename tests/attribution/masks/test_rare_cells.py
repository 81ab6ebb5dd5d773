"""Designs that leave few players out: what they cannot test is refused, counted and said."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from attribution import AttributionWarning, ProxySPEX
from attribution.interactions.setup import BlockSettings, BlockSetup
from attribution.masks.inputs import check_data


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
