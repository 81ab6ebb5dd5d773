"""Planted copies and wrong labels: the tool beside embedding near duplicates and cleanlab, on one campaign.

    python benchmarks/decisions/peers.py quickstart_planted campaign.folder=FOLDER [--cleanlab PYTHON]

Peers see the same training set and the project's own ResNet: features of networks trained on everything, and class
probabilities out of sample (5 folds). cleanlab runs in an interpreter of its own (pip install cleanlab there). Prints
a Markdown table. Not collected by pytest.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from attribution.curation.feature_similarity import similarities
from attribution.experiments.planted_truth import agreement, average_precision
from conf.compose import compose
from conf.schema import CampaignConfig
from flows.players.load import load_planted
from flows.store.campaign import Campaign
from flows.store.derived import about
from training import Dataset, Recipe, training_seed
from training.data.planting import Planted
from training.engine.features import embed

N_FOLDS, NETWORKS = 5, 4

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


def recipe_of(config: CampaignConfig, share: float) -> Recipe:
    return Recipe(**{**config.recipe.model_dump(), "nominal_alpha": share})


def out_of_sample(config: CampaignConfig, dataset: Dataset, mode: str = "grouped") -> np.ndarray:
    """Class probabilities (n, C) of every training example by networks that have not seen it."""
    n = len(dataset.train)
    fold = np.empty(n, np.int64)
    fold[np.random.default_rng(0).permutation(n)] = np.arange(n) % N_FOLDS
    masks = np.array([fold != k for k in range(N_FOLDS) for _ in range(NETWORKS)])
    seeds = [training_seed(config.campaign.seed, 2**61 + at, 0) for at in range(len(masks))]
    _, logits = embed(dataset, recipe_of(config, 1 - 1 / N_FOLDS), seeds, masks=masks, mode=mode)
    shifted = np.exp(logits - logits.max(axis=2, keepdims=True))
    probabilities = shifted / shifted.sum(axis=2, keepdims=True)
    held_out = np.repeat(np.arange(N_FOLDS), NETWORKS)
    return np.array([probabilities[held_out == fold[row], row].mean(axis=0) for row in range(n)])


def labels_table(
    config: CampaignConfig, dataset: Dataset, planted: Planted, scores: dict[str, Any], python: str | None
) -> list[tuple[str, ...]]:
    wrong = np.zeros(len(dataset.train), bool)
    wrong[planted.flipped] = True
    truth = set(planted.flipped.tolist())
    rows = [row("this tool", scores["average_precision"], scores["precision"], scores["recall"])]
    probabilities = out_of_sample(config, dataset)
    own = probabilities[np.arange(len(wrong)), dataset.train.labels]
    rows.append(row("own ResNet, probability of the given label", average_precision(wrong, -own)))
    if python is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "given.npz"
            np.savez(path, labels=dataset.train.labels, probabilities=probabilities)
            done = subprocess.run([python, "-c", CLEANLAB, str(path)], capture_output=True, text=True, check=True)
        said = json.loads(done.stdout.splitlines()[-1])
        found = agreement(set(said["issues"]), truth)
        score = average_precision(wrong, -np.array(said["quality"]))
        rows.append(row("cleanlab on the same probabilities", score, found.precision, found.recall))
    return rows


def copies_table(
    config: CampaignConfig, dataset: Dataset, planted: Planted, scores: dict[str, Any]
) -> list[tuple[str, ...]]:
    rows = [
        row("this tool, looks (pixels)", None, scores["precision"], scores["recall"]),
        row("this tool, interactions alone", None, None, scores["recall_by_interactions"]),
    ]
    seeds = [training_seed(config.campaign.seed, 2**62 + at, 0) for at in range(NETWORKS)]
    features, _ = embed(dataset, recipe_of(config, 1.0), seeds)
    alike = similarities(features, np.arange(len(dataset.train)))
    pairs = list(combinations(range(len(alike)), 2))
    truth = planted.pairs()
    score = np.array([alike[pair] for pair in pairs])
    relevant = np.array([pair in truth for pair in pairs])
    best = [pairs[at] for at in np.argsort(-score, kind="stable")[: len(truth)]]
    found = agreement(set(best), truth)
    name = f"embedding neighbours, first {len(truth)}"
    rows.append(row(name, average_precision(relevant, score), found.precision, found.recall))
    return rows


def row(name: str, score: float | None, precision: float | None = None, recall: float | None = None) -> tuple[str, ...]:
    return (name, *("–" if value is None else f"{value:.2f}" for value in (score, precision, recall)))


def main(arguments: list[str]) -> None:
    python = None
    if "--cleanlab" in arguments:
        at = arguments.index("--cleanlab")
        python = arguments[at + 1]
        arguments = arguments[:at] + arguments[at + 2 :]
    config = compose(arguments[0], arguments[1:])
    dataset, planted = load_planted(config)
    scores = (about(Campaign(config.campaign.folder), "decisions") or {}).get("planted") or {}
    if not scores:
        sys.exit(f"{config.campaign.folder} has no decisions on planted truth. Run `coterie curate` there first")
    if "labels" in scores:
        print(f"\nWrong labels ({len(planted.flipped)} of {len(dataset.train)})\n")
        print_table(labels_table(config, dataset, planted, scores["labels"], python))
    if "copies" in scores:
        print(f"\nCopies ({len(planted.clusters)} clusters, {len(planted.pairs())} pairs); "
              f"{scores['copies']['n_matter']} clusters matter to an output\n")  # fmt: skip
        print_table(copies_table(config, dataset, planted, scores["copies"]))


def print_table(rows: list[tuple[str, ...]]) -> None:
    print("| | average precision | precision | recall |\n|---|---|---|---|")
    for cells in rows:
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
