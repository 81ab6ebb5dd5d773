"""benchmarks/planted/oracle.py: what anybody could find of a planted game."""

from __future__ import annotations

import numpy as np
import pytest

from attribution.fourier.basis import basis
from benchmarks.planted import oracle as attribution_oracle
from benchmarks.planted.oracle import bound
from tests.games import planted_interactions

N_PLAYERS, N_MASKS = 50, 600


@pytest.fixture(scope="module")
def campaign():
    games = [planted_interactions(N_PLAYERS, seed, noise_ceiling=0.7) for seed in range(6)]
    masks = games[0].draw_masks(N_MASKS, 10)
    return games, masks, np.column_stack([game.observe(masks, 30 + k) for k, game in enumerate(games)])


def true_and_false(records, games):
    found = [(k, tuple(members)) for k, record in enumerate(records) for members in record["reported"]]
    true = [members in games[k].planted for k, members in found]
    return sum(true), len(true) - sum(true)


def test_z_is_that_of_generalised_least_squares_written_out(campaign):
    games, masks, outputs = campaign
    game, phi = games[0], np.asarray(basis(masks, 0.5), dtype=np.float64)
    members = game.planted[0]
    main = np.array([game.spectrum.terms[(player,)] for player in range(N_PLAYERS)])
    covariance = (main @ main) / N_PLAYERS * phi @ phi.T + game.noise_sd**2 * np.eye(N_MASKS)
    column = phi[:, members[0]] * phi[:, members[1]]
    others = sum(
        value * phi[:, list(s)].prod(axis=1)
        for s, value in game.spectrum.terms.items()
        if len(s) > 1 and s != members
    )
    weight = np.linalg.solve(covariance, column)
    expected = weight @ (outputs[:, 0] - others) / np.sqrt(weight @ column)

    away = attribution_oracle._main_effects_away(phi, game, "main effects unknown")
    left = outputs[:, 0] - others - game.spectrum.terms[members] * column
    s2 = game.noise_sd**2
    weighted = (left - away @ (away.T @ left)) / s2
    z = attribution_oracle._planted_z(phi, away, s2, weighted, members, game.spectrum.terms[members])
    assert z == pytest.approx(expected, rel=1e-9)


def test_knowing_the_main_effects_finds_more_and_neither_bound_is_often_wrong(campaign):
    games, masks, outputs = campaign
    everything, false = true_and_false(bound(masks, outputs, games, "everything else known"), games)
    without, false_without = true_and_false(bound(masks, outputs, games, "main effects unknown"), games)
    assert without < everything < sum(len(game.planted) for game in games)
    assert false < 0.2 * everything and false_without < 0.2 * without


def test_drawing_what_is_not_planted_finds_the_same_planted_sets(campaign, monkeypatch):
    games, masks, outputs = campaign
    screened = true_and_false(bound(masks, outputs, games, "everything else known"), games)
    monkeypatch.setattr(attribution_oracle, "MAX_SETS", 0)
    drawn = true_and_false(bound(masks, outputs, games, "everything else known"), games)
    assert drawn[0] == pytest.approx(screened[0], abs=3)
    assert drawn[1] < 0.2 * drawn[0]
