"""How well models tell two classes of CIFAR-10 apart, to choose pairs by their clean accuracy alone: a Markdown table.

    python benchmarks/decisions/pairs.py PARQUET CLASS,CLASS [CLASS,CLASS ...]

16 models of cifar2's recipe on halves of 300 clean pictures at 16 pixels, evaluated on the audit examples. No label is
flipped and nothing else is read off. Not collected by pytest.
"""

from __future__ import annotations

import sys

import numpy as np

from training import RECIPES, load_dataset, retrain, sample_masks

N_MODELS = 16


def main(folder: str, pairs: list[str]) -> None:
    print("| pair | right on audit examples, % | models' standard deviation |\n|---|---|---|")
    for pair in pairs:
        dataset = load_dataset(
            "parquet", path=folder, classes=pair.split(","), n_train=300, n_targets=100, image_size=16, seed=1
        )
        masks = sample_masks(dataset.n_players, N_MODELS, alpha=0.5, seed=1)
        found = retrain(
            dataset, masks, seeds=range(N_MODELS), recipe=RECIPES["small16"], ensemble_size=16, mode="native"
        ).audit_accuracy
        name = pair.replace(",", ", ")
        print(f"| {name} | {100 * found.mean():.1f} | {100 * np.std(found, ddof=1):.1f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
