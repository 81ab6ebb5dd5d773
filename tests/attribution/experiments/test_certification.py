"""Factorial experiments recover known interactions; verdicts, power and the top-20 rule are what METHOD.md says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attribution.errors import AttributionError
from attribution.experiments.factorial import (
    Interval,
    factorial_masks,
    interaction_contrast,
    main_effect_contrasts,
    measure,
    n_cells,
    surplus_contrast,
    t_interval,
)
from attribution.experiments.power import adjusted_level, bases_for_power, more_bases, plan_bases
from attribution.experiments.sets_to_try import Candidate, matched_random_sets, top_sets
from attribution.experiments.verdicts import certified_share, verdict_of
from attribution.fourier.spectrum import Spectrum
from tests.games import all_masks, conjunction, copies


def random_spectrum(n_players: int, alpha: float, seed: int) -> Spectrum:
    generator = np.random.default_rng(seed)
    terms = {}
    for _ in range(40):
        members = tuple(sorted(generator.choice(n_players, generator.integers(0, 5), replace=False).tolist()))
        terms[members] = float(generator.normal())
    return Spectrum.from_terms(terms, n_players, alpha)


@pytest.mark.parametrize("alpha", [0.5, 0.3])
@pytest.mark.parametrize("members", [(1, 4), (0, 3, 5), (0, 1, 2, 6)])
def test_contrasts_over_all_base_masks_are_the_spectrums_indices(alpha: float, members: tuple[int, ...]) -> None:
    # Averaged over every base mask with its Bernoulli probability, the experiment has no sampling error left.
    spectrum = random_spectrum(7, alpha, seed=len(members))
    bases = all_masks(7)
    weight = np.prod(np.where(bases, alpha, 1 - alpha), axis=1)
    outputs = spectrum.evaluate(factorial_masks(bases, members)).reshape(len(bases), -1)
    assert weight @ interaction_contrast(outputs) == pytest.approx(spectrum.banzhaf(members), abs=1e-9)
    assert weight @ surplus_contrast(outputs) == pytest.approx(spectrum.joint_surplus(members), abs=1e-9)
    main = weight @ main_effect_contrasts(outputs, alpha)
    assert main == pytest.approx([spectrum.banzhaf((player,)) for player in members], abs=1e-9)


def test_three_copies_have_a_positive_interaction_and_are_called_redundant() -> None:
    game = copies(3)
    generator = np.random.default_rng(0)
    bases = generator.random((64, game.n_players)) < 0.5
    outputs = game.evaluate(factorial_masks(bases, (0, 1, 2))).reshape(64, 8)
    found = measure(outputs + generator.normal(0, 0.05, outputs.shape), 0.5)
    assert found.interaction.low > 0
    assert found.surplus.mean == pytest.approx(-2, abs=0.1)
    assert found.kind == "redundancy"


def test_a_conjunction_is_called_a_synergy() -> None:
    game = conjunction(3)
    generator = np.random.default_rng(1)
    bases = generator.random((64, game.n_players)) < 0.5
    outputs = game.evaluate(factorial_masks(bases, (0, 1, 2))).reshape(64, 8)
    assert measure(outputs + generator.normal(0, 0.05, outputs.shape), 0.5).kind == "synergy"


def test_a_base_with_a_diverged_cell_is_left_out_and_counted() -> None:
    outputs = np.random.default_rng(2).normal(size=(10, 4))
    broken = outputs.copy()
    broken[3, 1] = np.nan
    found, without = measure(broken, 0.5), measure(np.delete(outputs, 3, axis=0), 0.5)
    assert found.n_lost == 1
    assert found.interaction == without.interaction


def test_shared_noise_of_a_base_cancels_and_the_pairing_ratio_shows_it() -> None:
    generator = np.random.default_rng(3)
    shared = generator.normal(0, 3.0, (4000, 1))
    own = generator.normal(0, 1.0, (4000, 4))
    assert measure(shared + own, 0.5).pairing == pytest.approx(1 / math.sqrt(10), rel=0.05)
    assert measure(own, 0.5).pairing == pytest.approx(1.0, rel=0.05)


def test_intervals_cover_as_often_as_they_say() -> None:
    values = np.random.default_rng(4).normal(2.0, 1.0, (4000, 12))
    covered = [interval.low <= 2.0 <= interval.high for interval in map(t_interval, values)]
    # Binomial standard error .0034.
    assert np.mean(covered) == pytest.approx(0.95, abs=0.012)


def test_an_interval_of_one_unit_says_nothing() -> None:
    interval = t_interval(np.array([1.0, np.nan]))
    assert interval.n == 1
    assert math.isnan(interval.low)


@pytest.mark.parametrize("order", [0, 1, 7])
def test_orders_no_experiment_is_made_for_are_refused(order: int) -> None:
    with pytest.raises(AttributionError, match="2 to 6 members"):
        n_cells(order)


def test_members_out_of_range_or_repeated_are_refused() -> None:
    bases = np.zeros((1, 5), dtype=bool)
    for members in [(0, 5), (2, 2), (3, 1)]:
        with pytest.raises(AttributionError, match="sorted, distinct players"):
            factorial_masks(bases, members)


def interval(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, 0.1, low, high, 32, 1.0, 0.05)


@pytest.mark.parametrize(
    ("low", "high", "predicted", "verdict"),
    [
        (-5.3, -2.2, -4.0, "certified"),
        (-0.9, -0.1, -4.0, "certified"),  # smaller than predicted, but there
        (-1.7, 1.5, -4.0, "refuted"),  # excludes -2
        (-3.0, 0.4, -4.0, "undecided"),  # holds 0 and -2
        (0.3, 1.1, -4.0, "refuted"),  # the other sign
        (-1.6, 1.6, 0.8, "undecided"),
        (0.1, 0.9, math.nan, "certified"),  # nothing was predicted
        (-0.4, 0.9, math.nan, "undecided"),
        (math.nan, math.nan, -4.0, "undecided"),
    ],
)
def test_verdicts(low: float, high: float, predicted: float, verdict: str) -> None:
    assert verdict_of(interval(low, high), predicted) == verdict


def test_power_is_the_methods_formula_and_is_reached() -> None:
    sigma = 1.5
    assert bases_for_power(-2.5, 2 * sigma) == math.ceil((5.6 * sigma / 2.5) ** 2)
    n = bases_for_power(1.0, 2.0, level=0.05, power=0.8)
    draws = np.random.default_rng(5).normal(1.0, 2.0, (4000, n))
    found = [t_interval(row).low > 0 for row in draws]
    # The t quantile costs a little of the normal formula's 80%; binomial standard error .006.
    assert np.mean(found) == pytest.approx(0.80, abs=0.03)


def test_power_without_a_prediction_is_refused() -> None:
    for predicted in (0.0, math.nan):
        with pytest.raises(AttributionError, match="certify.n_bases"):
            bases_for_power(predicted, 1.0)


def test_false_certification_stays_below_the_level_over_the_whole_family() -> None:
    # Twenty sets without any interaction, predicted at 2: one or more certified in at most 5% of the experiments.
    generator = np.random.default_rng(6)
    level = adjusted_level(0.05, 20)
    wrong = 0
    for _ in range(300):
        draws = generator.normal(0.0, 3.0, (20, 24))
        wrong += any(verdict_of(t_interval(row, level), 2.0) == "certified" for row in draws)
    assert wrong / 300 <= 0.06


def candidates(*orders: int) -> list[Candidate]:
    return [Candidate(tuple(range(order)), 0, -2.0) for order in orders]


def test_a_budget_cuts_the_weakest_sets_first() -> None:
    plan = plan_bases(candidates(2, 2, 3), [10, 60, 20], smallest=8, largest=64, max_models=4 * 10 + 4 * 20 + 8 * 20)
    assert plan.n_bases == (10, 20, 20)
    assert plan.n_models == 4 * 10 + 4 * 20 + 8 * 20
    assert plan.capped == (False, True, False)


def test_a_budget_that_gives_no_set_the_least_is_refused() -> None:
    with pytest.raises(AttributionError, match="certify.max_models"):
        plan_bases(candidates(2, 2), [10, 10], smallest=8, largest=64, max_models=63)


def test_adding_bases_looks_at_the_width_alone() -> None:
    candidate = candidates(2)[0]
    values = np.random.default_rng(7).normal(0, 6.0, 12)
    at = [more_bases(candidate, t_interval(values + shift), 0.05, 0.8, largest=64) for shift in (-5.0, 0.0, 5.0)]
    assert len(set(at)) == 1
    assert at[0] > 0
    assert more_bases(candidate, t_interval(values / 20), 0.05, 0.8, largest=64) == 0


def table(rows: list[tuple[int, tuple[int, ...], float, float, float, bool]]) -> dict[str, list]:
    names = ("target", "members", "value", "stderr", "q_value", "gate_open")
    columns = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    columns["shrunken"] = [value * 0.8 for value in columns["value"]]
    columns["joint_surplus"] = columns["value"]
    columns["kind"] = ["redundancy"] * len(rows)
    columns["class_split"] = ["target_class"] * len(rows)
    return columns


def test_the_top_sets_are_distinct_ranked_by_pooled_evidence_and_taken_on_their_best_target() -> None:
    found = top_sets(
        table(
            [
                (5, (1, 2), -3.0, 0.5, 0.01, True),  # z = 6 once
                (6, (3, 4), -2.0, 0.4, 0.01, True),  # z = 5 twice: more evidence
                (7, (3, 4), -2.1, 0.42, 0.01, True),
                (8, (5, 6), -9.0, 0.5, 0.01, False),  # gate closed
                (8, (7, 8), -9.0, 0.5, 0.30, True),  # q too large
                (-1, (7, 9), -9.0, 0.5, 0.01, True),  # a pooled target
            ]
        ),
        count=20,
        level=0.1,
    )
    assert [(item.members, item.target) for item in found] == [((3, 4), 6), ((1, 2), 5)]
    assert found[1].predicted == pytest.approx(-2.4)


def test_no_eligible_set_is_a_result() -> None:
    assert top_sets(table([(5, (1, 2), -3.0, 0.5, 0.5, True)])) == []


def test_random_sets_match_class_and_effect_and_hold_no_reported_pair() -> None:
    generator = np.random.default_rng(8)
    effects = generator.normal(size=100)
    classes = np.arange(100) % 4
    tried = [Candidate((0, 4), 9, -2.0), Candidate((1, 2, 7), 9, 1.0)]
    reported = [(0, 4), (8, 12), (1, 2, 7)]
    drawn = matched_random_sets(tried, {9: effects}, classes, reported, seed=0)
    for near, candidate in zip(drawn, tried, strict=True):
        assert sorted(classes[list(near.members)]) == sorted(classes[list(candidate.members)])
        assert not set(near.members) & set(candidate.members)
        assert near.predicted == candidate.predicted
    assert drawn == matched_random_sets(tried, {9: effects}, classes, reported, seed=0)


def test_random_sets_where_there_are_no_other_players_are_refused() -> None:
    with pytest.raises(AttributionError, match="certify.n_random=0"):
        matched_random_sets([Candidate((0, 1), 3, 1.0)], {3: np.zeros(2)}, np.zeros(2, int), [], seed=0)


def test_a_share_comes_with_its_interval() -> None:
    share = certified_share(["certified"] * 16 + ["refuted"] * 2 + ["undecided"] * 2)
    assert share.value == pytest.approx(0.8)
    # Clopper-Pearson for 16 of 20, from published tables.
    assert (share.low, share.high) == (pytest.approx(0.563, abs=5e-4), pytest.approx(0.943, abs=5e-4))
    assert math.isnan(certified_share([]).value)
