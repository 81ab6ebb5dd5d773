"""Held-out R2 of the datamodel per second of training: one campaign against another of the same data.

    OMP_NUM_THREADS=1 python benchmarks/campaigns/core_hours.py BEFORE AFTER [--modes grouped native] [--path FOLDER]

BEFORE and AFTER are campaign folders with the same players and targets and perhaps other recipes. The datamodel
(LASSO) is fitted on more and more of each folder's fit masks and scored on its held-out masks. What a model costs is
measured here, in processor seconds of one thread, both campaigns' recipes in turns in one run, each in the mode
named for it. The last line is the ratio of the seconds that each needs for the R2 which BEFORE reaches with all it has.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attribution import Datamodel
from flows.store.campaign import Campaign
from training import Recipe, load_dataset, retrain, sample_masks

MEMBERS = 32
ROUNDS = 3
DATA_KEYS = ("source", "path", "classes", "n_train", "n_targets", "n_audit", "image_size", "seed")


def identity(folder: Path, section: str) -> dict[str, Any]:
    settings = json.loads((folder / "campaign.json").read_text())["identity"]
    return {key.split(".")[1]: value for key, value in settings.items() if key.startswith(section + ".")}


def learning_curve(folder: Path) -> list[tuple[int, float]]:
    """(masks, mean over targets of the held-out R2) for halvings of the fit masks."""
    campaign = Campaign(folder)
    fit, held = campaign.training_pairs("fit"), campaign.training_pairs("holdout")
    y = held.outputs.astype(np.float64)
    curve = []
    for halvings in (4, 3, 2, 1, 0):
        n = len(fit.masks) >> halvings
        model = Datamodel(alpha=0.5).fit(fit.masks[:n], fit.outputs[:n].astype(np.float64))
        error = ((y - model.predict(held.masks)) ** 2).sum(axis=0)
        curve.append((n, float((1 - error / ((y - y.mean(axis=0)) ** 2).sum(axis=0)).mean())))
    return curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs=2)
    parser.add_argument("--modes", nargs=2, default=["grouped", "grouped"])
    parser.add_argument("--path", default=None, help="folder of image Parquet files, where the data set needs one")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipes, seconds = [], [[], []]  # type: ignore[var-annotated]
    data = {key: value for key, value in identity(arguments.folders[0], "dataset").items() if key in DATA_KEYS}
    dataset = load_dataset(**{**data, "path": arguments.path or data.get("path")})
    for folder in arguments.folders:
        stored = {key: value for key, value in identity(folder, "recipe").items() if value is not None}
        recipes.append(Recipe(**stored))
    masks = sample_masks(dataset.n_players, MEMBERS, 0.5, seed=0)
    for turn in range(ROUNDS + 1):  # the first turn loads kernels
        for which, (recipe, mode) in enumerate(zip(recipes, arguments.modes, strict=True)):
            start = time.process_time()
            retrain(dataset, masks, range(MEMBERS), recipe, ensemble_size=MEMBERS, mode=mode)
            if turn:
                seconds[which].append((time.process_time() - start) / MEMBERS)
    costs = [float(np.median(spent)) for spent in seconds]
    curves = [learning_curve(folder) for folder in arguments.folders]
    print("| campaign | mode | core-seconds a model | R2 by masks |\n|---|---|---|---|")
    for folder, mode, cost, curve in zip(arguments.folders, arguments.modes, costs, curves, strict=True):
        print(f"| {folder.name} | {mode} | {cost:.3f} | " + ", ".join(f"{n}: {r2:.3f}" for n, r2 in curve) + " |")
    wanted = curves[0][-1][1]
    sizes, scores = np.array(curves[1], dtype=float).T
    if scores[-1] < wanted:
        print(f"{arguments.folders[1]} never reaches R2 {wanted:.3f}")
        return
    at = int(np.flatnonzero(scores >= wanted)[0])
    needed = sizes[0] if at == 0 else np.exp(np.interp(wanted, scores[at - 1 : at + 1], np.log(sizes[at - 1 : at + 1])))
    before, after = curves[0][-1][0] * costs[0], needed * costs[1]
    print(f"R2 {wanted:.3f}: {before:.0f} core-seconds before, {after:.0f} after ({needed:.0f} masks)")
    print(f"{before / after:.1f} times fewer")


if __name__ == "__main__":
    main()
