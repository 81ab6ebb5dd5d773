"""Seconds per target: the whole analysis beside shapiq's ProxySPEX, the booster beside LightGBM, on the same masks.

    python benchmarks/attribution_speed.py [--players 1000 --masks 2000 --targets 64] [--peer-python PYTHON_WITH_SHAPIQ]

CPU seconds (time.process_time) of one thread. LightGBM and shapiq are timed on a few of the targets.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from attribution import Datamodel, ProxySPEX  # noqa: E402
from attribution.proxy.boosted_trees import BoosterSettings  # noqa: E402
from attribution.proxy.booster import fit_booster  # noqa: E402
from attribution.proxy.fit import fit_proxy  # noqa: E402
from attribution.statistics.faithfulness import r2  # noqa: E402
from tests.games import planted_interactions  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--players", type=int, default=1000)
    parser.add_argument("--masks", type=int, default=2000)
    parser.add_argument("--targets", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--lightgbm-targets", type=int, default=4)
    parser.add_argument("--peer-targets", type=int, default=1)
    parser.add_argument("--peer-python", default=None)
    given = parser.parse_args()
    games = [planted_interactions(given.players, seed, noise_ceiling=0.6) for seed in range(given.targets)]
    masks, held = games[0].draw_masks(given.masks, 0), games[0].draw_masks(1000, 1)
    outputs = np.column_stack([game.observe(masks, 10 + k) for k, game in enumerate(games)])
    unseen = np.column_stack([game.observe(held, 90 + k) for k, game in enumerate(games)])
    print(
        f"{given.players} players, {given.masks} masks, {given.targets} targets, noise ceiling .6, one thread\n"
    )
    print(
        "| what | CPU s a target | held-out R2 (mean) | held-out R2 on the first targets |\n|---|---|---|---|"
    )

    def row(name: str, seconds: float, score: np.ndarray) -> None:
        first = " ".join(f"{value:.3f}" for value in score[: given.lightgbm_targets])
        print(f"| {name} | {seconds:.4f} | {score.mean():.3f} | {first} |", flush=True)

    began = time.process_time()
    linear = Datamodel().fit(masks, outputs)
    row("datamodel (LASSO)", (time.process_time() - began) / given.targets, r2(unseen, linear.predict(held)))
    began = time.process_time()
    model = ProxySPEX(max_order=3).fit(masks, outputs)
    row(
        "ProxySPEX, everything",
        (time.process_time() - began) / given.targets,
        r2(unseen, model.predict(held)),
    )

    settings = BoosterSettings(max_depth=3, learning_rate=0.03, n_estimators=given.rounds, early_stopping_rounds=0)
    began = time.process_time()
    trees = fit_booster(masks, outputs, settings)
    row(f"booster, depth 3, {given.rounds} rounds", (time.process_time() - began) / given.targets,
        r2(unseen, trees.predict(held)))  # fmt: skip
    few = slice(0, given.lightgbm_targets)
    began = time.process_time()
    reference = fit_proxy(masks, outputs[:, few], settings, backend="lightgbm")
    row("LightGBM, the same", (time.process_time() - began) / given.lightgbm_targets,
        r2(unseen[:, few], reference.predict(held)))  # fmt: skip
    if given.peer_python:
        with tempfile.TemporaryDirectory() as folder:
            source, destination = Path(folder) / "campaign.npz", Path(folder) / "result.json"
            np.savez(source, masks=masks, outputs=outputs, held_masks=held, held_outputs=unseen)
            script = Path(__file__).with_name("attribution_peer_shapiq.py")
            targets = [str(target) for target in range(given.peer_targets)]
            subprocess.run(
                [given.peer_python, str(script), "ProxySPEX", str(source), str(destination), *targets],
                check=True,
            )
            found = list(json.loads(destination.read_text())["targets"].values())
        row("shapiq ProxySPEX, default", float(np.mean([entry["cpu_seconds"] for entry in found])),
            np.array([entry["r2"] for entry in found]))  # fmt: skip


if __name__ == "__main__":
    main()
