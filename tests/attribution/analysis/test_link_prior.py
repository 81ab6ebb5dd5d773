"""A target that hangs on two players has the curve that other targets of the campaign have."""

from __future__ import annotations

import numpy as np

from attribution.analysis.block_tables import analyse_targets
from attribution.analysis.link_prior import campaign_link_prior
from attribution.linear.link import LinkPrior

N_PLAYERS, KAPPA = 24, -0.2


def campaign(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Masks, and outputs of twelve targets with twelve helpers each and one with two, all of curvature KAPPA / |b|."""
    rng = np.random.default_rng(seed)
    masks = rng.random((1500, N_PLAYERS)) < 0.5
    sign = 2.0 * masks - 1
    outputs = []
    for target in range(13):
        effects = np.zeros(N_PLAYERS)
        effects[rng.permutation(N_PLAYERS)[: 12 if target < 12 else 2]] = 1.0
        linear = sign @ effects
        curve = KAPPA / np.sqrt(effects.sum()) * (linear**2 - effects.sum())
        outputs.append(linear + curve + 0.8 * rng.standard_normal(1500))
    return masks, np.column_stack(outputs)


def test_the_prior_of_a_campaign_is_the_mean_curve_of_its_targets() -> None:
    masks, outputs = campaign()
    prior = campaign_link_prior(masks, outputs, alpha=0.5, reference_alpha=0.5)
    assert isinstance(prior, LinkPrior)
    assert abs(prior.centre[0] - KAPPA) < 0.03 and prior.between[0] < 0.04**2


def test_a_campaign_whose_targets_are_one_block_gives_the_librarys_numbers() -> None:
    masks, outputs = campaign()
    prior = campaign_link_prior(masks, outputs, alpha=0.5, reference_alpha=0.5)
    settings = {"n_proxy_sets": 0}
    alone, shared = (
        analyse_targets(masks, outputs, max_order=2, settings=own).interactions
        for own in (settings, {**settings, "link_prior": prior})
    )
    assert len(alone["value"]) > 100
    for name in ("value", "stderr", "saturation", "specific_p_value"):
        assert np.array_equal(alone[name], shared[name]), name


def test_a_block_of_one_target_with_two_helpers_takes_its_saturation_from_the_campaign() -> None:
    masks, outputs = campaign()
    prior = campaign_link_prior(masks, outputs, alpha=0.5, reference_alpha=0.5)

    def strongest(settings: dict[str, object]) -> dict[str, float]:
        table = analyse_targets(masks, outputs[:, 12:], settings={"n_proxy_sets": 0, **settings}).interactions
        row = int(np.abs(table["value"]).argmax())
        return {name: float(table[name][row]) for name in ("value", "saturation", "saturation_stderr", "specific")}

    alone, shared = strongest({}), strongest({"link_prior": prior})
    # All of this pair's interaction is the curve: 4 * 2 k b_i b_j with k = KAPPA / sqrt(2).
    whole = 8 * KAPPA / np.sqrt(2)
    assert abs(shared["value"] - whole) < 0.2
    assert alone["saturation"] == 0.0
    assert abs(shared["saturation"] - whole) < 0.25 and abs(shared["specific"]) < 0.25
    assert 0.0 < shared["saturation_stderr"] < 0.25
