"""Which member sets are considered at all: an exhaustive screen of pairs, triples (triples.py), the proxies' larger
sets."""

from __future__ import annotations

import numpy as np

from attribution.interactions.candidates import LEAST_REPORTED, Candidates, joined, report_cut, with_prior
from attribution.interactions.setup import N_FOLDS, BlockSetup
from attribution.interactions.triples import find_triples, strongest_players
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
    """Every target's pairs that stand out; all that are screened are counted into `z_histograms`, by their |z| on all
    masks.

    residual: (m, t), of the datamodel, out of fold. main_z: (t, n) of the main effects: pairs of which both members
    have one share a prior and a stratum (heredity.py)."""
    players = strongest_players(setup, setup.settings.max_pair_players)
    if setup.settings.max_order < 2 or len(players) < 2:
        return [joined([]) for _ in range(setup.n_targets)]
    row_groups = setup.row_groups if len(players) == setup.n_players else setup.row_groups.of_players(players)
    levels = size_classes(main_z[:, players])
    n_sets = np.array([n_pairs_of_class(levels, level) / setup.n_targets for level in range(N_SIZE_CLASSES)])
    keep_z = np.array([z_threshold(10.0, count) for count in n_sets])
    counts = np.zeros((N_SIZE_CLASSES, N_Z_BINS), dtype=np.int64)
    hits = list(
        screen_pairs(
            row_groups, setup.fold_of_row_group, row_groups.sums(residual, 2), keep_z, counts,
            unit_variance=setup.halves, classes=levels, device=setup.settings.booster.device,
        )
    )  # fmt: skip
    leading = np.arange(N_SIZE_CLASSES) >= HEREDITY_CLASS
    by_stratum = {
        Stratum(2): counts[~leading].sum(axis=0),
        Stratum(2, by_heredity=True): counts[leading].sum(axis=0),
    }
    for stratum, held in by_stratum.items():
        z_histograms.add(stratum, held)
    rule = QValues.fit(by_stratum, "BH").q
    priors = [EffectPrior.fit(held, Z_STEP) for held in counts]
    found: list[list[Candidates]] = [[] for _ in hits]
    for level, prior in enumerate(priors):
        stratum = Stratum(2, by_heredity=bool(leading[level]))
        usual_z = z_threshold(5.0, n_sets[leading == leading[level]].sum())
        cut = report_cut(setup, rule.get(stratum), prior, float(keep_z[level]), usual_z)
        for target, hit in enumerate(hits):
            own = levels[target][hit.members].min(axis=1) == level
            part = ScreenedSets(players[hit.members[own]], hit.sums[:, own], hit.squares[:, own])
            found[target].append(with_prior(setup, part, prior, cut, stratum))
    return [joined(parts) for parts in found]


def find_larger(
    setup: BlockSetup, residual: Array, pairs: list[Candidates], z_histograms: ZHistograms
) -> list[list[Candidates]]:
    """Every target's sets of three and more, per target in parts of one order each.

    residual: (m, t), out of fold, of what the pairs are part of. The larger sets of a proxy come with their own
    tests, which are counted where they are reported (estimates.py)."""
    settings = setup.settings
    found: list[list[Candidates]] = [[] for _ in range(setup.n_targets)]
    if settings.max_order < 3 or setup.n_players < 3:
        return found
    found, prior, every = find_triples(setup, residual, pairs, z_histograms)
    larger = range(4 if every else 3, settings.max_order + 1)
    if prior is not None and len(larger) and settings.n_proxy_sets and setup.n_players >= larger[0]:
        for target, parts in enumerate(proposed_sets(setup, residual, larger, prior)):
            found[target] += [part.without(found[target]) for part in parts]
    return found


def proposed_sets(setup: BlockSetup, residual: Array, orders: range, prior: EffectPrior) -> list[list[Candidates]]:
    """Sets of the given orders from proxies fitted on either half, per target."""
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
            hit = set_statistics(
                setup.row_groups, setup.fold_of_row_group, N_FOLDS, np.array(sets), by_parity[order % 2][:, target]
            )
            proposed = np.array([[members in half for members in sets] for half in (first, second)])
            parts.append(with_prior(setup, hit, prior, LEAST_REPORTED, Stratum(order), proposed, screened=False))
        result.append(parts)
    return result
