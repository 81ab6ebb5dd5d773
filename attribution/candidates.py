"""Which member sets are considered at all: exhaustive screens of pairs and triples, and the proxies' larger sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from attribution.heredity import are_among, led_triples
from attribution.proxy import fit_proxy
from attribution.screen import N_Z_BINS, Z_STEP, Hits, add_to_histogram, screen_pairs, screen_triples, set_statistics
from attribution.setup import N_FOLDS, BlockSetup
from attribution.shrinkage import EffectPrior
from attribution.sieve import sieve_triples
from attribution.significance import LED, Considered, QValues

Array = NDArray[np.float64]
Screen = Callable[..., Iterator[Hits]]


@dataclass(frozen=True)
class Candidates:
    """Sets of one target under consideration. members (c, order) padded with -1; sums, squares (k, c): of phi_S r per
    fold; proposed (2, c): which half put it forward (screens: both); screened (c,): from an exhaustive screen, whose
    test needs no half held back; mean, nil (7, c): posterior mean of z and probability of being nil, without each
    fold and (last) on all masks; cut (c,): |z| of the set's own test from which it is reported; stratum (c,): of the
    family of q-values that it is counted in."""

    members: NDArray[np.int64]
    sums: Array
    squares: Array
    proposed: NDArray[np.bool_]
    screened: NDArray[np.bool_]
    mean: Array
    nil: Array
    cut: Array
    stratum: NDArray[np.int64]

    def z(self, folds: NDArray[np.int64]) -> Array:
        """The sets' z on some folds: (c,)."""
        squares = self.squares[folds].sum(axis=0)
        return self.sums[folds].sum(axis=0) / np.sqrt(np.maximum(squares, 1e-300))


def find_candidates(setup: BlockSetup, residual: Array, considered: Considered) -> list[Candidates]:
    """Every target's candidates; screened sets are counted into `considered`, by their |z| on all masks.

    residual: (m, t), of the datamodel, out of fold."""
    found: list[list[Candidates]] = [[] for _ in range(setup.n_targets)]
    settings = setup.settings
    limits = {2: settings.max_pair_players, 3: settings.max_triple_players}
    screens: dict[int, Screen] = {2: screen_pairs, 3: screen_triples}
    prior: EffectPrior | None = None
    exhaustive = 1
    led = [np.zeros((0, 3), np.int64)] * setup.n_targets
    for order in (2, 3):
        if order > settings.max_order or order > setup.n_players:
            break
        players = _strongest(setup, limits[order])
        if len(players) < order:
            continue
        prior = _screen(setup, residual, order, screens[order], players, considered, found, led)
        if len(players) == setup.n_players:
            exhaustive = order
        elif order == 3 and _can_sieve(setup):
            _sieve(setup, residual, players, considered, found, led)
            exhaustive = order
        if order == 2 and settings.max_order > 2:
            led = _led(setup, residual, considered, found)
    larger = range(max(3, exhaustive + 1), settings.max_order + 1)
    if len(larger) and settings.n_proxy_sets and prior is not None and setup.n_players >= larger[0]:
        for target, parts in enumerate(_proposed_sets(setup, residual, larger, prior)):
            found[target].extend(_without_known(part, found[target]) for part in parts)
    return [_joined(parts) for parts in found]


def _screen(
    setup: BlockSetup,
    residual: Array,
    order: int,
    screen: Screen,
    players: NDArray[np.int64],
    considered: Considered,
    found: list[list[Candidates]],
    led: list[NDArray[np.int64]],
) -> EffectPrior:
    """Screen all sets of one order among `players`, append what stands out to `found`; the order's prior.

    led: per target the triples that pairs lead to, which are counted and tested by themselves."""
    n_sets = comb(len(players), order)
    keep_z, usual_z = _tail(10.0, n_sets), _tail(5.0, n_sets)
    clusters = setup.clusters
    if len(players) < setup.n_players:
        clusters = clusters.of_players(players)
    counts = np.zeros(N_Z_BINS, dtype=np.int64)
    hits = list(
        screen(
            clusters, setup.cluster_folds, clusters.sums(residual, order), keep_z, counts,
            unit_variance=setup.data.alphas is None and setup.alpha == 0.5,
        )
    )  # fmt: skip
    if order == 3:
        sums, known = setup.clusters.sums(residual, order), np.isin(np.arange(setup.n_players), players)
        for target, others in enumerate(led):
            z = _statistics(setup, others[known[others].all(axis=1)], sums[:, target])[1]
            uncounted = np.zeros_like(counts)
            add_to_histogram(uncounted, z)
            counts -= uncounted
    considered.add(order, counts)
    prior = EffectPrior.fit(np.maximum(counts, 0), Z_STEP)
    # Reported is what may pass the false discovery rate, what may enter the spectrum, or what chance brings five
    # times in a block's screen of one target, whichever is the lowest.
    edges = np.arange(N_Z_BINS, dtype=np.float64) * Z_STEP
    passing = edges[QValues.fit({order: counts}, "BH").q.get(order, np.ones(N_Z_BINS)) <= 0.1]
    entering = edges[prior.shrink(edges)[1] <= max(setup.settings.levels)]
    lowest = min([*passing[:1].tolist(), *entering[:1].tolist(), usual_z])
    cut = float(np.clip(lowest, keep_z, usual_z))
    for target, hit in enumerate(hits):
        hit = Hits(players[hit.members], hit.sums, hit.squares)
        if order == 3:
            hit = _of_sets(hit, ~are_among(hit.members, led[target], setup.n_players))
        found[target].append(_of_screen(setup, hit, prior, cut))
    return prior


_LEADS = 3.0  # |z| of pairs that lead to triples; more where chance brings more than ten a target
_MOST_LED = 4000  # led triples of a target


def _led(
    setup: BlockSetup, residual: Array, considered: Considered, found: list[list[Candidates]]
) -> list[NDArray[np.int64]]:
    """Append the triples that pairs lead to (heredity.py) to `found`, whatever the screens will say of them."""
    sums = setup.clusters.sums(residual, 3)
    least = max(_LEADS, _tail(10.0, comb(min(setup.n_players, setup.settings.max_pair_players), 2)))
    led, hits = [], []
    counts = np.zeros(N_Z_BINS, dtype=np.int64)
    for target, (pairs,) in enumerate(found):
        z = np.abs(pairs.z(setup.every))
        leading = z >= least
        led.append(led_triples(pairs.members[leading], z[leading], _MOST_LED))
        hit, z = _statistics(setup, led[-1], sums[:, target])
        hits.append(hit)
        add_to_histogram(counts, z)
    considered.add(LED + 3, counts)
    prior = EffectPrior.fit(counts, Z_STEP)
    for target, hit in enumerate(hits):
        found[target].append(_of_screen(setup, hit, prior, _PROPOSED_CUT, stratum=LED + 3))
    return led


def _statistics(setup: BlockSetup, members: NDArray[np.int64], sums: Array) -> tuple[Hits, Array]:
    """Given sets' sums and squares, and |z| on all masks."""
    hit = set_statistics(setup.clusters, setup.cluster_folds, N_FOLDS, members, sums)
    return hit, _size(hit)


def _size(hit: Hits) -> Array:
    """|z| of sets on all masks."""
    return np.abs(hit.sums.sum(axis=0)) / np.sqrt(np.maximum(hit.squares.sum(axis=0), 1e-300))


def _of_sets(hit: Hits, which: NDArray[np.bool_]) -> Hits:
    return Hits(hit.members[which], hit.sums[:, which], hit.squares[:, which])


_SURVIVORS = 4000  # nil triples that a target's sieve lets through to be looked at on all masks
_SURELY_SEEN = 5.0  # |z| from which hardly a triple is turned away


def _can_sieve(setup: BlockSetup) -> bool:
    """Signs are all the sieve can multiply; with few masks it would turn away what it should find."""
    halves = setup.data.alphas is None and setup.alpha == 0.5
    enough = setup.clusters.size >= 2 * setup.settings.n_sieve_masks
    settings = setup.settings
    return halves and enough and settings.max_triple_players < setup.n_players <= settings.max_sieve_players


def _sieve(
    setup: BlockSetup,
    residual: Array,
    screened: NDArray[np.int64],
    considered: Considered,
    found: list[list[Candidates]],
    led: list[NDArray[np.int64]],
) -> None:
    """Triples of all players that a sieve finds, without the led ones and those of `screened` players only, which were
    looked at."""
    clusters = setup.clusters
    hits = sieve_triples(
        clusters, setup.cluster_folds, clusters.sums(residual, 3), setup.settings.n_sieve_masks, _SURVIVORS
    )
    n_sets = comb(setup.n_players, 3) - comb(len(screened), 3)
    known = np.isin(np.arange(setup.n_players), screened)
    n_tests = n_sets * len(hits) - sum(int((~known[others].all(axis=1)).sum()) for others in led)
    kept, sizes = [], []
    for hit, others in zip(hits, led, strict=True):
        kept.append(_of_sets(hit, ~known[hit.members].all(axis=1) & ~are_among(hit.members, others, setup.n_players)))
        sizes.append(_size(kept[-1]))
    counts = np.zeros(N_Z_BINS, dtype=np.int64)
    for z in sizes:
        add_to_histogram(counts, z)
    # Turned away: nil for the false discovery rate. For the prior, below where all are seen, what chance would bring.
    prior_counts = counts.copy()
    prior_counts[: int(_SURELY_SEEN / Z_STEP)] = _nil_counts(n_tests)[: int(_SURELY_SEEN / Z_STEP)]
    counts[0] += n_tests - int(counts.sum())
    considered.add(3, counts)
    prior = EffectPrior.fit(prior_counts, Z_STEP)
    cut = max(_tail(5.0, n_sets), _SURELY_SEEN)
    for target, (hit, z) in enumerate(zip(kept, sizes, strict=True)):
        found[target].append(_of_screen(setup, _of_sets(hit, z >= _tail(10.0, n_sets)), prior, cut))


def _nil_counts(n_tests: int) -> NDArray[np.int64]:
    """The histogram of |z| that n_tests nil effects are expected to have."""
    from scipy.special import ndtr

    edges = np.arange(N_Z_BINS + 1, dtype=np.float64) * Z_STEP
    return np.rint(n_tests * 2 * np.diff(-ndtr(-edges))).astype(np.int64)


def _strongest(setup: BlockSetup, limit: int) -> NDArray[np.int64]:
    """All players, or the `limit` of largest main effect on any target.

    A main effect's estimate says nothing about that of an interaction (their basis functions are orthogonal), so
    choosing players by it leaves the interactions' tests as they are."""
    if setup.n_players <= limit:
        return np.arange(setup.n_players)
    y = setup.data.outputs - setup.data.outputs.mean(axis=0)
    sums = setup.clusters.sums(y / np.maximum(y.std(axis=0), 1e-300), 1)
    strength = np.abs(setup.clusters.phi.T @ sums.astype(np.float32)).max(axis=1)
    return np.sort(np.argsort(-strength, kind="stable")[:limit])


def _proposed_sets(
    setup: BlockSetup, residual: Array, orders: range, prior: EffectPrior
) -> list[list[Candidates]]:
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
    by_parity = {parity: setup.clusters.sums(residual, parity) for parity in (0, 1)}
    result: list[list[Candidates]] = []
    for target in range(setup.n_targets):
        first, second = set(proposals[0][target]), set(proposals[1][target])
        parts = []
        for order in orders:
            sets = sorted(members for members in first | second if len(members) == order)
            if not sets:
                continue
            hit = set_statistics(
                setup.clusters, setup.cluster_folds, N_FOLDS, np.array(sets), by_parity[order % 2][:, target]
            )
            proposed = np.array([[members in half for members in sets] for half in (first, second)])
            parts.append(_with_prior(setup, hit, proposed, np.zeros(len(sets), bool), prior, _PROPOSED_CUT))
        result.append(parts)
    return result


def _of_screen(setup: BlockSetup, hit: Hits, prior: EffectPrior, cut: float, stratum: int | None = None) -> Candidates:
    """Sets of an exhaustive look: both halves put them forward, and none has to be held back for their test."""
    everyone = np.ones((2, len(hit.members)), dtype=bool)
    return _with_prior(setup, hit, everyone, everyone[0], prior, cut, stratum)


# A proxy's sets are few; those that reach this on the half that tests them are reported.
_PROPOSED_CUT = 2.5


def _with_prior(
    setup: BlockSetup,
    hit: Hits,
    proposed: NDArray[np.bool_],
    screened: NDArray[np.bool_],
    prior: EffectPrior,
    cut: float,
    stratum: int | None = None,
) -> Candidates:
    n_sets, order = hit.members.shape
    mean, nil = np.empty((N_FOLDS + 1, n_sets)), np.empty((N_FOLDS + 1, n_sets))
    for row in range(N_FOLDS + 1):
        folds = setup.every if row == N_FOLDS else np.delete(setup.every, row)
        squares = hit.squares[folds].sum(axis=0)
        z = hit.sums[folds].sum(axis=0) / np.sqrt(np.maximum(squares, 1e-300))
        share = float(setup.fold_weight[folds].sum() / setup.fold_weight.sum())
        mean[row], nil[row] = prior.scaled(share).shrink(z)
    return Candidates(
        hit.members, hit.sums, hit.squares, proposed, screened, mean, nil, np.full(n_sets, cut),
        np.full(n_sets, order if stratum is None else stratum),
    )  # fmt: skip


def _without_known(part: Candidates, others: list[Candidates]) -> Candidates:
    """Leave out sets that a screen has looked at already."""
    known = {tuple(row) for other in others if other.members.shape[1] == part.members.shape[1]
             for row in other.members.tolist()}  # fmt: skip
    new = np.array([tuple(row) not in known for row in part.members.tolist()], dtype=bool)
    return Candidates(
        part.members[new], part.sums[:, new], part.squares[:, new], part.proposed[:, new], part.screened[new],
        part.mean[:, new], part.nil[:, new], part.cut[new], part.stratum[new],
    )  # fmt: skip


def _joined(parts: list[Candidates]) -> Candidates:
    if not parts:
        nothing, seven = np.zeros((N_FOLDS, 0)), np.zeros((N_FOLDS + 1, 0))
        no = np.zeros(0, dtype=bool)
        return Candidates(
            np.zeros((0, 2), np.int64),
            nothing,
            nothing,
            np.zeros((2, 0), bool),
            no,
            seven,
            seven,
            np.zeros(0),
            np.zeros(0, np.int64),
        )
    width = max(part.members.shape[1] for part in parts)
    padded = [
        np.pad(part.members, ((0, 0), (0, width - part.members.shape[1])), constant_values=-1)
        for part in parts
    ]
    return Candidates(
        np.concatenate(padded),
        np.concatenate([part.sums for part in parts], axis=1),
        np.concatenate([part.squares for part in parts], axis=1),
        np.concatenate([part.proposed for part in parts], axis=1),
        np.concatenate([part.screened for part in parts]),
        np.concatenate([part.mean for part in parts], axis=1),
        np.concatenate([part.nil for part in parts], axis=1),
        np.concatenate([part.cut for part in parts]),
        np.concatenate([part.stratum for part in parts]),
    )


def _tail(expected: float, n_tests: int) -> float:
    """The |z| that `expected` of n_tests nil effects exceed by chance; 0 where all may."""
    from scipy.special import ndtri

    return float(max(0.0, -ndtri(min(0.5, expected / 2.0 / max(n_tests, 1)))))
