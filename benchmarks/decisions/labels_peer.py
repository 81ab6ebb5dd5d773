"""Labels called wrong beside cleanlab, on campaigns with planted wrong labels: one Markdown table.

    python benchmarks/decisions/labels_peer.py [--cleanlab FOLDER] CAMPAIGN [CAMPAIGN ...]

Both see the same class probabilities of the given labels: 5 folds, 8 repeats, every model by the campaign's own recipe,
averaged over the models that have not seen the example. `curate`'s rule adds what held-back targets get and the
campaign's main effects. cleanlab (its ranking, and `find_label_issues` as it comes) runs in a process of its own, its
packages from FOLDER (pip install --target FOLDER cleanlab). Give copies of campaigns: each gets a `labels.npz`. Not
collected by pytest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from decisions_judged import config_of

from attribution.curation.evidence import PlayerEffects
from attribution.curation.label_check import check_labels, leave_out_masks
from attribution.curation.rules import MIXTURE_MARGIN, harmful_q_values
from attribution.curation.surrogate import utilities
from attribution.levels import LABEL_RATE
from attribution.linear.main_effects import main_effects
from flows.experiments.label_models import N_FOLDS, PURPOSE, _together
from flows.players.load import load_planted
from flows.store.campaign import Campaign
from flows.store.examples import target_classes
from training import Recipe, training_seed
from training.data.near_duplicates import near_duplicate_components
from training.engine.features import embed

N_REPEATS = 8
HARM_LEVEL = 0.1  # curate.level
CLEANLAB = """
import json, sys
import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
given = np.load(sys.argv[1])
quality = get_label_quality_scores(given["labels"], given["probabilities"])
issues = find_label_issues(given["labels"], given["probabilities"])
print(json.dumps({"quality": quality.tolist(), "issues": np.flatnonzero(issues).tolist()}))
"""
HEAD = """| campaign | players | flipped | least number | called wrong, right | recall | however few | by ranks | \
cleanlab, same number | cleanlab's own: called, right | recall |
|---|---|---|---|---|---|---|---|---|---|---|"""


def prepare(folder: Path) -> dict[str, np.ndarray]:
    """Out-of-sample logits of players and targets, the campaign's harm and the truth; trained once, then kept."""
    kept = folder / "labels.npz"
    if kept.exists():
        return dict(np.load(kept))
    config = config_of(folder)
    campaign = Campaign(folder)
    dataset, planted = load_planted(config)
    n, h = len(dataset.train), len(dataset.targets)
    groups = near_duplicate_components(dataset.train.images)
    generator = np.random.default_rng((config.campaign.seed, PURPOSE, 0))
    masks = leave_out_masks(n, groups, N_FOLDS, N_REPEATS, generator)
    seeds = [training_seed(config.campaign.seed, 2**61 + at, 0) for at in range(len(masks))]
    everyone = replace(
        dataset, train=_together(dataset.train, dataset.targets), players=np.arange(n + h),
        player_names=tuple(map(str, range(n + h))),
    )  # fmt: skip
    share = (1 - 1 / N_FOLDS) * n / (n + h)  # the steps of curate's label models: targets are in no mask
    recipe = Recipe(**{**config.recipe.model_dump(), "nominal_alpha": share})
    shown = np.concatenate([masks, np.zeros((len(masks), h), dtype=bool)], axis=1)
    _, logits = embed(everyone, recipe, seeds, masks=shown, ensemble_size=16, mode="native")
    pairs = campaign.training_pairs("fit", one_alpha=True)
    row_groups = pairs.mask_ids // 2 if campaign.meta.sampler == "antithetic" else None
    worth = utilities(pairs.outputs, target_classes(campaign), len(campaign.meta.class_names))
    found = main_effects(pairs.masks, np.where(np.isfinite(worth), worth, 0.0), campaign.meta.alpha, row_groups)
    of_row = dataset.players  # effects are by player, everything else here by row
    wrong = np.zeros(n, dtype=bool)
    wrong[planted.flipped] = True
    kept_arrays = {
        "logits": logits.astype(np.float32), "masks": masks, "labels": dataset.train.labels,
        "held_back_labels": dataset.targets.labels, "effect": found.effect[0][of_row],
        "stderr": found.stderr[0][of_row], "wrong": wrong,
    }  # fmt: skip
    np.savez_compressed(kept, **kept_arrays)
    return kept_arrays


def margins_of(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Log odds of the given labels: (models, examples, classes) -> (models, examples)."""
    own = np.take_along_axis(logits, labels[None, :, None], axis=2)
    others = np.where(np.arange(logits.shape[2]) == labels[None, :, None], -np.inf, logits)
    top = others.max(axis=2, keepdims=True)
    return (own - top - np.log(np.exp(others - top).sum(axis=2, keepdims=True)))[:, :, 0]


def out_of_sample(logits: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Class probabilities (n, classes), the mean over the models without the example."""
    shifted = np.exp(logits - logits.max(axis=2, keepdims=True))
    probabilities = shifted / shifted.sum(axis=2, keepdims=True)
    absent = ~masks
    return np.einsum("mn,mnc->nc", absent, probabilities) / absent.sum(axis=0)[:, None]


def called_wrong(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The rule of `curate` on these models, (n,) bool: `called`; `few`, however few; `ranks`, without the mixture.

    Also `score`, of every label, and `least`, the number that must be doubted.
    """
    n = len(given["labels"])
    logits, own = given["logits"].astype(np.float64), given["held_back_labels"]
    planted = (own + np.random.default_rng(2).integers(1, logits.shape[2], len(own))) % logits.shape[2]
    checked = check_labels(
        given["masks"], margins_of(logits[:, :n], given["labels"]),
        margins_of(logits[:, n:], given["held_back_labels"]), given["labels"], given["held_back_labels"], N_FOLDS,
        np.random.default_rng(1), margins_of(logits[:, n:], planted),
    )  # fmt: skip
    harm_q = harmful_q_values(PlayerEffects(given["effect"], given["stderr"]))
    ranks = (checked.q_value <= LABEL_RATE) & (harm_q <= HARM_LEVEL)
    few = ranks.copy()
    if checked.share_right is not None:
        few |= (checked.share_right <= MIXTURE_MARGIN * LABEL_RATE) & (given["effect"] < 0)
    least = checked.fewest_called()
    called = few if few.sum() >= least else np.zeros_like(few)
    return {"called": called, "few": few, "ranks": ranks, "score": checked.score, "least": np.array(least)}


def cleanlab(labels: np.ndarray, probabilities: np.ndarray, packages: str | None) -> tuple[np.ndarray, np.ndarray]:
    """cleanlab's quality of every label, and the rows it calls issues."""
    environment = {**os.environ, **({} if packages is None else {"PYTHONPATH": packages})}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.npz"
        np.savez(path, labels=labels, probabilities=probabilities)
        command = [sys.executable, "-c", CLEANLAB, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    said = json.loads(done.stdout.splitlines()[-1])
    return np.array(said["quality"]), np.array(said["issues"], dtype=np.int64)


def row(folder: Path, packages: str | None) -> str:
    """A campaign's row."""
    given = prepare(folder)
    wrong, n = given["wrong"], len(given["labels"])
    found = called_wrong(given)
    probabilities = out_of_sample(given["logits"][:, :n].astype(np.float64), given["masks"])
    quality, issues = cleanlab(given["labels"], probabilities, packages)
    called, n_wrong = found["called"], int(wrong.sum())
    k = int(called.sum())

    def both(chosen: np.ndarray) -> str:
        return f"{len(wrong[chosen])}, {int(wrong[chosen].sum())}" if len(wrong[chosen]) else "0"

    def recall(chosen: np.ndarray) -> str:
        return f"{wrong[chosen].sum() / n_wrong:.2f}" if n_wrong else "–"

    ranked = int(wrong[np.argsort(quality, kind="stable")[:k]].sum())
    cells = [
        folder.name, n, n_wrong, found["least"], both(called), recall(called), both(found["few"]),
        both(found["ranks"]), f"{ranked} of {k}" if k else "–", both(issues), recall(issues),
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def main(arguments: list[str]) -> None:
    packages = None
    if arguments[:1] == ["--cleanlab"]:
        packages, arguments = arguments[1], arguments[2:]
    print(HEAD, flush=True)
    for folder in arguments:
        print(row(Path(folder), packages), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
