"""Scores of attributions that cost nothing or little, beside a datamodel's and the noise ceiling, on one campaign.

    python benchmarks/campaigns/scores.py runs/quickstart            # prints the table of benchmarks/scores.md
    python benchmarks/campaigns/scores.py runs/quickstart --removal 8

The datamodel is fitted on the campaign's fit masks; every method is judged on its held-out masks.
"""

from __future__ import annotations

import argparse
import logging
import time

from flows.runtime.environment import prepare

prepare()  # before NumPy and torch: one thread a process

from flows.cli.configuration import configuration  # noqa: E402
from flows.scoring.removal import Removal  # noqa: E402
from flows.scoring.scoring import estimate_words, pair_sentences, score_campaign  # noqa: E402
from flows.store import Campaign  # noqa: E402


def main() -> None:
    """Score every baseline and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("campaign")
    parser.add_argument("--removal", type=int, default=None)
    parser.add_argument("--max-models", type=int, default=None)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    began = time.monotonic()
    scores = score_campaign(
        Campaign(given.campaign),
        configuration(given.campaign),
        (),
        logging.getLogger("scores"),
        removal=None if given.removal is None else Removal(given.removal),
        max_models=given.max_models,
    )
    lds = scores.lds
    print(f"{lds.n_masks} held-out masks ({lds.n_replicated} evaluated twice), {lds.n_targets} targets, ", end="")
    print(f"{time.monotonic() - began:.0f} s\n")
    removal = "" if scores.removal is None else " loss by removal, s.d. |"
    print(f"| method | LDS | of the ceiling |{removal}\n|---|---|---|{'---|' if removal else ''}")
    for name in scores.ranking:
        found = scores.lds.scores[name]
        row = f"| {name} | {estimate_words(found.mean)} | {estimate_words(found.of_ceiling, 2)} |"
        if scores.removal is not None:
            row += f" {estimate_words(scores.removal.losses.get(name), 2)} |"
        print(row)
    print(f"| *a perfect function of the mask* | {estimate_words(lds.ceiling)} | 1 |{' |' if removal else ''}\n")
    for sentence in pair_sentences(scores):
        print(f"- {sentence}")


if __name__ == "__main__":
    main()
