"""How many planted pairs and triples are found, beside peers on the same masks.

    python benchmarks/planted/recall.py --work-folder build/recall [--methods coterie ...]
        [--peer-python PYTHON_WITH_SHAPIQ] [--proxyshap-python PYTHON_WITH_SHAPIQ_1.8_AND_XGBOOST]

Games: main effects dominate, 15 pairs and 5 triples make up a fifth of the variance (tests/games.py). A method's
recall is that at the lowest cut of its own ranking over all targets with at most 10% false sets, which grants peers
that have no notion of noise the best cut anybody could have made for them; ours is given both so and as
reported (q <= .1). The bounds say how much anybody could find (planted/oracle.py).
shapiq runs in environments of its own. Results are kept in the work folder and not computed twice.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from attribution import ProxySPEX  # noqa: E402
from attribution.fourier.basis import basis  # noqa: E402
from attribution.linear.datamodel_fit import fit_linear  # noqa: E402
from attribution.masks.folds import assign_folds  # noqa: E402
from attribution.screening.screen import set_columns  # noqa: E402
from benchmarks.planted.oracle import Bound, bound  # noqa: E402
from tests.games import planted_interactions  # noqa: E402

BOUNDS: dict[str, Bound] = {"oracle": "everything else known", "best linear": "main effects unknown"}
METHODS = ["coterie", "pairwise LASSO", "shapiq ProxySPEX", "shapiq ProxySHAP", *BOUNDS]
Sets = list[tuple[int, ...]]
Record = dict[str, Any]
Results = dict[str, list[Record]]  # {name of the table's row: a record of each target}


def campaign(
    n_players: int, n_masks: int, ceiling: float, n_targets: int, seed: int
) -> tuple[Record, list[Any]]:
    games = [
        planted_interactions(n_players, 1000 * seed + k, noise_ceiling=ceiling) for k in range(n_targets)
    ]
    masks, held = games[0].draw_masks(n_masks, 10 + seed), games[0].draw_masks(1000, 20 + seed)
    return {
        "masks": masks,
        "outputs": np.column_stack([game.observe(masks, 30 + k) for k, game in enumerate(games)]),
        "held_masks": held,
        "held_outputs": np.column_stack([game.observe(held, 90 + k) for k, game in enumerate(games)]),
    }, games


def best_cut(records: list[Record], games: list[Any], limit: float = 0.1) -> list[Sets]:
    """Per target the sets above the lowest cut, common to all targets, with at most `limit` false ones above it."""
    pooled = sorted(
        (-score, target, tuple(members))
        for target, record in enumerate(records)
        for members, score in record["ranked"]
    )
    hits = best = 0
    for position, (_, target, members) in enumerate(pooled, start=1):
        hits += members in games[target].planted
        if position - hits <= limit * position:
            best = position
    kept: list[Sets] = [[] for _ in records]
    for _, target, members in pooled[:best]:
        kept[target].append(members)
    return kept


def ours(data: Record) -> list[Record]:
    began = time.process_time()
    model = ProxySPEX(max_order=3).fit(data["masks"], data["outputs"])
    seconds = (time.process_time() - began) / data["outputs"].shape[1]
    predicted = model.predict(data["held_masks"])
    records = []
    for target in range(data["outputs"].shape[1]):
        found = model.interactions(target)
        records.append({
            "ranked": [[list(i.members), 1e-6 * abs(i.raw) / i.raw_stderr - math.log(i.q_value)] for i in found],
            "reported": [list(i.members) for i in found if i.q_value <= 0.1],
            "r2": _r2(data["held_outputs"][:, target], predicted[:, target]),
            "cpu_seconds": seconds,
        })  # fmt: skip
    return records


def pairwise_lasso(data: Record) -> list[Record]:
    """LASSO over all players and all pairs, its penalty by the same six folds."""
    n = data["masks"].shape[1]
    pairs = np.column_stack(np.triu_indices(n, 1))

    def design(masks: np.ndarray) -> np.ndarray:
        phi = basis(masks, 0.5)
        return np.concatenate([phi, set_columns(phi, pairs)], axis=1)

    columns, records = design(data["masks"]), []
    held = design(data["held_masks"])
    folds = assign_folds(np.arange(len(columns)), 6, 0)
    for target in range(data["outputs"].shape[1]):
        began = time.process_time()
        fitted = fit_linear(columns, data["outputs"][:, [target]], folds, smallest=0.05)
        seconds = time.process_time() - began
        size = np.abs(fitted.coef[0, n:])
        order = [k for k in np.argsort(-size) if size[k] > 0]
        records.append({
            "ranked": [[pairs[k].tolist(), float(size[k])] for k in order],
            "r2": _r2(data["held_outputs"][:, target], held @ fitted.coef[0] + fitted.intercept[0]),
            "cpu_seconds": seconds,
        })  # fmt: skip
    return records


def shapiq(method: str, python: str, source: Path, n_targets: int) -> Results:
    destination = source.with_name(f"{source.stem}-{method}.json")
    script = Path(__file__).parents[1] / "attribution" / "peer_shapiq.py"
    targets = map(str, range(n_targets))
    with open(destination.with_suffix(".log"), "w") as log:
        subprocess.run([python, str(script), method, str(source), str(destination), *targets],
                       check=True, stdout=log, stderr=log)  # fmt: skip
    result = json.loads(destination.read_text())
    return {
        f"shapiq {result['version']} {variant}": [
            {
                "ranked": [[members, abs(value)] for members, value in entry["sets"] if len(members) <= 3],
                "r2": entry["r2"],
                "cpu_seconds": entry["cpu_seconds"],
            }
            for entry in list(entries.values())[:n_targets]
        ]
        for variant, entries in result["variants"].items()
    }


def _r2(outputs: np.ndarray, predicted: np.ndarray) -> float:
    return float(1 - ((outputs - predicted) ** 2).sum() / ((outputs - outputs.mean()) ** 2).sum())


def row(
    name: str, n: int, ceiling: float, records: list[Record], games: list[Any], key: str = "ranked"
) -> str:
    recall = {2: [0, 0], 3: [0, 0]}
    false = total = 0
    cut = best_cut(records, games)
    for target, (record, game) in enumerate(zip(records, games, strict=False)):
        found = cut[target] if key == "ranked" else [tuple(members) for members in record[key]]
        true = [members for members in found if members in set(game.planted)]
        false, total = false + len(found) - len(true), total + len(found)
        for members in game.planted:
            recall[len(members)][1] += 1
            recall[len(members)][0] += members in true
    shares = [hits / count for hits, count in recall.values()]
    fdr = f"{false / total:.2f}" if total else "none found"
    r2, seconds = (float(np.mean([record[k] for record in records])) for k in ("r2", "cpu_seconds"))
    last = ["-" if math.isnan(r2) else f"{r2:.3f}", "-" if math.isnan(seconds) else f"{seconds:.2f}"]
    return (
        f"| {n} | {ceiling} | {name} | {shares[0]:.2f} | {shares[1]:.2f} | {fdr} | {last[0]} | {last[1]} | "
        f"{len(records)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work-folder", type=Path, required=True)
    parser.add_argument("--peer-python", default=None, help="an interpreter with shapiq 1.4 or 1.8 (ProxySPEX)")
    parser.add_argument("--proxyshap-python", default=None,
                        help="an interpreter with shapiq 1.8 and XGBoost (ProxySHAP)")  # fmt: skip
    parser.add_argument("--masks", type=int, default=2000)
    parser.add_argument("--players", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--ceilings", type=float, nargs="+", default=[0.3, 0.6, 0.9])
    parser.add_argument("--targets", type=int, default=16, help="of this project's own rows and the bounds")
    parser.add_argument("--peer-targets", type=int, nargs="+", default=[6, 3], help="one number per --players")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    arguments = parser.parse_args()
    if len(arguments.peer_targets) != len(arguments.players):
        parser.error("--peer-targets needs one number per --players")
    folder = arguments.work_folder
    folder.mkdir(parents=True, exist_ok=True)
    print("| players | noise ceiling | method | recall, pairs | recall, triples | share false | held-out R2 | "
          "CPU s a target | targets |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for n, n_peer in zip(arguments.players, arguments.peer_targets, strict=True):
        for ceiling in arguments.ceilings:
            data, games = campaign(n, arguments.masks, ceiling, arguments.targets, seed=n)
            source = folder / f"players{n}-ceiling{ceiling}.npz"
            if not source.exists():  # the same for the same seeds; peers go on where they stopped
                np.savez(source, **data)
            first = {**data, **{name: data[name][:, :n_peer] for name in ("outputs", "held_outputs")}}
            tasks: dict[str, Callable[[], Results]] = {"coterie": lambda d=data: {"coterie": ours(d)}}
            if n <= 100:
                tasks["pairwise LASSO"] = lambda d=first: {"pairwise LASSO": pairwise_lasso(d)}
            for method, python in (
                ("ProxySPEX", arguments.peer_python),
                ("ProxySHAP", arguments.proxyshap_python),
            ):
                if python:
                    tasks[f"shapiq {method}"] = lambda method=method, python=python, source=source, k=n_peer: (
                        shapiq(method, python, source, k)
                    )
            for method, known in BOUNDS.items():
                tasks[method] = lambda d=data, g=games, method=method, known=known: {
                    method: bound(d["masks"], d["outputs"], g, known)
                }
            for method, task in tasks.items():
                if method not in arguments.methods:
                    continue
                kept = folder / f"{source.stem}-{method.replace(' ', '-')}.records.json"
                if not kept.exists():
                    kept.write_text(json.dumps(task()))
                for name, records in json.loads(kept.read_text()).items():
                    if "reported" in records[0]:
                        print(row(f"{name}, q <= .1", n, ceiling, records, games, "reported"), flush=True)
                        name = f"{name}, best cut"
                    print(row(name, n, ceiling, records, games), flush=True)


if __name__ == "__main__":
    main()
