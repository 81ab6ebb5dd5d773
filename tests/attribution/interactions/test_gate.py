"""The gate judges sets that are more probably real than null, whatever strictness the data choose."""

from __future__ import annotations

import numpy as np
import pytest

from attribution.interactions.block import BlockFit, BlockSettings, fit_block
from attribution.interactions.selection import _of_gate
from attribution.masks.inputs import check_data
from attribution.statistics.p_values import gate_p_values


def fit(masks: np.ndarray, outputs: np.ndarray, grid: tuple[float, ...]) -> BlockFit:
    settings = BlockSettings(alpha=0.5, max_order=2, n_proxy_sets=0, max_p_null_grid=grid)
    return fit_block(check_data(masks, outputs, 0.5), settings)


def test_a_loose_strictness_that_the_spectrum_may_choose_has_no_part_in_the_gate() -> None:
    rng = np.random.default_rng(3)
    masks = rng.random((400, 40)) < 0.5
    sign = 2.0 * masks - 1
    outputs = sign @ rng.normal(size=(40, 12)) + 3.0 * rng.normal(size=(400, 12))
    outputs += 0.9 * (sign[:, 0] * sign[:, 1])[:, None]
    loose, strict = fit(masks, outputs, (0.1, 0.5, 0.9)), fit(masks, outputs, (0.1, 0.5))
    np.testing.assert_allclose(loose.gate_p, strict.gate_p, atol=2e-3)  # refits end at a tolerance
    assert (loose.strictness == 3).any() and (loose.predicted != strict.predicted).any()
    chosen = gate_p_values(outputs, outputs - loose.link_residuals, loose.predicted, None, np.arange(len(masks)))
    assert np.abs(chosen - loose.gate_p).max() > 0.02


@pytest.mark.parametrize(
    ("grid", "index"), [((0.1, 0.5, 0.9), 2), ((0.9, 0.2, 0.4), 3), ((0.9,), 1), ((0.9, 0.7), 2), ((0.5,), 1)]
)
def test_the_strictness_of_the_gate_is_the_loosest_up_to_one_half(grid: tuple[float, ...], index: int) -> None:
    assert _of_gate(grid) == index
