"""Sets that smaller ones lead to are looked at by themselves, counted once, and found where a million others hide
them."""

from __future__ import annotations

from math import comb

import numpy as np

from attribution.interactions.block import BlockSettings, fit_block
from attribution.masks.inputs import check_data
from attribution.screening.heredity import N_LEVELS, are_among, led_triples, pairs_of_level, player_levels
from attribution.statistics.false_discovery import LED, QValues, fit_q_values
from attribution.statistics.p_values import two_sided_p
from attribution.statistics.z_histogram import N_Z_BINS, add_to_histogram


def test_two_pairs_with_a_player_in_common_lead_to_a_triple():
    pairs = np.array([[0, 1], [1, 2], [3, 4], [1, 3]])
    found = led_triples(pairs, np.full(4, 5.0), 100)
    assert found.tolist() == [[0, 1, 2], [0, 1, 3], [1, 2, 3], [1, 3, 4]]
    closed = led_triples(np.array([[0, 1], [1, 2], [0, 2]]), np.full(3, 5.0), 100)
    assert closed.tolist() == [[0, 1, 2]]
    assert led_triples(np.array([[0, 1], [2, 3]]), np.full(2, 5.0), 100).shape == (0, 3)
    assert led_triples(np.zeros((0, 2), np.int64), np.zeros(0), 100).shape == (0, 3)


def test_the_strongest_pairs_lead_where_there_would_be_too_many():
    star = np.array([[0, player] for player in range(1, 101)])
    z = np.where(star[:, 1] <= 10, 9.0, 4.0)
    found = led_triples(star, z, 200)
    assert comb(10, 2) <= len(found) <= 200
    assert are_among(np.array([[0, a, b] for a in range(1, 11) for b in range(a + 1, 11)]), found, 101).all()


def histogram(z: np.ndarray) -> np.ndarray:
    counts = np.zeros(N_Z_BINS, dtype=np.int64)
    add_to_histogram(counts, z)
    return counts


def test_led_triples_cost_the_pairs_nothing_and_the_other_triples_a_tenth():
    pairs = histogram(np.array([4.6] * 4 + [0.5] * 996))
    triples, led = histogram(np.array([7.0] + [0.5] * 99_999)), histogram(np.full(50, 0.5))
    alone, both = QValues.fit({2: pairs, 3: triples}, "BH"), QValues.fit({2: pairs, 3: triples, LED + 3: led}, "BH")
    p = two_sided_p(np.array([4.6, 7.0]))
    assert np.isclose(both.of(p[:1], 2)[0], alone.of(p[:1], 2)[0], rtol=1e-9)
    assert both.of(p[1:], 3)[0] <= alone.of(p[1:], 3)[0] / 0.9 * (1 + 1e-9)
    assert both.of(two_sided_p(np.array([4.6])), LED + 3)[0] < 0.01 < both.of(p[:1], 3)[0]


def test_where_most_triples_are_led_none_is_favoured():
    some, most = histogram(np.full(100, 4.0)), histogram(np.full(300, 4.0))
    rule = QValues.fit({3: some, LED + 3: most}, "BH")
    p = two_sided_p(np.array([4.0]))
    assert np.isclose(rule.of(p, 3)[0], rule.of(p, LED + 3)[0])


def three_copies(n_players: int, n_masks: int, size: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    masks = rng.random((n_masks, n_players)) < 0.5
    main = rng.normal(size=n_players) * (rng.random(n_players) < 0.3) * 0.4
    outputs = (2.0 * masks - 1) @ main + size * masks[:, [5, 70, 120]].any(axis=1) + rng.normal(size=n_masks)
    return masks, outputs


def test_three_copies_among_half_a_million_triples_are_found_as_a_triple():
    copies = (5, 70, 120)
    found = {"led": 0, "flat": 0}
    for seed in range(4):
        fitted = fit_block(check_data(*three_copies(140, 1100, 1.2, seed), 0.5), BlockSettings(0.5))
        counts = {stratum: held for stratum, held in fitted.considered.counts.items() if stratum > 1}
        assert sum(int(held.sum()) for stratum, held in counts.items() if stratum % LED == 3) == comb(140, 3)
        flat = QValues.fit({2: counts[2], 3: counts[3] + counts[LED + 3]}, "BH")
        _, rule = fit_q_values([fitted.considered], "BH")
        reported = fitted.reported[0]
        assert len(set(reported.members)) == len(reported.members)
        if copies in reported.members:
            at = reported.members.index(copies)
            assert reported.stratum[at] == LED + 3
            p = reported.p_value[at : at + 1]
            found["led"] += int(rule.of(p, LED + 3)[0] <= 0.05)
            found["flat"] += int(flat.of(p, 3)[0] <= 0.05)
    assert found["led"] >= 3 and found["flat"] <= 1


def test_a_pair_has_the_level_of_its_weaker_member():
    levels = player_levels(np.array([[0.5, -3.0, 5.0, np.nan, -20.0], [9.0, 9.0, 9.0, 0.0, 0.0]]))
    assert levels.tolist() == [[0, 1, 2, 0, 3], [3, 3, 3, 0, 0]]
    per_level = [pairs_of_level(levels, level) for level in range(N_LEVELS)]
    assert per_level == [7 + 7, 2, 1, 3] and sum(per_level) == 2 * comb(5, 2)


def test_many_pairs_do_not_pay_for_false_triples():
    rng = np.random.default_rng(0)
    pairs = histogram(np.concatenate([np.full(200, 7.0), np.abs(rng.normal(size=20_000))]))
    triples = histogram(np.abs(rng.normal(size=1_000_000)))
    rule = QValues.fit({2: pairs, 3: triples}, "BH")
    edge = rule.reached_at(0.05)
    false_triples = 1_000_000 * float(two_sided_p(np.array([edge[3]]))[0])
    # Half of the weight would let 0.5 * 0.05 * 200 = 5 of them in.
    assert false_triples < 0.5 and edge[2] < 3.6


def test_pairs_with_main_effects_are_found_where_others_of_their_size_are_not():
    """Twelve pairs of one size, half of them between players with main effects."""
    found = {"led": 0, "others": 0}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        masks = rng.random((1500, 150)) < 0.5
        phi = 2.0 * masks - 1
        main = np.zeros(150)
        main[:12] = 0.35
        led = [(i, i + 6) for i in range(6)]
        others = [(100 + i, 120 + i) for i in range(6)]
        pairs = sum(0.11 * phi[:, i] * phi[:, j] for i, j in led + others)
        fitted = fit_block(check_data(masks, phi @ main + pairs + rng.normal(size=1500), 0.5), BlockSettings(0.5))
        counts = fitted.considered.counts
        assert counts[2].sum() + counts[LED + 2].sum() == comb(150, 2)
        assert 60 <= counts[LED + 2].sum() <= 120
        _, rule = fit_q_values([fitted.considered], "BH")
        reported = fitted.reported[0]
        q = rule.of(reported.p_value, reported.stratum)
        listed = {members for members, value in zip(reported.members, q, strict=True) if value <= 0.05}
        found["led"] += len(listed & set(led))
        found["others"] += len(listed & set(others))
    assert found["led"] >= 14 and found["others"] <= 0.75 * found["led"]
