"""A mixture of a spectrum and trees predicts at least as well as the spectrum, and changes nothing that is reported."""

from __future__ import annotations

import numpy as np
import pytest

from attribution import AttributionError, BlendedProxySPEX, ProxySPEX


def many_interactions(n_masks: int = 1200, n_players: int = 9, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two outputs with interactions of every order: a rectified sum, and the same times a product."""
    masks = np.random.default_rng(seed).random((n_masks, n_players)) < 0.5
    bent = np.maximum(masks @ np.linspace(1, 3, n_players) - 10, 0)
    return masks, np.stack([bent, bent * (1 - masks[:, 1] * masks[:, 4])], axis=1)


def test_exact_outputs_of_many_interactions_are_predicted_better() -> None:
    masks, outputs = many_interactions()
    plain, blended = (one.fit(masks[:200], outputs[:200]) for one in (ProxySPEX(), BlendedProxySPEX()))
    left = [((outputs[200:] - one.predict(masks[200:])) ** 2).mean(axis=0) for one in (plain, blended)]
    assert (left[1] < 0.9 * left[0]).all() and left[1][1] < 0.6 * left[0][1]
    assert ((blended.share_ > 0.3) & (blended.share_ <= 1)).all()


def test_noise_sends_the_share_to_zero_and_costs_little() -> None:
    masks, outputs = many_interactions()
    noise = np.random.default_rng(1).normal(size=(400, 2)) * 4 * outputs.std(axis=0)
    plain, blended = (one.fit(masks[:400], outputs[:400] + noise) for one in (ProxySPEX(), BlendedProxySPEX()))
    left = [((outputs[400:] - one.predict(masks[400:])) ** 2).mean(axis=0) for one in (plain, blended)]
    assert (blended.share_ < 0.25).all()
    assert (left[1] < 1.15 * left[0]).all()


def test_what_is_reported_is_what_proxyspex_reports() -> None:
    masks, outputs = many_interactions()
    plain, blended = (one.fit(masks[:300], outputs[:300]) for one in (ProxySPEX(), BlendedProxySPEX()))
    for target in range(2):
        assert blended.interactions(target) == plain.interactions(target)
        assert blended.spectra_[target] == plain.spectra_[target]
    np.testing.assert_array_equal(blended.effects_, plain.effects_)
    one = BlendedProxySPEX().fit(masks[:300], outputs[:300, 0], sample_weight=np.ones(300))
    assert one.predict(masks[:5]).shape == (5,) and one.share_.shape == (1,)


def test_a_constant_output_is_its_own_prediction() -> None:
    masks, _ = many_interactions(60)
    model = BlendedProxySPEX(max_order=1).fit(masks, np.full(60, 3.0))
    np.testing.assert_allclose(model.predict(masks), 3.0)
    assert model.share_.tolist() == [0.0]


def test_missing_outputs_and_several_alphas_are_refused() -> None:
    masks, outputs = many_interactions(100)
    with pytest.raises(AttributionError, match="complete outputs"):
        BlendedProxySPEX(missing="drop").fit(masks, outputs)
    with pytest.raises(AttributionError, match="one alpha for all masks"):
        BlendedProxySPEX().fit(masks, outputs, alpha=np.full(100, 0.5))
