"""Coverage: every target's own output under diminishing returns, fitted, predicted and searched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from attribution.curation.budget import choose
from attribution.curation.coverage import Coverage, CoverageState, concave, fit_coverage
from attribution.curation.surrogate import Surrogate
from attribution.errors import AttributionError
from tests.games import all_masks

N, T = 8, 5


def random_coverage(seed: int, n: int = N, sets: bool = True) -> Coverage:
    generator = np.random.default_rng(seed)
    members = ((0, 1), (2, 5), (1, 3, 4)) if sets else ()
    return Coverage(
        alpha=0.4, constant=generator.normal(0, 1, T), main=generator.normal(0.2, 0.8, (T, n)),
        curvature=generator.uniform(0.0, 0.3, T), offset=np.zeros(T), noise=generator.uniform(0.5, 2.0, T),
        main_stderr=np.full(n, 0.01), sets=members, targets=generator.integers(0, T, len(members)),
        weights=generator.normal(0, 1, len(members)),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_gains_are_the_differences_of_the_value_and_flips_keep_up(seed: int) -> None:
    generator = np.random.default_rng(seed)
    state = CoverageState(random_coverage(seed), generator.random(N) < 0.5)
    for player in generator.integers(0, N, 10):
        value, variance = state.value, state.variance
        gain, change = state.gains()[player], state.variance_gains()[player]
        state.flip(int(player))
        assert state.value - value == pytest.approx(gain)
        assert state.variance - variance == pytest.approx(change)
        again = CoverageState(state.surrogate, state.present)
        assert state.value == pytest.approx(again.value)


@pytest.mark.parametrize("seed", range(4))
def test_the_search_finds_the_best_of_all_subsets(seed: int) -> None:
    coverage = random_coverage(seed)
    masks = all_masks(N)
    masks = masks[masks.sum(axis=1) == 4]
    found = choose(coverage, 4, confidence=0.0)
    values = [CoverageState(coverage, mask).value for mask in masks]
    assert found.value == pytest.approx(max(values))


def test_a_budget_covers_every_target_where_the_mean_utility_takes_the_same_thing_twice() -> None:
    """Players 0..3 teach target 0, which is right anyway; player 4 alone teaches target 1, less than they do theirs."""
    main = np.zeros((2, 5))
    main[0, :4], main[1, 4] = 1.0, 0.9
    constant = np.array([3.0, 0.0])
    coverage = Coverage(0.5, constant, main, np.full(2, 0.2), np.zeros(2), np.ones(2), np.full(5, 1e-3))
    assert choose(coverage, 2, confidence=0.0).keep[4]
    mean = Surrogate(0.5, 0.0, main.mean(axis=0), np.full(5, 1e-3))
    assert not choose(mean, 2, confidence=0.0).keep[4]


def test_concave_rises_everywhere_ever_more_slowly_and_is_a_line_without_curvature() -> None:
    eta = np.linspace(-4, 4, 101)
    bent = concave(eta, np.full(101, 0.2))
    assert (np.diff(bent) > 0).all()
    assert (np.diff(bent, 2) < 0).all()
    assert concave(eta, np.zeros(101)) == pytest.approx(eta)
    assert np.isfinite(concave(np.array([-1e6, 1e6]), np.full(2, 0.2))).all()
    # Curvature at 0 is -2k, which is where the law of the pairs comes from.
    step = 1e-3
    second = concave(np.array([step]), np.array([0.2])) + concave(np.array([-step]), np.array([0.2]))
    assert second[0] / step**2 == pytest.approx(-0.4, rel=1e-3)


def simulated(curvature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks, outputs of a concave game with noise, and its main effects."""
    generator = np.random.default_rng(seed)
    main = generator.normal(0.1, 0.5, (20, 30))
    masks = generator.random((1500, 30)) < 0.5
    eta = (masks - 0.5) @ main.T
    return masks, concave(eta, np.full(20, curvature)) + generator.normal(0, 0.5, eta.shape), main


def test_the_fit_finds_main_effects_curvature_and_noise() -> None:
    masks, outputs, main = simulated(0.15)
    found = fit_coverage(masks, outputs, 0.5, np.zeros(30))
    slopes = [np.polyfit(main[t], found.main[t], 1)[0] for t in range(20)]
    assert np.mean(slopes) == pytest.approx(1.0, abs=0.15)
    assert np.median(found.curvature) == pytest.approx(0.15, rel=0.25)
    assert np.median(found.noise) == pytest.approx(0.5, rel=0.1)
    fresh = np.random.default_rng(9).random((4000, 30)) < 0.5
    outputs = concave((fresh - 0.5) @ main.T, np.full(20, 0.15))
    right = outputs + np.random.default_rng(1).normal(0, 0.5, outputs.shape) > 0
    assert found.predict(fresh).mean() == pytest.approx(right.mean(), abs=0.02)


def test_a_straight_game_gets_next_to_no_curvature_and_a_convex_one_none() -> None:
    masks, outputs, _ = simulated(0.0)
    spread = outputs.std()
    assert np.median(fit_coverage(masks, outputs, 0.5, np.zeros(30)).curvature) * spread < 0.01
    masks, outputs, _ = simulated(0.15)
    assert (fit_coverage(masks, -outputs, 0.5, np.zeros(30)).curvature == 0).all()


def test_reported_pairs_replace_the_law_and_closed_gates_do_not() -> None:
    masks, outputs, _ = simulated(0.15)
    rows = {
        "target": [3, 4, -1, 5],
        "members": [[1, 2], [1, 2], [1, 2], [0, 4, 7]],
        "shrunken": [-2.0, -9.0, -9.0, 1.0],
        "q_value": [0.01, 0.01, 0.01, 0.05],
        "gate_open": [True, False, True, True],
    }
    found = fit_coverage(masks, outputs, 0.5, np.zeros(30), interactions=rows)
    assert (found.sets, found.targets.tolist()) == (((1, 2), (0, 4, 7)), [3, 5])
    law = -2 * found.curvature[3] * found.main[3, 1] * found.main[3, 2]
    assert found.weights == pytest.approx([-2.0 - law, 1.0])
    # The pair's second difference at the centre of the cube is then what was reported.
    flat = replace(found, offset=np.zeros(20))

    def output(a: float, b: float) -> float:
        x = np.zeros(30)
        x[1], x[2] = a, b
        return float(flat.outputs(x @ flat.main.T, flat.extra(x))[3])

    h = 1e-3
    mixed = (output(h, h) - output(h, -h) - output(-h, h) + output(-h, -h)) / (4 * h * h)
    assert mixed == pytest.approx(-2.0, rel=1e-3)


def test_outputs_that_are_not_finite_are_refused() -> None:
    masks, outputs, _ = simulated(0.1)
    outputs[3, 2] = np.nan
    with pytest.raises(AttributionError, match="finite output"):
        fit_coverage(masks, outputs, 0.5, np.zeros(30))
