"""Which member sets are considered at all: an exhaustive screen of pairs, triples (triples.py), the proxies' larger
sets."""

from __future__ import annotations

import numpy as np

from attribution.interactions.candidates import LEAST_REPORTED, Candidates, joined, report_cut, with_prior
from attribution.interactions.setup import N_FOLDS, BlockSetup
from attribution.interactions.triples import find_triples, strongest_players, tail_z
from attribution.proxy.fit import fit_proxy
from attribution.screening.heredity import LEADING_LEVEL, N_LEVELS, pairs_of_level, player_levels
from attribution.screening.hits import Hits
from attribution.screening.screen import screen_pairs, set_statistics
from attribution.statistics.empirical_bayes import EffectPrior
from attribution.statistics.false_discovery import LED, Considered, QValues
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP
from attribution.types import Array


def find_pairs(setup: BlockSetup, residual: Array, main_z: Array, considered: Considered) -> list[Candidates]:
    """Every target's pairs that stand out; all that are screened are counted into `considered`, by their |z| on all
    masks.

    residual: (m, t), of the datamodel, out of fold. main_z: (t, n) of the main effects: pairs of which both members
    have one share a prior and a stratum (heredity.py)."""
    players = strongest_players(setup, setup.settings.max_pair_players)
    if setup.settings.max_order < 2 or len(players) < 2:
        return [joined([]) for _ in range(setup.n_targets)]
    row_groups = setup.row_groups if len(players) == setup.n_players else setup.row_groups.of_players(players)
    levels = player_levels(main_z[:, players])
    n_sets = np.array([pairs_of_level(levels, level) / setup.n_targets for level in range(N_LEVELS)])
    keep_z = np.array([tail_z(10.0, count) for count in n_sets])
    counts = np.zeros((N_LEVELS, N_Z_BINS), dtype=np.int64)
    hits = list(
        screen_pairs(
            row_groups, setup.fold_of_row_group, row_groups.sums(residual, 2), keep_z, counts,
            unit_variance=setup.halves, levels=levels, device=setup.settings.booster.device,
        )
    )  # fmt: skip
    leading = np.arange(N_LEVELS) >= LEADING_LEVEL
    stratum_of = np.where(leading, LED + 2, 2)
    by_stratum = {2: counts[~leading].sum(axis=0), LED + 2: counts[leading].sum(axis=0)}
    for stratum, held in by_stratum.items():
        considered.add(stratum, held)
    rule = QValues.fit(by_stratum, "BH").q
    priors = [EffectPrior.fit(held, Z_STEP) for held in counts]
    found: list[list[Candidates]] = [[] for _ in hits]
    for level, prior in enumerate(priors):
        stratum = int(stratum_of[level])
        usual_z = tail_z(5.0, n_sets[stratum_of == stratum].sum())
        cut = report_cut(setup, rule.get(stratum), prior, float(keep_z[level]), usual_z)
        for target, hit in enumerate(hits):
            own = levels[target][hit.members].min(axis=1) == level
            part = Hits(players[hit.members[own]], hit.sums[:, own], hit.squares[:, own])
            found[target].append(with_prior(setup, part, prior, cut, stratum))
    return [joined(parts) for parts in found]


def find_larger(
    setup: BlockSetup, residual: Array, pairs: list[Candidates], considered: Considered
) -> list[list[Candidates]]:
    """Every target's sets of three and more, per target in parts of one order each.

    residual: (m, t), out of fold, of what the pairs are part of. The larger sets of a proxy come with their own
    tests, which are counted where they are reported (estimates.py)."""
    settings = setup.settings
    found: list[list[Candidates]] = [[] for _ in range(setup.n_targets)]
    if settings.max_order < 3 or setup.n_players < 3:
        return found
    found, prior, every = find_triples(setup, residual, pairs, considered)
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
            parts.append(with_prior(setup, hit, prior, LEAST_REPORTED, order, proposed, screened=False))
        result.append(parts)
    return result
