"""A real retraining game small enough to enumerate: the estimator on noisy single runs beside the truth.

    OMP_NUM_THREADS=1 python benchmarks/attribution/enumerated.py [--players 10 --seeds 32 --masks 600 1800]

The players are a few digits of three classes. Every one of the 2^n training sets is trained from `--seeds` seeds;
the mean over seeds is the truth, and its spectrum at alpha 1/2 is exact (a Walsh-Hadamard transform). The estimator
then sees what a campaign would: random masks, one run each from a seed that the truth has not used. Printed per
number of masks, mean over targets: R2 against the true function on all subsets, correlation of main effects, pair
interactions and Shapley values with the true ones, and how often the 95% interval of a main effect holds the truth.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from attribution import Datamodel, ProxySPEX
from attribution.fourier.spectrum import Spectrum
from training import Dataset, Recipe, load_dataset, retrain

CLASSES = ["3", "8", "9"]
RECIPE = Recipe(width=4, epochs=20, batch_size=5, learning_rate=0.1, average_last=0.5)


def subsets(n_players: int) -> np.ndarray:
    """(2^n, n) bool; row r includes player i where bit i of r is set."""
    return (np.arange(2**n_players)[:, None] >> np.arange(n_players)) & 1 == 1


def data_of(n_players: int, n_targets: int = 60) -> Dataset:
    return load_dataset("digits", classes=CLASSES, n_train=n_players, n_targets=n_targets, n_audit=20)


def enumerate_game(dataset: Dataset, recipe: Recipe, n_seeds: int) -> np.ndarray:
    """Outputs of every subset, mean over seeds 0 .. n_seeds - 1: (2^n, n_targets) float64. The empty set included."""
    masks = subsets(dataset.n_players)
    total = np.zeros((len(masks), len(dataset.targets)))
    for seed in range(n_seeds):
        result = retrain(dataset, masks, [seed * len(masks) + row for row in range(len(masks))], recipe, mode="native")
        total += result.outputs.astype(np.float64)
    return total / n_seeds


def exact_spectrum(values: np.ndarray, n_players: int) -> Spectrum:
    """All 2^n Fourier coefficients of one target's table (2^n,) at alpha 1/2: F(S) = mean over x of f(x) phi_S(x)."""
    phi = 2.0 * subsets(n_players) - 1.0
    terms = {}
    for included in subsets(n_players):
        members = tuple(int(i) for i in np.flatnonzero(included))
        terms[members] = float((values * phi[:, included].prod(axis=1)).mean())
    return Spectrum.from_terms(terms, n_players, 0.5)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=32)
    parser.add_argument("--masks", type=int, nargs="+", default=[600, 1800])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    n = arguments.players
    dataset, everything = data_of(n), subsets(n)
    began = time.process_time()
    truth = enumerate_game(dataset, RECIPE, arguments.seeds)
    spent = time.process_time() - began
    spectra = [exact_spectrum(values, n) for values in truth.T]
    energy = np.array([[s.energy_by_order().get(order, 0.0) for order in range(1, 5)] for s in spectra])
    share = energy / np.array([s.variance() for s in spectra])[:, None]
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    true_main = np.array([[s.banzhaf((i,)) for i in range(n)] for s in spectra])
    true_pairs = np.array([[s.banzhaf(pair) for pair in pairs] for s in spectra])
    true_shapley = np.array([s.shapley() for s in spectra])
    print(f"{len(everything):,} subsets x {arguments.seeds} seeds of {n} digits, {spent:.0f} CPU s")
    print("share of the true variance by order 1..4: " + " ".join(f"{v:.3f}" for v in share.mean(axis=0)))
    print("| masks | R2, datamodel | R2, spectrum | main effects | pairs | Shapley | main effects covered |")
    print("|---|---|---|---|---|---|---|")
    for n_masks in arguments.masks:
        rng = np.random.default_rng(n_masks)
        masks = everything[rng.integers(0, len(everything), n_masks)]
        fresh = [10**9 + 10**6 * n_masks + row for row in range(n_masks)]
        outputs = retrain(dataset, masks, fresh, RECIPE, mode="native").outputs.astype(np.float64)
        model = ProxySPEX(alpha=0.5).fit(masks, outputs)
        linear = Datamodel(alpha=0.5).fit(masks, outputs)
        spread = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
        r2 = [1 - ((truth - m.predict(everything)) ** 2).sum(axis=0) / spread for m in (linear, model)]
        found = np.array([[s.banzhaf((i,)) for i in range(n)] for s in model.spectra_])
        found_pairs = np.array([[s.banzhaf(pair) for pair in pairs] for s in model.spectra_])
        shapley = np.array([s.shapley() for s in model.spectra_])
        z = (model.effects_ - true_main) / model.effect_stderrs_
        print(
            f"| {n_masks} | {r2[0].mean():.3f} | {r2[1].mean():.3f} | {correlation(found, true_main):.3f} "
            f"| {correlation(found_pairs, true_pairs):.3f} | {correlation(shapley, true_shapley):.3f} "
            f"| {np.mean(np.abs(z) < 1.96):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
