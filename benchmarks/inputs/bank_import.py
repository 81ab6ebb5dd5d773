"""Time and peak memory of importing a large recorded bank, by its number of masks, and of attributing one block of it.

    python benchmarks/inputs/bank_import.py /tmp/banks              # 50,000 players, 10,000 targets, 750 to 3,000 masks
    python benchmarks/inputs/bank_import.py /tmp/banks --attribute  # one block of 16 targets of 1,000, 3,000 masks

Each import runs in a process of its own, whose peak resident memory is read when it ends; "at work" is its processor
time, which other programs on the machine hardly change. The bank is made by a planted sparse linear function with one
redundant pair, in blocks, as float16 margins and boolean masks: the released layout.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from flows.runtime.environment import prepare

prepare()

ALPHA, BLOCK = 0.5, 250


def make(folder: Path, n_masks: int, n_players: int, n_targets: int) -> None:
    """Write masks.npy, margins.npy and _completed.npy, block by block."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    masks = np.lib.format.open_memmap(folder / "masks.npy", "w+", np.bool_, (n_masks, n_players))
    margins = np.lib.format.open_memmap(folder / "margins.npy", "w+", np.float16, (n_masks, n_targets))
    chosen = rng.choice(n_players, (n_targets, 20))
    weights = rng.normal(0, 1, (n_targets, 20)).astype(np.float32)
    for start in range(0, n_masks, BLOCK):
        block = rng.random((min(BLOCK, n_masks - start), n_players), dtype=np.float32) < ALPHA
        masks[start : start + len(block)] = block
        values = rng.normal(0, 0.5, (len(block), n_targets)).astype(np.float32)
        for at in range(20):
            values += block[:, chosen[:, at]] * weights[:, at]
        values += 3 * (block[:, chosen[:, 0]] | block[:, chosen[:, 1]])  # every target has a redundant pair
        margins[start : start + len(block)] = values
    np.save(folder / "_completed.npy", np.ones(n_masks, bool))


def import_once(bank: str, campaign: str) -> None:
    """Import, and print seconds and peak memory as JSON."""
    from flows.banks.importing import import_bank

    began, worked, before = time.monotonic(), time.process_time(), peak()
    import_bank(campaign, bank=bank, layout="datamodels", alpha=ALPHA)
    seconds, worked = time.monotonic() - began, time.process_time() - worked
    print(json.dumps({"seconds": seconds, "worked": worked, "before_mb": before, "peak_mb": peak()}))


def attribute_once(campaign: str) -> None:
    """Analyse one block of targets as a worker does, and print seconds, peak memory and what was found."""
    from conf.compose import recompose
    from flows.compute.target_blocks import TargetBlocks
    from flows.compute.work import analyse_block
    from flows.store import Campaign
    from flows.store.configuration import kept_configuration

    found = Campaign(campaign)
    config = recompose(
        kept_configuration(found, campaign),
        ["attribution.n_targets=16", "attribution.pooled_targets=false", "attribution.published_targets=0"],
    )
    began, worked = time.monotonic(), time.process_time()
    data = TargetBlocks(found, config)
    read, job = time.monotonic() - began, data.job(config)
    block = analyse_block(job, next(iter(data)))
    pairs = [members for members in block.interactions["members"] if len(members) == 2]
    seconds, worked = time.monotonic() - began, time.process_time() - worked
    print(
        json.dumps(
            {"seconds": seconds, "worked": worked, "read_seconds": read, "peak_mb": peak(), "pairs": len(pairs)}
        )
    )


def peak() -> float:
    """Peak resident memory of this process in MB; getrusage would count what its parent had before it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) / 1024
    return math.nan


def apart(*arguments: str) -> dict[str, float]:
    """Run this file in a process of its own and read its JSON."""
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--players", type=int, default=50_000)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--masks", type=int, nargs="+", default=[750, 1500, 3000])
    parser.add_argument("--attribute", action="store_true")
    parser.add_argument("--import-once", nargs=2)
    parser.add_argument("--attribute-once")
    given = parser.parse_args()
    if given.import_once:
        import_once(*given.import_once)
        return
    if given.attribute_once:
        attribute_once(given.attribute_once)
        return
    bank, campaign = given.folder / "bank", given.folder / "campaign"
    n_targets = 1000 if given.attribute else given.targets
    print("| masks | bank, MB | import, s | of them at work | peak, MB | campaign, MB |\n|---|---|---|---|---|---|")
    for n_masks in [given.masks[-1]] if given.attribute else given.masks:
        for folder in (bank, campaign):
            shutil.rmtree(folder, ignore_errors=True)
        make(bank, n_masks, given.players, n_targets)
        found = apart(str(given.folder), "--import-once", str(bank), str(campaign))
        print(
            f"| {n_masks:,} | {size(bank):,.0f} | {found['seconds']:.1f} | {found['worked']:.1f} "
            f"| {found['peak_mb']:,.0f} ({found['before_mb']:,.0f} before) | {size(campaign):,.0f} |"
        )
    if given.attribute:
        found = apart(str(given.folder), "--attribute-once", str(campaign))
        print(
            f"\none block of 16 of {n_targets:,} targets: {found['seconds']:.0f} s, {found['worked']:.0f} s of them at "
            f"work ({found['read_seconds']:.1f} s reading), peak {found['peak_mb']:,.0f} MB, {found['pairs']:.0f} "
            "pairs reported"
        )


def size(folder: Path) -> float:
    """Size of all files of a folder in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


if __name__ == "__main__":
    main()
