"""Seconds per target of the steps that can run on a GPU, in NumPy and in torch on a device, on the same masks.

    python benchmarks/attribution/gpu.py [--device cuda] [--players 1000 --masks 2000 --targets 64]

Needs torch, NumPy and SciPy; LightGBM is timed where it is installed. One thread on the CPU. Wall seconds, and the CPU
seconds of this process; what comes back from a device is on the host when its clock is read. torch's rows are run once
before on small data, so that what a library does when first used is not timed. --steps: some of booster, lightgbm,
lasso, pairs, triples, fit.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from attribution.device import torch_device  # noqa: E402
from attribution.fourier.basis import basis  # noqa: E402
from attribution.interactions.block import BlockSettings, fit_block  # noqa: E402
from attribution.linear.datamodel_fit import fit_linear  # noqa: E402
from attribution.masks.folds import N_FOLDS, assign_folds  # noqa: E402
from attribution.masks.inputs import check_data  # noqa: E402
from attribution.masks.row_groups import RowGroups, make_row_groups  # noqa: E402
from attribution.proxy.boosted_trees import BoosterSettings  # noqa: E402
from attribution.proxy.booster import fit_booster  # noqa: E402
from attribution.proxy.fit import fit_proxy  # noqa: E402
from attribution.screening.screen import screen_pairs, screen_triples  # noqa: E402
from attribution.statistics.faithfulness import r2  # noqa: E402
from attribution.statistics.z_histogram import N_Z_BINS  # noqa: E402
from tests.games import planted_interactions  # noqa: E402

STEPS = ("booster", "lightgbm", "lasso", "pairs", "triples", "fit")
TRIPLE_PLAYERS = 110  # whose triples a fit screens
SHAPIQ_SECONDS = 89.75  # a target of 1,000 players and 2,000 masks, shapiq's ProxySPEX, one core (attribution.md)


class Campaign:
    """Masks, outputs of games with planted sets at noise ceiling .6, and held-out masks of the same games."""

    def __init__(self, n_players: int, n_masks: int, n_targets: int) -> None:
        games = [planted_interactions(n_players, seed, noise_ceiling=0.6) for seed in range(n_targets)]
        self.masks, self.held = games[0].draw_masks(n_masks, 0), games[0].draw_masks(1000, 1)
        self.outputs = np.column_stack([game.observe(self.masks, 10 + k) for k, game in enumerate(games)])
        self.unseen = np.column_stack([game.observe(self.held, 90 + k) for k, game in enumerate(games)])
        self.folds = assign_folds(np.arange(n_masks), N_FOLDS, 0)

    def row_groups(self, n_players: int | None = None) -> RowGroups:
        return make_row_groups(self.masks[:, :n_players], np.arange(len(self.masks)), None, 0.5)


def booster(campaign: Campaign, device: str, n_rounds: int) -> float:
    settings = BoosterSettings(
        max_depth=3, learning_rate=0.03, n_estimators=n_rounds, early_stopping_rounds=0, device=device
    )
    trees = fit_booster(campaign.masks, campaign.outputs, settings)
    return float(r2(campaign.unseen, trees.predict(campaign.held)).mean())


def lightgbm(campaign: Campaign, device: str, n_rounds: int) -> float:
    settings = BoosterSettings(max_depth=3, learning_rate=0.03, n_estimators=n_rounds, early_stopping_rounds=0)
    proxy = fit_proxy(campaign.masks, campaign.outputs, settings, backend="lightgbm")
    return float(r2(campaign.unseen, proxy.predict(campaign.held)).mean())


def lasso(campaign: Campaign, device: str, n_rounds: int) -> float:
    fitted = fit_linear(basis(campaign.masks, 0.5), campaign.outputs, campaign.folds, device=device)
    return float(r2(campaign.unseen, basis(campaign.held, 0.5) @ fitted.coef.T + fitted.intercept).mean())


def _screen(campaign: Campaign, device: str, order: int, n_players: int | None) -> float:
    row_groups, counts = campaign.row_groups(n_players), np.zeros(N_Z_BINS, dtype=np.int64)
    residual = campaign.outputs - campaign.outputs.mean(axis=0)
    screen = screen_pairs if order == 2 else screen_triples
    hits = screen(
        row_groups, campaign.folds, row_groups.sums(residual, order), 4.3, counts, unit_variance=True, device=device
    )
    return float(sum(len(hit.members) for hit in hits))


def pairs(campaign: Campaign, device: str, n_rounds: int) -> float:
    return _screen(campaign, device, 2, None)


def triples(campaign: Campaign, device: str, n_rounds: int) -> float:
    return _screen(campaign, device, 3, TRIPLE_PLAYERS)


def fit(campaign: Campaign, device: str, n_rounds: int) -> float:
    settings = BlockSettings(alpha=0.5, booster=BoosterSettings(device=device))
    fitted = fit_block(check_data(campaign.masks, campaign.outputs, 0.5), settings)
    return float(r2(campaign.unseen, fitted.predict(campaign.held)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu:0")
    parser.add_argument("--players", type=int, default=1000)
    parser.add_argument("--masks", type=int, default=2000)
    parser.add_argument("--targets", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--lightgbm-targets", type=int, default=2)
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--without-numpy", action="store_true", help="time the device alone")
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = torch_device(given.device)
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else "torch's CPU device, no GPU"
    campaign = Campaign(given.players, given.masks, given.targets)
    small = Campaign(60, 240, 2)
    print(f"{given.players} players, {given.masks} masks, {given.targets} targets, {given.rounds} rounds; torch "
          f"{torch.__version__}, {given.device}: {name}\n")  # fmt: skip
    print("| step | where | s a target | CPU s a target | held-out R2, or sets found |\n|---|---|---|---|---|")

    def row(step: Callable[..., float], where: str, data: Campaign) -> float:
        if where != "cpu":
            step(small, where, 20)
        wall, cpu = time.perf_counter(), time.process_time()
        found = step(data, where, given.rounds)
        n_targets = data.outputs.shape[1]
        wall, cpu = (time.perf_counter() - wall) / n_targets, (time.process_time() - cpu) / n_targets
        cell = f"{found:.4f}" if abs(found) <= 1 else f"{found:,.0f}"
        by = "LightGBM" if step is lightgbm else "NumPy" if where == "cpu" else f"torch, {where}"
        print(f"| {step.__name__.replace('lightgbm', 'booster')} | {by} | {wall:.5f} | {cpu:.5f} | "
              f"{cell} |", flush=True)  # fmt: skip
        return wall

    steps: dict[str, Any] = {step.__name__: step for step in (booster, lasso, pairs, triples, fit)}
    fit_block(check_data(small.masks, small.outputs, 0.5), BlockSettings(0.5))  # imports SciPy's parts
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    whole = None
    for wanted in given.steps.split(","):
        if wanted == "lightgbm":
            if importlib.util.find_spec("lightgbm") is not None:
                row(lightgbm, "cpu", Campaign(given.players, given.masks, given.lightgbm_targets))
            continue
        if not given.without_numpy:
            row(steps[wanted], "cpu", campaign)
        seconds = row(steps[wanted], given.device, campaign)
        whole = seconds if wanted == "fit" else whole
    if on_gpu:
        print(f"\nmost memory taken on the device: {torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB")
    if whole is not None and (given.players, given.masks) == (1000, 2000):
        print(f"\nthe fit on {given.device} takes 1/{SHAPIQ_SECONDS / whole:,.0f} of shapiq's {SHAPIQ_SECONDS} CPU s")


if __name__ == "__main__":
    main()
