"""How often a verification claims a difference where there is none: simulated, as a Markdown table.

    python benchmarks/decisions/verification_null.py [campaigns] [first seed]

Claim: with no true difference "better" comes in at most 2.5% of comparisons (one side of a 95% interval). Simulated are
two arms whose accuracy is the same over all pictures: a picture has a difficulty, an arm an effect of its own on every
picture (`differ` is its standard deviation, in units of the difficulty's), a model an effect on all pictures (standard
deviation .1), a training noise (.5); an output above 0 is right. Not collected by pytest.
"""

from __future__ import annotations

import sys

import numpy as np

from attribution.experiments.comparison import Difference, compare

N_SEEDS, N_PICTURES = (6, 20), (20, 40, 90, 400)
KINDS = ((0.55, 0.7), (0.75, 0.3), (0.9, 0.3), (0.97, 0.3), (0.9, 0.0))  # accuracy, differ


def simulate(
    generator: np.random.Generator, n_seeds: int, n_pictures: int, accuracy: float, differ: float
) -> Difference:
    """Compare two arms that do not differ over all pictures."""
    from scipy.special import ndtri

    spread = np.sqrt(1 + differ**2 + 0.1**2 + 0.5**2)
    difficulty = generator.normal(size=n_pictures) + float(ndtri(accuracy)) * spread

    def arm() -> np.ndarray:
        own = difficulty + generator.normal(0, differ, n_pictures) + generator.normal(0, 0.1, (n_seeds, 1))
        return (own + generator.normal(0, 0.5, (n_seeds, n_pictures)) > 0).astype(float)

    return compare(arm(), arm())


def main(campaigns: int, seed: int) -> None:
    print("| seeds | pictures | accuracy | arms differ | better, by seeds alone | better | half width, points |")
    print("|---|---|---|---|---|---|---|")
    for n_seeds in N_SEEDS:
        for n_pictures in N_PICTURES:
            for accuracy, differ in KINDS:
                key = (seed, n_seeds, n_pictures, round(100 * accuracy), round(10 * differ))
                generator = np.random.default_rng(key)
                found = [simulate(generator, n_seeds, n_pictures, accuracy, differ) for _ in range(campaigns)]
                by_seeds = np.mean([one.low_seeds > 0 for one in found])
                better = np.mean([one.verdict == "better" for one in found])
                half = 100 * np.mean([one.smallest for one in found])
                print(
                    f"| {n_seeds} | {n_pictures} | {accuracy} | {differ} | {100 * by_seeds:.1f}% | "
                    f"{100 * better:.1f}% | {half:.1f} |", flush=True,
                )  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
