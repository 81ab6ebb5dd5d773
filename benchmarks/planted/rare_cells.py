"""Do q-values hold where some combinations of players are in few masks? Null campaigns, one line a design and noise.

    python benchmarks/planted/rare_cells.py --campaigns 40 --results rare-cells.jsonl

Every campaign has main effects and noise of as large a variance, and no interactions: 100 players, 900 masks and 16
targets at several alphas, of one size, and with one player left out; and, where pairs would otherwise be refused, with
so many masks that pairs are just tested. Noise is normal, Student's t with three degrees of freedom, skewed (an
exponential variable), or normal with a size that grows with the output. Counted are the campaigns in which a set of two
or more players has a q-value of at most .05 (in 5 of 100 one may), in which a specific part has one, or in which a gate
opens, and main effects inside their 95% intervals. One line of JSON a campaign is appended to the results file,
finished ones are not repeated; the table is printed in Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from attribution import AttributionError, ProxySPEX  # noqa: E402

N_PLAYERS, N_TARGETS, LEVEL = 100, 16, 0.05
NOISES = ("normal", "t(3)", "skewed", "growing")
# Name: kind, alpha, masks. 2,200 masks at .9 and 9,000 at .95 hold 22 of the rarest cell of a pair: just tested.
DESIGNS: dict[str, tuple[str, float, int]] = {
    **{f"alpha {alpha}": ("bernoulli", alpha, 900) for alpha in (0.1, 0.25, 0.3, 0.75, 0.9, 0.95)},
    "alpha 0.1, 2,200 masks": ("bernoulli", 0.1, 2200),
    "alpha 0.9, 2,200 masks": ("bernoulli", 0.9, 2200),
    "alpha 0.95, 9,000 masks": ("bernoulli", 0.95, 9000),
    "one size, 50 of 100": ("one size", 0.5, 900),
    "one size, 75 of 100": ("one size", 0.75, 900),
    "one size, 90 of 100": ("one size", 0.9, 900),
    "leave one out, 9 times each": ("leave one out", 0.99, 900),
}


def masks_of(rng: np.random.Generator, kind: str, alpha: float, n_masks: int) -> np.ndarray:
    """Draw the masks of a design."""
    if kind == "one size":
        ranks = np.argsort(np.argsort(rng.random((n_masks, N_PLAYERS)), axis=1), axis=1)
        return np.asarray(ranks < round(alpha * N_PLAYERS))
    if kind == "leave one out":
        return ~np.tile(np.eye(N_PLAYERS, dtype=bool), (n_masks // N_PLAYERS, 1))
    return np.asarray(rng.random((n_masks, N_PLAYERS)) < alpha)


def noise_of(rng: np.random.Generator, noise: str, signal: np.ndarray) -> np.ndarray:
    """Draw noise of unit variance for a signal of unit variance."""
    if noise == "t(3)":
        return np.asarray(rng.standard_t(3, signal.shape) / math.sqrt(3))
    if noise == "skewed":
        return np.asarray(rng.exponential(1.0, signal.shape) - 1)
    normal = rng.standard_normal(signal.shape)
    if noise == "growing":
        size = np.exp(0.7 * signal)
        normal *= size / np.sqrt((size**2).mean(axis=0))
    return normal


def run(design: str, noise: str, seed: int) -> dict[str, Any]:
    """Fit one campaign and count."""
    kind, alpha, n_masks = DESIGNS[design]
    rng = np.random.default_rng((seed, list(DESIGNS).index(design), NOISES.index(noise), 29))
    masks = masks_of(rng, kind, alpha, n_masks)
    effects = rng.standard_normal((N_TARGETS, N_PLAYERS)) * (rng.random((N_TARGETS, N_PLAYERS)) < 0.3)
    signal = masks @ effects.T
    scale = signal.std(axis=0)
    effects, signal = effects / scale[:, None], (signal - signal.mean(axis=0)) / scale
    outputs = signal + noise_of(rng, noise, signal)
    result: dict[str, Any] = {"design": design, "noise": noise, "seed": seed}
    began = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = ProxySPEX(alpha=alpha, seed=seed).fit(masks, outputs)
    except AttributionError as error:
        return result | {"refused": str(error)}
    if model.fixed_size_:
        effects = effects - effects.mean(axis=1, keepdims=True)
    inside = np.abs(model.effects_ - effects) <= 1.96 * model.effect_stderrs_
    rows = [one for target in range(N_TARGETS) for one in model.interactions(target)]
    return result | {
        "inside": int(inside.sum()),
        "rows": sum(one.q_value <= LEVEL for one in rows),
        "specific": sum(one.specific_q_value <= LEVEL for one in rows),
        "gates": int(model.gate_open_.sum()),
        "gate_p": [float(f"{p:.3g}") for p in model.gate_p_],
        "tested": int(model.n_considered_),
        "untestable": int(model.n_untestable_),
        "seconds": round(time.process_time() - began, 2),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The Markdown table of all finished campaigns."""
    lines = [
        "| masks | noise | campaigns | tested a campaign | untestable sets a target | some q ≤ .05 | some specific "
        "q ≤ .05 | some gate open | main effects inside |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for design in DESIGNS:
        for noise in NOISES:
            own = [row for row in rows if (row["design"], row["noise"]) == (design, noise)]
            done = [row for row in own if "refused" not in row]
            if own and not done:
                lines.append(f"| {design} | {noise} | refused: {own[0]['refused']} | | | | | | |")
            if done:
                n = len(done)
                some = " | ".join(f"{sum(row[key] > 0 for row in done)}" for key in ("rows", "specific", "gates"))
                share = sum(row["inside"] for row in done) / (n * N_TARGETS * N_PLAYERS)
                tested = round(sum(row["tested"] for row in done) / n)
                lines.append(
                    f"| {design} | {noise} | {n} | {tested:,} | {done[0]['untestable']:,} | {some} | {share:.3f} |"
                )
    gates = {noise: [p for row in rows if row["noise"] == noise for p in row.get("gate_p", [])] for noise in NOISES}
    lines += ["", "| noise | targets | gate p ≤ .05 | ≤ .01 | ≤ .003 | ≤ .001 |", "|---|---|---|---|---|---|"]
    for noise, p in gates.items():
        if p:
            shares = " | ".join(f"{np.mean(np.array(p) <= level):.4f}" for level in (0.05, 0.01, 0.003, 0.001))
            lines.append(f"| {noise} | {len(p)} | {shares} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=40)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--designs", nargs="*", default=list(DESIGNS), choices=list(DESIGNS))
    parser.add_argument("--noises", nargs="*", default=list(NOISES), choices=list(NOISES))
    parser.add_argument("--first-seed", type=int, default=0, help="judge what was changed on seeds not used before")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after this many")
    given = parser.parse_args()
    rows = []
    if given.results.exists():
        rows = [json.loads(line) for line in given.results.read_text().splitlines()]
    finished = {(row["design"], row["noise"], row["seed"]) for row in rows}
    end = time.monotonic() + 60 * given.minutes
    with given.results.open("a") as file:
        for seed in range(given.first_seed, given.first_seed + given.campaigns):
            for design in given.designs:
                for noise in given.noises:
                    if (design, noise, seed) in finished or time.monotonic() > end:
                        continue
                    rows.append(run(design, noise, seed))
                    file.write(json.dumps(rows[-1]) + "\n")
                    file.flush()
    print(table(rows))


if __name__ == "__main__":
    main()
