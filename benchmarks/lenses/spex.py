"""SPEX beside screens and boosted trees on planted sets, as many masks for both: which method finds what.

    python benchmarks/lenses/spex.py [case ...]        cases: five, four, triples, pairs
    python benchmarks/lenses/spex.py sweep             by players, order, noise and masks

A set of order k is a pure Fourier term of coefficient one: none of its subsets has an effect. SPEX decodes the masks of
its design, ProxySPEX (screens to order three, trees to order five) as many even masks. Tables: benchmarks/lenses.md.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from attribution import SPEX, ProxySPEX, Spectrum, SpexDesign

# name: players, order, sets, n_bits, largest order of the design, noise in units of the coefficient
CASES: dict[str, tuple[int, int, int, int, int, tuple[float, ...]]] = {
    "five": (100, 5, 1, 4, 5, (0.0, 0.5, 2.0)),
    "four": (1000, 4, 1, 4, 4, (0.5,)),
    "triples": (100, 3, 10, 5, 3, (1.0, 3.0)),
    "pairs": (200, 2, 20, 6, 2, (4.0, 7.7)),
}


def planted(n_players: int, order: int, n_sets: int, seed: int = 0) -> Spectrum:
    """Sets without a common player where there is room, with signs drawn."""
    rng = np.random.default_rng(seed)
    terms: dict[tuple[int, ...], float] = {}
    while len(terms) < n_sets:
        members = tuple(sorted(rng.choice(n_players, order, replace=False).tolist()))
        terms[members] = float(rng.choice([-1, 1]))
    return Spectrum.from_terms(terms, n_players, 0.5)


def compared(design: SpexDesign, function: Spectrum, noise: float) -> list[str]:
    """Found and false sets with q <= 0.05 of both methods, and processor seconds."""
    truth = {members for members in function.terms if members}
    drawn = np.random.default_rng(2).random((design.n_masks, design.n_players)) < 0.5
    line = []
    for method, masks in (("SPEX", design.masks()), ("ProxySPEX", drawn)):
        outputs = function.evaluate(masks) + noise * np.random.default_rng(3).normal(size=len(masks))
        model: ProxySPEX = SPEX(design) if method == "SPEX" else ProxySPEX(max_order=3, max_proxy_order=5)
        began = time.process_time()
        found = {one.members for one in model.fit(masks, outputs).interactions(max_q=0.05)}
        seconds = time.process_time() - began
        line.append(f"{method} {len(found & truth)} of {len(truth)} found, {len(found - truth)} false, {seconds:.0f} s")
    return line


def sweep() -> None:
    """Five planted sets of one order: a line for each number of players, order, number of masks and noise."""
    for n_players in (50, 200):
        for order in (2, 3, 4, 5):
            for n_bits in (4, 6):
                design = SpexDesign(n_players, n_bits, order, seed=1)
                for noise in (0.5, 2.0, 4.0, 8.0):
                    line = compared(design, planted(n_players, order, 5), noise)
                    case = f"n {n_players}, order {order}, {design.n_masks} masks, noise {noise:g}"
                    print(f"{case}: {'; '.join(line)}", flush=True)


def main() -> None:
    """Print a line for each case and noise."""
    if sys.argv[1:] == ["sweep"]:
        sweep()
        return
    for name in sys.argv[1:] or CASES:
        n_players, order, n_sets, n_bits, max_order, noises = CASES[name]
        design = SpexDesign(n_players, n_bits, max_order, seed=1)
        for noise in noises:
            line = compared(design, planted(n_players, order, n_sets), noise)
            case = f"{name}: n {n_players}, order {order}, {design.n_masks} masks, noise {noise:g}"
            print(f"{case}: {'; '.join(line)}", flush=True)


if __name__ == "__main__":
    main()
