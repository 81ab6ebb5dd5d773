"""Peak memory and seconds of one block of targets as players grow: python benchmarks/attribution/memory.py

Each size runs in a process of its own; peak is the resident set's, and includes the masks (one byte a player and
mask) and the interpreter's 0.2 GB.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))


def one(n_players: int, n_masks: int, n_targets: int) -> str:
    from attribution.analysis.block_tables import analyse_targets

    rng = np.random.default_rng(0)
    masks = np.empty((n_masks, n_players), dtype=bool)
    for row in masks:
        row[:] = rng.random(n_players, dtype=np.float32) < 0.5
    strong = rng.choice(n_players, (n_targets, 200))
    effects = rng.standard_normal((n_targets, 200)) / 15
    outputs = np.empty((n_masks, n_targets))
    for target in range(n_targets):
        bits = 2.0 * masks[:, strong[target]] - 1.0
        outputs[:, target] = bits @ effects[target] + 0.3 * bits[:, 0] * bits[:, 1]
    outputs += rng.standard_normal(outputs.shape)
    began, cpu = time.monotonic(), time.process_time()
    block = analyse_targets(masks, outputs)
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    planted = {(target, *sorted(strong[target, :2].tolist())) for target in range(n_targets)}
    q, order = block.interactions["q_value"], block.interactions["order"]
    found = {
        (int(target), *members)
        for target, members, small in zip(
            block.interactions["target"],
            block.interactions["members"],
            (q <= 0.05) & (order == 2),
            strict=True,
        )
        if small
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return (
        f"| {n_players} | {n_masks} | {n_targets} | {masks.nbytes / 2**30:.2f} | {peak:.2f} | {cpu:.0f} | {wall:.0f} | "
        f"{len(found & planted)} of {n_targets} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--masks", type=int, default=20_000)
    parser.add_argument("--targets", type=int, default=8)
    parser.add_argument("--players", type=int, nargs="+", default=[12_500, 25_000, 50_000])
    parser.add_argument("--one", type=int, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(one(given.one, given.masks, given.targets), flush=True)
        return
    print(
        "| players | masks | targets | masks GB | peak GB | CPU s | wall s | planted pairs found |",
        flush=True,
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for n_players in given.players:
        sizes = ["--masks", str(given.masks), "--targets", str(given.targets)]
        subprocess.run([sys.executable, __file__, "--one", str(n_players), *sizes], check=True)


if __name__ == "__main__":
    main()
