"""A recorded campaign, imported and analysed through the command line, beside the library on the same arrays.

    python benchmarks/inputs/bank_recorded.py ../shared/campaigns/digits-200.npz /tmp/digits --targets 16

The archive holds masks (packed, little bit order, 200 players), outputs, replicate_outputs (further trainings of the
first masks), train_index, test_index and labels. Everything goes through files: npy and CSV, `coterie import`, `coterie
run` (Ray, Parquet, q-values over all targets, the report). Then the library analyses the arrays in this process, and
every column of effects, interactions and faithfulness is compared to the last bit.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from attribution.analysis.block_tables import analyse_targets
from attribution.analysis.link_prior import campaign_link_prior
from flows.attribute import ANALYSIS_TABLES
from flows.store import Campaign

ALPHA, N_PLAYERS, N_HOLDOUT = 0.5, 200, 256
TABLES = ("effects", "interactions", "faithfulness")


def write_files(archive: Path, folder: Path) -> dict[str, np.ndarray]:
    """Write the bank as somebody would have it, and return its arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(archive) as given:
        found = {name: given[name] for name in given.files}
    again = found["replicate_outputs"]
    n_again, n_repeated = again.shape[:2]
    np.save(folder / "masks.npy", found["masks"])
    np.save(folder / "outputs.npy", np.concatenate([found["outputs"], *again]))
    np.save(folder / "ids.npy", np.r_[np.full(len(found["masks"]), -1), np.tile(np.arange(n_repeated), n_again)])
    for what, rows in (("players", found["train_index"]), ("targets", found["test_index"])):
        lines = [f"digit {row},{found['labels'][row]}\n" for row in rows]
        (folder / f"{what}.csv").write_text("name,class\n" + "".join(lines))
    return found


def through_the_command_line(folder: Path, n_targets: int) -> Campaign:
    """Import the files and run attribute and report."""
    coterie, campaign = str(Path(sys.executable).with_name("coterie")), folder / "campaign"
    files = [f"--{name}={folder / name}.npy" for name in ("masks", "outputs")]
    files += [f"--{name}={folder / name}.csv" for name in ("players", "targets")]
    files.append(f"--replicate-of={folder / 'ids.npy'}")
    subprocess.run(
        [coterie, "import", str(campaign), *files, f"--alpha={ALPHA}", "--bit-order=little", "--output=margin_lse"],
        check=True,
    )
    settings = [f"attribution.n_targets={n_targets}", "attribution.pooled_targets=false", "compute.workers=1",
                "attribution.published_targets=0"]  # fmt: skip
    subprocess.run([coterie, "run", str(campaign), *settings], check=True)
    return Campaign(campaign)


def with_the_library(found: dict[str, np.ndarray], campaign: Campaign, targets: np.ndarray) -> dict[str, pa.Table]:
    """Analyse the same arrays: the repeated masks and then the last ones are held out."""
    masks = np.unpackbits(found["masks"], axis=1, bitorder="little", count=N_PLAYERS).astype(bool)
    n, n_repeated = len(masks), found["replicate_outputs"].shape[1]
    first_held = n - (N_HOLDOUT - n_repeated)
    fit, held = slice(n_repeated, first_held), [*range(n_repeated), *range(first_held, n)]
    of_second_run = np.full((N_HOLDOUT, len(targets)), np.nan, np.float32)
    of_second_run[:n_repeated] = found["replicate_outputs"][0][:, targets]
    names, labels = list(campaign.meta.class_names), found["labels"]
    outputs = np.ascontiguousarray(found["outputs"][fit][:, targets])
    prior = campaign_link_prior(masks[fit], outputs, alpha=ALPHA, reference_alpha=ALPHA)  # of the campaign's targets
    block = analyse_targets(
        masks[fit], outputs, holdout_masks=masks[held],
        holdout_outputs=np.ascontiguousarray(found["outputs"][held][:, targets]), holdout_replicates=of_second_run,
        alpha=ALPHA, max_order=campaign.analysis["settings"]["max_order"],  # type: ignore[index]
        player_classes=np.array([names.index(str(labels[row])) for row in found["train_index"]]),
        target_classes=np.array([names.index(str(labels[row])) for row in found["test_index"][targets]]),
        target_ids=targets, sampler="fixed_size", settings={"link_prior": prior},
    )  # fmt: skip
    return {name: pa.table(getattr(block, name), schema=ANALYSIS_TABLES[name]) for name in TABLES}


def compare(one: pa.Table, other: pa.Table) -> list[str]:
    """Names of the columns that differ in any bit; the repr of a float holds every digit."""
    return [name for name in one.column_names if repr(one[name].to_pylist()) != repr(other[name].to_pylist())]


def main() -> None:
    """Import, analyse twice, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--targets", type=int, default=16)
    given = parser.parse_args()
    found = write_files(given.archive, given.folder)
    began = time.monotonic()
    campaign = through_the_command_line(given.folder, given.targets)
    print(f"through the command line, import to report: {time.monotonic() - began:.0f} s")
    targets = np.array(list(dict.fromkeys(campaign.read("faithfulness")["target"].to_pylist())))
    began = time.monotonic()
    expected = with_the_library(found, campaign, targets)
    print(f"library: {time.monotonic() - began:.0f} s; targets {targets.tolist()}")
    for name, table in expected.items():
        stored = campaign.read(name)
        differing = compare(stored, table) if stored.num_rows == table.num_rows else ["number of rows"]
        verdict = f"differs in {', '.join(differing)}" if differing else "equal to the last bit"
        print(f"{name}: {stored.num_rows:,} rows, {len(stored.column_names)} columns, {verdict}")
    q = campaign.read("interactions")["q_value"].to_numpy()
    print(f"q-values: {np.isfinite(q).sum():,} of {len(q):,} finite, {(q <= 0.1).sum()} at most 0.1")


if __name__ == "__main__":
    main()
