"""SPEX beside screens and boosted trees on planted sets, as many masks for both: which method finds what.

    python benchmarks/lenses_spex.py [case ...]        cases: five, four, triples, pairs

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


def main() -> None:
    """Print found and false sets with q <= 0.05."""
    for name in sys.argv[1:] or CASES:
        n_players, order, n_sets, n_bits, max_order, noises = CASES[name]
        design = SpexDesign(n_players, n_bits, max_order, seed=1)
        function = planted(n_players, order, n_sets)
        truth = {members for members in function.terms if members}
        drawn = np.random.default_rng(2).random((design.n_masks, n_players)) < 0.5
        for noise in noises:
            line = [f"{name}: n {n_players}, order {order}, {n_sets} sets, noise {noise:g}, {design.n_masks} masks"]
            for method, masks in (("SPEX", design.masks()), ("ProxySPEX", drawn)):
                outputs = function.evaluate(masks) + noise * np.random.default_rng(3).normal(size=len(masks))
                model: ProxySPEX = SPEX(design) if method == "SPEX" else ProxySPEX(max_order=3, max_proxy_order=5)
                began = time.process_time()
                found = {one.members for one in model.fit(masks, outputs).interactions(max_q=0.05)}
                seconds = time.process_time() - began
                line.append(f"{method} {len(found & truth)} found, {len(found - truth)} false, {seconds:.0f} s")
            print("; ".join(line), flush=True)


if __name__ == "__main__":
    main()
