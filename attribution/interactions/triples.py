"""Candidate triples: by heredity from pairs, by an exhaustive screen of the strongest players, and by a sieve."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from attribution.interactions.candidate_table import MIN_REPORTED_Z, Candidates, find_report_threshold, with_prior
from attribution.interactions.setup import N_FOLDS, BlockSetup
from attribution.screening.heredity import are_among, triples_by_heredity
from attribution.screening.screen import screen_triples, set_statistics
from attribution.screening.screened_sets import ScreenedSets
from attribution.screening.sieve import sieve_triples
from attribution.statistics.empirical_bayes import EffectPrior
from attribution.statistics.false_discovery import QValues
from attribution.statistics.p_values import z_threshold
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP, Stratum, ZHistograms, add_to_histogram
from attribution.types import Array

Parts = list[list[Candidates]]

# Expected numbers of null sets of one target. A choice: each bounds the work that chance causes in a later step.
NULL_RETAINED = 10.0  # that a screen or the sieve retains as candidates
NULL_REPORTED = 5.0  # that are reported because of their size alone
NULL_IN_FIT = 0.05  # of the sieve that may enter a fit: more of them opened gates (docs/NEGATIVE_RESULTS.md)
NULL_SURVIVORS = 8000  # that the sieve passes on to the exact test

HEREDITY_PAIR_Z = 3.0  # smallest |z| of a pair that singles out triples, if NULL_RETAINED asks for no more
MAX_HEREDITY_TRIPLES = 4000  # triples by heredity of one target; a choice that bounds time
# |z| from which the sieve is taken to be complete: a triple of z = 7 on all masks has 5 on those it looks at
# (screening/sieve.py), so the prior counts what the sieve found from here on and the expected null counts below.
SIEVE_COMPLETE_Z = 5.0
# Players up to which every target is sieved. Beyond, only targets with two large pairs are: the sieve's time grows with
# the cube of the number of players.
SIEVE_ALL_TARGETS = 500


@dataclass(frozen=True)
class TestedTriples:
    """Which triples were tested and counted, whether reported or not.

    Attributes
    ----------
    players : (p,) int64
        Every triple of these players was, on every target.
    all_on_target : (t,) bool
        Targets on which every triple was.
    """

    players: NDArray[np.int64]
    all_on_target: NDArray[np.bool_]


def find_triples(
    setup: BlockSetup, residual: Array, pairs: list[Candidates], z_histograms: ZHistograms
) -> tuple[Parts, TestedTriples]:
    """Find every target's candidate triples.

    Parameters
    ----------
    setup : BlockSetup
    residual : (m, t) float64
        Out-of-fold residuals of the spectrum of main effects and pairs.
    pairs : list of Candidates
        Candidate pairs of each target.
    z_histograms : ZHistograms
        Every triple tested is counted here, by its |z| on all masks.

    Returns
    -------
    found : list of lists of Candidates
        For each target its triples by heredity, of the screen and of the sieve.
    tested : TestedTriples
    """
    sums = setup.row_groups.sums(residual, 3)
    by_heredity = _by_heredity(setup, sums, pairs, z_histograms)
    found: Parts = [[own] for own in by_heredity]
    players = strongest_players(setup, setup.settings.max_triple_players)
    if len(players) >= 3:
        _screen(setup, sums, players, z_histograms, found, by_heredity)
    all_on_target = np.full(setup.n_targets, len(players) == setup.n_players)
    if len(players) < setup.n_players and _can_sieve(setup):
        targets = _targets_to_sieve(setup, pairs)
        _sieve(setup, sums, players, z_histograms, found, by_heredity, targets)
        all_on_target[targets] = True
    return found, TestedTriples(players, all_on_target)


def _by_heredity(
    setup: BlockSetup, sums: Array, pairs: list[Candidates], z_histograms: ZHistograms
) -> list[Candidates]:
    """Every target's triples that contain two large pairs (heredity.py); the screens leave them out."""
    n_pairs = comb(min(setup.n_players, setup.settings.max_pair_players), 2)
    min_pair_z = max(HEREDITY_PAIR_Z, z_threshold(NULL_RETAINED, n_pairs))
    stratum = Stratum(3, by_heredity=True)
    triples = []
    counts = np.zeros(N_Z_BINS, dtype=np.int64)
    for target, own in enumerate(pairs):
        z = np.abs(own.z(setup.all_folds))
        large = z >= min_pair_z
        members = triples_by_heredity(own.members[large], z[large], MAX_HEREDITY_TRIPLES)
        triples.append(set_statistics(setup.row_groups, setup.fold_of_row_group, N_FOLDS, members, sums[:, target]))
        add_to_histogram(counts, _abs_z(triples[-1]))
    z_histograms.add(stratum, counts)
    prior = EffectPrior.fit(counts, Z_STEP)
    return [with_prior(setup, sets, prior, MIN_REPORTED_Z, stratum, proposed_by="heredity") for sets in triples]


def _screen(
    setup: BlockSetup,
    sums: Array,
    players: NDArray[np.int64],
    z_histograms: ZHistograms,
    found: Parts,
    by_heredity: list[Candidates],
) -> None:
    """Screen all triples among `players` and append the retained ones to `found`.

    Triples by heredity are left out: they are counted and tested as a stratum of their own."""
    n_sets = comb(len(players), 3)
    retain_threshold, chance_threshold = z_threshold(NULL_RETAINED, n_sets), z_threshold(NULL_REPORTED, n_sets)
    row_groups = setup.row_groups if len(players) == setup.n_players else setup.row_groups.of_players(players)
    counts = np.zeros(N_Z_BINS, dtype=np.int64)
    retained = list(
        screen_triples(
            row_groups, setup.fold_of_row_group, sums, retain_threshold, counts,
            unit_variance=setup.alpha_is_half, device=setup.settings.booster.device,
        )
    )  # fmt: skip
    inside = np.isin(np.arange(setup.n_players), players)
    for others in by_heredity:
        counted_there = np.zeros_like(counts)
        add_to_histogram(counted_there, np.abs(others.z(setup.all_folds))[inside[others.members].all(axis=1)])
        counts -= counted_there
    z_histograms.add(Stratum(3), counts)
    prior = EffectPrior.fit(np.maximum(counts, 0), Z_STEP)
    q = QValues.fit({Stratum(3): counts}, "BH").q.get(Stratum(3))
    report_threshold = find_report_threshold(setup, q, prior, retain_threshold, chance_threshold)
    for target, sets in enumerate(retained):
        sets = ScreenedSets(players[sets.members], sets.sums, sets.squares)
        by_heredity[target].name("screen", are_among(by_heredity[target].members, sets.members, setup.n_players))
        sets = _take(sets, ~are_among(sets.members, by_heredity[target].members, setup.n_players))
        found[target].append(with_prior(setup, sets, prior, report_threshold, Stratum(3), proposed_by="screen"))


def _can_sieve(setup: BlockSetup) -> bool:
    """True if phi is +1 or -1, all the sieve can multiply, and there are twice the masks that it looks at."""
    settings = setup.settings
    enough_masks = setup.row_groups.size >= 2 * settings.n_sieve_masks
    in_range = settings.max_triple_players < setup.n_players <= settings.max_sieve_players
    return setup.alpha_is_half and enough_masks and in_range


def _targets_to_sieve(setup: BlockSetup, pairs: list[Candidates]) -> NDArray[np.int64]:
    """All targets; of very many players those with two pairs as large as a triple would have to be.

    Pair estimates are independent of the noise in triple estimates (heredity.py), so this choice biases no test."""
    if setup.n_players <= SIEVE_ALL_TARGETS:
        return np.arange(setup.n_targets)
    min_pair_z = z_threshold(NULL_IN_FIT, comb(setup.n_players, 3))
    n_large = np.array([(np.abs(own.z(setup.all_folds)) >= min_pair_z).sum() for own in pairs])
    return np.flatnonzero(n_large >= 2)


def _sieve(
    setup: BlockSetup,
    sums: Array,
    screened: NDArray[np.int64],
    z_histograms: ZHistograms,
    found: Parts,
    by_heredity: list[Candidates],
    targets: NDArray[np.int64],
) -> None:
    """Append to `found` the triples that a sieve retains on some targets.

    Triples by heredity, and triples of `screened` players only, are left out: they have been tested."""
    if len(targets) == 0:
        return
    # Of more triples the threshold is higher: more masks find the ones that can be significant.
    many = setup.n_players > SIEVE_ALL_TARGETS
    n_masks = setup.settings.n_sieve_masks * (2 if many else 1)
    survivors = sieve_triples(
        setup.row_groups, setup.fold_of_row_group, sums[:, targets], n_masks, NULL_SURVIVORS, by_sign=many
    )
    hereditary = [by_heredity[target].members for target in targets]
    n_sets = comb(setup.n_players, 3) - comb(len(screened), 3)
    inside = np.isin(np.arange(setup.n_players), screened)
    n_tests = n_sets * len(survivors) - sum(int((~inside[others].all(axis=1)).sum()) for others in hereditary)
    untested, counts = [], np.zeros(N_Z_BINS, dtype=np.int64)
    retain_threshold = z_threshold(NULL_RETAINED, n_sets)
    for target, sets, others in zip(targets.tolist(), survivors, hereditary, strict=True):
        large = sets.members[_largest_abs_z(sets) >= retain_threshold]
        for part in found[target]:
            part.name("sieve", are_among(part.members, large, setup.n_players))
        new = ~inside[sets.members].all(axis=1) & ~are_among(sets.members, others, setup.n_players)
        untested.append(_take(sets, new))
        add_to_histogram(counts, _abs_z(untested[-1]))
    # Rejected triples count as z = 0 among the q-values. The prior sees the expected null counts below
    # SIEVE_COMPLETE_Z, where the sieve is incomplete.
    incomplete = slice(int(SIEVE_COMPLETE_Z / Z_STEP))
    prior_counts = counts.copy()
    prior_counts[incomplete] = _null_counts(n_tests)[incomplete]
    counts[0] += n_tests - int(counts.sum())
    z_histograms.add(Stratum(3), counts)
    prior = EffectPrior.fit(prior_counts, Z_STEP)
    report_threshold = max(z_threshold(NULL_REPORTED, n_sets), SIEVE_COMPLETE_Z)
    # Among millions of null triples dozens look probable, and jointly they open gates (docs/NEGATIVE_RESULTS.md):
    # a fit takes only triples that chance rarely produces.
    min_z = z_threshold(NULL_IN_FIT, n_sets)
    for target, sets in zip(targets.tolist(), untested, strict=True):
        retained = _largest_abs_z(sets) >= retain_threshold
        candidates = with_prior(
            setup, _take(sets, retained), prior, report_threshold, Stratum(3), proposed_by="sieve",
            min_z=min_z,
        )  # fmt: skip
        found[target].append(candidates)


def strongest_players(setup: BlockSetup, limit: int) -> NDArray[np.int64]:
    """Choose the `limit` players of largest main effect on any target, or all players if there are no more.

    Estimates of main effects are independent of the noise in estimates of interactions, because their basis functions
    are orthogonal. So this choice biases no test of an interaction.

    Returns
    -------
    (p,) int64
        Positions of the players, ascending.
    """
    if setup.n_players <= limit:
        return np.arange(setup.n_players)
    y = setup.data.outputs - setup.data.outputs.mean(axis=0)
    sums = setup.row_groups.sums(y / np.maximum(y.std(axis=0), 1e-300), 1)
    strength = np.abs(setup.row_groups.phi.T @ sums.astype(np.float32)).max(axis=1)
    return np.sort(np.argsort(-strength, kind="stable")[:limit])


def _null_counts(n_tests: int) -> NDArray[np.int64]:
    """The expected histogram of |z| of n_tests null effects."""
    from scipy.special import ndtr

    edges = np.arange(N_Z_BINS + 1, dtype=np.float64) * Z_STEP
    return np.rint(n_tests * 2 * np.diff(-ndtr(-edges))).astype(np.int64)


def _abs_z(sets: ScreenedSets) -> Array:
    """|z| of sets on all masks."""
    return np.abs(sets.sums.sum(axis=0)) / np.sqrt(np.maximum(sets.squares.sum(axis=0), 1e-300))


def _largest_abs_z(sets: ScreenedSets) -> Array:
    """The largest |z| on all masks or without one fold, so that no single fold decides whether a set is retained."""
    sums, squares = sets.sums.sum(axis=0), sets.squares.sum(axis=0)
    without = np.abs(sums - sets.sums) / np.sqrt(np.maximum(squares - sets.squares, 1e-300))
    return np.asarray(np.maximum(_abs_z(sets), without.max(axis=0)))


def _take(sets: ScreenedSets, which: NDArray[np.bool_]) -> ScreenedSets:
    """Some of the sets: which (c,)."""
    return ScreenedSets(sets.members[which], sets.sums[:, which], sets.squares[:, which])
