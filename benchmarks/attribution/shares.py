"""Does the rule from p to q hold its level where p-values are exact? Weights of strata are learned from the p-values.

    python benchmarks/attribution/shares.py [--campaigns 1500] [--targets 2 8]

Families of the size of `planted/calibration.py --mode mixed` (2 targets of 8 with planted sets) and `planted` (8 of
8), without fits: normal z of 89,000 pairs, 2,000 of them by heredity, and 4.4 million triples, 100 of them by heredity;
8 pairs and 2 triples a target are real, a quarter of these pairs by heredity. Printed are false discovery rates at
q <= .05, of all sets and of each order, each a mean over campaigns.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.special import ndtri

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from attribution.statistics.false_discovery import QValues  # noqa: E402
from attribution.statistics.p_values import two_sided_p  # noqa: E402
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP, Stratum  # noqa: E402

LEVEL, SMALLEST, STRENGTH = 0.05, 2.5, 4.6  # null |z| below SMALLEST are counted as 0; z of a real set of size 1
# Null tests, and real sets of each target.
FAMILY = {
    Stratum(2): (87_000, 6), Stratum(2, by_heredity=True): (2_000, 2),
    Stratum(3): (4_400_000, 2), Stratum(3, by_heredity=True): (100, 0),
}  # fmt: skip


def campaign(rng: np.random.Generator, n_targets: int) -> np.ndarray:
    """(strata, 2): false and true discoveries of one campaign."""
    counts, found = {}, {}
    p_smallest = float(two_sided_p(np.array([SMALLEST]))[0])
    for stratum, (n_null, n_real) in FAMILY.items():
        n_large = rng.binomial(n_null, p_smallest)
        size = STRENGTH * rng.uniform(0.3, 1.7, n_real * n_targets)
        found[stratum] = -ndtri(rng.random(n_large) * p_smallest / 2), np.abs(size + rng.standard_normal(len(size)))
        histogram = np.zeros(N_Z_BINS, dtype=np.int64)
        for z in found[stratum]:
            np.add.at(histogram, np.minimum((z / Z_STEP).astype(int), N_Z_BINS - 1), 1)
        histogram[0] += n_null - n_large
        counts[stratum] = histogram
    reached = QValues.fit(counts, "BH").reached_at(LEVEL)
    return np.array([[int((z >= reached.get(s, np.inf)).sum()) for z in found[s]] for s in FAMILY])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=1500)
    parser.add_argument("--targets", type=int, nargs="+", default=[2, 8])
    given = parser.parse_args()
    print("| targets with sets | discoveries a campaign | all sets | pairs | triples |\n|---|---|---|---|---|")
    for n_targets in given.targets:
        rng = np.random.default_rng(n_targets)
        held = np.array([campaign(rng, n_targets) for _ in range(given.campaigns)])
        cells = []
        for which in (slice(None), slice(0, 2), slice(2, 4)):
            false, all_found = held[:, which, 0].sum(axis=1), held[:, which].sum(axis=(1, 2))
            rate = false / np.maximum(all_found, 1)
            cells.append(f"{rate.mean():.4f} ± {1.96 * rate.std() / len(rate) ** 0.5:.4f}")
        print(f"| {n_targets} | {held.sum() / len(held):.1f} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
