"""shapiq's methods on 16 regions, as many evaluations as ours, scored on all 65,536 masks.

    python benchmarks/lenses_peers.py [budget ...]

Run with an interpreter that has shapiq (1.4.1 in the table of benchmarks/lenses.md). Its samplers choose their own
masks; ours are drawn evenly. Both are given the exact outputs of the first eight images.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from attribution import ProxySPEX
from benchmarks.lenses_decisions import exact_table

N_IMAGES = 8


def values_of(found: Any, masks: np.ndarray) -> np.ndarray:
    """Sum of a method's interactions over the subsets of every mask: what it says the game is."""
    inside = np.zeros(len(masks))
    for members, place in found.interaction_lookup.items():
        inside += float(found.values[place]) * masks[:, list(members)].all(axis=1)
    return inside


def main() -> None:
    """Print R² over all masks by budget and method."""
    import shapiq

    _, masks, outputs = exact_table()
    number = 1 << np.arange(16)
    methods = {
        "shapiq ProxySPEX, FBII order 3": lambda: shapiq.ProxySPEX(n=16, index="FBII", max_order=3),
        "shapiq ProxySPEX, FBII order 2": lambda: shapiq.ProxySPEX(n=16, index="FBII", max_order=2),
        "KernelSHAP-IQ, k-SII order 2": lambda: shapiq.KernelSHAPIQ(n=16, index="k-SII", max_order=2),
    }
    for budget in [int(given) for given in sys.argv[1:]] or [200, 500, 1000]:
        scores: dict[str, list[float]] = {}
        for target in range(N_IMAGES):
            column = outputs[:, target]

            def game(coalitions: np.ndarray, column: np.ndarray = column) -> np.ndarray:
                return column[np.asarray(coalitions, dtype=bool) @ number]

            predicted = {name: values_of(make().approximate(budget, game), masks) for name, make in methods.items()}
            for draw in range(2):
                rows = np.random.default_rng(draw).choice(2**16, budget, replace=False)
                ours = ProxySPEX(max_order=3).fit(masks[rows], column[rows])
                predicted[f"ours, draw {draw}"] = ours.predict(masks).reshape(-1)
            for name, values in predicted.items():  # up to a constant, which a sum of interactions has by convention
                scores.setdefault(name, []).append(1 - float((column - values).var() / column.var()))
        for name, found in scores.items():
            print(f"{budget}: {name}: mean R2 {np.mean(found):.3f} (of {len(found)} images)", flush=True)


if __name__ == "__main__":
    main()
