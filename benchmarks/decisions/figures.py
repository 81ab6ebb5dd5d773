"""Figures of certification, verification and brittleness of a campaign, as Markdown.

    python benchmarks/decisions/figures.py FOLDER

Reads the tables that `coterie certify`, `curate`, `verify` and `brittleness` left there; trains nothing.
"""

from __future__ import annotations

import sys

import numpy as np

from flows.experiments.certify_results import shares
from flows.store.campaign import Campaign
from flows.store.derived import about, read_derived


def certification(campaign: Campaign) -> None:
    rows = read_derived(campaign, "certification").to_pylist()
    print("| set, target | what | predicted | measured, 95% | base masks | verdict |\n|---|---|---|---|---|---|")
    for row in rows:
        half = (row["high"] - row["low"]) / 2
        what = row["kind"] if row["origin"] == "reported" else f"{row['origin']} {row['kind']}".strip()
        predicted = "–" if row["predicted"] is None else f"{row['predicted']:+.2f}"
        print(
            f"| {', '.join(map(str, row['members']))} → {row['target']} | {what} | {predicted} | "
            f"{row['measured']:+.2f} ± {half:.2f} | {row['n_bases']} | {row['verdict']} |"
        )
    for origin, share in shares(rows).items():
        if share["n"]:
            text = f"{share['count']} of {share['n']} certified (95%: {share['low']:.2f} to {share['high']:.2f})"
            print(f"\n{origin}: {text}")
    random = [row["measured"] for row in rows if row["origin"] == "random"]
    if random:
        print(f"\nrandom sets, mean measured {np.mean(random):+.2f}, mean size {np.mean(np.abs(random)):.2f}")
    pairing = [row["pairing"] for row in rows if row["order"] == 2]
    print(f"\nsd of Delta over that of cells trained apart: median {np.median(pairing):.2f}")
    print(f"models: {sum(row['n_models'] for row in rows)}")


def verification(campaign: Campaign) -> None:
    made_from = about(campaign, "comparisons") or {}
    for sentence in made_from.get("sentences", []):
        print(f"- {sentence}")
    rows = [row for row in read_derived(campaign, "comparisons").to_pylist() if row["class_name"] == ""]
    print("\n| kept | curated | − random | − main effects alone | − embedding |\n|---|---|---|---|---|")
    for size in sorted({row["n_keep"] for row in rows}):
        found = {row["against"]: row for row in rows if row["n_keep"] == size and row["architecture"] == "first"}
        cells = [
            f"{100 * found[arm]['difference']:+.1f} [{100 * found[arm]['low']:+.1f}, {100 * found[arm]['high']:+.1f}]"
            for arm in ("random", "main_effects", "embedding")
        ]
        mark = " (declared)" if found["random"]["declared"] else ""
        print(f"| {size}{mark} | {100 * found['random']['accuracy']:.1f} | {' | '.join(cells)} |")


def brittleness(campaign: Campaign) -> None:
    made_from = about(campaign, "brittleness") or {}
    rows = read_derived(campaign, "brittleness").to_pylist()
    by_target: dict[int, dict[str, dict]] = {}
    for row in rows:
        by_target.setdefault(row["target"], {})[row["search"]] = row
    print("| target | gate | main effects: predicted, confirmed | interactions: predicted, confirmed |")
    print("|---|---|---|---|")
    for target, found in by_target.items():
        cells = [
            f"{found[search]['predicted_removals']}, {found[search]['confirmed_removals']}"
            for search in ("main_effects", "interactions")
        ]
        print(f"| {target} | {'open' if found['interactions']['gate_open'] else 'closed'} | {' | '.join(cells)} |")
    n_flipped, n_targets = made_from.get("n_flipped"), made_from.get("n_targets")
    print(f"\nflipped by both searches: {n_flipped} of {n_targets}; ratio {made_from.get('ratio')}")


def main(folder: str) -> None:
    campaign = Campaign(folder)
    for name, show in (("certification", certification), ("comparisons", verification), ("brittleness", brittleness)):
        if about(campaign, name) is not None:
            print(f"\n### {name}\n")
            show(campaign)


if __name__ == "__main__":
    main(sys.argv[1])
