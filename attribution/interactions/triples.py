"""Triples under consideration: those that pairs lead to, an exhaustive screen of the strongest players', and a sieve
for all others'."""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

from attribution.interactions.candidates import LEAST_REPORTED, Candidates, report_cut, with_prior
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

_LEADS = 3.0  # |z| of pairs that lead to triples; more where chance brings more than ten a target
_MOST_LED = 4000  # led triples of a target
_SURVIVORS = 4000  # nil triples that a target's sieve lets through to be looked at on all masks
_SURELY_SEEN = 5.0  # |z| from which hardly a triple is turned away
_EVERY_TARGET = 500  # players up to which the sieve costs next to nothing; of more it is given twice the masks


def find_triples(
    setup: BlockSetup, residual: Array, pairs: list[Candidates], z_histograms: ZHistograms
) -> tuple[Parts, EffectPrior | None, bool]:
    """Every target's triples that stand out, in parts; the prior of the last look; whether all triples were looked at.

    residual: (m, t), out of fold, of what the pairs are part of. All that are looked at are counted into
    `z_histograms`, by their |z| on all masks."""
    sums = setup.row_groups.sums(residual, 3)
    led = _led(setup, sums, pairs, z_histograms)
    found: Parts = [[own] for own in led]
    players = strongest_players(setup, setup.settings.max_triple_players)
    prior = None
    if len(players) >= 3:
        prior = _screen(setup, sums, players, z_histograms, found, led)
    every = len(players) == setup.n_players
    if not every and _can_sieve(setup):
        targets = _worth_a_sieve(setup, pairs)
        _sieve(setup, sums, players, z_histograms, found, led, targets)
        every = len(targets) == setup.n_targets
    return found, prior, every


def _led(
    setup: BlockSetup, sums: Array, pairs: list[Candidates], z_histograms: ZHistograms
) -> list[Candidates]:
    """Every target's triples that contain two large pairs (heredity.py); the screens leave them out."""
    least = max(_LEADS, z_threshold(10.0, comb(min(setup.n_players, setup.settings.max_pair_players), 2)))
    hits = []
    counts = np.zeros(N_Z_BINS, dtype=np.int64)
    for target, own in enumerate(pairs):
        z = np.abs(own.z(setup.every))
        leading = z >= least
        triples = triples_by_heredity(own.members[leading], z[leading], _MOST_LED)
        hits.append(set_statistics(setup.row_groups, setup.fold_of_row_group, N_FOLDS, triples, sums[:, target]))
        add_to_histogram(counts, _size(hits[-1]))
    z_histograms.add(Stratum(3, by_heredity=True), counts)
    prior = EffectPrior.fit(counts, Z_STEP)
    return [with_prior(setup, hit, prior, LEAST_REPORTED, Stratum(3, by_heredity=True)) for hit in hits]


def _screen(
    setup: BlockSetup,
    sums: Array,
    players: NDArray[np.int64],
    z_histograms: ZHistograms,
    found: Parts,
    led: list[Candidates],
) -> EffectPrior:
    """Screen all triples among `players`, append what stands out to `found`; their prior.

    led: per target the triples found by heredity, which are counted and tested by themselves."""
    n_sets = comb(len(players), 3)
    keep_z, usual_z = z_threshold(10.0, n_sets), z_threshold(5.0, n_sets)
    row_groups = setup.row_groups if len(players) == setup.n_players else setup.row_groups.of_players(players)
    counts = np.zeros(N_Z_BINS, dtype=np.int64)
    hits = list(
        screen_triples(
            row_groups, setup.fold_of_row_group, sums, keep_z, counts,
            unit_variance=setup.halves, device=setup.settings.booster.device,
        )
    )  # fmt: skip
    known = np.isin(np.arange(setup.n_players), players)
    for others in led:
        uncounted = np.zeros_like(counts)
        add_to_histogram(uncounted, np.abs(others.z(setup.every))[known[others.members].all(axis=1)])
        counts -= uncounted
    z_histograms.add(Stratum(3), counts)
    prior = EffectPrior.fit(np.maximum(counts, 0), Z_STEP)
    cut = report_cut(setup, QValues.fit({Stratum(3): counts}, "BH").q.get(Stratum(3)), prior, keep_z, usual_z)
    for target, hit in enumerate(hits):
        hit = ScreenedSets(players[hit.members], hit.sums, hit.squares)
        hit = _of_sets(hit, ~are_among(hit.members, led[target].members, setup.n_players))
        found[target].append(with_prior(setup, hit, prior, cut, Stratum(3)))
    return prior


def _can_sieve(setup: BlockSetup) -> bool:
    """Signs are all the sieve can multiply; with few masks it would turn away what it should find."""
    settings = setup.settings
    enough = setup.row_groups.size >= 2 * settings.n_sieve_masks
    return setup.halves and enough and settings.max_triple_players < setup.n_players <= settings.max_sieve_players


def _worth_a_sieve(setup: BlockSetup, pairs: list[Candidates]) -> NDArray[np.int64]:
    """The targets whose triples are looked at: all, or of very many players those with two pairs as large as a triple
    would have to be. (What pairs show says nothing about the noise of triples: heredity.py.)"""
    if setup.n_players <= _EVERY_TARGET:
        return np.arange(setup.n_targets)
    least = z_threshold(0.05, comb(setup.n_players, 3))
    large = np.array([(np.abs(own.z(setup.every)) >= least).sum() for own in pairs])
    return np.flatnonzero(large >= 2)


def _sieve(
    setup: BlockSetup,
    sums: Array,
    screened: NDArray[np.int64],
    z_histograms: ZHistograms,
    found: Parts,
    led: list[Candidates],
    targets: NDArray[np.int64],
) -> None:
    """Triples of all players that a sieve finds on some targets, without the led ones and those of `screened` players
    only, which were looked at."""
    if len(targets) == 0:
        return
    n_masks = setup.settings.n_sieve_masks * (1 if setup.n_players <= _EVERY_TARGET else 2)
    second_half = setup.half_of_fold[setup.fold_of_row_group]
    hits = sieve_triples(
        setup.row_groups, setup.fold_of_row_group, second_half, sums[:, targets], n_masks, _SURVIVORS
    )
    led_members = [led[target].members for target in targets]
    n_sets = comb(setup.n_players, 3) - comb(len(screened), 3)
    known = np.isin(np.arange(setup.n_players), screened)
    n_tests = n_sets * len(hits) - sum(int((~known[others].all(axis=1)).sum()) for others in led_members)
    kept, counts = [], np.zeros(N_Z_BINS, dtype=np.int64)
    for (hit, proposed), others in zip(hits, led_members, strict=True):
        new = ~known[hit.members].all(axis=1) & ~are_among(hit.members, others, setup.n_players)
        kept.append((_of_sets(hit, new), proposed[:, new]))
        add_to_histogram(counts, _size(kept[-1][0]))
    # Turned away: nil for the false discovery rate. For the prior, below where all are seen, what chance would bring.
    unsure = slice(int(_SURELY_SEEN / Z_STEP))
    prior_counts = counts.copy()
    prior_counts[unsure] = _nil_counts(n_tests)[unsure]
    counts[0] += n_tests - int(counts.sum())
    z_histograms.add(Stratum(3), counts)
    prior = EffectPrior.fit(prior_counts, Z_STEP)
    cut = max(z_threshold(5.0, n_sets), _SURELY_SEEN)
    # Of millions of triples dozens would pass for likely by chance, and together they open gates
    # (docs/NEGATIVE_RESULTS.md): a fit is for those that chance hardly brings.
    least = z_threshold(0.05, n_sets)
    for target, (hit, proposed) in zip(targets.tolist(), kept, strict=True):
        standing_out = _largest_size(hit) >= z_threshold(10.0, n_sets)
        found[target].append(
            with_prior(
                setup, _of_sets(hit, standing_out), prior, cut, Stratum(3), proposed[:, standing_out], least=least
            )
        )


def strongest_players(setup: BlockSetup, limit: int) -> NDArray[np.int64]:
    """All players, or the `limit` of largest main effect on any target.

    A main effect's estimate says nothing about that of an interaction (their basis functions are orthogonal), so
    choosing players by it leaves the interactions' tests as they are."""
    if setup.n_players <= limit:
        return np.arange(setup.n_players)
    y = setup.data.outputs - setup.data.outputs.mean(axis=0)
    sums = setup.row_groups.sums(y / np.maximum(y.std(axis=0), 1e-300), 1)
    strength = np.abs(setup.row_groups.phi.T @ sums.astype(np.float32)).max(axis=1)
    return np.sort(np.argsort(-strength, kind="stable")[:limit])


def _nil_counts(n_tests: int) -> NDArray[np.int64]:
    """The histogram of |z| that n_tests nil effects are expected to have."""
    from scipy.special import ndtr

    edges = np.arange(N_Z_BINS + 1, dtype=np.float64) * Z_STEP
    return np.rint(n_tests * 2 * np.diff(-ndtr(-edges))).astype(np.int64)


def _size(hit: ScreenedSets) -> Array:
    """|z| of sets on all masks."""
    return np.abs(hit.sums.sum(axis=0)) / np.sqrt(np.maximum(hit.squares.sum(axis=0), 1e-300))


def _largest_size(hit: ScreenedSets) -> Array:
    """The largest |z| of all masks or all but one fold: what is kept by it is kept whatever a held-out fold says."""
    sums, squares = hit.sums.sum(axis=0), hit.squares.sum(axis=0)
    without = np.abs(sums - hit.sums) / np.sqrt(np.maximum(squares - hit.squares, 1e-300))
    return np.asarray(np.maximum(_size(hit), without.max(axis=0)))


def _of_sets(hit: ScreenedSets, which: NDArray[np.bool_]) -> ScreenedSets:
    return ScreenedSets(hit.members[which], hit.sums[:, which], hit.squares[:, which])
