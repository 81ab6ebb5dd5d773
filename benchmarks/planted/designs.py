"""Do intervals and q-values hold for masks that people hand in? One line a design: its figures, or its refusal.

    python benchmarks/planted/designs.py --campaigns 400 --results designs.jsonl

Every campaign has main effects and noise, and no interactions: outputs are masks @ effects + noise, with 24 players and
500 masks unless a design needs others. Counted are the main effects inside their 95% intervals, and the campaigns in
which a set of two or more players has a q-value of at most .05 (in 5 of 100 one may). Two designs add products of four
players, which are equal on a mask and its complement; counted are then the sets of two and of three, which are false.
A design that `ProxySPEX` refuses is listed with the sentence. One line of JSON for each campaign is appended to the
results file, finished ones are not repeated; the table is printed in Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from attribution import AttributionError, ProxySPEX  # noqa: E402
from attribution.masks.weights import effective_number  # noqa: E402

N_PLAYERS, N_MASKS, NOISE = 24, 500, 2.0
LEVEL = 0.05
Campaign = dict[str, Any]  # masks, and what else `fit` takes


def independent(rng: np.random.Generator) -> Campaign:
    return {"masks": rng.random((N_MASKS, N_PLAYERS)) < 0.5}


def complementary(rng: np.random.Generator, grouped: bool) -> Campaign:
    half = rng.random((N_MASKS // 2, N_PLAYERS)) < 0.5
    groups = np.tile(np.arange(N_MASKS // 2), 2) if grouped else None
    return {"masks": np.vstack([half, ~half]), "groups": groups}


def with_products(rng: np.random.Generator, grouped: bool) -> Campaign:
    """Complementary pairs, and 20 products of four players in the outputs: equal on both masks of a pair."""
    campaign = complementary(rng, grouped)
    signs = 2.0 * campaign["masks"] - 1.0
    fours = [signs[:, rng.choice(N_PLAYERS, 4, replace=False)].prod(axis=1) for _ in range(20)]
    return {**campaign, "more": np.sum(fours, axis=0)}


def fixed_size(rng: np.random.Generator) -> Campaign:
    return {"masks": _subsets(rng, np.full(N_MASKS, N_PLAYERS // 2))}


def class_halves(rng: np.random.Generator) -> Campaign:
    sides = [np.argsort(rng.random((N_MASKS, N_PLAYERS // 2)), axis=1) < N_PLAYERS // 4 for _ in range(2)]
    return {"masks": np.hstack(sides)}


def shapley_sizes(rng: np.random.Generator) -> Campaign:
    return {"masks": _subsets(rng, rng.integers(0, N_PLAYERS + 1, N_MASKS))}


def owen(rng: np.random.Generator, masks_an_alpha: int, low: float, high: float) -> Campaign:
    n_alphas = max(2, 600 // masks_an_alpha)
    alpha = np.repeat(rng.uniform(low, high, n_alphas), masks_an_alpha)
    return {"masks": rng.random((len(alpha), N_PLAYERS)) < alpha[:, None], "alpha": alpha}


def replicates(rng: np.random.Generator) -> Campaign:
    """A tenth of the masks trained ten times as often as the others."""
    masks = rng.random((N_MASKS // 2, N_PLAYERS)) < 0.5
    return {"masks": np.vstack([masks, np.repeat(masks[: N_MASKS // 20], 10, axis=0)])}


def weighted(rng: np.random.Generator, effective: float, kind: str) -> Campaign:
    """inverse: weights are inverse variances; importance: they are not; few: some masks far above the others."""
    spread, normal = (0.0, 12.0), rng.standard_normal(N_MASKS)
    if kind == "few":
        normal = (np.arange(N_MASKS) < max(1, int(0.9 * effective))).astype(float)
    for _ in range(80):
        middle = sum(spread) / 2
        weight = np.exp(middle * normal)
        spread = (middle, spread[1]) if effective_number(weight) > effective else (spread[0], middle)
    noise = NOISE * np.ones(N_MASKS) if kind == "importance" else NOISE / np.sqrt(weight / weight.mean())
    return {**independent(rng), "sample_weight": weight, "noise": noise}


def _subsets(rng: np.random.Generator, sizes: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(rng.random((len(sizes), N_PLAYERS)), axis=1), axis=1) < sizes[:, None]


DESIGNS: dict[str, Callable[[np.random.Generator], Campaign]] = {
    "independent, alpha 1/2": independent,
    "one size, half of the players": fixed_size,
    "complementary pairs, groups given": lambda rng: complementary(rng, True),
    "complementary pairs, no groups": lambda rng: complementary(rng, False),
    "the same and products of four players, groups given": lambda rng: with_products(rng, True),
    "the same and products of four players, no groups": lambda rng: with_products(rng, False),
    "half of every class": class_halves,
    "Shapley sizes (uniform), alpha=.5": shapley_sizes,
    "a tenth of the masks ten times, no groups": replicates,
    **{
        f"Owen, {k} masks an alpha": (lambda rng, k=k: owen(rng, k, 0.05, 0.95))
        for k in (1, 2, 5, 40)
    },
    "Owen, 60 masks an alpha of .3 to .7": lambda rng: owen(rng, 60, 0.3, 0.7),
    **{
        f"weights, {kind}, {effective} effective masks": (
            lambda rng, kind=kind, effective=effective: weighted(rng, effective, kind)
        )
        for kind in ("inverse", "importance", "few")
        for effective in (8, 12, 38, 90, 250)
    },
}  # fmt: skip


def run(design: str, seed: int) -> dict[str, Any]:
    """Fit one campaign and count."""
    rng = np.random.default_rng((seed, 41))
    campaign = DESIGNS[design](rng)
    masks, noise = campaign.pop("masks"), campaign.pop("noise", NOISE)
    effects = rng.standard_normal(N_PLAYERS)
    more = campaign.pop("more", 0.0)
    outputs = masks @ effects + more + noise * rng.standard_normal(len(masks))
    result: dict[str, Any] = {"design": design, "seed": seed}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = ProxySPEX(seed=seed).fit(masks, outputs, **campaign)
    except AttributionError as error:
        return result | {"refused": str(error)}
    if model.fixed_size_:
        effects = effects - effects.mean()
    inside = np.abs(model.effects_[0] - effects) <= 1.96 * model.effect_stderrs_[0]
    false_sizes = (2, 3) if np.ndim(more) else range(2, N_PLAYERS + 1)
    found = [one for one in model.interactions(max_q=LEVEL) if len(one.members) in false_sizes]
    return result | {"inside": int(inside.sum()), "false": int(bool(found)), "gate": int(model.gate_p_[0] <= LEVEL)}


def table(rows: list[dict[str, Any]]) -> str:
    """The Markdown table of all finished campaigns."""
    lines = [
        "| masks | campaigns | main effects inside their 95% intervals | some q ≤ .05 | gate p ≤ .05 |",
        "|---|---|---|---|---|",
    ]
    for design in DESIGNS:
        own = [row for row in rows if row["design"] == design]
        refused = [row["refused"] for row in own if "refused" in row]
        done = [row for row in own if "refused" not in row]
        if refused:
            lines.append(f"| {design} | {len(refused)} of {len(own)} refused | {refused[0].split('. ')[0]}. | | |")
        if done:
            n = len(done)
            share = sum(row["inside"] for row in done) / (n * N_PLAYERS)
            bound = 1.96 * math.sqrt(LEVEL * (1 - LEVEL) / n)
            false, gate = (sum(row[key] for row in done) / n for key in ("false", "gate"))
            lines.append(f"| {design} | {n} | {share:.3f} | {false:.3f} (.05 ± {bound:.3f}) | {gate:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--campaigns", type=int, default=400)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--designs", nargs="*", default=list(DESIGNS))
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after this many")
    arguments = parser.parse_args()
    rows = []
    if arguments.results.exists():
        rows = [json.loads(line) for line in arguments.results.read_text().splitlines()]
    finished = {(row["design"], row["seed"]) for row in rows}
    import time

    end = time.monotonic() + 60 * arguments.minutes
    with arguments.results.open("a") as file:
        for seed in range(arguments.campaigns):
            for design in arguments.designs:
                refused = sum(row["design"] == design and "refused" in row for row in rows)
                if (design, seed) in finished or refused >= 20 or time.monotonic() > end:
                    continue
                rows.append(run(design, seed))
                file.write(json.dumps(rows[-1]) + "\n")
                file.flush()
    print(table(rows))


if __name__ == "__main__":
    main()
