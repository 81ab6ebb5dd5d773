"""Recipes beside today's at 1,000 and 4,900 pictures: accuracy and noise ceiling for each second of a core.

    python benchmarks/thousands/recipes.py measure FOLDER DATA MASKS RECIPE [RECIPE ...]     "all" for all recipes
    python benchmarks/thousands/recipes.py report FOLDER DATA

DATA: choose (automobile and truck, 950), judge (deer and horse, 950), ten (ten classes, 4,900), all at 16x16 with
`small16`, or large (cat and dog, 950, 32x32, with `small32`). Players are groups that are close in pixels, half of them
in a mask, and every mask is trained twice. All recipes see the same masks and seeds, so differences are paired. FOLDER
keeps what was trained, in parts. `ALTERNATED` and `WHITENED` change the engine from here: no recipe has a field for
them. Not collected by pytest.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import numpy as np
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.thousands.figures import table  # noqa: E402
from benchmarks.thousands.pair import ceilings  # noqa: E402
from training import RECIPES as SHIPPED  # noqa: E402
from training import Dataset, Recipe, load_dataset, retrain, sample_masks, training_seed  # noqa: E402
from training.engine import engine as torch_engine  # noqa: E402
from training.engine.batches import Draws, channel_statistics, model_draws  # noqa: E402
from training.engine.models import initialise  # noqa: E402
from training.grouping.find_groups import find_groups, with_groups  # noqa: E402
from training.grouping.image_features import pixel_features  # noqa: E402
from training.grouping.request import GroupingRequest  # noqa: E402

DATA = {  # classes, training pictures, side, groups, recipe
    "choose": (("automobile", "truck"), 950, 16, 100, "small16"),
    "judge": (("deer", "horse"), 950, 16, 100, "small16"),
    "ten": (None, 4900, 16, 250, "small16"),
    "large": (("cat", "dog"), 950, 32, 100, "small32"),
}
ALTERNATED, WHITENED = "alternating flips", "whitened first layer"
RECIPES: dict[str, dict[str, float]] = {
    "today": {},
    "label smoothing .1": {"label_smoothing": 0.1},
    "label smoothing .3": {"label_smoothing": 0.3},
    "peak rate .2": {"learning_rate": 0.2},
    "peak rate .4": {"learning_rate": 0.4},
    ALTERNATED: {},
    WHITENED: {},
    "half the epochs": {"epochs": 4},
    "twice the epochs": {"epochs": 16},
    "batches of 25, peak rate .2": {"batch_size": 25, "learning_rate": 0.2},
    "width 16, half the epochs": {"width": 16, "epochs": 4},
}
PART = 8


def data(name: str) -> Dataset:
    classes, n, side, n_groups, _ = DATA[name]
    found = load_dataset(
        "parquet", path=ROOT.parent / "shared/cifar10", classes=classes, n_train=n, image_size=side, n_audit=0,
        n_targets=None if classes else 500,
    )  # fmt: skip
    features = pixel_features(found.train.images, seed=0)
    grouping = find_groups(found, GroupingRequest("similarity", count=n_groups), lambda: features)
    return with_groups(found, grouping.groups, grouping.names)


def alternated(seed: int, present: np.ndarray, n_draws: int) -> Draws:
    """Mirror an example at random in the first epoch, and in every other epoch from there (airbench, Jordan 2024)."""
    drawn, one = model_draws(seed, present, n_draws), np.uint64(1)
    n_present = int(present.sum())
    first = np.zeros(len(present), dtype=np.uint64)
    first[drawn.rows[:n_present]] = drawn.words[:n_present] & one
    epoch = (np.arange(n_draws) // n_present).astype(np.uint64)
    return Draws(drawn.rows, (drawn.words & ~one) | (first[drawn.rows] ^ (epoch & one)))


def whitened(dataset: Dataset) -> object:
    """Start the first convolution at the leading eigenvectors of 3x3 patches and their negatives; it is trained on."""
    mean, std = channel_statistics(dataset.train.images)
    pixels = (dataset.train.images[:1000] - mean) / std
    patches = np.lib.stride_tricks.sliding_window_view(pixels, (3, 3), axis=(1, 2)).reshape(-1, 3 * 9)
    values, vectors = np.linalg.eigh(np.cov(patches.T))
    filters = (vectors / np.sqrt(values + 1e-2)).T[::-1].reshape(-1, 3, 3, 3)

    def initialise_whitened(model: torch.nn.Module, seeds: list[int]) -> None:
        initialise(model, seeds)
        weight = next(module.weight for module in model.modules() if hasattr(module, "fan_in"))
        half = len(weight) // len(seeds) // 2
        own = np.concatenate([filters[:half], -filters[:half]])
        with torch.no_grad():
            scale = weight.std() / own.std()
            weight.copy_(torch.from_numpy(np.tile(own, (len(seeds), 1, 1, 1))).to(weight.dtype) * scale)

    return initialise_whitened


def settings(name: str, recipe: str) -> Recipe:
    shipped = SHIPPED[DATA[name][4]]
    own = dict(RECIPES[recipe])
    if "epochs" in own:  # a share of the recipe's own, of which small16 has eight
        own["epochs"] = shipped.epochs * own["epochs"] / 8
    if "learning_rate" in own:  # likewise multiples of .1
        own["learning_rate"] = shipped.learning_rate * own["learning_rate"] / 0.1
    if "width" in own:
        own["width"] = 2 * shipped.width
    if "batch_size" in own:
        own["batch_size"] = round(2.5 * shipped.batch_size)
    return Recipe(**{**vars(shipped), **own})


def measure(folder: str, name: str, n_masks: int, recipes: list[str]) -> None:
    dataset, store = data(name), Path(folder)
    store.mkdir(parents=True, exist_ok=True)
    masks = sample_masks(dataset.n_players, n_masks, alpha=0.5, seed=5)
    for start in range(0, n_masks, PART):
        for recipe in list(RECIPES) if recipes == ["all"] else recipes:
            path = store / f"{name}-{recipe.replace(' ', '_')}-{start}.npz"
            if path.is_file():
                continue
            rows = slice(start, start + PART)
            with ExitStack() as stack:
                if ALTERNATED in recipe:
                    stack.enter_context(mock.patch("training.engine.native.engine.model_draws", alternated))
                if WHITENED in recipe:
                    stack.enter_context(mock.patch.object(torch_engine, "initialise", whitened(dataset)))
                began, outputs, accuracy = time.process_time(), [], []
                for again in (0, 1):
                    seeds = [training_seed(5, mask, again) for mask in range(n_masks)[rows]]
                    how = settings(name, recipe)
                    found = retrain(dataset, masks[rows], seeds, how, ensemble_size=PART, mode="native")
                    outputs.append(found.outputs)
                    accuracy.append(found.target_accuracy)
            seconds = (time.process_time() - began) / (2 * len(masks[rows]))
            np.savez(path, outputs=np.array(outputs), accuracy=np.array(accuracy), seconds=seconds)
            print(name, recipe, start, f"{np.mean(accuracy):.3f} {seconds:.3f} s", flush=True)


def read(folder: str, name: str, recipe: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Outputs (2, masks, targets), accuracies (masks,), and seconds of a core a model."""
    parts = [np.load(path) for path in sorted(Path(folder).glob(f"{name}-{recipe.replace(' ', '_')}-*.npz"))]
    outputs = np.concatenate([part["outputs"] for part in parts], axis=1)
    accuracy = np.concatenate([part["accuracy"] for part in parts], axis=1).mean(axis=0)
    return outputs, accuracy, float(np.mean([part["seconds"] for part in parts]))


def report(folder: str, name: str) -> None:
    """Each recipe beside today's: paired differences with 95% intervals over masks."""
    known = [recipe for recipe in RECIPES if any(Path(folder).glob(f"{name}-{recipe.replace(' ', '_')}-*.npz"))]
    today, today_accuracy, today_seconds = read(folder, name, "today")
    lines = []
    for recipe in known:
        outputs, accuracy, seconds = read(folder, name, recipe)
        m = min(outputs.shape[1], today.shape[1])
        generator = np.random.default_rng(0)
        draws = [generator.integers(0, m, m) for _ in range(400)]

        def median(of: np.ndarray, rows: np.ndarray | slice = slice(None)) -> float:
            return float(np.median(ceilings(of[0][rows], of[1][rows])))

        own, apart = median(outputs[:, :m]), [median(outputs, draw) - median(today, draw) for draw in draws]
        low, high = np.percentile(apart, [2.5, 97.5])
        points = 100 * (accuracy[:m] - today_accuracy[:m])
        error = 1.96 * points.std(ddof=1) / m**0.5
        information = own / (1 - own) / seconds
        before = median(today[:, :m])
        relative = information / (before / (1 - before) / today_seconds)
        reached = (f"{accuracy[:m].mean():.3f}", f"{points.mean():+.1f} ± {error:.1f}", f"{own:.3f}")
        beside = f"{own - before:+.3f} [{low:+.3f}, {high:+.3f}]"
        lines.append((recipe, m, f"{seconds:.2f}", *reached, beside, f"{relative:.2f}"))
    table("recipe | masks | core-seconds | accuracy | points beside today | ceiling | beside today | per second", lines)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "measure":
        measure(rest[0], rest[1], int(rest[2]), rest[3:])
    else:
        report(*rest)
