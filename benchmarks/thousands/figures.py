"""Data sets of thousands: found groups beside random ones, planted truth after refine, decisions at full size, size.

    python benchmarks/thousands/figures.py pair FOUND RANDOM    two campaigns on the same pictures
    python benchmarks/thousands/figures.py planted FOLDER       a refined campaign with planted truth, beside cleanlab
    python benchmarks/thousands/figures.py judge FOLDER SHARE SEEDS  a decision at a share kept, against other arms
    python benchmarks/thousands/figures.py start N FOLDER SOURCE    N shifted and mirrored pictures: time and memory
    python benchmarks/thousands/figures.py train N MODELS SOURCE    real models on as many pictures, in one process
    python benchmarks/thousands/figures.py dry N MASKS TARGETS FOLDER   N players and a stub's outputs

cleanlab is imported where it is installed (PYTHONPATH). Prints Markdown tables. Not collected by pytest.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from attribution.analysis.target_ids import MEAN_OF_ALL  # noqa: E402
from attribution.curation.feature_similarity import similarities  # noqa: E402
from attribution.experiments.planted_truth import agreement, average_precision  # noqa: E402
from benchmarks.decisions.peers import out_of_sample  # noqa: E402
from benchmarks.thousands.judge import beside, network_features, once  # noqa: E402
from conf.compose import recompose  # noqa: E402
from conf.schema import CampaignConfig  # noqa: E402
from flows.errors import IncompleteCampaign  # noqa: E402
from flows.players.load import load_images  # noqa: E402
from flows.refinement.links import children_of  # noqa: E402
from flows.refinement.pictures import HARM_RATE, picture_decisions  # noqa: E402
from flows.store.campaign import Campaign  # noqa: E402
from flows.store.configuration import kept_configuration  # noqa: E402
from flows.store.examples import inspection  # noqa: E402
from training import Dataset  # noqa: E402
from training.data.planting import Planted  # noqa: E402


def configuration(folder: str, *overrides: str) -> CampaignConfig:
    return recompose(kept_configuration(Campaign(folder), folder), overrides)


def table(header: str, rows: list[tuple[object, ...]]) -> None:
    print(f"\n| {header} |\n|{'---|' * (header.count('|') + 1)}")
    for cells in rows:
        print(f"| {' | '.join(str(cell) for cell in cells)} |")


# --- found groups beside random ones ------------------------------------------------------------------------------


def pair(found: str, random: str) -> None:
    from benchmarks.thousands.pair import run_pair

    run_pair((found, random), table)


# --- planted truth ------------------------------------------------------------------------------------------------


def planted(folder: str) -> None:
    config, campaign = configuration(folder), Campaign(folder)
    dataset, truth = load_images(config)
    children, _ = children_of(campaign)
    try:
        rows = picture_decisions(campaign).rows
    except IncompleteCampaign as error:  # groups and peers are judged all the same
        print(error)
        rows = ()
    inside = np.zeros(len(dataset.train), bool)
    inside[[row["position"] for row in rows if row["campaign"] != str(campaign.folder)]] = True
    print(f"{len(dataset.train)} pictures, {campaign.n_players} groups, {inside.sum()} pictures opened")
    models = sum(len(one.read("outputs", ["mask_id"])) for one in (campaign, *children))
    print(f"models: {models} of parent and {len(children)} children; a flat campaign at nine masks a picture: "
          f"{9 * len(dataset.train)} and held-out ones")  # fmt: skip
    _groups(campaign, dataset, truth, inside)
    _labels(config, dataset, truth, rows, inside)
    _copies(config, campaign, dataset, truth, rows, inside)


def _groups(campaign: Campaign, dataset: Dataset, truth: Planted, inside: np.ndarray) -> None:
    """Whether the groups that the parent calls harmful hold the wrong labels, before any is opened."""
    examples = campaign.read("examples", ["split", "position", "player"]).to_pylist()
    player_at = {row["position"]: row["player"] for row in examples if row["split"] == "train"}
    players = np.array([player_at[position] for position in range(len(dataset.train))])
    wrong = np.zeros(len(players), bool)
    wrong[truth.flipped] = True
    sizes = np.bincount(players, minlength=campaign.n_players)
    share = np.bincount(players, weights=wrong, minlength=campaign.n_players) / sizes
    effects = campaign.read("effects", ["target", "player", "effect", "q_value"]).to_pylist()
    of_all = {row["player"]: row for row in effects if row["target"] == MEAN_OF_ALL}
    effect = np.array([of_all[player]["effect"] for player in range(campaign.n_players)])
    q_value = np.array([of_all[player]["q_value"] for player in range(campaign.n_players)])
    rank = spearmanr(effect / sizes, share)
    print(f"\nrank correlation of a group's effect a picture and its share of wrong labels: {rank.statistic:.2f} "
          f"(p {rank.pvalue:.1g}); average precision of the groups' harm for wrong labels of pictures "
          f"{average_precision(wrong, -(effect / sizes)[players]):.2f} (at random {wrong.mean():.2f})")  # fmt: skip
    lines = []
    for name, chosen in (
        ("all", np.ones(len(sizes), bool)),
        ("effect on the mean output below 0", effect < 0),
        ("the same with q at most 0.1", (effect < 0) & (q_value <= HARM_RATE)),
        ("opened", np.isin(np.arange(len(sizes)), players[inside])),
    ):
        of = chosen[players]
        part = f"{wrong[of].mean():.3f}" if of.any() else "–"
        lines.append((name, chosen.sum(), of.sum(), (wrong & of).sum(), part))
    table("groups of the parent | groups | pictures | wrong labels | share wrong", lines)


def _labels(config: CampaignConfig, dataset: Dataset, truth: Planted, rows: tuple, inside: np.ndarray) -> None:
    n = len(dataset.train)
    wrong = np.zeros(n, bool)
    wrong[truth.flipped] = True
    accused, looked, score = np.zeros(n, bool), np.zeros(n, bool), np.full(n, np.nan)
    for row in rows:
        at = row["position"]
        accused[at] = row["rule"] == "mislabelled"
        looked[at] = inside[at] and (row["decision"] == "review" or accused[at])
        score[at] = np.nan if row["label_score"] is None else row["label_score"]
    probabilities = once(beside(config.campaign.folder, "own.npy"), lambda: out_of_sample(config, dataset, "native"))
    own = probabilities[np.arange(n), dataset.train.labels]
    lines = []

    def add(name: str, flagged: np.ndarray, ranking: np.ndarray | None, of: np.ndarray) -> None:
        found = agreement(set(np.flatnonzero(flagged & of)), set(np.flatnonzero(wrong & of)))
        ranked = "–" if ranking is None else f"{average_precision(wrong[of], ranking[of]):.2f}"
        scores = (f"{found.precision:.2f}", f"{found.recall:.2f}", ranked)
        lines.append((name, of.sum(), found.relevant, found.flagged, *scores))

    everywhere = np.ones(n, bool)
    known = inside & np.isfinite(score)
    if known.any():
        add("refine: called wrong", accused, -score, known)
        add("refine: called wrong or to look at", looked, None, known)
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    issues = find_label_issues(dataset.train.labels, probabilities, n_jobs=1)
    quality = get_label_quality_scores(dataset.train.labels, probabilities)
    if known.any():
        add("cleanlab, the opened pictures", issues, -quality, known)
        add("refine, all pictures: called wrong", accused, None, everywhere)
        add("refine, all pictures: called wrong or to look at", looked, None, everywhere)
    add("cleanlab, all pictures", issues, -quality, everywhere)
    lowest = own <= np.sort(own)[wrong.sum() - 1]
    add("lowest probability of the given label, as many as are wrong", lowest, -own, everywhere)
    alone = looked & wrong & ~issues
    print(f"\nwrong labels that refine puts up and cleanlab does not: {alone.sum()}; the other way round, in opened "
          f"groups: {(issues & wrong & ~looked & inside).sum()}")  # fmt: skip
    table("wrong labels | pictures | wrong | flagged | precision | recall | average precision", lines)


def _copies(
    config: CampaignConfig, campaign: Campaign, dataset: Dataset, truth: Planted, rows: tuple, inside: np.ndarray
) -> None:
    n = len(dataset.train)
    copied = np.zeros(n, bool)
    for cluster in truth.clusters:
        copied[list(cluster)] = True
    dropped = np.zeros(n, bool)
    replaced = ("look_alike", "redundant")
    dropped[[row["position"] for row in rows if row["decision"] == "drop" and row["rule"] in replaced]] = True
    alike = np.zeros(n, bool)
    for finding in inspection(campaign) or ():
        if finding.kind == "duplicates" and set(finding.splits) == {"train"}:
            alike[list(finding.positions)] = True
    features = once(beside(config.campaign.folder, "features.npy"), lambda: network_features(config, dataset))
    matrix = similarities(features, np.arange(n))
    np.fill_diagonal(matrix, -np.inf)
    nearest = matrix.max(axis=1)
    lines = []
    for name, flagged, of in (
        ("refine: dropped as replaced by another picture", dropped & inside, inside),
        ("plan: near-duplicates by pixels, no model", alike, np.ones(n, bool)),
        ("embedding neighbours, as many as are copied", nearest >= np.sort(nearest)[-copied.sum()], np.ones(n, bool)),
    ):
        if not of.any():
            continue
        found = agreement(set(np.flatnonzero(flagged & of)), set(np.flatnonzero(copied & of)))
        lines.append((name, of.sum(), found.relevant, found.flagged, f"{found.precision:.2f}", f"{found.recall:.2f}"))
    spare = sum(max(0, inside[list(cluster)].sum() - 1) for cluster in truth.clusters)
    print(f"\nof the copied pictures in opened groups {spare} are to spare (all but one of a cluster)")
    table("copies | pictures | copied | flagged | precision | recall", lines)


# --- decisions at full size ---------------------------------------------------------------------------------------


def judge(folder: str, share: str, n_seeds: str) -> None:
    """The campaign's own decision at a share of its players, against other ways to keep as many pictures."""
    from benchmarks.thousands.judge import run_judge

    config = configuration(folder, f"curate.keep_share={share}", "curate.label_models=0")
    run_judge(config, folder, float(share), int(n_seeds), table)


# --- size ---------------------------------------------------------------------------------------------------------


def start(n_images: int, folder: str, source: str) -> None:
    """Plan, 64 outputs of a stub, status and report of a campaign of many pictures; time and peak memory of each."""
    from benchmarks.thousands.size import run_start

    run_start(n_images, folder, source)


def train(n_images: int, n_models: int, source: str) -> None:
    from benchmarks.thousands.size import run_training

    run_training(n_images, n_models, source)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "start":
        start(int(rest[0]), rest[1], rest[2])
    elif what == "dry":
        from benchmarks.thousands.size import run_dry

        run_dry(int(rest[0]), int(rest[1]), int(rest[2]), rest[3])
    elif what == "train":
        train(int(rest[0]), int(rest[1]), rest[2])
    else:
        {"pair": pair, "planted": planted, "judge": judge}[what](*rest)
