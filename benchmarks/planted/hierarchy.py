"""Sparse functions with and without a hierarchy: what the proxy finds alone, what screens find, and both.

    python benchmarks/planted/hierarchy.py [--players 40] [--masks 2000] [--games 6]

Games of tests/games.py: pairs only and triples only (nothing below them), Synthetic Peak (10 sets of five, nothing
below them) and Complete Hierarchy (the same sets with all their subsets) of the ProxySPEX paper. A tree needs a first
split that pays, so sets without anything below them are the proxy's blind spot. The proxy alone has no notion of
noise: it is given the best cut of its own ranking with at most 10% false sets, the others q <= .1.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[2]))

from attribution.fourier.spectrum import Spectrum  # noqa: E402
from attribution.interactions.block import BlockSettings, fit_block  # noqa: E402
from attribution.masks.inputs import check_data  # noqa: E402
from attribution.proxy.boosted_trees import BoosterSettings  # noqa: E402
from attribution.proxy.fit import fit_proxy  # noqa: E402
from attribution.statistics.faithfulness import r2  # noqa: E402
from attribution.statistics.false_discovery import fit_q_values  # noqa: E402
from tests.games import Game, complete_hierarchy, from_spectrum, synthetic_peak  # noqa: E402

Sets = list[list[tuple[int, ...]]]


def only(order: int, n_sets: int) -> Callable[[int, int], Game]:
    """Games of random disjoint sets of one order, coefficients uniform on +-[0.5, 1], nothing below them."""

    def make(n_players: int, seed: int) -> Game:
        generator = np.random.default_rng(seed)
        players = generator.permutation(n_players)[: order * n_sets].reshape(n_sets, order)
        sizes = generator.choice((-1.0, 1.0), n_sets) * generator.uniform(0.5, 1.0, n_sets)
        terms = {tuple(sorted(row)): float(size) for row, size in zip(players.tolist(), sizes, strict=True)}
        return from_spectrum(Spectrum.from_terms(terms, n_players, 0.5))

    return make


GAMES: dict[str, Callable[[int, int], Game]] = {
    "pairs only": only(2, 10),
    "triples only": only(3, 10),
    "Synthetic Peak": lambda n, seed: synthetic_peak(n, seed),
    "Complete Hierarchy": lambda n, seed: complete_hierarchy(n, seed),
}
WAYS = {
    "pair screen alone": {"max_order": 2},
    "screens of pairs and triples": {"max_order": 3, "n_proxy_sets": 0},
    "screens and proxy (as it is)": {"max_order": 5},
}


def proxy_alone(
    masks: np.ndarray, outputs: np.ndarray, held: np.ndarray, truth: list[set[tuple[int, ...]]]
) -> tuple[Sets, np.ndarray]:
    """The sets of the best cut common to all targets with at most 10% false ones, and predictions of `held`."""
    proxy = fit_proxy(masks, outputs, BoosterSettings(max_depth=5), validation=np.arange(len(masks)) % 6 == 0)
    ranked = sorted(
        (-abs(value), target, members)
        for target in range(outputs.shape[1])
        for members, value in proxy.spectrum(target, 0.5).terms.items()
        if len(members) > 1
    )
    hits = best = 0
    for position, (_, target, members) in enumerate(ranked, start=1):
        hits += members in truth[target]
        if position - hits <= 0.1 * position:
            best = position
    found: Sets = [[] for _ in truth]
    for _, target, members in ranked[:best]:
        found[target].append(members)
    return found, proxy.predict(held)


def block_of(way: str, masks: np.ndarray, outputs: np.ndarray, held: np.ndarray) -> tuple[Sets, np.ndarray]:
    settings = WAYS[way]
    booster = BoosterSettings(max_depth=max(3, settings["max_order"]))
    fitted = fit_block(check_data(masks, outputs, 0.5), BlockSettings(alpha=0.5, booster=booster, **settings))
    _, rule = fit_q_values([fitted.z_histograms], "BH")
    found: Sets = []
    for reported in fitted.reported:
        q = rule.of(reported.p_value, reported.strata)
        found.append([reported.members[k] for k in np.flatnonzero(q <= 0.1)])
    return found, np.column_stack([spectrum.evaluate(held) for spectrum in fitted.spectra])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, default=40)
    parser.add_argument("--masks", type=int, default=2000)
    parser.add_argument("--games", type=int, default=6)
    given = parser.parse_args()
    began = time.process_time()
    print("| game | noise ceiling | way | pairs | triples | four | five | share false | held-out R2 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (name, make), ceiling in ((entry, c) for entry in GAMES.items() for c in (0.3, 0.6, 0.9)):
        games = [make(given.players, seed).with_noise_ceiling(ceiling) for seed in range(given.games)]
        masks, held = games[0].draw_masks(given.masks, 1), games[0].draw_masks(500, 2)
        outputs = np.column_stack([game.observe(masks, 10 + k) for k, game in enumerate(games)])
        held_outputs = np.column_stack([game.observe(held, 90 + k) for k, game in enumerate(games)])
        truth = [{members for members in game.spectrum.terms if len(members) > 1} for game in games]
        for way in ("proxy alone, best cut", *WAYS):
            if way in WAYS:
                found, predicted = block_of(way, masks, outputs, held)
            else:
                found, predicted = proxy_alone(masks, outputs, held, truth)
            cells = []
            for order in (2, 3, 4, 5):
                there = [s for known in truth for s in known if len(s) == order]
                pairs = [(s, known) for known, sets in zip(truth, found, strict=True) for s in sets if len(s) == order]
                true = sum(s in known for s, known in pairs)
                cells.append(f"{true / len(there):.2f}" if there else "")
            total = len(list(chain.from_iterable(found)))
            false = sum(s not in known for known, sets in zip(truth, found, strict=True) for s in sets)
            share = f"{false / total:.2f}" if total else "none found"
            score = r2(held_outputs, predicted).mean()
            print(f"| {name} | {ceiling} | {way} | {' | '.join(cells)} | {share} | {score:.3f} |", flush=True)
    print(f"\n{time.process_time() - began:.0f} CPU s", file=sys.stderr)


if __name__ == "__main__":
    main()
