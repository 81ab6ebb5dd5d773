"""Shares of variance by order, before any fit, beside what fits reach: variance_by_order.py on a campaign.

    python benchmarks/attribution/linear_residual.py [--campaign digits-200.npz] [--every 4]

Every fourth target of the digits campaign. The noise ceiling comes from the replicates (32 masks trained 9 times), by
one-way analysis of variance; its interval from resampling those masks.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from attribution.estimators.ridge import RidgeDatamodel  # noqa: E402
from attribution.interactions.block import BlockSettings, fit_block  # noqa: E402
from attribution.masks.inputs import check_data  # noqa: E402
from attribution.statistics.faithfulness import r2  # noqa: E402
from attribution.statistics.false_discovery import adjust  # noqa: E402
from attribution.statistics.variance_by_order import order_weights  # noqa: E402


def ceiling_of(runs: np.ndarray) -> np.ndarray:
    """Share of variance between masks, (t,): runs (masks, times, t), one-way analysis of variance."""
    masks, times, _ = runs.shape
    mean = runs.mean(axis=1)
    between = times * mean.var(axis=0, ddof=1)
    within = ((runs - mean[:, None]) ** 2).sum(axis=(0, 1)) / (masks * (times - 1))
    return (between - within) / (between + (times - 1) * within)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--campaign", type=Path, default=ROOT / ".." / "shared" / "campaigns" / "digits-200.npz"
    )
    parser.add_argument("--every", type=int, default=4)
    given = parser.parse_args()
    with np.load(given.campaign) as data:
        masks = np.unpackbits(data["masks"], axis=1, bitorder="little")[:, :200].astype(bool)
        outputs = data["outputs"].astype(np.float64)[:, :: given.every]
        again = data["replicate_outputs"].astype(np.float64)[:, :, :: given.every]
    began = time.process_time()
    weights = order_weights(masks, outputs)
    closed = time.process_time() - began
    runs = np.concatenate([outputs[None, :32], again]).transpose(1, 0, 2)
    ceiling = ceiling_of(runs)
    rng = np.random.default_rng(0)
    drawn = np.stack([ceiling_of(runs[rng.integers(0, 32, 32)]) for _ in range(200)])
    began = time.process_time()
    fitted = fit_block(check_data(masks, outputs, 0.5), BlockSettings(alpha=0.5))
    blocks = time.process_time() - began
    ridge = r2(outputs, RidgeDatamodel().fit(masks, outputs).cross_fitted_)
    lasso, spectrum = r2(outputs, fitted.linear.predicted), r2(outputs, fitted.predicted)
    gain = spectrum - lasso
    is_open = adjust(fitted.gate_p, "BH") <= 0.05
    first, second = weights.share
    beyond = ceiling - first
    beyond_error = np.sqrt(drawn.std(axis=0) ** 2 + weights.stderr[0] ** 2)
    rows = {
        "best linear function of the mask, W_1": first,
        "its standard error": weights.stderr[0],
        "cross-fitted R2 of the LASSO datamodel": lasso,
        "cross-fitted R2 of the ridge datamodel": ridge,
        "cross-fitted R2 of the spectrum": spectrum,
        "pairs, W_2": second,
        "its standard error ": weights.stderr[1],
        "noise ceiling (32 masks, 9 runs)": ceiling,
        "noise ceiling less W_1": beyond,
        "its standard error  ": beyond_error,
    }
    print(f"{outputs.shape[1]} targets; {closed:.1f} CPU s for the shares, {blocks:.1f} for the block's fit\n")
    print("| share of variance | mean | median | 10% | 90% |\n|---|---|---|---|---|")
    for name, values in rows.items():
        low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
        print(f"| {name.strip()} | {values.mean():.4f} | {middle:.4f} | {low:.4f} | {high:.4f} |")
    print("\n| agreement | value |\n|---|---|")
    for name, (a, b) in {
        "W_1 and R2 of LASSO": (first, lasso),
        "W_1 and R2 of ridge": (first, ridge),
        "W_2 and what the spectrum adds": (second, gain),
        "ceiling less W_1 and what the spectrum adds": (beyond, gain),
    }.items():
        print(f"| correlation over targets, {name} | {np.corrcoef(a, b)[0, 1]:.3f} |")
    by_pairs = adjust(weights.p_values()[1], "BH") <= 0.05
    by_ceiling = beyond > 1.645 * beyond_error
    for name, cheap in (("W_2 > 0 (q <= .05)", by_pairs), ("ceiling > W_1 (one-sided 5%, each)", by_ceiling)):
        print(f"| gate by {name} opens | {cheap.sum()} of {len(cheap)} |")
        print(f"| of the {is_open.sum()} targets whose gate opens | {(cheap & is_open).sum()} |")
        print(f"| of the {(~is_open).sum()} others | {(cheap & ~is_open).sum()} |")
    for label, scores in (("W_2", second / weights.stderr[1]), ("ceiling less W_1", beyond / beyond_error)):
        area = (scores[is_open][:, None] > scores[~is_open][None, :]).mean()
        print(f"| area under the curve for the gate, {label} over its error | {area:.3f} |")


if __name__ == "__main__":
    main()
