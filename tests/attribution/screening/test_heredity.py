"""Sets by heredity are a stratum of their own, counted once, and found where a million others would hide them."""

from __future__ import annotations

from math import comb

import numpy as np

from attribution.interactions.block import BlockSettings, fit_block
from attribution.masks.inputs import check_data
from attribution.screening.heredity import (
    N_SIZE_CLASSES,
    are_among,
    n_pairs_of_class,
    size_classes,
    triples_by_heredity,
)
from attribution.statistics.false_discovery import QValues, fit_q_values
from attribution.statistics.p_values import two_sided_p
from attribution.statistics.z_histogram import N_Z_BINS, Stratum, add_to_histogram

PAIRS, TRIPLES = Stratum(2), Stratum(3)
PAIRS_BY_HEREDITY, TRIPLES_BY_HEREDITY = Stratum(2, by_heredity=True), Stratum(3, by_heredity=True)


def test_two_pairs_with_a_common_player_give_a_triple():
    pairs = np.array([[0, 1], [1, 2], [3, 4], [1, 3]])
    found = triples_by_heredity(pairs, np.full(4, 5.0), 100)
    assert found.tolist() == [[0, 1, 2], [0, 1, 3], [1, 2, 3], [1, 3, 4]]
    closed = triples_by_heredity(np.array([[0, 1], [1, 2], [0, 2]]), np.full(3, 5.0), 100)
    assert closed.tolist() == [[0, 1, 2]]
    assert triples_by_heredity(np.array([[0, 1], [2, 3]]), np.full(2, 5.0), 100).shape == (0, 3)
    assert triples_by_heredity(np.zeros((0, 2), np.int64), np.zeros(0), 100).shape == (0, 3)


def test_the_strongest_pairs_are_kept_where_there_are_too_many():
    star = np.array([[0, player] for player in range(1, 101)])
    z = np.where(star[:, 1] <= 10, 9.0, 4.0)
    found = triples_by_heredity(star, z, 200)
    assert comb(10, 2) <= len(found) <= 200
    assert are_among(np.array([[0, a, b] for a in range(1, 11) for b in range(a + 1, 11)]), found, 101).all()


def histogram(z: np.ndarray) -> np.ndarray:
    counts = np.zeros(N_Z_BINS, dtype=np.int64)
    add_to_histogram(counts, z)
    return counts


def test_triples_by_heredity_cost_the_pairs_nothing_and_the_other_triples_a_tenth():
    pairs = histogram(np.array([4.6] * 4 + [0.5] * 996))
    triples, hereditary = histogram(np.array([7.0] + [0.5] * 99_999)), histogram(np.full(50, 0.5))
    counts = {PAIRS: pairs, TRIPLES: triples}
    alone, both = QValues.fit(counts, "BH"), QValues.fit({**counts, TRIPLES_BY_HEREDITY: hereditary}, "BH")
    p = two_sided_p(np.array([4.6, 7.0]))
    assert np.isclose(both.of(p[:1], PAIRS)[0], alone.of(p[:1], PAIRS)[0], rtol=1e-9)
    assert both.of(p[1:], TRIPLES)[0] <= alone.of(p[1:], TRIPLES)[0] / 0.9 * (1 + 1e-9)
    assert both.of(two_sided_p(np.array([4.6])), TRIPLES_BY_HEREDITY)[0] < 0.01 < both.of(p[:1], TRIPLES)[0]


def test_where_most_triples_are_by_heredity_none_is_favoured():
    some, most = histogram(np.full(100, 4.0)), histogram(np.full(300, 4.0))
    rule = QValues.fit({TRIPLES: some, TRIPLES_BY_HEREDITY: most}, "BH")
    p = two_sided_p(np.array([4.0]))
    assert np.isclose(rule.of(p, TRIPLES)[0], rule.of(p, TRIPLES_BY_HEREDITY)[0])


def three_copies(n_players: int, n_masks: int, size: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    masks = rng.random((n_masks, n_players)) < 0.5
    main = rng.normal(size=n_players) * (rng.random(n_players) < 0.3) * 0.4
    outputs = (2.0 * masks - 1) @ main + size * masks[:, [5, 70, 120]].any(axis=1) + rng.normal(size=n_masks)
    return masks, outputs


def test_three_copies_among_half_a_million_triples_are_found_as_a_triple():
    copies = (5, 70, 120)
    found = {"by heredity": 0, "flat": 0}
    for seed in range(4):
        fitted = fit_block(check_data(*three_copies(140, 1100, 1.2, seed), 0.5), BlockSettings(0.5))
        counts = {stratum: held for stratum, held in fitted.z_histograms.counts.items() if stratum.order > 1}
        assert sum(int(held.sum()) for stratum, held in counts.items() if stratum.order == 3) == comb(140, 3)
        flat = QValues.fit({PAIRS: counts[PAIRS], TRIPLES: counts[TRIPLES] + counts[TRIPLES_BY_HEREDITY]}, "BH")
        _, rule = fit_q_values([fitted.z_histograms], "BH")
        reported = fitted.reported[0]
        assert len(set(reported.members)) == len(reported.members)
        if copies in reported.members:
            at = reported.members.index(copies)
            assert reported.strata[at] == TRIPLES_BY_HEREDITY
            p = reported.p_value[at : at + 1]
            found["by heredity"] += int(rule.of(p, TRIPLES_BY_HEREDITY)[0] <= 0.05)
            found["flat"] += int(flat.of(p, TRIPLES)[0] <= 0.05)
    assert found["by heredity"] >= 3 and found["flat"] <= 1


def test_a_pair_has_the_size_class_of_its_weaker_member():
    classes = size_classes(np.array([[0.5, -3.0, 5.0, np.nan, -20.0], [9.0, 9.0, 9.0, 0.0, 0.0]]))
    assert classes.tolist() == [[0, 1, 2, 0, 3], [3, 3, 3, 0, 0]]
    per_class = [n_pairs_of_class(classes, size_class) for size_class in range(N_SIZE_CLASSES)]
    assert per_class == [7 + 7, 2, 1, 3] and sum(per_class) == 2 * comb(5, 2)


def test_many_true_pairs_do_not_license_false_triples():
    rng = np.random.default_rng(0)
    pairs = histogram(np.concatenate([np.full(200, 7.0), np.abs(rng.normal(size=20_000))]))
    triples = histogram(np.abs(rng.normal(size=1_000_000)))
    rule = QValues.fit({PAIRS: pairs, TRIPLES: triples}, "BH")
    edge = rule.reached_at(0.05)
    false_triples = 1_000_000 * float(two_sided_p(np.array([edge[TRIPLES]]))[0])
    # Half of the weight would let 0.5 * 0.05 * 200 = 5 of them in.
    assert false_triples < 0.5 and edge[PAIRS] < 3.6


def test_pairs_with_main_effects_are_found_where_others_of_their_size_are_not():
    """Twelve pairs of one size, half of them between players with main effects."""
    found = {"by heredity": 0, "others": 0}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        masks = rng.random((1500, 150)) < 0.5
        phi = 2.0 * masks - 1
        main = np.zeros(150)
        main[:12] = 0.35
        hereditary = [(i, i + 6) for i in range(6)]
        others = [(100 + i, 120 + i) for i in range(6)]
        pairs = sum(0.11 * phi[:, i] * phi[:, j] for i, j in hereditary + others)
        fitted = fit_block(check_data(masks, phi @ main + pairs + rng.normal(size=1500), 0.5), BlockSettings(0.5))
        counts = fitted.z_histograms.counts
        assert counts[PAIRS].sum() + counts[PAIRS_BY_HEREDITY].sum() == comb(150, 2)
        assert 60 <= counts[PAIRS_BY_HEREDITY].sum() <= 120
        _, rule = fit_q_values([fitted.z_histograms], "BH")
        reported = fitted.reported[0]
        q = rule.of(reported.p_value, reported.strata)
        listed = {members for members, value in zip(reported.members, q, strict=True) if value <= 0.05}
        found["by heredity"] += len(listed & set(hereditary))
        found["others"] += len(listed & set(others))
    assert found["by heredity"] >= 14 and found["others"] <= 0.75 * found["by heredity"]
