"""Every bad input is a clear error or a defined result, never a silent number."""

from __future__ import annotations

import numpy as np
import pytest

from attribution import AttributionError, AttributionWarning, Datamodel, ProxySPEX


def campaign(n_masks=120, n_players=10, n_targets=2, alpha=0.5, seed=0):
    rng = np.random.default_rng(seed)
    masks = rng.random((n_masks, n_players)) < alpha
    return masks, masks @ rng.normal(size=(n_players, n_targets)) + rng.normal(size=(n_masks, n_targets))


def estimators(**settings):
    return [Datamodel(**settings), ProxySPEX(**settings)]


BAD = {
    "NaN outputs": (lambda m, y: (m, np.where(np.arange(len(y))[:, None] == 7, np.nan, y), {}), "row 7"),
    "infinite outputs": (lambda m, y: (m, np.where(y == y.max(), np.inf, y), {}), "not finite"),
    "fewer outputs than masks": (lambda m, y: (m, y[:-1], {}), "n_masks = 120"),
    "three-dimensional outputs": (lambda m, y: (m, y[:, :, None], {}), "shape"),
    "outputs that are text": (lambda m, y: (m, np.full(len(m), "a"), {}), "numbers"),
    "no targets": (lambda m, y: (m, y[:, :0], {}), "no targets"),
    "masks of one dimension": (lambda m, y: (m[:, 0], y, {}), "shape"),
    "no players": (lambda m, y: (m[:, :0], y, {}), "shape"),
    "packed masks": (lambda m, y: (np.packbits(m, axis=1), y, {}), "unpackbits"),
    "groups of another length": (lambda m, y: (m, y, {"groups": np.zeros(3)}), "groups"),
    "groups with holes": (lambda m, y: (m, y, {"groups": np.full(len(m), np.nan)}), "groups"),
    "negative weights": (lambda m, y: (m, y, {"sample_weight": -np.ones(len(m))}), "above 0"),
    "weights of another length": (lambda m, y: (m, y, {"sample_weight": np.ones(3)}), "sample_weight"),
    "too few masks": (lambda m, y: (m[:8], y[:8], {}), "at least 12"),
    "one mask over and over": (lambda m, y: (np.repeat(m[:1], 120, axis=0), y, {}), "alpha|at least 12"),
    "all in one group": (lambda m, y: (m, y, {"groups": np.zeros(len(m), int)}), "at least 12"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case):
    spoil, message = BAD[case]
    masks, outputs, options = spoil(*campaign())
    for estimator in estimators():
        with pytest.raises(AttributionError, match=message):
            estimator.fit(masks, outputs, **options)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.2, 1.7, float("nan"), None])
def test_alpha_outside_its_range_is_refused(alpha):
    masks, outputs = campaign()
    for estimator in estimators(alpha=alpha):
        with pytest.raises(AttributionError, match="alpha"):
            estimator.fit(masks, outputs)


def test_alpha_that_contradicts_the_masks_is_refused_with_what_they_say():
    masks, outputs = campaign(alpha=0.3)
    for estimator in estimators(alpha=0.5):
        with pytest.raises(AttributionError, match="contradicts the masks: they include 0.[23]"):
            estimator.fit(masks, outputs)
    for estimator in estimators(alpha=0.3):
        estimator.fit(masks, outputs)


def test_constant_outputs_have_no_effects_and_a_closed_gate():
    masks, outputs = campaign()
    outputs[:, 1] = 3.0
    model = ProxySPEX().fit(masks, outputs)
    assert model.spectra_[1].terms == {(): 3.0}
    assert model.interactions(1) == []
    assert not model.gate_open_[1]
    assert np.allclose(model.predict(masks)[:, 1], 3.0)


@pytest.mark.parametrize("value", [False, True])
def test_a_player_in_no_mask_or_in_all_is_unknown_not_zero(value):
    masks, outputs = campaign(n_players=100)
    masks[:, 4] = value
    with pytest.warns(AttributionWarning, match="player 4"):
        model = ProxySPEX(max_order=2).fit(masks, outputs)
    assert np.isnan(model.effects_[:, 4]).all() and np.isnan(model.effect_stderrs_[:, 4]).all()
    assert np.isfinite(np.delete(model.effects_, 4, axis=1)).all()
    assert all(4 not in found.members for target in range(2) for found in model.interactions(target))


def test_duplicated_masks_are_one_cluster():
    masks, outputs = campaign(n_masks=200)
    rng = np.random.default_rng(5)
    again = outputs + 0.01 * rng.normal(size=outputs.shape)
    once = ProxySPEX(max_order=2).fit(masks, outputs)
    twice = ProxySPEX(max_order=2).fit(np.concatenate([masks, masks]), np.concatenate([outputs, again]))
    # Repeating every mask adds next to no information, so the errors must not shrink by sqrt(2).
    assert np.median(twice.effect_stderrs_ / once.effect_stderrs_) > 0.95


def test_one_target_comes_back_as_a_vector():
    masks, outputs = campaign()
    model = ProxySPEX().fit(masks, outputs[:, 0])
    assert model.predict(masks).shape == (len(masks),)
    assert len(model.spectra_) == 1
    with pytest.raises(AttributionError, match="target must be an integer in 0..0"):
        model.interactions(1)


def test_two_players_have_too_few_masks_to_cross_fit_and_four_have_enough():
    rng = np.random.default_rng(0)
    for n_players in (2, 4):
        masks = rng.random((400, n_players)) < 0.5
        outputs = masks[:, 0] * 2.0 + 0.1 * rng.normal(size=400)
        if n_players == 2:
            with pytest.raises(AttributionError, match="4 independent groups"):
                ProxySPEX().fit(masks, outputs)
        else:
            model = ProxySPEX().fit(masks, outputs)
            assert abs(model.effects_[0, 0] - 2.0) < 0.1
            assert not model.gate_open_[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"max_order": 0},
        {"max_order": 2.5},
        {"max_order": 7},
        {"backend": "magic"},
        {"q_method": "none"},
        {"seed": -1},
        {"max_pair_players": -1},
        {"max_triple_players": 2.5},
        {"max_sieve_players": None},
        {"device": None},
        {"device": "meta"},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(AttributionError):
        ProxySPEX(**settings).fit(*campaign())


def test_masks_that_lie_in_memory_column_by_column_are_the_same_masks():
    masks, outputs = campaign()
    by_columns = np.asfortranarray(masks)
    for estimator in estimators():
        expected = estimator.fit(masks, outputs).predict(masks)
        assert np.array_equal(estimator.fit(by_columns, outputs).predict(masks[:, np.arange(10)]), expected)


@pytest.mark.parametrize("alpha", [0.3, 0.5])
@pytest.mark.parametrize("scale", [2.0**-39, 2.0**46])
def test_results_scale_with_the_outputs_as_far_as_single_precision_goes(alpha, scale):
    rng = np.random.default_rng(0)
    masks = rng.random((900, 12)) < alpha
    outputs = masks @ rng.normal(size=12) + 3.0 * (masks[:, 0] ^ masks[:, 1]) + rng.normal(size=900)
    model = ProxySPEX(alpha=alpha).fit(masks, outputs)
    expected, effects = model.interactions(), model.effects_
    scaled = model.fit(masks, outputs * scale).interactions()
    assert expected[0].members == (0, 1)
    assert [found.members for found in scaled] == [found.members for found in expected]
    assert [found.q_value for found in scaled] == [found.q_value for found in expected]
    np.testing.assert_allclose(model.effects_, effects * scale, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-18, 1e18])
def test_outputs_that_single_precision_would_lose_are_refused_and_a_rounded_constant_is_not(scale):
    masks, outputs = campaign()
    with pytest.raises(AttributionError, match="vary by"):
        ProxySPEX().fit(masks, outputs * scale)
    rounded = 0.1 + 1e-17 * np.arange(len(masks))
    assert not ProxySPEX().fit(masks, rounded).gate_open_[0]


def test_predicting_for_other_players_is_refused():
    masks, outputs = campaign()
    model = ProxySPEX(max_order=2).fit(masks, outputs)
    with pytest.raises(AttributionError, match=r"\(n_masks, 10\)"):
        model.predict(masks[:, :5])


def test_input_is_left_as_it_was():
    masks, outputs = campaign()
    masks.flags.writeable = outputs.flags.writeable = False
    before = masks.copy(), outputs.copy()
    for estimator in estimators():
        estimator.fit(masks, outputs)
    assert np.array_equal(before[0], masks) and np.array_equal(before[1], outputs)
