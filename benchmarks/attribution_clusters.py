"""The largest cluster of copies that is seen, by alpha: python benchmarks/attribution_clusters.py

k copies of one example hide each other: at alpha a pair of them has the interaction -effect (1 - alpha)^(k-2). Each
game has one cluster worth one unit among 60 players whose main effects have sd .1; a cluster is "seen" when some
set of two or three of its members has q <= .05, "whole" when the members of such sets together are the cluster.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from attribution import ProxySPEX  # noqa: E402
from tests.games import clusters_of_copies  # noqa: E402


def _interaction(k: int, alphas: tuple[float, ...]) -> float:
    """I of a pair of k copies; of several alphas the mean that attribution/strata.py says."""
    each = np.array(alphas)
    weight = each * (1 - each)
    return float(-(weight @ (1 - each) ** (k - 2)) / weight.sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--games", type=int, default=20)
    parser.add_argument("--masks", type=int, default=1500)
    parser.add_argument("--noise-sd", type=float, default=0.5)
    given = parser.parse_args()
    print(
        f"60 players, {given.masks} masks, noise sd {given.noise_sd} of the cluster's effect, {given.games} games\n"
    )
    print("| copies | alpha | pair interaction | seen | whole | false sets |")
    print("|---|---|---|---|---|---|")
    for alphas in ((0.5,), (0.3,), (0.15,), (0.5, 0.2), (0.5, 0.15), (0.5, 0.3, 0.15)):
        for k in (2, 3, 4, 5, 6, 7):
            games = [
                clusters_of_copies(60, [tuple(range(k))], seed, alphas[0], given.noise_sd, background=0.1)
                for seed in range(given.games)
            ]
            # Row u is drawn at alphas[u mod number of alphas], as campaigns draw theirs.
            alpha = np.array(alphas)[np.arange(given.masks) % len(alphas)]
            masks = np.random.default_rng((1, 0)).random((given.masks, 60)) < alpha[:, None]
            outputs = np.column_stack([game.observe(masks, 10 + t) for t, game in enumerate(games)])
            model = ProxySPEX(alpha=alphas[0]).fit(masks, outputs, alpha=alpha)
            seen = whole = false = total = 0
            for target in range(given.games):
                found = [set(i.members) for i in model.interactions(target, max_q=0.05)]
                inside = [members for members in found if members <= set(range(k))]
                total += len(found)
                false += len(found) - len(inside)
                seen += bool(inside)
                whole += bool(inside) and set.union(*inside) == set(range(k))
            print(
                f"| {k} | {', '.join(map(str, alphas))} | {_interaction(k, alphas):.3f} | {seen / given.games:.2f} | "
                f"{whole / given.games:.2f} | {false} of {total} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
