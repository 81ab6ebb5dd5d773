"""What `coterie plan --estimate` said, beside what came.

    OMP_NUM_THREADS=1 python benchmarks/campaigns/forecasts.py curve runs/cifar2 --first 512 1024
    OMP_NUM_THREADS=1 python benchmarks/campaigns/forecasts.py cost quickstart campaign.folder=/tmp/forecast

`curve` fits learning curves to the first masks of a finished campaign (its folder, or an .npz with packed `masks` and
`outputs`, whose last 256 rows are then held out) and forecasts the R² of all of them, on the same held-out masks.
`cost` estimates, runs the campaign with the `coterie` command, and compares time, processor time and disk.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from flows.runtime.environment import prepare

prepare()

N_TARGETS = 60  # of highest variance, as the configurations explain
EVERY = 4  # one in so many of them is fitted


def read(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Masks and outputs to fit to, masks and outputs held out."""
    if path.suffix == ".npz":
        content = np.load(path)
        outputs = content["outputs"]
        masks = np.unpackbits(content["masks"], axis=1, bitorder="little")[:, : len(content["train_index"])]
        return masks[:-256].astype(bool), outputs[:-256], masks[-256:].astype(bool), outputs[-256:]
    from flows.store.campaign import Campaign

    campaign = Campaign(path)
    fit, held_out = campaign.training_pairs("fit"), campaign.training_pairs("holdout")
    return fit.masks, fit.outputs, held_out.masks, held_out.outputs


def curves(path: Path, first: list[int]) -> dict[str, Any]:
    """Forecasts from the first masks, and what all of them then gave."""
    from attribution.analysis.learning_curve import MODELS, fit_curve, measure
    from attribution.masks.running_variance import most_variable

    masks, outputs, unseen, truth = read(path)
    chosen = most_variable(outputs.var(axis=0), N_TARGETS)[::EVERY]
    outputs, truth = outputs[:, chosen], truth[:, chosen]
    found: dict[str, Any] = {"campaign": path.stem, "masks": len(masks), "forecast": {}}

    def fitted(rows: int, sizes: list[int] | None) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return measure(masks[:rows], outputs[:rows], unseen, alpha=0.5, sizes=sizes)

    # Three sizes are the fewest a curve is fitted to; the last is all there is.
    came = fitted(len(masks), [48, 64, len(masks)])[-1:]
    for model in MODELS:
        error = ((truth - came[0].predicted[model]) ** 2).sum(axis=0)
        found[f"came_{model}"] = round(float((1 - error / ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)).mean()), 4)
    for rows in first:
        began, points = time.process_time(), fitted(rows, None)
        found["forecast"][rows] = {
            model: [round(value, 4) for value in fit_curve(points, truth, model, masks.shape[1]).at(len(masks))]
            for model in MODELS
        } | {"processor_seconds": round(time.process_time() - began, 1)}
    return found


def cost(config: str, overrides: list[str]) -> dict[str, Any]:
    """The estimate, then the campaign."""
    from conf.compose import compose
    from flows.forecast.cost import estimate
    from flows.store.campaign import Campaign
    from flows.store.faithfulness import read_faithfulness
    from flows.store.history import runs

    chosen = compose(config, overrides)
    forecast = estimate(chosen)
    command = [str(Path(sys.executable).with_name("coterie")), "run", config, *overrides]
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    campaign = Campaign(chosen.campaign.folder)
    outputs = campaign.read("outputs", ["train_seconds"])["train_seconds"].to_numpy()
    on_disk = sum(path.stat().st_size for path in Path(campaign.folder).rglob("*") if path.is_file())
    scores = [row for row in read_faithfulness(campaign).values() if not row.is_mean]
    came = {
        model: round(float(np.mean([row.r2(model).value for row in scores])), 4)
        for model in ("datamodel", "spectrum")
    }
    assert forecast.time is not None
    expected = next(row for row in forecast.faithfulness.rows if row["n_fit"] == chosen.campaign.n_fit)
    return {
        "models": forecast.n_models,
        "forecast": {
            "seconds_per_model": forecast.time.seconds_per_model, "training_seconds": forecast.time.training_seconds,
            "all_seconds": forecast.time.training_seconds + forecast.time.other_seconds, "load": forecast.time.load,
            "bytes": forecast.disk.total, "by_table": forecast.disk.by_table,
            "is_prior": forecast.faithfulness.is_prior,
            **{model: expected[model] for model in came},
        },
        "came": {
            "wall_seconds_per_model": float(outputs.mean()), "seconds_by_stage": runs(campaign)[-1]["seconds_by_stage"],
            "all_seconds": round(seconds, 1), "bytes": on_disk, **came,
        },
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["curve", "cost"])
    parser.add_argument("which", help="a campaign's folder or .npz (curve), or a configuration (cost)")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--first", type=int, nargs="+", default=[512, 1024])
    arguments = parser.parse_args()
    if arguments.what == "curve":
        print(json.dumps(curves(Path(arguments.which), arguments.first), indent=1))
    else:
        print(json.dumps(cost(arguments.which, arguments.overrides), indent=1))


if __name__ == "__main__":
    main()
