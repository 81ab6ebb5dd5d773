"""Masks of several alphas in one fit: the estimand, coverage and null, and the larger groups they detect."""

from __future__ import annotations

import numpy as np
import pytest

from attribution import ProxySPEX
from attribution.analysis.block_tables import analyse_targets
from attribution.errors import AttributionError
from attribution.fourier.basis import basis
from attribution.statistics.detectability import smallest_detectable
from tests.games import clusters_of_copies, from_moebius, planted_interactions


def mixed(n_masks, n_players, alphas, seed=0):
    """Masks drawn at alphas[u mod number of alphas], and those alphas."""
    alpha = np.array(alphas)[np.arange(n_masks) % len(alphas)]
    return np.random.default_rng((seed, 9)).random((n_masks, n_players)) < alpha[:, None], alpha


def test_the_basis_of_each_row_is_that_of_its_own_alpha():
    masks, alpha = mixed(40, 6, (0.5, 0.2))
    phi = basis(masks, alpha)
    for value in (0.5, 0.2):
        assert np.allclose(phi[alpha == value], basis(masks[alpha == value], value), atol=1e-6)


def test_one_alpha_for_every_mask_is_the_single_alpha_to_the_last_bit():
    game = planted_interactions(30, 0, noise_ceiling=0.8, n_pairs=4, n_triples=1)
    masks = game.draw_masks(600, 0)
    outputs = game.observe(masks, 1)
    plain = ProxySPEX(max_order=2).fit(masks, outputs)
    given = ProxySPEX(max_order=2).fit(masks, outputs, alpha=np.full(600, 0.5))
    assert plain.interactions() == given.interactions()
    assert plain.spectra_[0].terms == given.spectra_[0].terms


def test_pairs_without_larger_sets_have_one_interaction_at_every_alpha():
    # f has no term above order two, so I(S) = M(S) whatever alpha is, and the mixture must say the same.
    game = from_moebius({(0,): 1.0, (1,): 1.0, (0, 1): -1.0, (2,): 0.5, (3, 4): 0.8}, 20)
    masks, alpha = mixed(2400, 20, (0.5, 0.25))
    outputs = game.evaluate(masks) + 0.4 * np.random.default_rng(0).normal(size=2400)
    model = ProxySPEX(max_order=2).fit(masks, outputs, alpha=alpha)
    found = {i.members: i for i in model.interactions(max_q=0.01)}
    assert set(found) == {(0, 1), (3, 4)}
    for members, truth in (((0, 1), -1.0), ((3, 4), 0.8)):
        assert abs(found[members].value - truth) < 3.5 * found[members].stderr
    assert found[(0, 1)].kind == "redundancy"


def test_of_copies_the_mixture_reports_the_weighted_mean_over_alphas():
    k, alphas = 4, (0.5, 0.2)
    game = clusters_of_copies(30, [tuple(range(k))], 0, 0.5, 0.3, background=0.0)
    masks, alpha = mixed(4000, 30, alphas)
    model = ProxySPEX(max_order=2).fit(masks, game.observe(masks, 1), alpha=alpha)
    each = np.array(alphas)
    weight = each * (1 - each)
    truth = -(weight @ (1 - each) ** (k - 2)) / weight.sum()
    values = {i.members: i for i in model.interactions(max_q=0.01)}
    inside = [i for members, i in values.items() if set(members) <= set(range(k))]
    assert len(inside) == 6
    assert abs(np.mean([i.raw for i in inside]) - truth) < 3 * inside[0].raw_stderr / 6**0.5 + 0.01


def test_intervals_cover_and_the_null_holds_where_alphas_differ_in_mean_and_noise():
    rng = np.random.default_rng(3)
    masks, alpha = mixed(1200, 40, (0.5, 0.2), seed=3)
    main = rng.normal(size=(12, 40)) * 0.2
    outputs = masks @ main.T + 3.0 * alpha[:, None] + rng.normal(size=(1200, 12)) * (1.5 - alpha[:, None])
    model = ProxySPEX(max_order=2).fit(masks, outputs, alpha=alpha)
    z = (model.effects_ - main) / model.effect_stderrs_
    assert 0.91 <= (np.abs(z) < 1.96).mean() <= 0.98
    assert not model.gate_open_.any()
    assert sum(len(model.interactions(t, max_q=0.05)) for t in range(12)) <= 1


def test_larger_groups_of_copies_are_detected_at_the_same_number_of_masks():
    k, seen = 6, {}
    games = [clusters_of_copies(40, [tuple(range(k))], seed, 0.5, 0.5, background=0.1) for seed in range(4)]
    for alphas in ((0.5,), (0.5, 0.15)):
        masks, alpha = mixed(1500, 40, alphas, seed=1)
        outputs = np.column_stack([game.observe(masks, 10 + t) for t, game in enumerate(games)])
        model = ProxySPEX(max_order=2).fit(masks, outputs, alpha=alpha)
        seen[alphas] = sum(
            any(set(i.members) <= set(range(k)) for i in model.interactions(t, max_q=0.05)) for t in range(4)
        )
    assert seen[(0.5,)] <= 1 and seen[(0.5, 0.15)] >= 3


def test_predictions_know_the_alpha_of_each_mask():
    game = planted_interactions(30, 1, noise_ceiling=0.9, n_pairs=4, n_triples=0)
    masks, alpha = mixed(1500, 30, (0.5, 0.3))
    # Models of fewer examples are worse at everything: a shift that no player has.
    outputs = game.evaluate(masks) + 5.0 * alpha
    held, held_alpha = mixed(400, 30, (0.5, 0.3), seed=4)
    truth = game.evaluate(held) + 5.0 * held_alpha
    model = ProxySPEX(max_order=2).fit(masks, outputs, alpha=alpha)
    predicted = model.predict(held, alpha=held_alpha)
    assert 1 - ((truth - predicted) ** 2).sum() / ((truth - truth.mean()) ** 2).sum() > 0.9
    half = held_alpha == 0.5
    assert np.allclose(predicted[half], model.spectra_[0].at_alpha(0.5).evaluate(held[half]), atol=0.5)
    block = analyse_targets(
        masks, outputs, alpha=alpha, reference_alpha=0.5, holdout_masks=held, holdout_outputs=truth[:, None],
        holdout_alpha=held_alpha, max_order=2,
    )  # fmt: skip
    assert block.scores["spectrum", "r2"].value[0] > 0.9 and block.scores["spectrum", "gate_open"].value == [1.0]


def test_alphas_that_contradict_the_masks_are_refused():
    masks, alpha = mixed(400, 30, (0.5, 0.2))
    outputs = np.random.default_rng(0).normal(size=400)
    with pytest.raises(AttributionError, match="contradicts the masks"):
        ProxySPEX().fit(masks, outputs, alpha=alpha[::-1].copy())
    with pytest.raises(AttributionError, match="one for every mask"):
        ProxySPEX().fit(masks, outputs, alpha=alpha[:100])
    with pytest.raises(AttributionError, match="contradicts the masks"):
        ProxySPEX().fit(masks, outputs)
    with pytest.raises(AttributionError, match="holdout_alpha"):
        analyse_targets(
            masks, outputs, alpha=alpha, holdout_masks=masks, holdout_outputs=outputs[:, None], holdout_alpha=alpha[:3]
        )
    with pytest.raises(AttributionError, match="leave alpha out"):
        ProxySPEX(alpha=0.3).fit(masks[alpha == 0.5], outputs[alpha == 0.5], alpha=np.full(200, 0.5))


def test_several_alphas_detect_as_much_as_their_mean_spread_allows():
    single, both = (smallest_detectable(1000, alpha, 100) for alpha in (0.5, (0.5, 0.2)))
    assert both == pytest.approx(single * 0.25 / ((0.25 + 0.16) / 2))
