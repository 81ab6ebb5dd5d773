"""Candidate sets: an exhaustive screen of pairs, triples (triples.py), and sets that proxies propose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attribution.interactions.candidate_table import Candidates, find_report_threshold, joined, with_prior
from attribution.interactions.proxy_proposals import ProxyProposals, proxy_candidates
from attribution.interactions.setup import BlockSetup
from attribution.interactions.triples import (
    NULL_REPORTED,
    NULL_RETAINED,
    TestedTriples,
    find_triples,
    strongest_players,
)
from attribution.linear.link import LinkFit
from attribution.screening.heredity import HEREDITY_CLASS, N_SIZE_CLASSES, are_among, n_pairs_of_class, size_classes
from attribution.screening.screen import screen_pairs
from attribution.screening.screened_sets import KnownPart, ScreenedSets
from attribution.statistics.empirical_bayes import EffectPrior
from attribution.statistics.false_discovery import QValues
from attribution.statistics.p_values import z_threshold
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP, Stratum, TestFamilies, ZHistograms
from attribution.types import Array


def find_pairs(
    setup: BlockSetup, residual: Array, main_z: Array, link: LinkFit, coef: Array, families: TestFamilies
) -> list[Candidates]:
    """Screen all pairs and retain every target's candidates.

    Parameters
    ----------
    setup : BlockSetup
    residual : (m, t) float64
        Out-of-fold residuals of datamodel and link.
    main_z : (t, n) float64
        z of the main effects. Pairs of one size class (screening/heredity.py) share a prior.
    link : LinkFit
    coef : (t, n) float64
        The datamodel's coefficients, which the link belongs to.
    families : TestFamilies
        Every pair tested is counted here by its |z| on all masks: of its specific part, and with its saturation part.

    Returns
    -------
    list of Candidates
        One for each target.
    """
    players = strongest_players(setup, setup.settings.max_pair_players)
    if setup.settings.max_order < 2 or len(players) < 2:
        return [joined([]) for _ in range(setup.n_targets)]
    row_groups = setup.row_groups if len(players) == setup.n_players else setup.row_groups.of_players(players)
    classes = size_classes(main_z[:, players])
    n_sets = np.array([n_pairs_of_class(classes, own) / setup.n_targets for own in range(N_SIZE_CLASSES)])
    retain_threshold = np.array([z_threshold(NULL_RETAINED, count) for count in n_sets])
    plain_threshold = z_threshold(NULL_RETAINED, n_sets.sum())  # of a screen that knows no size classes
    counts = np.zeros((N_SIZE_CLASSES, N_Z_BINS), dtype=np.int64)
    left, right = (side[:, players].astype(np.float32) for side in link.pair_factors(coef))
    known = KnownPart(left * np.float32(setup.weight.sum()), right, np.zeros_like(counts))
    retained = list(
        screen_pairs(
            row_groups, setup.fold_of_row_group, row_groups.sums(residual, 2), retain_threshold, counts,
            unit_variance=setup.alpha_is_half, classes=classes, known=known, device=setup.settings.booster.device,
        )
    )  # fmt: skip
    by_heredity = np.arange(N_SIZE_CLASSES) >= HEREDITY_CLASS
    rules = []
    for family, held_by_class in ((families.specific, counts), (families.interaction, known.counts)):
        by_stratum = {
            Stratum(2): held_by_class[~by_heredity].sum(axis=0),
            Stratum(2, by_heredity=True): held_by_class[by_heredity].sum(axis=0),
        }
        for stratum, held in by_stratum.items():
            family.add(stratum, held)
        rules.append(QValues.fit(by_stratum, "BH").q)
    priors = [EffectPrior.fit(held, Z_STEP) for held in counts]
    found: list[list[Candidates]] = [[] for _ in retained]
    for size_class, prior in enumerate(priors):
        stratum = Stratum(2, by_heredity=bool(by_heredity[size_class]))
        chance_threshold = z_threshold(NULL_REPORTED, n_sets[by_heredity == by_heredity[size_class]].sum())
        report_threshold = min(
            find_report_threshold(setup, q.get(stratum), prior, float(retain_threshold[size_class]), chance_threshold)
            for q in rules
        )
        for target, sets in enumerate(retained):
            own = classes[target][sets.members].min(axis=1) == size_class
            part = ScreenedSets(players[sets.members[own]], sets.sums[:, own], sets.squares[:, own])
            candidates = with_prior(
                setup, part, prior, report_threshold, stratum,
                proposed_by="heredity" if stratum.by_heredity else "screen",
            )  # fmt: skip
            candidates.name("screen", np.abs(candidates.z(setup.all_folds)) >= plain_threshold)
            found[target].append(candidates)
    return [joined(parts) for parts in found]


def find_larger(
    setup: BlockSetup,
    residual: Array,
    pairs: list[Candidates],
    proposals: ProxyProposals | None,
    z_histograms: ZHistograms,
) -> list[list[Candidates]]:
    """Find every target's further candidates: triples, and what the proxies propose beyond the tested families.

    Parameters
    ----------
    setup : BlockSetup
    residual : (m, t) float64
        Out-of-fold residuals of the spectrum of main effects and pairs.
    pairs : list of Candidates
        Candidate pairs of each target.
    proposals : ProxyProposals or None
        Sets that the proxies propose. Those among the candidates are noted there, in place.
    z_histograms : ZHistograms
        Every triple tested is counted here. Sets that only a proxy proposes are counted where they are tested
        (estimates_and_p_values.py).

    Returns
    -------
    list of lists of Candidates
        For each target, parts of one order each.
    """
    tested = TestedTriples(np.zeros(0, np.int64), np.zeros(setup.n_targets, bool))
    found: list[list[Candidates]] = [[] for _ in range(setup.n_targets)]
    if setup.settings.max_order >= 3 and setup.n_players >= 3:
        found, tested = find_triples(setup, residual, pairs, z_histograms)
    if proposals is None:
        return found
    for target in range(setup.n_targets):
        for part in (pairs[target], *found[target]):
            proposals.name_in(part, target)
    screened = strongest_players(setup, setup.settings.max_pair_players)
    inside = {2: np.isin(np.arange(setup.n_players), screened),
              3: np.isin(np.arange(setup.n_players), tested.players)}  # fmt: skip

    def is_new(members: NDArray[np.int64], target: int) -> NDArray[np.bool_]:
        order = members.shape[1]
        if order > 3:
            return np.ones(len(members), dtype=bool)
        if order == 3 and tested.all_on_target[target]:
            return np.zeros(len(members), dtype=bool)
        known = np.concatenate([np.zeros((0, 3), np.int64), *[part.members for part in found[target]]])
        new = np.asarray(~inside[order][members].all(axis=1))
        return np.asarray(new & ~are_among(members, known, setup.n_players)) if order == 3 else new

    for own, more in zip(found, proxy_candidates(setup, residual, proposals, is_new), strict=True):
        own += more
    return found
