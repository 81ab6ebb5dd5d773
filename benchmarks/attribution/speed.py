"""Seconds per target: the whole analysis beside shapiq's ProxySPEX, the booster beside LightGBM, on the same masks.

    python benchmarks/attribution/speed.py [--players 1000 --masks 2000 --targets 64] [--ceilings 0.3 0.6 0.95]
        [--lightgbm-targets 3] [--peer-python PYTHON_WITH_SHAPIQ]

CPU seconds (time.process_time) of one thread. LightGBM and shapiq are timed on a few of the targets. Recall is of the
planted sets: this project's sets with q <= .1, all sets that shapiq lists.
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
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

ROOT = Path(__file__).parents[2]
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
    parser.add_argument("--ceilings", type=float, nargs="+", default=[0.3, 0.6, 0.95])
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--lightgbm-targets", type=int, default=0)
    parser.add_argument("--peer-targets", type=int, default=1)
    parser.add_argument("--peer-python", default=None)
    given = parser.parse_args()
    # What is slow once in a process, or once on a machine: imports, and compiling the sieve.
    warm = planted_interactions(600, 0, noise_ceiling=0.95)
    first = warm.draw_masks(1200, 0)
    ProxySPEX().fit(first, warm.observe(first, 0)[:, None])
    print(f"{given.players} players, {given.masks} masks, {given.targets} targets, one thread\n")
    print("| noise ceiling | what | targets | CPU s a target | held-out R2 (mean) | of the first target | "
          "recall, pairs | triples | share false | load |\n|---|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for ceiling in given.ceilings:
        measure(ceiling, given)


def measure(ceiling: float, given: argparse.Namespace) -> None:
    """Print the rows of one noise ceiling."""
    games = [planted_interactions(given.players, seed, noise_ceiling=ceiling) for seed in range(given.targets)]
    masks, held = games[0].draw_masks(given.masks, 0), games[0].draw_masks(1000, 1)
    outputs = np.column_stack([game.observe(masks, 10 + k) for k, game in enumerate(games)])
    unseen = np.column_stack([game.observe(held, 90 + k) for k, game in enumerate(games)])

    def row(name: str, seconds: float, score: np.ndarray, found: str = "| | ") -> None:
        load = os.getloadavg()[0]
        print(f"| {ceiling} | {name} | {len(score)} | {seconds / len(score):.3f} | {score.mean():.3f} | "
              f"{score[0]:.3f} | {found} | {load:.1f} |", flush=True)  # fmt: skip

    began = time.process_time()
    linear = Datamodel().fit(masks, outputs)
    row("datamodel (LASSO)", time.process_time() - began, r2(unseen, linear.predict(held)))
    began = time.process_time()
    model = ProxySPEX(max_order=3).fit(masks, outputs)
    seconds = time.process_time() - began
    listed = [{one.members for one in model.interactions(target, max_q=0.1)} for target in range(given.targets)]
    row("ProxySPEX, everything", seconds, r2(unseen, model.predict(held)), recall(games, listed))

    settings = BoosterSettings(max_depth=3, learning_rate=0.03, n_estimators=given.rounds, early_stopping_rounds=0)
    began = time.process_time()
    trees = fit_booster(masks, outputs, settings)
    row(f"booster, depth 3, {given.rounds} rounds", time.process_time() - began, r2(unseen, trees.predict(held)))
    if given.lightgbm_targets:
        few = slice(0, given.lightgbm_targets)
        began = time.process_time()
        reference = fit_proxy(masks, outputs[:, few], settings, backend="lightgbm")
        row("LightGBM, the same", time.process_time() - began, r2(unseen[:, few], reference.predict(held)))
    if given.peer_python:
        with tempfile.TemporaryDirectory() as folder:
            source, destination = Path(folder) / "campaign.npz", Path(folder) / "result.json"
            np.savez(source, masks=masks, outputs=outputs, held_masks=held, held_outputs=unseen)
            script = Path(__file__).with_name("peer_shapiq.py")
            targets = [str(target) for target in range(given.peer_targets)]
            subprocess.run(
                [given.peer_python, str(script), "ProxySPEX", str(source), str(destination), *targets],
                check=True,
            )
            result = json.loads(destination.read_text())
        entries = list(result["targets"].values())
        row(f"shapiq {result['version']} ProxySPEX, default", sum(entry["cpu_seconds"] for entry in entries),
            np.array([entry["r2"] for entry in entries]),
            recall(games, [{tuple(members) for members, _ in entry["sets"]} for entry in entries]))  # fmt: skip


def recall(games: list[Any], listed: list[set[tuple[int, ...]]]) -> str:
    """Shares of the planted pairs and triples that are listed, and of what is listed and was not planted."""
    cells = []
    for size in (2, 3):
        planted = [(own, members) for game, own in zip(games, listed, strict=False) for members in game.planted
                   if len(members) == size]  # fmt: skip
        cells.append(f"{np.mean([members in own for own, members in planted]):.2f}")
    total = sum(map(len, listed))
    false = sum(len(own - set(game.planted)) for game, own in zip(games, listed, strict=False))
    return " | ".join([*cells, f"{false / total:.2f} of {total}" if total else "none"])


if __name__ == "__main__":
    main()
