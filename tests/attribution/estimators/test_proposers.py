"""Who proposes a set: proxies at every order, screens and heredity beside them, each named in the result."""

from __future__ import annotations

import numpy as np
import pytest

from attribution import ProxySPEX
from attribution.interactions import proxy_proposals
from attribution.interactions.block import BlockSettings, fit_block
from attribution.masks.inputs import check_data
from attribution.proxy.boosted_trees import BoosterSettings
from attribution.proxy.fit import fit_proxy
from attribution.statistics.z_histogram import Z_STEP, Stratum
from tests.attribution.estimators.test_proxyspex import fit
from tests.games import conjunction, from_moebius, planted_interactions


@pytest.fixture
def proxy_backends(monkeypatch):
    """The backend of every proxy that is fitted to propose candidates."""
    used = []

    def recorded(*arguments, **options):
        used.append(options["backend"])
        return fit_proxy(*arguments, **options)

    monkeypatch.setattr(proxy_proposals, "fit_proxy", recorded)
    return used


@pytest.mark.parametrize("backend", ["booster", "lightgbm"])
def test_either_backend_proposes_sets_of_four(backend, proxy_backends):
    model, _, _ = fit([conjunction(4, 20, noise_sd=0.05)], 1500, max_order=4, backend=backend)
    assert proxy_backends == [backend, backend]  # one proxy on either half of the masks
    assert (0, 1, 2, 3) in {i.members for i in model.interactions(max_q=0.05)}


def test_both_backends_find_the_same_sets():
    games = [conjunction(4, 20, noise_sd=noise_sd) for noise_sd in (0.05, 0.1)]
    booster, lightgbm = (fit(games, 1500, max_order=4, backend=backend)[0] for backend in ("booster", "lightgbm"))
    for target in range(2):
        found = [{i.members for i in model.interactions(target, max_q=0.05)} for model in (booster, lightgbm)]
        assert found[0] == found[1]
        assert max(map(len, found[0])) == 4


def test_without_proxies_no_set_of_four_is_a_candidate():
    game = conjunction(4, 20, noise_sd=0.05)
    masks = game.draw_masks(1500, 0)
    fitted = fit_block(check_data(masks, game.observe(masks, 100), 0.5), BlockSettings(0.5, 4, n_proxy_sets=0))
    assert {len(members) for members in fitted.reported[0].members} == {2, 3}


@pytest.mark.parametrize(
    ("options", "n_proxies"),
    [
        ({"max_order": 1}, 0),
        ({"max_order": 2}, 2),
        ({}, 2),
        ({"max_order": 4}, 2),
        ({"max_triple_players": 2, "max_sieve_players": 0}, 2),
        ({"n_proxy_sets": 0}, 0),
        ({"max_proxy_order": 1}, 0),
    ],
    ids=["main effects alone", "pairs", "default", "order 4", "no triples screened", "no proposals", "of no order"],
)
def test_a_proxy_is_fitted_on_either_half_at_every_order(options, n_proxies, proxy_backends):
    game = planted_interactions(30, 0, noise_ceiling=0.9, n_pairs=3, n_triples=1)
    fit([game], 600, n_estimators=5, **{"max_order": 3, **options})
    assert len(proxy_backends) == n_proxies


def test_the_proxy_reaches_beyond_max_order_by_default():
    model, _, _ = fit([conjunction(4, 20, noise_sd=0.05)], 1500)
    found = {i.members: i for i in model.interactions(max_q=0.05)}
    assert model.max_order == 3
    assert found[0, 1, 2, 3].proposed_by == "proxy"
    assert found[0, 1, 2, 3].also_proposed_by == ()


def test_max_proxy_order_bounds_what_a_proxy_reports():
    model, _, _ = fit([conjunction(4, 20, noise_sd=0.05)], 1500, max_proxy_order=3)
    assert max(i.order for i in model.interactions()) == 3


def test_every_set_names_its_proposer_and_who_else_would_have_proposed_it():
    """An AND of three leads from pairs to triple; no pair leads to a pure triple."""
    game = from_moebius({(0, 1, 2): 8.0}, 30, noise_sd=0.3)
    masks = game.draw_masks(1500, 0)
    signs = 2.0 * masks - 1
    outputs = game.observe(masks, 1) + signs[:, 10] * signs[:, 11] * signs[:, 12]
    found = {i.members: i for i in ProxySPEX().fit(masks, outputs).interactions(max_q=0.05)}
    assert found[0, 1].proposed_by == found[0, 1, 2].proposed_by == "heredity"
    assert found[0, 1].also_proposed_by == found[0, 1, 2].also_proposed_by == ("proxy", "screen")
    assert found[10, 11, 12].proposed_by == "screen"


def test_proposals_change_no_test_of_a_screened_set_and_cost_it_two_percent_of_q_at_most():
    games = [planted_interactions(60, 1, noise_ceiling=0.9)]
    with_proxies, without = (fit(games, 600, n_proxy_sets=count)[0].interactions() for count in (40, 0))
    screened = {i.members: i for i in with_proxies if i.proposed_by != "proxy"}
    assert set(screened) == {i.members for i in without}
    for other in without:
        assert screened[other.members].p_value == other.p_value
        assert screened[other.members].q_value <= 1.02 * other.q_value + 1e-12  # 1% of the family's weight is theirs


def test_a_proposal_is_tested_on_the_half_that_did_not_propose_it():
    """Pure noise: tested where they were selected, proposals of four would look significant."""
    rng = np.random.default_rng(0)
    masks, outputs = rng.random((800, 40)) < 0.5, rng.normal(size=(800, 24))
    trees = BoosterSettings(max_depth=4, learning_rate=0.3, n_estimators=40, early_stopping_rounds=0)
    fitted = fit_block(check_data(masks, outputs, 0.5), BlockSettings(0.5, 3, proposer=trees))
    counts = fitted.z_histograms.counts[Stratum(4)]
    z = np.repeat(np.arange(len(counts)), counts) * Z_STEP
    assert len(z) > 1000
    assert (z**2).mean() == pytest.approx(1.0, abs=0.1)
    assert not fitted.predicted.std(axis=0).max() > 0.5
