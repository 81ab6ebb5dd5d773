"""The sieve finds the triples of many players that the exhaustive screen would find, and counts every triple."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from attribution.interactions import triples
from attribution.interactions.block import BlockSettings, fit_block
from attribution.masks.inputs import check_data
from attribution.masks.row_groups import make_row_groups
from attribution.screening import sieve
from attribution.screening.screen import set_columns
from attribution.screening.sieve import sieve_triples
from attribution.screening.sieve_compiled import triples_by_sign
from attribution.statistics.false_discovery import fit_q_values
from attribution.statistics.p_values import z_threshold
from attribution.statistics.z_histogram import Stratum

TRIPLES = (Stratum(3), Stratum(3, by_heredity=True))


def row_groups_and_residual(n_players, n_masks, planted, size, seed=0):
    rng = np.random.default_rng(seed)
    masks = rng.random((n_masks, n_players)) < 0.5
    row_groups = make_row_groups(masks, np.arange(n_masks), None, 0.5)
    residual = rng.normal(size=(n_masks, 1))
    residual[:, 0] += size * set_columns(row_groups.phi, np.array(planted)).sum(axis=1)[row_groups.merged_into]
    return row_groups, residual


def test_survivors_have_the_statistics_of_all_masks():
    row_groups, residual = row_groups_and_residual(40, 600, [(3, 17, 31)], 0.0)
    sums = row_groups.sums(residual, 3)
    folds = np.arange(600) % 6
    (screened,) = sieve_triples(row_groups, folds, sums, 150, 60)
    assert 20 < len(screened.members) < 140
    assert (np.diff(screened.members, axis=1) > 0).all()
    assert len(np.unique(screened.members, axis=0)) == len(screened.members)
    exact = set_columns(row_groups.phi, screened.members).astype(np.float64).T @ sums[:, 0]
    assert np.allclose(screened.sums.sum(axis=0), exact, atol=1e-3)


def test_strong_triples_survive_and_the_sieve_tests_every_triple():
    planted = [(2, 3, 39), (0, 20, 21), (5, 11, 38)]
    row_groups, residual = row_groups_and_residual(40, 800, planted, 0.35)
    folds = np.arange(800) % 6
    (screened,) = sieve_triples(row_groups, folds, row_groups.sums(residual, 3), 200, 60)
    assert set(planted) <= {tuple(row) for row in screened.members.tolist()}
    every = sieve_triples(row_groups, folds, row_groups.sums(residual, 3), 800, 10**9)[0]
    some = {tuple(row) for row in every.members.tolist()}
    # At the lowest threshold there is, half of all triples pass; none twice, none outside.
    assert len(some) == len(every.members) and some <= set(combinations(range(40), 3))
    assert 0.3 < len(some) / 9880 < 0.7


@pytest.mark.parametrize(("n_players", "n_masks", "limit"), [(130, 500, 61), (64, 200, 0), (65, 1024, 97), (3, 7, 3)])
def test_compiled_search_by_sign_finds_what_products_find(n_players: int, n_masks: int, limit: int) -> None:
    rng = np.random.default_rng(n_players)
    signs = rng.choice(np.array([-1, 1], np.int8), (n_players, n_masks))
    weights = rng.choice(np.array([-1, 1], np.int8), n_masks)
    every = np.array(list(combinations(range(n_players), 3)))
    sums = np.array([(signs[a].astype(int) * signs[b] * signs[c]) @ weights for a, b, c in every])
    found = triples_by_sign(signs, weights, limit)
    if found is None:
        pytest.skip("no C++ compiler here")
    assert np.array_equal(found, every[np.abs(sums) >= limit])
    assert len(triples_by_sign(signs, weights, n_masks + 1)) == 0


def test_the_sieve_by_sign_is_the_same_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = [(2, 3, 89), (0, 20, 21), (5, 11, 88)]
    row_groups, residual = row_groups_and_residual(90, 800, planted, 0.3)
    asked = (row_groups, np.arange(800) % 6, row_groups.sums(residual, 3), 256, 60)
    (compiled,) = sieve_triples(*asked, by_sign=True)
    monkeypatch.setattr(sieve, "triples_by_sign", lambda *_: None)
    (plain,) = sieve_triples(*asked, by_sign=True)
    assert set(planted) <= {tuple(row) for row in plain.members.tolist()}
    assert np.array_equal(compiled.members, plain.members) and np.array_equal(compiled.sums, plain.sums)


def test_triples_of_weak_players_are_found_and_every_triple_is_counted():
    rng = np.random.default_rng(1)
    masks = rng.random((1600, 60)) < 0.5
    phi = np.where(masks, 1.0, -1.0)
    outputs = phi[:, :20] @ rng.normal(size=20) * 0.5 + rng.normal(size=1600) + 0.45 * phi[:, [40, 50, 59]].prod(axis=1)
    settings = {"max_triple_players": 20, "n_proxy_sets": 0}
    found = {}
    for most in (0, 60):
        fitted = fit_block(
            check_data(masks, outputs, 0.5), BlockSettings(0.5, max_sieve_players=most, n_sieve_masks=400, **settings)
        )
        _, rule = fit_q_values([fitted.z_histograms], "BH")
        reported = fitted.reported[0]
        q = rule.of(reported.p_value, reported.strata)
        found[most] = {members for members, value in zip(reported.members, q, strict=True) if value <= 0.05}
        counted = sum(fitted.z_histograms.n_tests(stratum) for stratum in TRIPLES)
        assert counted == (60 * 59 * 58 // 6 if most else 20 * 19 * 18 // 6)
    assert (40, 50, 59) not in found[0] and (40, 50, 59) in found[60]


def test_of_very_many_players_targets_without_large_pairs_are_left_out(monkeypatch):
    monkeypatch.setattr(triples, "SIEVE_ALL_TARGETS", 40)
    rng = np.random.default_rng(3)
    masks = rng.random((1600, 60)) < 0.5
    phi = np.where(masks, 1.0, -1.0)
    outputs = phi[:, :20] @ rng.normal(size=(20, 2)) * 0.3 + rng.normal(size=(1600, 2))
    outputs[:, 0] += 0.25 * (phi[:, 30] * phi[:, 31] + phi[:, 32] * phi[:, 33] + phi[:, [40, 50, 59]].prod(axis=1))
    outputs[:, 1] += 0.25 * phi[:, [41, 51, 58]].prod(axis=1)
    settings = {"max_triple_players": 20, "n_proxy_sets": 0, "n_sieve_masks": 400}
    fitted = fit_block(check_data(masks, outputs, 0.5), BlockSettings(0.5, **settings))
    strongest, every = 20 * 19 * 18 // 6, 60 * 59 * 58 // 6
    assert sum(fitted.z_histograms.n_tests(stratum) for stratum in TRIPLES) == strongest + every
    assert (40, 50, 59) in fitted.reported[0].members and (41, 51, 58) not in fitted.reported[1].members


def test_a_fold_adds_little_to_the_selection_of_what_may_enter_its_fit():
    """Null triples: a fold that helps to select agrees with the others. Beyond a fit's threshold it adds little."""
    rng = np.random.default_rng(5)
    masks = rng.random((900, 60)) < 0.5
    row_groups = make_row_groups(masks, np.arange(900), None, 0.5)
    folds = np.arange(900) % 6
    sums = row_groups.sums(rng.normal(size=(900, 150)), 3)
    agreement = {50.0: [], 1.0: []}  # by the expected number of null triples of a target beyond the threshold
    for screened in sieve_triples(row_groups, folds, sums, 256, 1000):
        for fold in range(6):
            here = screened.sums[fold] / np.sqrt(screened.squares[fold])
            others = screened.sums.sum(axis=0) - screened.sums[fold]
            others /= np.sqrt(screened.squares.sum(axis=0) - screened.squares[fold])
            for expected, found in agreement.items():
                beyond = np.abs(others) >= z_threshold(expected, 60 * 59 * 58 / 6)
                found.append((np.sign(others) * here)[beyond])
    loose, strict = (np.concatenate(found) for found in agreement.values())
    assert loose.mean() > 0.12
    assert len(strict) > 500 and abs(strict.mean()) < 0.12
    assert triples.NULL_IN_FIT < 1.0
