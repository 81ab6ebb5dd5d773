"""The published ProxySPEX: its energy rule, its ridge refit, its choice of trees, its place among the scores."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from attribution.analysis import scores
from attribution.analysis.block_tables import analyse_targets
from attribution.errors import AttributionError
from attribution.estimators.published_proxyspex import RIDGE_PENALTIES, PublishedProxySPEX, _of_energy
from attribution.fourier.basis import basis
from attribution.screening.screen import set_columns
from tests.games import clusters_of_copies, duplicates

SMALL = {"max_depth": (2, 3), "n_estimators": (20, 60), "learning_rate": (0.1,)}


def test_the_energy_rule_keeps_the_fewest_terms_that_hold_the_share():
    terms = {(): 100.0, (0,): 3.0, (1,): -4.0, (0, 1): 1.0, (2,): 0.5}
    assert _of_energy(terms, 0.9) == [(1,), (0,)]  # 25 of 26.25
    assert _of_energy(terms, 0.97) == [(1,), (0,), (0, 1)]
    assert _of_energy(terms, 1.0) == [(1,), (0,), (0, 1), (2,)]
    assert _of_energy({(): 5.0}, 0.95) == []


def test_the_refit_is_a_ridge_fit_of_the_kept_terms_without_an_intercept():
    from sklearn.linear_model import RidgeCV

    game = duplicates(8, [(0, 1)], 0, noise_sd=0.3)
    masks = game.draw_masks(300, 0)
    outputs = game.observe(masks, 1)
    spectrum = PublishedProxySPEX(**SMALL).fit(masks, outputs).spectra_[0]
    sets = [members for members in spectrum.terms if members]
    padded = np.array([members + (-1,) * (3 - len(members)) for members in sets])
    columns = np.concatenate([np.ones((300, 1)), set_columns(basis(masks, 0.5), padded)], axis=1)
    ridge = RidgeCV(alphas=RIDGE_PENALTIES, fit_intercept=False).fit(columns, outputs)
    assert np.allclose([spectrum.terms[()], *(spectrum.terms[members] for members in sets)], ridge.coef_, atol=1e-5)
    assert (0, 1) in sets


def test_trees_are_chosen_for_every_target_by_cross_validation():
    """An AND of three needs trees of depth three."""
    rng = np.random.default_rng(0)
    masks = rng.random((500, 8)) < 0.5
    outputs = np.column_stack([4.0 * masks[:, :3].all(axis=1), masks[:, 5] * 1.0]) + 0.1 * rng.normal(size=(500, 2))
    model = PublishedProxySPEX(**SMALL).fit(masks, outputs)
    assert model.chosen_[0] == (3, 60, 0.1)
    held = rng.random((300, 8)) < 0.5
    truth = np.column_stack([4.0 * held[:, :3].all(axis=1), held[:, 5] * 1.0])
    assert (((model.predict(held) - truth) ** 2).mean(axis=0) < 0.02).all()


@pytest.mark.parametrize("options", [{"energy": 0.0}, {"n_folds": 1}, {"max_depth": ()}, {"n_estimators": ()}])
def test_settings_that_mean_nothing_are_refused(options):
    masks = np.random.default_rng(0).random((60, 4)) < 0.5
    with pytest.raises(AttributionError):
        PublishedProxySPEX(**options).fit(masks, masks[:, 0] * 1.0)


def test_a_campaign_scores_it_on_the_targets_that_ask_for_it(monkeypatch):
    small = partial(PublishedProxySPEX, max_depth=(2,), n_estimators=(20,), learning_rate=(0.1,))
    monkeypatch.setattr(scores, "PublishedProxySPEX", small)
    game = clusters_of_copies(12, [(1, 2)], 0, noise_sd=0.4)
    masks, held = game.draw_masks(300, 0), game.draw_masks(80, 1)
    outputs = np.column_stack([game.observe(masks, k) for k in range(3)])
    unseen = np.column_stack([game.observe(held, 9 + k) for k in range(3)])
    block = analyse_targets(
        masks, outputs, holdout_masks=held, holdout_outputs=unseen, target_ids=[4, 7, 9], published_targets=[7, 100]
    )
    table = block.faithfulness
    rows = [k for k, name in enumerate(table["estimator"]) if name == "published"]
    assert [(table["target"][k], table["metric"][k]) for k in rows] == [(7, "r2"), (7, "lds")]
    assert 0.2 < table["value"][rows[0]] <= 1.0
    assert table["low"][rows[0]] < table["value"][rows[0]] < table["high"][rows[0]]
