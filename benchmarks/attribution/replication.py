"""Do sets found in one half of a real campaign hold in the other half, which was never looked at?

    python benchmarks/attribution/replication.py [--campaign digits-200.npz | a campaign's folder]

Each half is analysed by itself; every (set, target) it lists at q <= .05 is estimated on the other half by one step
from that half's datamodel. A false one has either sign there with equal chance, so twice the share of wrong signs is an
upper estimate of the share of false ones (a true, weak one may err as well); its interval resamples distinct sets. The
slope of the other half's estimates on the shrunken values is 1 where these are neither inflated nor shrunken too far.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from attribution.fourier.basis import basis  # noqa: E402
from attribution.interactions.block import BlockFit, BlockSettings, fit_block  # noqa: E402
from attribution.levels import FDR_LEVEL  # noqa: E402
from attribution.masks.inputs import check_data  # noqa: E402
from attribution.screening.screen import set_columns  # noqa: E402
from attribution.statistics.false_discovery import fit_q_values  # noqa: E402
from attribution.statistics.z_histogram import Stratum  # noqa: E402
from benchmarks.attribution.real import recorded  # noqa: E402

STRATA = {
    Stratum(2, by_heredity=True): "pairs, both members with main effects",
    2: "other pairs",
    Stratum(3, by_heredity=True): "triples that pairs lead to",
    3: "other triples",
}


@dataclass
class Finding:
    """A set that one half lists, and the other half's estimate; both in the outputs' units."""

    members: tuple[int, ...]
    stratum: Stratum
    shrunken: float
    again: float
    again_stderr: float

    @property
    def wrong(self) -> bool:
        return self.again * self.shrunken < 0


def analysed(masks: np.ndarray, outputs: np.ndarray, block: int) -> list[BlockFit]:
    return [
        fit_block(check_data(masks, outputs[:, start : start + block], 0.5), BlockSettings(alpha=0.5))
        for start in range(0, outputs.shape[1], block)
    ]


def findings(fits: list[BlockFit], masks: np.ndarray, residuals: np.ndarray) -> list[Finding]:
    """What `fits` list, estimated with the residuals (m, t) of the other half's datamodels on its masks (m, n)."""
    _, rule = fit_q_values([fit.z_histograms for fit in fits], "BH")
    phi, found, target = basis(masks, 0.5), [], 0
    for fit in fits:
        for reported in fit.reported:
            listed = np.flatnonzero(rule.of(reported.p_value, reported.strata) <= FDR_LEVEL)
            r = residuals[:, target]
            for k in listed:
                scores = set_columns(phi, np.array([reported.members[k]]))[:, 0] * r
                found.append(
                    Finding(
                        reported.members[k], reported.strata[k], float(reported.shrunken[k]),
                        float(scores.mean()), float(scores.std() / np.sqrt(len(r))),
                    )
                )  # fmt: skip
            target += 1
    return found


def false_share(found: list[Finding], rng: np.random.Generator) -> tuple[float, float, float]:
    """Twice the share of wrong signs, and its 95% interval over distinct sets."""
    distinct = sorted({finding.members for finding in found})
    place = {members: k for k, members in enumerate(distinct)}
    total, wrong = np.zeros(len(distinct)), np.zeros(len(distinct))
    for finding in found:
        total[place[finding.members]] += 1
        wrong[place[finding.members]] += finding.wrong
    counts = rng.multinomial(len(distinct), np.full(len(distinct), 1 / len(distinct)), 2000)
    low, high = np.quantile(2 * (counts @ wrong) / np.maximum(counts @ total, 1), [0.025, 0.975])
    return 2 * float(wrong.sum() / total.sum()), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaign", type=Path, default=ROOT / ".." / "shared" / "campaigns" / "digits-200.npz")
    parser.add_argument("--block", type=int, default=50)
    given = parser.parse_args()
    masks, outputs, held, y = recorded(given.campaign)
    masks, outputs = np.concatenate([masks, held]), np.concatenate([outputs, y])
    order = np.random.default_rng(0).permutation(len(masks))
    halves = [np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])]
    fits = [analysed(masks[half], outputs[half], given.block) for half in halves]
    found: list[Finding] = []
    for one, other in ((0, 1), (1, 0)):
        residuals = np.concatenate([fit.residuals for fit in fits[other]], axis=1)
        found += findings(fits[one], masks[halves[other]], residuals)
    print(f"{outputs.shape[1]} targets, two halves of {len(halves[0])} and {len(halves[1])} masks\n")
    print("| listed at q <= .05 by one half | (set, target) | distinct sets | wrong sign in the other | false, at most "
          "| 95% interval | slope on the shrunken value |\n|---|---|---|---|---|---|---|")  # fmt: skip
    rng = np.random.default_rng(1)
    for title, chosen in (
        ("all", found),
        *((name, [f for f in found if f.stratum == stratum]) for stratum, name in STRATA.items()),
    ):
        if not chosen:
            print(f"| {title} | 0 | | | | | |")
            continue
        share, low, high = false_share(chosen, rng)
        x, again = np.array([f.shrunken for f in chosen]), np.array([f.again for f in chosen])
        weight = 1 / np.array([f.again_stderr for f in chosen]) ** 2
        print(
            f"| {title} | {len(chosen)} | {len({f.members for f in chosen})} | {sum(f.wrong for f in chosen)} | "
            f"{share:.3f} | {low:.3f} .. {high:.3f} | {(weight * x * again).sum() / (weight * x * x).sum():.2f} |"
        )


if __name__ == "__main__":
    main()
