"""Every target of a real campaign: datamodel, link, proxy, spectrum and the published method on masks nothing has seen.

    python benchmarks/attribution/real.py [--campaign digits-200.npz | a campaign's folder] [--published 24]
        [--peer-input peer.npz]

Fitted on the fit masks, scored on the held-out ones (the recorded digits: the first 1,792, the last 256). R2 and its
differences are means over targets; one interval comes from resampling the targets, the other from resampling the
held-out masks, all targets together. The gate is decided on the fit masks alone. Sets are tested one target at a time
and pooled over all targets. The published ProxySPEX takes seconds a target and is fitted to some. --peer-input writes
masks and the outputs of eight targets, evenly spaced among the quarter of largest variance, for
attribution/peer_shapiq.py, and prints this project's R2 on the same eight.
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

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from attribution.analysis.block_tables import BlockAnalysis, assign_q_values, tables_of  # noqa: E402
from attribution.analysis.pooled_table import pool_sets  # noqa: E402
from attribution.estimators import PublishedProxySPEX  # noqa: E402
from attribution.fourier.basis import basis  # noqa: E402
from attribution.fourier.kinds import kind_of  # noqa: E402
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
    parser.add_argument("--published", type=int, default=0, help="targets of the published ProxySPEX, evenly spread")
    parser.add_argument("--peer-input", type=Path, default=None)
    given = parser.parse_args()
    masks, outputs, held, y = recorded(given.campaign)
    n_targets = outputs.shape[1]
    began = time.process_time()
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("LASSO", "link", "booster", "spectrum")}
    gate_p, blocks, tables = [], [], []
    for start in range(0, n_targets, given.block):
        part = slice(start, start + given.block)
        data = check_data(masks, outputs[:, part], 0.5)
        fitted = fit_block(data, BlockSettings(alpha=0.5))
        blocks.append(fitted)
        tables.append(tables_of(data, fitted, np.arange(n_targets)[part]))
        gate_p.append(fitted.gate_p)
        linear = basis(held[:, fitted.players], 0.5) @ fitted.linear.coef.T + fitted.linear.intercept
        parts["LASSO"].append(linear)
        parts["link"].append(linear + fitted.saturated(held, 0.5))
        parts["spectrum"].append(fitted.predict(held))
        proxy = fit_proxy(masks, outputs[:, part], BoosterSettings(), validation=np.arange(len(masks)) % 6 == 0)
        parts["booster"].append(proxy.predict(held))
    seconds = time.process_time() - began
    predicted = {name: np.concatenate(own, axis=1) for name, own in parts.items()}
    is_open = adjust(np.concatenate(gate_p), "BH") <= 0.05
    _, rule = fit_q_values([block.z_histograms for block in blocks], "BH")
    print(f"{n_targets} targets, {seconds:.0f} CPU s, {is_open.sum()} gates open")
    print(f"{rule.n_tests} sets considered")
    tables = assign_q_values(tables)
    count_rows(tables)
    began = time.process_time()
    sets = pool_sets(tables, masks, alpha=0.5)
    for name in ("q_value", "specific_q_value"):
        pooled = [row for row in range(len(sets["members"])) if sets[name][row] <= FDR_LEVEL]
        of_order = dict(Counter(len(sets["members"][row]) for row in pooled))
        kinds = dict(Counter(sets["kind"][row] for row in pooled))
        print(f"pooled over targets, {name} <= .05: {len(pooled)} ({of_order} by order; {kinds})")
    print(f"(pooling: {time.process_time() - began:.1f} CPU s)\n")
    chosen = np.zeros(n_targets, dtype=bool)
    if given.published:
        chosen[np.linspace(0, n_targets - 1, given.published).round().astype(int)] = True
        began = time.process_time()
        published = PublishedProxySPEX().fit(masks, outputs[:, chosen])
        each = (time.process_time() - began) / chosen.sum()
        predicted["published"] = np.zeros_like(y)
        predicted["published"][:, chosen] = published.predict(held)
        print(f"published ProxySPEX: {each:.1f} CPU s a target")
    compare(predicted, y, is_open, chosen)
    if given.peer_input:
        by_variance = np.argsort(-outputs.var(axis=0))
        eight = np.sort(by_variance[np.linspace(0, len(by_variance) // 4, 8).astype(int)])
        np.savez(given.peer_input, masks=masks, outputs=outputs[:, eight], held_masks=held, held_outputs=y[:, eight])
        for name in parts:
            score = resampled_r2(y[:, eight], predicted[name][:, eight], np.ones((1, len(y))))[0]
            print(f"| R2 of {name} on {eight.tolist()} | " + " ".join(f"{r:.3f}" for r in score) + " |")


def count_rows(tables: list[BlockAnalysis]) -> None:
    """Print the (set, target) rows with q <= .05, and with a specific q <= .05, by order and by kind.

    The first two kinds are by the sign of the whole interaction and of the main effects, as before there was a link;
    the third is the table's, by the specific part."""
    rows = [
        (len(members), kind_of(effects, errors, joint), kind, q <= FDR_LEVEL, specific <= FDR_LEVEL, tuple(members))
        for table in tables
        for members, joint, effects, errors, kind, q, specific in zip(
            *(table.interactions[name] for name in (
                "members", "joint_surplus", "main_effects", "main_effect_stderrs", "kind", "q_value",
                "specific_q_value")), strict=True)
    ]  # fmt: skip
    print("| (set, target) rows | all | distinct | by order | kinds by the whole interaction | kinds of the table |")
    print("|---|---|---|---|---|---|")
    for name, own in (
        ("q <= .05", [row for row in rows if row[3]]),
        ("of these, specific q <= .05", [row for row in rows if row[3] and row[4]]),
        ("specific q <= .05", [row for row in rows if row[4]]),
    ):
        by_order, whole, kinds = (dict(sorted(Counter(row[k] for row in own).items())) for k in range(3))
        distinct = len({row[5] for row in own})
        print(f"| {name} | {len(own)} | {distinct} | {by_order} | {whole} | {kinds} |")


def compare(predicted: dict[str, np.ndarray], y: np.ndarray, is_open: np.ndarray, chosen: np.ndarray) -> None:
    """Print the R2 of every predictor and its distance from the spectrum.

    Intervals over targets resample the targets; those over masks resample the held-out masks, all targets together."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(y), np.full(len(y), 1 / len(y)), 1000).astype(float)
    counts = np.concatenate([np.ones((1, len(y))), counts])  # the first row is the sample itself
    scores = {name: resampled_r2(y, own, counts) for name, own in predicted.items()}
    everything = np.ones_like(is_open)
    print("| held-out R2 | targets | mean | over targets | spectrum less this one | over targets | over masks |")
    print("|---|---|---|---|---|---|---|")
    groups = {"all": everything, "gate open": is_open, "gate closed": ~is_open, "those of published": chosen}
    for group, members in groups.items():
        for name, score in scores.items():
            if not members.any() or (name == "published") != (name == "published" and group == "those of published"):
                continue
            own, gain = score[:, members], (scores["spectrum"] - score)[:, members]
            again = rng.integers(0, members.sum(), (2000, members.sum()))
            row = [f"{own[0].mean():.4f}", _range(own[0][again].mean(axis=1), ".4f")]
            if name != "spectrum":
                row += [f"{gain[0].mean():+.4f}", _range(gain[0][again].mean(axis=1), "+.4f"),
                        _range(gain[1:].mean(axis=1), "+.4f")]  # fmt: skip
            print(f"| {name}, {group} | {members.sum()} | " + " | ".join(row) + " |" + " |" * (5 - len(row)))


def _range(values: np.ndarray, form: str) -> str:
    low, high = np.quantile(values, [0.025, 0.975])
    return f"{low:{form}} .. {high:{form}}"


if __name__ == "__main__":
    main()
