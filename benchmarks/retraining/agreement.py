"""Accuracy and noise ceiling of every execution mode, and of one model at a time: the same masks, the same seeds.

    OMP_NUM_THREADS=1 python benchmarks/retraining/agreement.py --masks 128 --peer-masks 64

Each mask is trained with two seeds. Per mode, in float32: mean accuracy on the targets with its standard error over
masks; the noise ceiling (covariance of the two replicates over their variance, mean over targets) with a 95% interval
from resampled masks; the difference of both from the first mode's, on the same masks and seeds, with 95% intervals from
the same resampling; and how the outputs of one mask and seed correlate with the first mode's (squared, mean over
targets), where rounding is the only thing that differs. The peer trains the first `--peer-masks` only and is compared
with the same ones.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from information import ceiling, squared_correlation
from retrain_engine import DATA
from retrain_peer import train_one_at_a_time

from training import RECIPES, Dataset, Recipe, load_dataset, retrain, sample_masks, training_seed

MEMBERS = 32
N_RESAMPLED = 1000
PEER = "one model at a time"


def trained(dataset: Dataset, masks: np.ndarray, recipe: Recipe, mode: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Outputs (2, m, t) of two seeds a mask, accuracies (2, m), processor seconds a model."""
    began = time.process_time()
    parts = []
    for replicate in (0, 1):
        seeds = [training_seed(1, row, replicate) for row in range(len(masks))]
        if mode == PEER:
            peer = train_one_at_a_time(dataset, masks, seeds, recipe)
            parts.append((peer.outputs, peer.target_accuracy))
        else:
            found = retrain(dataset, masks, seeds, recipe, ensemble_size=MEMBERS, mode=mode)
            if found.mode != mode:
                raise SystemExit(f"{mode} cannot be had here: {found.mode} was used")
            parts.append((found.outputs, found.target_accuracy))
    outputs, accuracies = (np.stack(part).astype(np.float64) for part in zip(*parts, strict=True))
    return outputs, accuracies, (time.process_time() - began) / (2 * len(masks))


def ceilings(outputs: np.ndarray, resampled: np.ndarray) -> np.ndarray:
    """Mean ceiling over targets of each resampling (b,); outputs (2, m, t), resampled (b, m) rows."""
    return np.array([ceiling(*outputs[:, rows]).mean() for rows in resampled])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=["digits", "small16"], default="digits")
    parser.add_argument("--path", default=None, help="folder of image Parquet files (small16)")
    parser.add_argument("--masks", type=int, default=128)
    parser.add_argument("--peer-masks", type=int, default=64)
    parser.add_argument("--modes", nargs="+", default=["native", "grouped", "batched"])
    parser.add_argument("--keep", type=Path, default=None, help="folder for the outputs of each mode, as made")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset, recipe = load_dataset(**DATA[arguments.recipe], path=arguments.path), RECIPES[arguments.recipe]
    masks = sample_masks(dataset.n_players, arguments.masks, recipe.nominal_alpha, seed=1)
    rng = np.random.default_rng(0)
    print("| mode | masks | processor s a model | accuracy | difference | noise ceiling | difference | same seed, r2 |")
    print("|---|---|---|---|---|---|---|---|")
    first: tuple[np.ndarray, np.ndarray] | None = None
    for mode in [*arguments.modes, PEER]:
        n = arguments.peer_masks if mode == PEER else len(masks)
        outputs, accuracies, seconds = trained(dataset, masks[:n], recipe, mode)
        if arguments.keep:
            np.savez(arguments.keep / f"{mode.replace(' ', '_')}.npz", outputs=outputs, accuracies=accuracies)
        resampled = rng.integers(0, n, (N_RESAMPLED, n))
        own = ceilings(outputs, resampled)
        by_mask = accuracies.mean(axis=0)
        low, high = np.quantile(own, [0.025, 0.975])
        row = (
            f"| {mode} | {n} | {seconds:.4f} | {by_mask.mean():.4f} ± {by_mask.std(ddof=1) / np.sqrt(n):.4f} | % "
            f"| {ceiling(*outputs).mean():.3f} [{low:.3f}, {high:.3f}] | % | % |"
        )
        if first is None:
            first = outputs, accuracies
            print(row.replace("%", ""), flush=True)
            continue
        theirs, their_accuracies = first[0][:, :n], first[1][:, :n]
        apart = by_mask - their_accuracies.mean(axis=0)
        error = 1.96 * apart.std(ddof=1) / np.sqrt(n)
        between = ceilings(theirs, resampled)
        low, high = np.quantile(own - between, [0.025, 0.975])
        alike = np.mean([squared_correlation(theirs[at], outputs[at]).mean() for at in (0, 1)])
        gap = ceiling(*outputs).mean() - ceiling(*theirs).mean()
        for said in (
            f"{apart.mean():+.4f} [{apart.mean() - error:+.4f}, {apart.mean() + error:+.4f}]",
            f"{gap:+.4f} [{low:+.4f}, {high:+.4f}]",
            f"{alike:.5f}",
        ):
            row = row.replace("%", said, 1)
        print(row, flush=True)


if __name__ == "__main__":
    main()
