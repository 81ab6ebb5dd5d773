"""The precheck's noise ceiling and its permutation test, on outputs whose signal is known."""

from __future__ import annotations

import numpy as np
import pytest

from attribution.errors import AttributionError
from attribution.statistics.precheck import replicate_signal


def outputs(share: float, n_masks: int, n_targets: int, seed: int, common: float = 0.0) -> tuple[np.ndarray, ...]:
    """Two evaluations whose variance is 1, `share` of it due to the mask; common: part of it shared by all targets."""
    generator = np.random.default_rng(seed)

    def draw() -> np.ndarray:
        own, shared = generator.standard_normal((n_masks, n_targets)), generator.standard_normal((n_masks, 1))
        return np.sqrt(1 - common) * own + np.sqrt(common) * shared

    signal = np.sqrt(share) * draw()
    return signal + np.sqrt(1 - share) * draw(), signal + np.sqrt(1 - share) * draw()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_the_ceiling_is_the_share_of_the_masks_variance(share: float) -> None:
    found = replicate_signal(*outputs(share, 6, 4000, seed=1))
    assert found.ceiling == pytest.approx(share, abs=0.04) and found.low - 0.02 <= share <= found.high + 0.02
    assert found.n_masks == 6 and found.per_target.shape == (4000,)


def test_without_signal_the_permutation_test_rejects_at_its_level_though_targets_depend_on_each_other() -> None:
    p_values = np.array([replicate_signal(*outputs(0.0, 6, 20, seed, common=0.7)).p_value for seed in range(300)])
    assert (p_values <= 0.05).mean() <= 0.08 and (p_values <= 0.5).mean() == pytest.approx(0.5, abs=0.1)


def test_lost_masks_are_left_out_and_too_few_give_no_number() -> None:
    first, second = outputs(0.5, 6, 30, seed=2)
    first[0] = np.nan
    assert replicate_signal(first, second).n_masks == 5
    assert np.isnan(replicate_signal(first[:3], second[:3]).ceiling)
    assert np.isnan(replicate_signal(np.ones((6, 3)), np.ones((6, 3))).ceiling)
    with pytest.raises(AttributionError, match="the same shape"):
        replicate_signal(first, second[:5])
