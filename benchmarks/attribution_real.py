"""Every target of a real campaign: datamodel, proxy and spectrum on masks that nothing has seen.

    python benchmarks/attribution_real.py [--campaign digits-200.npz | a campaign's folder] [--peer-input peer.npz]

Fitted on the fit masks, scored on the held-out ones (the recorded digits: the first 1,792, the last 256). Differences
of R2 are means over targets; their intervals come from resampling the held-out masks, all targets together. The gate is
decided on the fit masks alone. Sets are tested one target at a time and pooled over all targets. --peer-input writes
masks and the outputs of eight targets, evenly spaced among the quarter of largest variance, for
attribution_peer_shapiq.py, and prints this project's R2 on the same eight.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from attribution.analysis.block_tables import assign_q_values, tables_of  # noqa: E402
from attribution.analysis.pooled_table import pool_sets  # noqa: E402
from attribution.fourier.basis import basis  # noqa: E402
from attribution.interactions.block import BlockSettings, fit_block  # noqa: E402
from attribution.levels import FDR_LEVEL  # noqa: E402
from attribution.masks.inputs import check_data  # noqa: E402
from attribution.proxy.boosted_trees import BoosterSettings  # noqa: E402
from attribution.proxy.fit import fit_proxy  # noqa: E402
from attribution.statistics.false_discovery import adjust, fit_q_values  # noqa: E402


def resampled_r2(outputs: np.ndarray, predicted: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(b, t) R2 under bootstrap counts (b, h)."""
    n = outputs.shape[0]
    error = counts @ (outputs - predicted) ** 2
    spread = counts @ outputs**2 - (counts @ outputs) ** 2 / n
    return 1 - error / spread


def recorded(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Masks and outputs to fit on, masks and outputs to score on, of a campaign's folder or of the recorded digits."""
    if path.is_dir():
        from flows.store.campaign import Campaign

        campaign = Campaign(path)
        fit, held = campaign.training_pairs("fit"), campaign.training_pairs("holdout")
        return fit.masks, fit.outputs.astype(np.float64), held.masks, held.outputs.astype(np.float64)
    with np.load(path) as data:
        masks = np.unpackbits(data["masks"], axis=1, bitorder="little")[:, :200].astype(bool)
        outputs = data["outputs"].astype(np.float64)
    return masks[:1792], outputs[:1792], masks[1792:], outputs[1792:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaign", type=Path, default=ROOT / ".." / "shared" / "campaigns" / "digits-200.npz")
    parser.add_argument("--block", type=int, default=50)
    parser.add_argument("--peer-input", type=Path, default=None)
    given = parser.parse_args()
    masks, outputs, held, y = recorded(given.campaign)
    began = time.process_time()
    predicted: dict[str, list[np.ndarray]] = {"LASSO": [], "booster": [], "spectrum": []}
    gate_p, blocks, tables = [], [], []
    for start in range(0, outputs.shape[1], given.block):
        part = slice(start, start + given.block)
        data = check_data(masks, outputs[:, part], 0.5)
        fitted = fit_block(data, BlockSettings(alpha=0.5))
        blocks.append(fitted)
        tables.append(tables_of(data, fitted, np.arange(outputs.shape[1])[part]))
        gate_p.append(fitted.gate_p)
        predicted["LASSO"].append(basis(held, 0.5) @ fitted.linear.coef.T + fitted.linear.intercept)
        predicted["spectrum"].append(np.column_stack([s.evaluate(held) for s in fitted.spectra]))
        proxy = fit_proxy(masks, outputs[:, part], BoosterSettings(), validation=np.arange(len(masks)) % 6 == 0)
        predicted["booster"].append(proxy.predict(held))
    seconds = time.process_time() - began
    counts = np.random.default_rng(0).multinomial(len(y), np.full(len(y), 1 / len(y)), 1000).astype(float)
    counts = np.concatenate([np.ones((1, len(y))), counts])  # the first row is the sample itself
    scores = {name: resampled_r2(y, np.concatenate(p, axis=1), counts) for name, p in predicted.items()}
    is_open = adjust(np.concatenate(gate_p), "BH") <= 0.05
    _, rule = fit_q_values([block.z_histograms for block in blocks], "BH")
    found: list[tuple[int, ...]] = []
    for block in blocks:
        for reported in block.reported:
            q = rule.of(reported.p_value, reported.strata)
            found += [reported.members[k] for k in np.flatnonzero(q <= 0.05)]
    began = time.process_time()
    sets = pool_sets(assign_q_values(tables), masks, alpha=0.5)
    pooled = [tuple(s) for s, q in zip(sets["members"], sets["q_value"], strict=True) if q <= FDR_LEVEL]
    kinds = Counter(kind for kind, q in zip(sets["kind"], sets["q_value"], strict=True) if q <= FDR_LEVEL)
    pooling = time.process_time() - began
    by_order = dict(Counter(map(len, found)))
    print(f"{outputs.shape[1]} targets, {seconds:.0f} CPU s, {is_open.sum()} gates open")
    print(f"{rule.n_tests} sets considered; q <= .05: {len(found)} ({by_order} by order), {len(set(found))} distinct")
    of_order = dict(Counter(map(len, pooled)))
    print(f"pooled over targets ({pooling:.1f} CPU s), q <= .05: {len(pooled)} ({of_order} by order; {dict(kinds)})")
    print(f"{len(set(pooled) & set(found))} of them are among those distinct ones\n")
    print("| difference of held-out R2 | targets | mean | 95% interval |\n|---|---|---|---|")
    for name, chosen in (("all", np.ones_like(is_open)), ("gate open", is_open), ("gate closed", ~is_open)):
        for other in ("LASSO", "booster"):
            gain = (scores["spectrum"] - scores[other])[:, chosen].mean(axis=1)
            low, high = np.quantile(gain[1:], [0.025, 0.975])
            print(f"| spectrum - {other}, {name} | {chosen.sum()} | {gain[0]:+.4f} | {low:+.4f} .. {high:+.4f} |")
    for name, score in scores.items():
        print(f"| R2 of {name}, all | {len(is_open)} | {score[0].mean():.4f} | |")
    if given.peer_input:
        by_variance = np.argsort(-outputs.var(axis=0))
        eight = np.sort(by_variance[np.linspace(0, len(by_variance) // 4, 8).astype(int)])
        np.savez(given.peer_input, masks=masks, outputs=outputs[:, eight], held_masks=held, held_outputs=y[:, eight])
        for name, score in scores.items():
            print(f"| R2 of {name} on {eight.tolist()} | " + " ".join(f"{r:.3f}" for r in score[0][eight]) + " |")


if __name__ == "__main__":
    main()
