"""How many planted sets anybody could find: the best test there is, given knowledge nobody has.

Both bounds know the whole truth but for one set S at a time (the second: and but for the main effects), and test F(S)
by generalised least squares with the true variances:

    z_S = phi_S' V^-1 r / sqrt(phi_S' V^-1 phi_S),   V = tau^2 Phi Phi' + s^2 I,   r = y - everything known,

s^2 the noise's variance, tau^2 the mean square of the main effects, or 0 where they are known: then
z_S = F(S) sqrt(m) / s + N(0, 1). With Gaussian main effects no test of S has more power. Those of the planted games are
Gaussian, except that the members of planted sets have none below half a standard deviation, and those of half of the
pairs the sign opposite to the pair's: the second bound is one for tests that are linear in the outputs. All sets
that are not planted are tested likewise, with all planted ones known, and the p-values get the q-values that everybody
gets (attribution/statistics/false_discovery.py), all targets one family.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from attribution.fourier.basis import basis
from attribution.screening.screen import set_columns
from attribution.statistics.false_discovery import QValues
from attribution.statistics.p_values import two_sided_p
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP, Stratum, ZHistograms

Bound = Literal["everything else known", "main effects unknown"]
Array = NDArray[np.float64]

MAX_SETS = 1_000_000  # of one order; of more, those that are not planted get the standard normal z that theirs are
SMALLEST = 3.0  # |z| from which a set is handed back one by one; q is far above .1 below it
SMALLEST_DRAWN = 4.0  # the same among MAX_SETS and more


def bound(masks: NDArray[np.bool_], outputs: Array, games: Sequence[Any], kind: Bound) -> list[dict[str, Any]]:
    """What `kind` reports at q <= .1 of each target, and its ranking. masks (m, n), outputs (m, t), alpha = 1/2.

    The games plant pairs and triples and have one noise level."""
    phi = np.asarray(basis(masks, 0.5), dtype=np.float64)
    away, s2 = _main_effects_away(phi, games[0], kind), games[0].noise_sd ** 2
    # What is left when all that is known is taken away, and with it every planted set.
    left = np.column_stack([outputs[:, k] - _known(game, phi, kind) for k, game in enumerate(games)])
    weighted = (left - away @ (away.T @ left)) / s2
    z_histograms, members_of, z_of_all = ZHistograms(), {}, {}
    for order in (2, 3):
        planted = {
            (target, members): _planted_z(phi, away, s2, weighted[:, target], members, game.spectrum.terms[members])
            for target, game in enumerate(games)
            for members in game.planted
            if len(members) == order
        }
        screen = _screen if math.comb(masks.shape[1], order) <= MAX_SETS else _draw
        members_of[order], z_of_all[order] = screen(phi, away, s2, weighted, order, planted, z_histograms)
    rule = QValues.fit(z_histograms.counts, "BH")
    records: list[dict[str, Any]] = [
        {"ranked": [], "reported": [], "r2": math.nan, "cpu_seconds": math.nan} for _ in games
    ]
    for order, found in members_of.items():
        z = z_of_all[order]
        for (target, members), size, q in zip(found, np.abs(z), rule.of(two_sided_p(z), Stratum(order)), strict=True):
            records[target]["ranked"].append([list(members), 1e-6 * float(size) - math.log(q)])
            if q <= 0.1:
                records[target]["reported"].append(list(members))
    return records


Found = list[tuple[int, tuple[int, ...]]]  # of target, members
Planted = dict[tuple[int, tuple[int, ...]], float]  # {(target, members): z}


def _screen(
    phi: Array, away: Array, s2: float, weighted: Array, order: int, planted: Planted, z_histograms: ZHistograms
) -> tuple[Found, Array]:
    """z of all sets of one order on all targets: counts them, and hands back the large ones."""
    players, away_t, weighted_t = (a.astype(np.float32) for a in (phi, away.T, weighted.T))
    at: dict[tuple[int, ...], list[tuple[int, int, float]]] = {}
    for (target, members), value in planted.items():
        at.setdefault(members[:-1], []).append((members[-1], target, value))
    found: Found = []
    sizes: list[float] = []
    for lead in combinations(range(phi.shape[1] - 1), order - 1):
        first = lead[-1] + 1
        columns = players[:, list(lead)].prod(axis=1)[:, None] * players[:, first:]
        spread = (len(phi) - ((away_t @ columns) ** 2).sum(axis=0)) / s2
        z = (weighted_t @ columns) / np.sqrt(spread)
        for last, target, value in at.get(lead, []):
            z[target, last - first] = value
        z_histograms.add_tests(Stratum(order), z)
        targets, positions = np.nonzero(np.abs(z) >= SMALLEST)
        found += [(int(t), (*lead, int(p) + first)) for t, p in zip(targets, positions, strict=True)]
        sizes += z[targets, positions].tolist()
    return found, np.array(sizes)


def _draw(
    phi: Array, away: Array, s2: float, weighted: Array, order: int, planted: Planted, z_histograms: ZHistograms
) -> tuple[Found, Array]:
    """As _screen, but sets that are not planted get standard normal z; their members are negative numbers."""
    edges = two_sided_p(np.arange(N_Z_BINS + 1) * Z_STEP)
    edges[-1] = 0.0
    generator = np.random.default_rng(0)
    found, sizes = list(planted), list(planted.values())
    z_histograms.add_tests(Stratum(order), np.array(sizes))
    for target in range(weighted.shape[1]):
        n_planted = sum(of == target for of, _ in planted)
        counts = generator.multinomial(math.comb(phi.shape[1], order) - n_planted, -np.diff(edges))
        z_histograms.add(Stratum(order), counts)
        first = int(SMALLEST_DRAWN / Z_STEP)
        large = np.repeat(np.arange(first, N_Z_BINS), counts[first:]) * Z_STEP
        found += [(target, (-1 - k,)) for k in range(len(large))]
        sizes += large.tolist()
    return found, np.array(sizes)


def _main_effects_away(phi: Array, game: Any, kind: Bound) -> Array:
    """B, (m, n) or (m, 0), with V^-1 = (I - B B') / s^2: B B' = Phi (Phi' Phi + s^2 / tau^2 I)^-1 Phi'."""
    if kind == "everything else known":
        return phi[:, :0]
    n_players = phi.shape[1]
    squares = [value**2 for members, value in game.spectrum.terms.items() if len(members) == 1]
    ridge = phi.T @ phi + game.noise_sd**2 / (sum(squares) / n_players) * np.eye(n_players)
    return np.linalg.solve(np.linalg.cholesky(ridge), phi.T).T


def _known(game: Any, phi: Array, kind: Bound) -> Array:
    total = np.zeros(len(phi))
    for members, value in game.spectrum.terms.items():
        if len(members) != 1 or kind == "everything else known":
            total += value * set_columns(phi, np.array([members], dtype=np.int64))[:, 0]
    return total


def _planted_z(
    phi: Array, away: Array, s2: float, weighted: Array, members: tuple[int, ...], value: float
) -> float:
    """z of a planted set: its own column comes back into what is left."""
    column = set_columns(phi, np.array([members], dtype=np.int64))[:, 0]
    spread = (len(column) - float(((away.T @ column) ** 2).sum())) / s2
    return (float(column @ weighted) + value * spread) / math.sqrt(spread)
