r"""What a second of training buys: held-out R2 of the datamodel at equal processor time, one way of spending it a row.

    OMP_NUM_THREADS=1 python benchmarks/campaigns/information.py --data digits --recipe before --mode grouped \
        --models 768
    OMP_NUM_THREADS=1 python benchmarks/campaigns/information.py --data small16 --path FOLDER --models 1280

Every arm trains until it has used the processor seconds that `--models` models of the base arm took, then the
datamodel (LASSO) is fitted on a quarter, a half and all of them. It is scored on 256 masks that nothing was fitted
on, trained twice for the noise ceiling: by the arm's own recipe and alpha ("own") and by the base's at alpha 1/2
("base"; what one arm's outputs say about another's is on the same scale of R2, a squared correlation there, because
recipes change the spread of the outputs). Means over all targets of the test set; intervals over masks are about
.02 wide either way and shared by the rows, which are scored on the same masks. What other fit masks and seeds would
have given shows in the rows "base, other masks".
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from retrain_engine import DATA

from attribution import Datamodel
from training import RECIPES, Dataset, Recipe, load_dataset, retrain, sample_masks, training_seed

# The recipes as they were when this was measured first; `--recipe` says whether they or those of today are the base.
BEFORE = {
    "digits": Recipe(epochs=15, batch_size=25, learning_rate=0.2),
    "small16": Recipe(epochs=30, batch_size=25, learning_rate=0.2, flip=True, crop_padding=1),
}
MEMBERS = 32
N_HELD_OUT = 256


@dataclass(frozen=True)
class Arm:
    """A way of spending the budget: which masks, how often each, with which seeds, under which recipe."""

    name: str
    alpha: float = 0.5
    sampler: str = "bernoulli"
    replicates: int = 1
    common_seed: bool = False
    changes: dict[str, object] = field(default_factory=dict)
    seed: int = 1


def arms_of(data: str, base: str) -> list[Arm]:
    spending = [
        Arm("base"),
        Arm("antithetic", sampler="antithetic"),
        Arm("fixed size", sampler="fixed_size"),
        Arm("alpha .3", alpha=0.3),
        Arm("alpha .7", alpha=0.7),
        Arm("two replicates", replicates=2),
        Arm("one seed for all", common_seed=True),
    ]
    return [*spending, *(_recipes_from_today(data) if base == "today" else _recipes_from_before(data))]


def _recipes_from_before(data: str) -> list[Arm]:
    before = BEFORE[data]
    arms = [
        Arm("half of the steps", changes={"epochs": before.epochs / 2}),
        Arm("weights averaged", changes={"average_last": 0.5}),
        Arm("half of the steps, weights averaged", changes={"epochs": before.epochs / 2, "average_last": 0.5}),
        Arm("batches of 10", changes={"batch_size": 10, "learning_rate": 0.1}),
    ]
    if before.flip:
        arms.append(Arm("mirror images averaged", changes={"flip_at_test": True}))
    return [*arms, Arm("recipe of today", changes=asdict(RECIPES[data]))]


def _recipes_from_today(data: str) -> list[Arm]:
    """One thing at a time taken away from the recipe or added to it, and the base with other masks and seeds."""
    today = RECIPES[data]
    arms = [
        Arm("base, other masks", seed=3),
        Arm("base, other masks again", seed=4),
        Arm("weights of the last step", changes={"average_last": 0.0}),
        Arm("weights averaged over the last quarter", changes={"average_last": 0.25}),
        Arm("weights averaged over all but the first quarter", changes={"average_last": 0.75}),
    ]
    if today.flip:
        arms.append(Arm("no mirror images at test time", changes={"flip_at_test": False}))
    return [*arms, Arm("recipe before", changes=asdict(BEFORE[data]))]


@dataclass
class Spent:
    """Masks (m, n), outputs (m, t), processor seconds after each row (m,), accuracy of the models on the targets."""

    masks: np.ndarray
    outputs: np.ndarray
    seconds: np.ndarray
    accuracy: float


def train(
    dataset: Dataset, arm: Arm, recipe: Recipe, mode: str, budget: float | None, n_models: int | None
) -> Spent:
    """Chunks of `MEMBERS` models until the budget (processor seconds) or the number of models is reached."""
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    used, first = 0.0, 0
    while (budget is not None and used < budget) or (n_models is not None and first < n_models):
        rows = np.arange(first, first + MEMBERS)
        masks = sample_masks(
            dataset.n_players, alpha=arm.alpha, seed=arm.seed, sampler=arm.sampler, ids=rows // arm.replicates
        )
        seeds = [
            training_seed(arm.seed, 0 if arm.common_seed else int(row) // arm.replicates, int(row) % arm.replicates)
            for row in rows
        ]
        start = time.process_time()
        result = retrain(dataset, masks, seeds, recipe, ensemble_size=MEMBERS, mode=mode)
        spent = time.process_time() - start
        after = used + spent * np.arange(1, MEMBERS + 1) / MEMBERS
        parts.append((masks, result.outputs, after, result.target_accuracy))
        used, first = used + spent, first + MEMBERS
    masks, outputs, seconds, accuracy = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Spent(masks, outputs.astype(np.float64), seconds, float(np.nanmean(accuracy)))


def held_out(
    dataset: Dataset, alpha: float, recipe: Recipe, mode: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks (h, n) and their outputs (h, t) from two seeds each, of ids that no arm fits on."""
    masks = sample_masks(dataset.n_players, N_HELD_OUT, alpha, seed=2)
    both = [
        retrain(dataset, masks, seeds, recipe, ensemble_size=MEMBERS, mode=mode)
        for seeds in ([training_seed(2, row, at) for row in range(N_HELD_OUT)] for at in (0, 1))
    ]
    return masks, both[0].outputs.astype(np.float64), both[1].outputs.astype(np.float64)


def ceiling(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(t,) covariance of the replicates over their mean variance."""
    a, b = first - first.mean(axis=0), second - second.mean(axis=0)
    return 2 * (a * b).sum(axis=0) / ((a**2).sum(axis=0) + (b**2).sum(axis=0))


def r_squared(predicted: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return 1 - ((seen - predicted) ** 2).sum(axis=0) / ((seen - seen.mean(axis=0)) ** 2).sum(axis=0)


def squared_correlation(predicted: np.ndarray, seen: np.ndarray) -> np.ndarray:
    a, b = predicted - predicted.mean(axis=0), seen - seen.mean(axis=0)
    scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    r = (a * b).sum(axis=0) / np.where(scale > 0, scale, np.inf)
    return np.sign(r) * r**2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=sorted(BEFORE), default="digits")
    parser.add_argument("--path", default=None, help="folder of image Parquet files (small16)")
    parser.add_argument("--recipe", choices=["before", "today"], default="today", help="of the base arm")
    parser.add_argument("--mode", default="native", help="see training/engine/modes.py")
    parser.add_argument("--models", type=int, default=1024, help="models of the base arm that set the budget")
    parser.add_argument("--arms", nargs="*", default=None, help="names; all of them without")
    parser.add_argument("--json", type=Path, default=None, help="append the rows to this file as they are made")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset(**DATA[arguments.data], path=arguments.path)
    base, mode = (BEFORE if arguments.recipe == "before" else RECIPES)[arguments.data], arguments.mode
    first_masks = sample_masks(dataset.n_players, 4, 0.5, seed=0)
    retrain(dataset, first_masks, range(4), base, ensemble_size=4, mode=mode)  # loads kernels
    scored_on = {(0.5, base): held_out(dataset, 0.5, base, mode)}
    base_masks, base_first, _ = scored_on[0.5, base]
    budget = None
    print("| arm | models | s a model | accuracy | noise ceiling | R2 at 1/4 | 1/2 | budget | on base masks, r2 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for arm in arms_of(arguments.data, arguments.recipe):
        if arguments.arms and arm.name not in arguments.arms:
            continue
        recipe = replace(base, **arm.changes)  # type: ignore[arg-type]
        if (arm.alpha, recipe) not in scored_on:
            scored_on[arm.alpha, recipe] = held_out(dataset, arm.alpha, recipe, mode)
        masks, first, second = scored_on[arm.alpha, recipe]
        spent = train(dataset, arm, recipe, mode, budget, arguments.models if budget is None else None)
        budget = float(spent.seconds[-1]) if budget is None else budget
        row: dict[str, object] = {
            "arm": arm.name,
            "models": len(spent.masks),
            "seconds": float(spent.seconds[-1]) / len(spent.masks),
            "accuracy": spent.accuracy,
            "ceiling": float(ceiling(first, second).mean()),
        }
        for share in (0.25, 0.5, 1.0):
            used = spent.seconds <= share * budget + 1e-9
            groups = np.arange(len(used)) // (arm.replicates if arm.sampler != "antithetic" else 2)
            model = Datamodel(alpha=arm.alpha).fit(spent.masks[used], spent.outputs[used], groups=groups[used])
            row[f"r2_{share}"] = float(r_squared(model.predict(masks), first).mean())
        row["base_r2"] = float(squared_correlation(model.predict(base_masks), base_first).mean())
        print(
            f"| {row['arm']} | {row['models']} | {row['seconds']:.3f} | {row['accuracy']:.3f} "
            f"| {row['ceiling']:.3f} | {row['r2_0.25']:.3f} | {row['r2_0.5']:.3f} | {row['r2_1.0']:.3f} "
            f"| {row['base_r2']:.3f} |",
            flush=True,
        )
        if arguments.json:
            with open(arguments.json, "a", encoding="utf-8") as handle:
                handle.write(json.dumps({"data": arguments.data, "base": arguments.recipe, "mode": mode, **row}) + "\n")


if __name__ == "__main__":
    main()
