"""Candidate sets: an exhaustive screen of pairs, triples (triples.py), and larger sets that proxies propose."""

from __future__ import annotations

import numpy as np

from attribution.interactions.candidate_table import (
    MIN_REPORTED_Z,
    Candidates,
    find_report_threshold,
    joined,
    with_prior,
)
from attribution.interactions.setup import N_FOLDS, BlockSetup
from attribution.interactions.triples import NULL_REPORTED, NULL_RETAINED, find_triples, strongest_players
from attribution.proxy.fit import fit_proxy
from attribution.screening.heredity import HEREDITY_CLASS, N_SIZE_CLASSES, n_pairs_of_class, size_classes
from attribution.screening.screen import screen_pairs, set_statistics
from attribution.screening.screened_sets import ScreenedSets
from attribution.statistics.empirical_bayes import EffectPrior
from attribution.statistics.false_discovery import QValues
from attribution.statistics.p_values import z_threshold
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP, Stratum, ZHistograms
from attribution.types import Array


def find_pairs(setup: BlockSetup, residual: Array, main_z: Array, z_histograms: ZHistograms) -> list[Candidates]:
    """Screen all pairs and retain every target's candidates.

    Parameters
    ----------
    setup : BlockSetup
    residual : (m, t) float64
        Out-of-fold residuals of the datamodel.
    main_z : (t, n) float64
        z of the main effects. Pairs of one size class (screening/heredity.py) share a prior.
    z_histograms : ZHistograms
        Every pair tested is counted here, by its |z| on all masks.

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
    counts = np.zeros((N_SIZE_CLASSES, N_Z_BINS), dtype=np.int64)
    retained = list(
        screen_pairs(
            row_groups, setup.fold_of_row_group, row_groups.sums(residual, 2), retain_threshold, counts,
            unit_variance=setup.alpha_is_half, classes=classes, device=setup.settings.booster.device,
        )
    )  # fmt: skip
    by_heredity = np.arange(N_SIZE_CLASSES) >= HEREDITY_CLASS
    by_stratum = {
        Stratum(2): counts[~by_heredity].sum(axis=0),
        Stratum(2, by_heredity=True): counts[by_heredity].sum(axis=0),
    }
    for stratum, held in by_stratum.items():
        z_histograms.add(stratum, held)
    q = QValues.fit(by_stratum, "BH").q
    priors = [EffectPrior.fit(held, Z_STEP) for held in counts]
    found: list[list[Candidates]] = [[] for _ in retained]
    for size_class, prior in enumerate(priors):
        stratum = Stratum(2, by_heredity=bool(by_heredity[size_class]))
        chance_threshold = z_threshold(NULL_REPORTED, n_sets[by_heredity == by_heredity[size_class]].sum())
        report_threshold = find_report_threshold(
            setup, q.get(stratum), prior, float(retain_threshold[size_class]), chance_threshold
        )
        for target, sets in enumerate(retained):
            own = classes[target][sets.members].min(axis=1) == size_class
            part = ScreenedSets(players[sets.members[own]], sets.sums[:, own], sets.squares[:, own])
            found[target].append(with_prior(setup, part, prior, report_threshold, stratum))
    return [joined(parts) for parts in found]


def find_larger(
    setup: BlockSetup, residual: Array, pairs: list[Candidates], z_histograms: ZHistograms
) -> list[list[Candidates]]:
    """Find every target's candidates of three and more members.

    A proxy is fitted only if `max_order` is 4 or more, or if not every triple has been tested (triples.py).

    Parameters
    ----------
    setup : BlockSetup
    residual : (m, t) float64
        Out-of-fold residuals of the spectrum of main effects and pairs.
    pairs : list of Candidates
        Candidate pairs of each target.
    z_histograms : ZHistograms
        Every triple tested is counted here. Sets that a proxy proposes are counted where they are tested
        (estimates_and_p_values.py).

    Returns
    -------
    list of lists of Candidates
        For each target, parts of one order each.
    """
    settings = setup.settings
    found: list[list[Candidates]] = [[] for _ in range(setup.n_targets)]
    if settings.max_order < 3 or setup.n_players < 3:
        return found
    found, prior, all_triples_tested = find_triples(setup, residual, pairs, z_histograms)
    larger = range(4 if all_triples_tested else 3, settings.max_order + 1)
    if prior is not None and len(larger) and settings.n_proxy_sets and setup.n_players >= larger[0]:
        for target, parts in enumerate(proxy_candidates(setup, residual, larger, prior)):
            found[target] += [part.without(found[target]) for part in parts]
    return found


def proxy_candidates(setup: BlockSetup, residual: Array, orders: range, prior: EffectPrior) -> list[list[Candidates]]:
    """Propose sets by proxies that are fitted on either half of the masks.

    Parameters
    ----------
    setup : BlockSetup
    residual : (m, t) float64
        Out-of-fold residuals of the spectrum of main effects and pairs.
    orders : range
        Numbers of members proposed.
    prior : EffectPrior
        Prior of the screened triples, taken for the larger sets too.

    Returns
    -------
    list of lists of Candidates
        For each target, parts of one order each.
    """
    settings = setup.settings
    proposals: list[list[list[tuple[int, ...]]]] = []
    for half in (False, True):
        rows = np.flatnonzero(setup.half_of_fold[setup.folds] == half)
        validation = setup.folds[rows] == setup.folds[rows].max()
        proxy = fit_proxy(
            setup.data.masks[rows], setup.data.outputs[rows], settings.booster, backend=settings.backend,
            validation=validation, sample_weight=None if setup.data.weight is None else setup.weight[rows],
        )  # fmt: skip
        proposals.append(
            [
                proxy.largest_sets(target, setup.alpha, orders[0], orders[-1], settings.n_proxy_sets)
                for target in range(setup.n_targets)
            ]
        )
    by_parity = {parity: setup.row_groups.sums(residual, parity) for parity in (0, 1)}
    result: list[list[Candidates]] = []
    for target in range(setup.n_targets):
        first, second = set(proposals[0][target]), set(proposals[1][target])
        parts = []
        for order in orders:
            sets = sorted(members for members in first | second if len(members) == order)
            if not sets:
                continue
            statistics = set_statistics(
                setup.row_groups, setup.fold_of_row_group, N_FOLDS, np.array(sets), by_parity[order % 2][:, target]
            )
            on_half = np.array([[members in half for members in sets] for half in (first, second)])
            parts.append(
                with_prior(
                    setup, statistics, prior, MIN_REPORTED_Z, Stratum(order),
                    selected_on_half=on_half, tested_exhaustively=False,
                )
            )  # fmt: skip
        result.append(parts)
    return result
