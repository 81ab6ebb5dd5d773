"""What curate and verify claim on campaigns nobody tuned on, beside the truth that was planted: two Markdown tables.

    python benchmarks/decisions/judged.py FOLDER [FOLDER ...]

Each folder is a copy of a campaign (its tables are written). First `curate` without a budget: labels called wrong, and
how many of them were flipped on purpose. Then `curate` with half of the players kept and `verify` with 20 seeds, one
network and no removal curve: the decided half against each baseline, with the interval over seeds and audit examples. A
campaign whose models are not above chance is declined. The out-of-sample log odds alone, cut at as many players as were
called wrong, stand beside. Not collected by pytest.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from conf.schema import CampaignConfig
from flows.compute import ray_cluster
from flows.compute.streaming_map import Outcome
from flows.curate import curate
from flows.errors import NothingLearnt
from flows.plan import plan
from flows.players.load import load_planted
from flows.store.campaign import Campaign
from flows.store.derived import about, read_derived
from flows.store.learnability import campaign_learnability
from flows.verify import verify

AGAINST = ("random", "main_effects", "embedding", "full")
HEAD_LABELS = """| campaign | pictures | players | flipped | accuracy (chance) | called wrong, share right | recall | \
log odds alone, same number | to review, flipped among them |
|---|---|---|---|---|---|---|---|---|"""
HEAD_HALVES = """
| campaign | half kept | − random | − main effects | − near-duplicates | − full set |
|---|---|---|---|---|---|"""
FRESH = ("curate", "verify", "certify", "brittleness")  # sections that take today's defaults


def config_of(folder: Path, **changes: dict[str, Any]) -> CampaignConfig:
    """The configuration a campaign was run with; changes: keys of one section each."""
    recorded = json.loads(sorted((folder / "history").glob("*.json"))[-1].read_text())["config"]
    settings = {name: value for name, value in recorded.items() if name not in FRESH}
    settings["campaign"] = {**settings["campaign"], "folder": str(folder)}
    settings["compute"] = {**settings["compute"], "workers": 1}
    for section, keys in changes.items():
        settings[section] = {**settings.get(section, {}), **keys}
    return CampaignConfig.model_validate(settings)


def judge(folder: Path) -> tuple[str, str]:
    """The campaign's row of both tables."""
    config = config_of(folder)
    plan.fn(config)  # what the store's tables have gained since
    campaign = Campaign(folder)
    learnt = campaign_learnability(campaign)
    dataset, planted = load_planted(config)
    wrong = np.zeros(campaign.n_players, dtype=bool)
    wrong[dataset.players[planted.flipped]] = True
    chosen = config.dataset
    what = f"{chosen.source} {', '.join(map(str, chosen.classes or ()))}".strip()
    start = f"| {folder.name} | {what}, seed {chosen.seed} | {campaign.n_players} | {wrong.sum()} | "
    accuracy, low, high, chance = (100 * getattr(learnt, name) for name in ("accuracy", "low", "high", "chance"))
    reached = f"{accuracy:.1f} [{low:.1f}, {high:.1f}] ({chance:.1f})"
    try:
        curate.fn(config)
    except NothingLearnt:
        return f"{start}{reached} | declined | | | |", f"| {folder.name} | declined | | | | |"
    rows = read_derived(campaign, "decisions").to_pylist()
    called = np.array([row["rule"] == "mislabelled" for row in rows])
    score = np.array([row["label_score"] for row in rows], dtype=float)
    alone = np.argsort(score)[: called.sum()]
    right = int((called & wrong).sum())
    share = f"{right / called.sum():.2f}" if called.any() else "–"
    recall = f"{right / wrong.sum():.2f}" if wrong.any() else "–"
    looked = np.array([row["decision"] == "review" for row in rows])
    by_score = f"{wrong[alone].sum()} of {len(alone)}" if len(alone) else "–"
    looks = f"{looked.sum()}, {(looked & wrong).sum()}"
    first = f"{start}{reached} | {called.sum()}, {share} | {recall} | {by_score} | {looks} |"
    half = config_of(
        folder, curate={"keep_share": 0.5},
        verify={"second_architecture": False, "curve_seeds": 0, "n_seeds": 20},
    )  # fmt: skip
    curate.fn(half)
    verify.fn(half)
    found = {
        row["against"]: row
        for row in read_derived(campaign, "comparisons").to_pylist()
        if row["class_name"] == "" and row["declared"]
    }
    cells = [_cell(found[arm]) for arm in AGAINST]
    print(f"# {folder.name}", *(about(campaign, "comparisons") or {})["sentences"], sep="\n# ", file=sys.stderr)
    return first, f"| {folder.name} | {100 * found['random']['accuracy']:.1f} | {' | '.join(cells)} |"


def _cell(row: dict[str, Any]) -> str:
    """Difference and interval in points; bold where a verdict excludes 0."""
    difference, low, high = (f"{100 * row[name]:+.1f}".replace("-", "−") for name in ("difference", "low", "high"))
    mark = "**" if row["verdict"] in ("better", "worse") else ""
    return f"{mark}{difference}{mark} [{low}, {high}]"


class InThisProcess:
    """Runs units one after the other, so that a figure needs no Ray."""

    def start(self) -> float:
        """Seconds waited: none."""
        return 0.0

    def map(self, function: Any, shared: Any, units: Any, *_: Any, **__: Any) -> Iterator[Outcome]:
        """Outcomes of `function(shared, unit)`, in order."""
        for index, unit in enumerate(units):
            yield Outcome(index, function(shared, unit), None)


def main(folders: list[str]) -> None:
    ray_cluster._session = InThisProcess()  # type: ignore[assignment]  # flows take the process-wide session
    found = [judge(Path(folder)) for folder in folders]
    print(HEAD_LABELS, *(row for row, _ in found), sep="\n")
    print(HEAD_HALVES, *(row for _, row in found), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
