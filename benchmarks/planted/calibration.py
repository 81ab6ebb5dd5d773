"""Do the gate, the q-values and the intervals keep their promises? Simulated campaigns with known answers.

    python benchmarks/planted/calibration.py --mode null --simulations 1000 --results calibration-null.jsonl
    python benchmarks/planted/calibration.py --mode planted --simulations 300 --results calibration-planted.jsonl
    python benchmarks/planted/calibration.py --mode copies --simulations 100 --results calibration-copies.jsonl

Every simulated campaign has main effects that dominate and noise drawn as whole rows of a real campaign's
residuals, so that targets are correlated as they really are. `null` plants nothing; `saturated` bends the sum of main
effects, so that every pair interacts and none is specific; `planted` plants pairs and triples that share no player,
`mixed` does so on a quarter of the targets; `copies` plants what pairs lead to: three clusters of three copies (pairs
and triple of one size) and, to lead astray, three chains of two pairs without a triple. One line of JSON per simulation
is appended to the results file and finished ones are not repeated; the table of what the file holds is printed in
Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from attribution.analysis.block_tables import tables_of  # noqa: E402
from attribution.analysis.pooled_table import pool_sets  # noqa: E402
from attribution.fourier.basis import basis  # noqa: E402
from attribution.interactions.block import BlockSettings, fit_block  # noqa: E402
from attribution.linear.datamodel_fit import fit_linear  # noqa: E402
from attribution.masks.folds import assign_folds  # noqa: E402
from attribution.masks.inputs import check_data  # noqa: E402
from attribution.screening.screen import set_columns  # noqa: E402
from attribution.statistics.false_discovery import QValues, adjust, fit_q_values  # noqa: E402
from attribution.statistics.p_values import two_sided_p  # noqa: E402
from attribution.statistics.z_histogram import Z_STEP, Stratum  # noqa: E402

LEVEL = 0.05
CURVE = 0.3  # of the saturated campaigns, where a signal has unit variance: as strong as on digits
TAILS = (2.0, 3.0, 4.0, 4.5, 5.0, 5.5)  # |z| whose frequency is compared with chance


def real_residuals(path: Path) -> np.ndarray:
    """(2048, 400) residuals of the cross-fitted datamodel of the real campaign, unit variance per target."""
    with np.load(path) as campaign:
        masks = np.unpackbits(campaign["masks"], axis=1, bitorder="little")[:, :200].astype(bool)
        outputs = campaign["outputs"].astype(np.float64)
    folds = assign_folds(np.arange(len(masks)), 6, 0)
    residual = outputs - fit_linear(basis(masks, 0.5), outputs, folds).predicted
    residual -= residual.mean(axis=0)
    return residual / residual.std(axis=0)


def simulate(seed: int, mode: str, noise_rows: np.ndarray, size: argparse.Namespace) -> dict[str, Any]:
    """One campaign: fit, and count what was claimed against what is true."""
    rng = np.random.default_rng((seed, 17))
    n, m, t, alpha = size.players, size.masks, size.targets, size.alpha
    masks = rng.random((m, n)) < alpha
    phi = basis(masks, alpha).astype(np.float64)
    main = rng.standard_normal((t, n)) * (rng.random((t, n)) < 0.3)  # three tenths of the players matter
    truth: list[dict[tuple[int, ...], float]] = [{} for _ in range(t)]
    share = np.zeros(t)
    if mode == "copies":
        share[:] = 0.3
        for target in range(t):
            order = np.sort(rng.permutation(n)[:18].reshape(6, 3), axis=1)
            for k, (a, b, c) in enumerate(order.tolist()):
                main[target, [a, b, c]] = np.abs(main[target, [a, b, c]]) + 0.5
                if k < 3:
                    truth[target] |= {(a, b): -1.0, (a, c): -1.0, (b, c): -1.0, (a, b, c): 1.0}
                else:
                    truth[target] |= {(a, b): float(rng.choice((-1, 1))), (b, c): float(rng.choice((-1, 1)))}
    if mode in ("planted", "mixed"):
        share[: t if mode == "planted" else t // 4] = 0.2
        for target in np.flatnonzero(share):
            order = rng.permutation(n)
            for k in range(10):
                size_k = 2 if k < 8 else 3
                members = tuple(sorted(int(i) for i in order[3 * k : 3 * k + size_k]))
                truth[target][members] = float(rng.choice((-1, 1))) * float(rng.uniform(0.3, 1.7))
    signal = np.zeros((m, t))
    for target in range(t):
        scale = math.sqrt((1 - share[target]) / (main[target] @ main[target]))
        main[target] *= scale
        power = math.sqrt(share[target] / sum(v * v for v in truth[target].values())) if truth[target] else 0.0
        truth[target] = {s: v * power for s, v in truth[target].items()}
        signal[:, target] = phi @ main[target]
        for members, value in truth[target].items():
            signal[:, target] += value * phi[:, list(members)].prod(axis=1)
    if mode == "saturated":  # every pair of players interacts, by the curve alone
        signal = 1 - np.exp(-CURVE * signal)
        signal = (signal - signal.mean(axis=0)) / signal.std(axis=0)
    noise_sd = math.sqrt(1 / size.ceiling - 1)
    columns = rng.choice(noise_rows.shape[1], t, replace=False)
    outputs = signal + noise_sd * noise_rows[rng.integers(0, len(noise_rows), m)][:, columns]
    data = check_data(masks, outputs, alpha)
    fitted = fit_block(data, BlockSettings(alpha=alpha, seed=seed, max_order=3))
    result: dict[str, Any] = {"seed": seed, "gate_open": int((adjust(fitted.gate_p, "BH") <= LEVEL).sum()),
                              "gate_p": int((fitted.gate_p <= LEVEL).sum()), "targets": t,
                              "gates": [float(f"{p:.3g}") for p in fitted.gate_p],
                              "is_null": [not own for own in truth]}  # fmt: skip
    inside = np.abs(fitted.main - main) <= 1.96 * fitted.main_stderr
    result["main"] = [int(inside.sum()), int(inside.size)]
    if mode in ("null", "saturated"):
        # A sieve counts rejected triples as |z| = 0: only the tails of its triples are informative.
        result["tails"] = {
            _name(stratum): {"tests": int(counts.sum())}
            | {str(z): int(counts[round(z / Z_STEP) :].sum()) for z in TAILS}
            for stratum, counts in fitted.z_histograms.counts.items()
        }
        edge = math.ceil(1.96 / Z_STEP)
        for order in (2, 3) if n <= 110 else (2,):
            counts = fitted.z_histograms.counts[Stratum(order)]
            result[f"considered{order}"] = [int(counts[:edge].sum()), int(counts.sum())]
    else:
        result |= _coverage_of_planted(masks, outputs, alpha, fitted, truth)
    for method in ("BH", "BY"):
        _, rule = fit_q_values([fitted.z_histograms], method)
        found = true = covered = 0
        for target, reported in enumerate(fitted.reported):
            q = rule.of(reported.p_value, reported.strata)
            for position in np.flatnonzero(q <= LEVEL):
                value = truth[target].get(reported.members[position], 0.0)
                found += 1
                true += value != 0.0
                error = abs(reported.value[position] - value)
                covered += error <= 1.96 * reported.stderr[position]
        result[method] = [found, true, int(covered)]
    _, rule = fit_q_values([fitted.specific_histograms], "BH")
    specific = [
        (int(position), members in truth[target])
        for target, reported in enumerate(fitted.reported)
        for position, members in enumerate(reported.members)
        if rule.of(reported.specific_p_value[position : position + 1], reported.strata[position])[0] <= LEVEL
    ]
    result["specific"] = [len(specific), sum(true for _, true in specific)]
    result["families"] = families(fitted, truth)
    listed = hits = overall = kept = kept_in = 0
    for target, reported in enumerate(fitted.reported):
        value = np.array([truth[target].get(s, 0.0) for s in reported.members])
        ok = np.abs(reported.value - value) <= 1.96 * reported.stderr
        hits += int(ok.sum())
        overall += int((np.abs(reported.raw - value) <= 1.96 * reported.raw_stderr).sum())
        listed += len(value)
        kept += int(reported.in_spectrum.sum())
        kept_in += int(ok[reported.in_spectrum].sum())
    result["listed"], result["listed_overall"], result["kept"] = (
        [hits, listed],
        [overall, listed],
        [kept_in, kept],
    )
    result["planted"] = sum(len(s) for s in truth)
    sets = pool_sets([tables_of(data, fitted)], masks, alpha=alpha)
    found = {tuple(s) for s, q in zip(sets["members"], sets["q_value"], strict=True) if q <= LEVEL}
    somewhere = set().union(*truth)
    result["pooled"] = [len(found), len(found & somewhere), len(somewhere)]
    return result


def families(fitted: Any, truth: list[dict[tuple[int, ...], float]]) -> dict[str, dict[str, list[int]]]:
    """{way to define the family of q-values: {order: [found, true] at q <= .05}}, Benjamini-Hochberg throughout."""
    counts = {stratum: held for stratum, held in fitted.z_histograms.counts.items() if stratum.order > 1}
    orders = sorted({stratum.order for stratum in counts})
    merged = {
        Stratum(order): sum(held for stratum, held in counts.items() if stratum.order == order) for order in orders
    }
    stored = QValues.fit(counts, "BH")
    flat = QValues.fit(merged, "BH")
    alone = {order: QValues.fit({s: held for s, held in counts.items() if s.order == order}, "BH") for order in orders}
    result: dict[str, dict[str, list[int]]] = {}
    for target, reported in enumerate(fitted.reported):
        for position, members in enumerate(reported.members):
            p, stratum = reported.p_value[position : position + 1], reported.strata[position]
            order = len(members)
            ways = {"stored": stored.of(p, stratum), "no stratum by heredity": flat.of(p, Stratum(order)),
                    "a family for each order": alone[order].of(p, stratum)}  # fmt: skip
            for way, q in ways.items():
                if q[0] <= LEVEL:
                    row = result.setdefault(way, {}).setdefault(str(order), [0, 0])
                    row[0] += 1
                    row[1] += truth[target].get(members, 0.0) != 0.0
    return result


def _coverage_of_planted(
    masks: np.ndarray,
    outputs: np.ndarray,
    alpha: float,
    fitted: Any,
    truth: list[dict[tuple[int, ...], float]],
) -> dict[str, list[int]]:
    """One-step intervals of the planted sets and of as many random ones, whether selected or not."""
    inside = total = 0
    phi = basis(masks, alpha)
    rng = np.random.default_rng(0)
    for target, planted in enumerate(truth):
        residual = outputs[:, target] - fitted.predicted[:, target]
        spectrum = fitted.spectra[target].terms
        for members, value in planted.items():
            other = tuple(sorted(rng.choice(masks.shape[1], len(members), replace=False).tolist()))
            for s, true in ((members, value), (other, planted.get(other, 0.0))):
                if s in spectrum:  # its residual lacks it: the reported estimate is scored under "listed"
                    continue
                score = set_columns(phi, np.array([s]))[:, 0] * (residual - residual.mean())
                inside += abs(score.mean() - true) <= 1.96 * score.std() / math.sqrt(len(score))
                total += 1
    return {"considered": [int(inside), int(total)]}


def table(lines: list[dict[str, Any]], arguments: argparse.Namespace) -> str:
    """What a results file says, as Markdown."""
    k = len(lines)
    rows = [f"{k} campaigns ({arguments.mode}; {arguments.players} players, {arguments.masks} masks, "
            f"{arguments.targets} targets, alpha {arguments.alpha}, noise ceiling {arguments.ceiling})", "",
            "| measure | value | nominal |", "|---|---|---|"]  # fmt: skip
    if arguments.mode in ("null", "saturated"):
        bound = 1.96 * math.sqrt(0.05 * 0.95 / k)
        opened = sum(line["gate_open"] > 0 for line in lines)
        single = sum(line["gate_p"] for line in lines) / sum(line["targets"] for line in lines)
        rows.append(f"| campaigns in which any gate opens | {opened / k:.4f} | <= .05 (+ {bound:.4f}) |")
        rows.append(f"| targets with gate p <= .05 | {single:.5f} | <= .05 |")
        for level in (0.01, 0.003, 0.001):
            share = np.mean([np.array(line["gates"]) <= level for line in lines])
            rows.append(f"| targets with gate p <= {level} | {share:.5f} | <= {level} |")
        specific = sum(line["specific"][0] > 0 for line in lines)
        rows.append(f"| campaigns with any specific q <= .05 | {specific / k:.4f} | .05 +- {bound:.4f} |")
        if arguments.mode == "saturated":
            return "\n".join(rows)
        for method in ("BH", "BY"):
            any_found = sum(line[method][0] > 0 for line in lines)
            rows.append(f"| campaigns with any q <= .05 ({method}) | {any_found / k:.4f} | .05 +- {bound:.4f} |")
    else:
        for method in ("BH", "BY"):
            shares = [1 - line[method][1] / line[method][0] if line[method][0] else 0.0 for line in lines]
            found, true = (sum(line[method][i] for line in lines) for i in (0, 1))
            power = true / sum(line["planted"] for line in lines)
            rows.append(f"| false discovery rate at q <= .05 ({method}) | {np.mean(shares):.4f} | <= .05 |")
            rows.append(f"| power at q <= .05 ({method}) | {power:.3f} of {found} found | |")
        shares = [1 - line["specific"][1] / line["specific"][0] if line["specific"][0] else 0.0 for line in lines]
        found, true = (sum(line["specific"][i] for line in lines) for i in (0, 1))
        planted = sum(line["planted"] for line in lines)
        rows.append(f"| false discovery rate at specific q <= .05 | {np.mean(shares):.4f} | <= .05 |")
        rows.append(f"| power at specific q <= .05 | {true / planted:.3f} of {found} | |")
        opened = np.array([adjust(np.array(line["gates"]), "BH") <= LEVEL for line in lines])
        is_null = np.array([line["is_null"] for line in lines])
        rows.append(f"| gates open where sets are planted | {opened[~is_null].mean():.3f} | |")
        if is_null.any():
            wrong = (opened & is_null).sum(axis=1) / np.maximum(opened.sum(axis=1), 1)
            gates = np.array([line["gates"] for line in lines])[is_null]
            rows.append(f"| share of the open gates where none is | {wrong.mean():.4f} | <= .05 |")
            levels = ", ".join(f"{(gates <= level).mean():.4f}" for level in (LEVEL, 0.01))
            rows.append(f"| targets without sets: gate p <= .05, <= .01 | {levels} | .05, .01 |")
    if "pooled" in lines[0]:
        rows += _pooled_rows(lines, arguments.mode)
    rows += _family_rows(lines, arguments.mode)
    names = {"main": "coverage, main effects (all)", "considered": "coverage, sets considered, not kept",
             "considered2": "coverage, all pairs considered", "considered3": "coverage, all triples considered",
             "listed": "coverage, reported sets", "kept": "coverage, sets kept in the spectrum",
             "listed_overall": "(coverage of the same by all masks, raw estimates)"}  # fmt: skip
    for name, title in names.items():
        if name in lines[0]:
            inside, total = (sum(line[name][i] for line in lines) for i in (0, 1))
            rows.append(f"| {title} | {inside / max(total, 1):.4f} of {total} | .95 |")
    inside, total = (sum(line["BH"][i] for line in lines) for i in (2, 0))
    rows.append(f"| coverage, sets with q <= .05 (BH) | {inside / max(total, 1):.4f} of {total} | .95 |")
    return "\n".join(rows)


def _name(stratum: Stratum) -> str:
    """The key of a stratum in a results file."""
    return f"{stratum.order} by heredity" if stratum.by_heredity else str(stratum.order)


def _family_rows(lines: list[dict[str, Any]], mode: str) -> list[str]:
    """Of the ways to define the family of q-values, by order; and of the tails of |z| where nothing is planted."""
    rows, planted = [], sum(line["planted"] for line in lines)
    for way in ("stored", "no stratum by heredity", "a family for each order"):
        for order in ("2", "3"):
            found = [line["families"].get(way, {}).get(order, [0, 0]) for line in lines]
            total, true = (sum(row[i] for row in found) for i in (0, 1))
            if mode == "null":
                share = np.mean([row[0] > 0 for row in found])
                rows.append(f"| campaigns with any q <= .05 at order {order}, {way} | {share:.4f} | |")
            else:
                rate = np.mean([1 - row[1] / row[0] if row[0] else 0.0 for row in found])
                rows.append(f"| sets of {order} with q <= .05, {way}: true, false | {true}, {total - true} "
                            f"(of {planted} planted, all orders) | |")  # fmt: skip
                rows.append(f"| their false discovery rate | {rate:.4f} | |")
    if mode != "null":
        return rows
    for stratum, title in (
        (_name(Stratum(2)), "pairs"),
        (_name(Stratum(2, by_heredity=True)), "pairs by heredity"),
        (_name(Stratum(3)), "triples"),
        (_name(Stratum(3, by_heredity=True)), "triples by heredity"),
    ):
        held = [line["tails"][stratum] for line in lines if stratum in line["tails"]]
        tests = sum(entry["tests"] for entry in held)
        for z in TAILS:
            expected = tests * float(two_sided_p(np.array([z]))[0])
            if expected < 1:
                continue
            seen = sum(entry[str(z)] for entry in held)
            rows.append(f"| {title}, |z| >= {z}: seen / expected | {seen / expected:.3f} of {expected:.0f} | 1 |")
    return rows


def _pooled_rows(lines: list[dict[str, Any]], mode: str) -> list[str]:
    """Of the table of sets pooled over targets."""
    if mode == "null":
        share, bound = np.mean([line["pooled"][0] > 0 for line in lines]), 1.96 * math.sqrt(0.0475 / len(lines))
        return [f"| campaigns with any pooled q <= .05 | {share:.4f} | .05 +- {bound:.4f} |"]
    shares = [1 - line["pooled"][1] / line["pooled"][0] if line["pooled"][0] else 0.0 for line in lines]
    power = sum(line["pooled"][1] for line in lines) / sum(line["pooled"][2] for line in lines)
    return [
        f"| false discovery rate at pooled q <= .05 | {np.mean(shares):.4f} | <= .05 |",
        f"| power at pooled q <= .05, distinct sets | {power:.3f} | |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=("null", "saturated", "planted", "mixed", "copies"), default="null")
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--first-seed", type=int, default=0, help="simulations are judged on seeds not used before")
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no simulation after this many")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--campaign", type=Path, default=ROOT / ".." / "shared" / "campaigns" / "digits-200.npz")
    parser.add_argument("--players", type=int, default=100)
    parser.add_argument("--masks", type=int, default=900)
    parser.add_argument("--targets", type=int, default=16)
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--ceiling", type=float, default=0.3)
    arguments = parser.parse_args()
    lines = []
    if arguments.results.exists():
        lines = [json.loads(line) for line in arguments.results.read_text().splitlines()]
    done = {line["seed"] for line in lines}
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.simulations)
    missing = [seed for seed in seeds if seed not in done]
    end = time.monotonic() + 60 * arguments.minutes
    if missing:
        noise = real_residuals(arguments.campaign)
        with arguments.results.open("a") as results:
            for seed in missing:
                if time.monotonic() > end:
                    break
                began = time.process_time()
                line = simulate(seed, arguments.mode, noise, arguments)
                line["cpu_seconds"] = round(time.process_time() - began, 2)
                results.write(json.dumps(line) + "\n")
                results.flush()
                lines.append(line)
    print(table(lines, arguments))


if __name__ == "__main__":
    main()
