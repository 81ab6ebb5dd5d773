"""Which clusters of copies are seen: python benchmarks/planted/clusters.py --table pairs|search|shared|null|real

k copies of one example hide each other: at alpha a pair of them has the interaction -effect (1 - alpha)^(k-2). Each
game has one cluster worth one unit among 60 players whose main effects have sd .1.

- pairs: by interactions. "seen" when some set of two or three of its members has q <= .05, "whole" when the members of
  such sets together are the cluster.
- search: by search.py, each game a campaign of its own; "but one": k - 1 members or all, no other;
  "named": the group is given, with nine others, and tested as one (q <= .05).
- shared: the same with three clusters that act on 20 targets together, each by an effect of sd .5 (the noise's sd; its
  correlation between targets .3).
- null: campaigns of main effects only, noise drawn as whole rows of a real campaign's residuals: how often is a cluster
  found at all? One line of JSON each is appended to --results, finished ones are not repeated.
- real: what is found in a campaign's folder (--campaign), and whether another one (--again) shows the same.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from attribution import ProxySPEX  # noqa: E402
from attribution.duplicates.any_present_test import any_present_fit, group_tests  # noqa: E402
from attribution.duplicates.search import CopySearch, find_copies  # noqa: E402
from attribution.linear.main_effects import main_effects  # noqa: E402
from tests.games import clusters_of_copies  # noqa: E402

LEVEL = 0.05


def _interaction(k: int, alphas: tuple[float, ...]) -> float:
    """I of a pair of k copies; of several alphas the mean that attribution/masks/mixed_alphas.py says."""
    each = np.array(alphas)
    weight = each * (1 - each)
    return float(-(weight @ (1 - each) ** (k - 2)) / weight.sum())


def by_pairs(given: argparse.Namespace) -> None:
    print("| copies | alpha | pair interaction | seen | whole | false sets |\n|---|---|---|---|---|---|")
    for alphas in ((0.5,), (0.3,), (0.15,), (0.5, 0.2), (0.5, 0.15), (0.5, 0.3, 0.15)):
        for k in (2, 3, 4, 5, 6, 7):
            games = [
                clusters_of_copies(60, [tuple(range(k))], seed, alphas[0], given.noise_sd, background=0.1)
                for seed in range(given.games)
            ]
            # Row u is drawn at alphas[u mod number of alphas], as campaigns draw theirs.
            alpha = np.array(alphas)[np.arange(given.masks) % len(alphas)]
            masks = np.random.default_rng((1, 0)).random((given.masks, 60)) < alpha[:, None]
            outputs = np.column_stack([game.observe(masks, 10 + t) for t, game in enumerate(games)])
            model = ProxySPEX(alpha=alphas[0]).fit(masks, outputs, alpha=alpha)
            seen = whole = false = total = 0
            for target in range(given.games):
                found = [set(i.members) for i in model.interactions(target, max_q=LEVEL)]
                inside = [members for members in found if members <= set(range(k))]
                total += len(found)
                false += len(found) - len(inside)
                seen += bool(inside)
                whole += bool(inside) and set.union(*inside) == set(range(k))
            print(
                f"| {k} | {', '.join(map(str, alphas))} | {_interaction(k, alphas):.3f} | {seen / given.games:.2f} | "
                f"{whole / given.games:.2f} | {false} of {total} |",
                flush=True,
            )


class Tally:
    """What a search found of planted clusters. padded: of clusters found, those with half of a planted one and more."""

    def __init__(self) -> None:
        self.planted = self.whole = self.but_one = self.found = self.false = self.padded = 0

    def add(self, search: CopySearch, planted: list[set[int]]) -> None:
        found = [set(cluster.players) for cluster in search.found(LEVEL)]
        self.planted += len(planted)
        for cluster in planted:
            self.whole += cluster in found
            self.but_one += any(f <= cluster and len(f) >= len(cluster) - 1 for f in found)
        self.found += len(found)
        outside = [f for f in found if not any(f <= cluster for cluster in planted)]
        self.padded += sum(any(2 * len(f & cluster) > len(f) for cluster in planted) for f in outside)
        self.false += len(outside)

    def __str__(self) -> str:
        return (
            f"{self.whole / self.planted:.2f} | {self.but_one / self.planted:.2f} | "
            f"{self.false - self.padded} + {self.padded} of {self.found}"
        )


def by_search(given: argparse.Namespace) -> None:
    print("| copies | players | masks | alpha | whole | but one | false + padded clusters | named | CPU s a game |")
    print("|---|---|---|---|---|---|---|---|---|")
    for n_players, n_masks, alpha in ((60, given.masks, 0.5), (200, 2000, 0.5), (60, given.masks, 0.3)):
        for k in range(2, 9 if alpha == 0.5 else 11):
            tally, seconds, named = Tally(), 0.0, 0
            masks = np.random.default_rng((1, 0)).random((n_masks, n_players)) < alpha
            for seed in range(given.games):
                cluster = tuple(range(k))
                game = clusters_of_copies(n_players, [cluster], seed, alpha, given.noise_sd, background=0.1)
                outputs = game.observe(masks, 10 + seed)
                began = time.process_time()
                search = find_copies(masks, outputs, alpha=alpha)
                seconds += time.process_time() - began
                tally.add(search, [set(cluster)])
                rng = np.random.default_rng(seed)
                others = [rng.choice(np.arange(k, n_players), k, replace=False) for _ in range(9)]
                residuals = main_effects(masks, outputs[:, None], alpha).residuals
                named += group_tests(masks, residuals, [cluster, *others], alpha)[0].q_value <= LEVEL
            cells = f"{tally} | {named / given.games:.2f} | {seconds / given.games:.2f}"
            print(f"| {k} | {n_players} | {n_masks} | {alpha} | {cells} |", flush=True)


def shared(given: argparse.Namespace) -> None:
    print("| copies | players | masks | whole | but one | false + padded clusters | CPU s a game |")
    print("|---|---|---|---|---|---|---|")
    for n_players, n_masks in ((60, given.masks), (200, 2000)):
        for k in range(3, 9):
            tally, began = Tally(), time.process_time()
            for seed in range(given.games):
                rng = np.random.default_rng((seed, 7))
                masks = rng.random((n_masks, n_players)) < 0.5
                planted = [set(range(first, first + k)) for first in (0, k, 2 * k)]
                main = rng.normal(0, 0.1, (n_players, 20))
                main[: 3 * k] = 0
                outputs = masks @ main
                for cluster in planted:
                    outputs += masks[:, list(cluster)].any(axis=1)[:, None] * rng.normal(0, 0.5, 20)
                common, own = rng.normal(size=(n_masks, 1)), rng.normal(size=(n_masks, 20))
                outputs += given.noise_sd * (0.3**0.5 * common + 0.7**0.5 * own)
                tally.add(find_copies(masks, outputs), planted)
            seconds = (time.process_time() - began) / given.games
            print(f"| {k} | {n_players} | {n_masks} | {tally} | {seconds:.1f} |", flush=True)


def null(given: argparse.Namespace) -> None:
    from benchmarks.planted.calibration import real_residuals

    noise = real_residuals(ROOT / ".." / "shared" / "campaigns" / "digits-200.npz")
    done = []
    if given.results.is_file():
        done = [json.loads(line) for line in given.results.read_text().splitlines()]
    for seed in range(len(done), given.games):
        rng = np.random.default_rng((seed, 23))
        n, m, t = (60, 1000, 20) if seed % 3 else (120, 1200, 60)
        masks = rng.random((m, n)) < 0.5
        # Main effects of few kinds, as classes have them, and a part of each player's own.
        main = rng.normal(size=(n, 4)) @ rng.normal(size=(4, t)) / 2 + rng.normal(size=(n, t)) * 0.5
        signal = (masks - 0.5) @ (main * (rng.random((n, 1)) < 0.5))
        signal *= (0.3 / 0.7) ** 0.5 / signal.std(axis=0)  # a noise ceiling of .3
        outputs = signal + noise[rng.integers(0, len(noise), m)][:, rng.choice(noise.shape[1], t, replace=False)]
        search = find_copies(masks, outputs, seed=seed)
        smallest = min((cluster.q_value for cluster in search.tested), default=1.0)
        p_values = np.array([cluster.p_value for cluster in search.tested])
        done.append({
            "players": n, "tests": search.n_tests, "q": smallest, "found": len(search.found(LEVEL)),
            "p": [int((p_values <= level).sum()) for level in (0.1, 0.01, 0.001, 0.0001)],
        })  # fmt: skip
        with given.results.open("a") as file:
            file.write(json.dumps(done[-1]) + "\n")
    passing = sum(row["q"] <= LEVEL for row in done)
    tests, tails = sum(row["tests"] for row in done), np.sum([row["p"] for row in done], axis=0)
    print(f"{len(done)} campaigns, {tests} sets tested; some q <= .05 in {passing} ({passing / len(done):.3f})")
    print(f"p <= .1, .01, .001, .0001: {(tails / tests).round(5).tolist()}")


def fit_masks(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Masks and outputs to fit on, of a campaign's folder or of the recorded digits."""
    if path.is_dir():
        from flows.store.campaign import Campaign

        pairs = Campaign(path).training_pairs("fit")
        return pairs.masks, pairs.outputs.astype(np.float64)
    from benchmarks.attribution.real import recorded

    return recorded(path)[:2]


def real(given: argparse.Namespace) -> None:
    masks, outputs = fit_masks(given.campaign)
    began = time.process_time()
    search = find_copies(masks, outputs)
    found = search.found(LEVEL)
    print(f"{search.n_tests} sets tested in {time.process_time() - began:.0f} CPU s; {len(found)} clusters, q <= .05\n")
    again = residuals = None
    if given.again is not None:
        again, values = fit_masks(given.again)
        parts = [main_effects(again, values[:, first : first + 64], 0.5) for first in range(0, values.shape[1], 64)]
        residuals = np.concatenate([part.residuals for part in parts], axis=1)
        residuals /= residuals.std(axis=0)
    print("| players | effect | q | share | z in the other campaign |\n|---|---|---|---|---|")
    for cluster in found:
        z = ""
        if residuals is not None:
            z = f"{any_present_fit(again, residuals @ cluster.weights[:, None], cluster.players, 0.5).z[0]:.1f}"
        print(
            f"| {', '.join(map(str, cluster.players))} | {cluster.effect:.2f} ± {cluster.stderr:.2f} | "
            f"{cluster.q_value:.1g} | {cluster.share:.2f} | {z} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=("pairs", "search", "shared", "null", "real"), default="pairs")
    parser.add_argument("--games", type=int, default=20)
    parser.add_argument("--masks", type=int, default=1500)
    parser.add_argument("--noise-sd", type=float, default=0.5)
    parser.add_argument("--results", type=Path, default=Path("clusters-null.jsonl"))
    parser.add_argument("--campaign", type=Path, default=ROOT / ".." / "shared" / "campaigns" / "digits-200.npz")
    parser.add_argument("--again", type=Path, default=None)
    given = parser.parse_args()
    if given.table in ("pairs", "search"):
        print(f"noise sd {given.noise_sd} of the cluster's effect, {given.games} games\n")
    {"pairs": by_pairs, "search": by_search, "shared": shared, "null": null, "real": real}[given.table](given)


if __name__ == "__main__":
    main()
