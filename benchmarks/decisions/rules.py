"""Which rule keeps the better half, and would a race on the targets have found it: one Markdown table.

    python benchmarks/decisions/rules.py FOLDER [FOLDER ...]

Each folder is a copy of a campaign (its folder gets `rules.npz`). Every candidate rule of `curate`'s race keeps half of
the players; each set, and class-balanced random ones, are trained from 60 seeds and evaluated on targets and audit
examples. The race is then replayed: on random seeds of these it chooses by the targets, the other half of the seeds
says on the audit examples what the choice was worth. No label models are trained. Not collected by pytest.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from decisions_judged import InThisProcess, config_of

from attribution.curation.baselines import balanced_random
from attribution.curation.budget import least_of_each_class
from attribution.experiments.comparison import compare
from conf.schema import CampaignConfig
from flows.compute import ray_cluster
from flows.decisions.evidence import gather
from flows.decisions.features import player_features
from flows.experiments.label_models import _together
from flows.experiments.race import SURVIVORS, candidate_rules
from flows.players.load import load_planted
from flows.store.campaign import Campaign
from training import Dataset, Recipe, retrain

N_SEEDS = 60
N_REPLAYS = 200
SHARE = 0.5
BUDGETS = (60, 120)  # models of a race


def outcomes(folder: Path) -> dict[str, np.ndarray]:
    """Rule -> (seeds, targets and audit examples) 1 where right; trained once, then kept in rules.npz."""
    kept = folder / "rules.npz"
    if kept.exists():
        return dict(np.load(kept))
    config = config_of(folder, curate={"keep_share": SHARE})
    campaign = Campaign(folder)
    dataset, _ = load_planted(config)
    rules = rules_of(config, campaign, dataset)
    recipe = Recipe(**{**config.recipe.model_dump(mode="json"), "output": "margin_max", "nominal_alpha": SHARE})
    evaluated = replace(dataset, targets=_together(dataset.targets, dataset.audit))
    found = {}
    for name, masks in rules.items():
        result = retrain(
            evaluated, masks, seeds=[10**6 + seed for seed in range(N_SEEDS)], recipe=recipe,
            ensemble_size=min(16, config.compute.ensemble_size), mode="native",
        )  # fmt: skip
        found[name] = np.where(np.isfinite(result.outputs), result.outputs > 0, np.nan).astype(np.float32)
    np.savez_compressed(kept, **found)
    return found


def rules_of(config: CampaignConfig, campaign: Campaign, dataset: Dataset) -> dict[str, np.ndarray]:
    """Rule -> (seeds, players) bool; random draws a set for every seed."""
    evidence = gather(config, campaign, dataset)
    n_keep = round(SHARE * campaign.n_players)
    least = least_of_each_class(evidence.player_classes, n_keep, config.curate.least_class_share)
    features = evidence.features if evidence.features is not None else player_features(config, campaign, dataset)
    chosen = candidate_rules(config, evidence, n_keep, least, features)
    found = {name: np.repeat(keep[None], N_SEEDS, axis=0) for name, keep in chosen.items()}
    draws = [balanced_random(evidence.player_classes, n_keep, np.random.default_rng((77, s))) for s in range(N_SEEDS)]
    return {**found, "random": np.array(draws)}


def replay(right: dict[str, np.ndarray], n_targets: int, budget: int) -> tuple[dict[str, float], float]:
    """How often a race of so many models chooses each rule, and the mean audit accuracy of its choice."""
    rules = [name for name in right if name != "random"]
    chosen, worth = dict.fromkeys(rules, 0), []
    for number in range(N_REPLAYS):
        seeds = np.random.default_rng((number, budget)).permutation(N_SEEDS)
        left, first, seen = list(rules), 0, {name: [] for name in rules}
        for n_rules in SURVIVORS:
            left = sorted(left, key=lambda name: -np.nanmean(np.concatenate(seen[name])) if seen[name] else 0)[:n_rules]
            n = max(2, budget // len(SURVIVORS) // (len(left) + 1))
            for name in left:
                seen[name].append(right[name][seeds[first : first + n], :n_targets].mean(axis=1))
            first += n
        chosen[left[0]] += 1
        worth.append(float(np.nanmean(right[left[0]][seeds[first:], n_targets:])))
    return {name: count / N_REPLAYS for name, count in chosen.items()}, float(np.mean(worth))


def rows(folder: Path) -> list[str]:
    """A row a rule: accuracy on targets and audit examples, against random, and how often a race chooses it."""
    right = outcomes(folder)
    n_targets = Campaign(folder).n_targets
    rules = [name for name in right if name != "random"]
    picked = {budget: replay(right, n_targets, budget) for budget in BUDGETS}
    found = []
    for name in (*rules, "random"):
        targets, audit = (
            compare(right[name][:, part], right["random"][:, part], 0.05 / len(rules))
            for part in (slice(0, n_targets), slice(n_targets, None))
        )
        cells = [f"{100 * audit.accuracy:.1f}"]
        if name != "random":
            cells += [f"{100 * d.difference:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]" for d in (targets, audit)]
            cells += [f"{picked[budget][0][name]:.2f}" for budget in BUDGETS]
        else:
            cells += ["", "", *["" for _ in BUDGETS]]
        found.append(f"| {folder.name} | {name.replace('_', ' ')} | {' | '.join(cells)} |")
    random = float(np.nanmean(right["random"][:, n_targets:]))
    raced = [f"{100 * (picked[budget][1] - random):+.1f}" for budget in BUDGETS]
    return [*found, f"| {folder.name} | the race's choice, audit − random | | | | {' | '.join(raced)} |"]


def main(folders: list[str]) -> None:
    ray_cluster._session = InThisProcess()  # type: ignore[assignment]  # flows take the process-wide session
    heads = " | ".join(f"chosen, {budget} models" for budget in BUDGETS)
    print(f"| campaign | rule | audit accuracy | targets − random | audit − random | {heads} |")
    print(f"|---|---|---|---|---|{'---|' * len(BUDGETS)}", flush=True)
    for folder in folders:
        print(*rows(Path(folder)), sep="\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
