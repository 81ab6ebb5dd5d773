"""Two campaigns on the same pictures whose groups were made differently: ceilings, R² on held-out masks, gates, sets.

Called by `benchmarks/thousands/figures.py pair FOUND RANDOM`. R² and gates need `coterie attribute` of both campaigns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from attribution.analysis.target_ids import MEAN_OF_ALL
from attribution.statistics.group_power import SEEN, group_power
from flows.store.campaign import Campaign
from flows.store.faithfulness import TargetScores, read_faithfulness

ESTIMATORS = {"datamodel": "LASSO", "link": "LASSO and link", "proxy": "booster", "spectrum": "spectrum"}
LEVELS = (0.05, 0.1)
RESAMPLES = 2000

Table = Callable[[str, list[tuple[object, ...]]], None]


def replicated(campaign: Campaign, most: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs of both trainings of the masks that were trained twice (pairs, targets), and accuracies of all models."""
    read = campaign.read("outputs", ["mask_id", "replicate", "status", "outputs", "target_accuracy"])
    ids, replicate = read["mask_id"].to_numpy(), read["replicate"].to_numpy()
    outputs = np.array(read["outputs"].to_pylist(), dtype=np.float64)
    accuracy = read["target_accuracy"].to_numpy(zero_copy_only=False)
    row = {(int(mask), int(again)): at for at, (mask, again) in enumerate(zip(ids, replicate, strict=True))}
    both = sorted(mask for mask, again in row if again == 1 and (mask, 0) in row)[:most]
    first, second = (outputs[[row[mask, again] for mask in both]] for again in (0, 1))
    return first, second, accuracy[replicate == 0]


def ceilings(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n_targets,) share of the variance of single runs that the mask explains: covariance over mean variance."""
    a, b = first - first.mean(axis=0), second - second.mean(axis=0)
    variance = (a.var(axis=0, ddof=1) + b.var(axis=0, ddof=1)) / 2
    found: np.ndarray = (a * b).sum(axis=0) / (len(a) - 1) / variance
    return found


def over_targets(values: np.ndarray, digits: int = 3, sign: str = "") -> str:
    """Return a mean and its 95% interval over targets, by resampling them."""
    draws = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    middle, low, high = (f"{value:{sign}.{digits}f}" for value in (values.mean(), low, high))
    return f"{middle} [{low}, {high}]"


def run_pair(folders: Sequence[str], table: Table) -> None:
    campaigns = [Campaign(folder) for folder in folders]
    names = [Path(folder).name for folder in folders]
    twice = [replicated(campaign) for campaign in campaigns]
    most = min(len(first) for first, _, _ in twice)
    if most > 1:
        _ceilings(names, twice, most, table)
    if all(campaign.analysis is not None for campaign in campaigns):
        _faithfulness(campaigns, names, table)
        _sets(campaigns, names, table)
        _power(campaigns, names, table)


def _ceilings(
    names: Sequence[str], twice: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], most: int, table: Table
) -> None:
    lines = []
    for name, (first, second, accuracy) in zip(names, twice, strict=True):
        first, second = first[:most], second[:most]
        low, middle, high = np.percentile(ceilings(first, second), [25, 50, 75])
        generator = np.random.default_rng(0)
        draws = [generator.integers(0, most, most) for _ in range(200)]
        medians = [np.median(ceilings(first[draw], second[draw])) for draw in draws]
        bounds = np.percentile(medians, [2.5, 97.5])
        spread = float(np.median(first.std(axis=0, ddof=1)))
        reached = f"{accuracy.mean():.3f} ± {accuracy.std() / len(accuracy) ** 0.5:.3f}"
        ceiling = f"{middle:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"
        lines.append((name, len(accuracy), reached, most, ceiling, f"{low:.3f}, {high:.3f}", f"{spread:.3f}"))
    table("groups | masks | accuracy at half | trained twice | median ceiling | quartiles | median output sd", lines)


def _faithfulness(campaigns: Sequence[Campaign], names: Sequence[str], table: Table) -> None:
    scores = [read_faithfulness(campaign) for campaign in campaigns]
    common = sorted(set.intersection(*({target for target in one if target >= 0} for one in scores)))
    about = [campaign.analysis or {} for campaign in campaigns]
    print(f"\n{len(common)} targets explained in both")
    for name, one in zip(names, about, strict=True):
        print(f"{name}: {one['n_fit']} fit masks, {one['n_holdout']} held out, attribute took {one['seconds']:.0f} s")

    def row(name: str, of: Callable[[TargetScores], float]) -> tuple[object, ...]:
        found, other = (np.array([of(one[target]) for target in common]) for one in scores)
        known = np.isfinite(found) & np.isfinite(other)
        if not known.any():
            return name, *3 * ("–",)
        apart = over_targets(found[known] - other[known], sign="+")
        return name, over_targets(found[known]), over_targets(other[known]), apart

    lines = [row(f"R², {label}", partial(r2_of, estimator=name)) for name, label in ESTIMATORS.items()]
    lines.append(row("noise ceiling", lambda one: one.noise_ceiling.value))
    lines.append(row("R² of spectrum less that of LASSO", lambda one: r2_of(one, "spectrum") - r2_of(one, "datamodel")))
    lines.append(row("output sd", lambda one: one.output_sd))
    table(f"mean over targets | {names[0]} | {names[1]} | {names[0]} less {names[1]}, target by target", lines)
    pooled = []
    for name, one in zip(names, scores, strict=True):
        found = (one[MEAN_OF_ALL].r2(estimator) for estimator in ESTIMATORS)
        pooled.append((name, *(f"{r2.value:.3f} [{r2.low:.3f}, {r2.high:.3f}]" for r2 in found)))
    table(f"R² of the mean output over all targets | {' | '.join(ESTIMATORS.values())}", pooled)
    gates = [sum(one[target].gate_open for target in common) for one in scores]
    table("gates open | targets | open", [(name, len(common), gate) for name, gate in zip(names, gates, strict=True)])


def r2_of(one: TargetScores, estimator: str) -> float:
    return one.r2(estimator).value


def _sets(campaigns: Sequence[Campaign], names: Sequence[str], table: Table) -> None:
    """Rows (a set on a target) and distinct sets by their false discovery rate: of the value, of its specific part."""
    lines: list[tuple[object, ...]] = []
    for name, campaign in zip(names, campaigns, strict=True):
        rows = campaign.read("interactions", ["target", "kind", "q_value", "specific_q_value"])
        rows = rows.filter(pc.greater_equal(rows["target"], 0))
        pooled = campaign.read("sets", ["q_value", "specific_q_value"])
        for part, column in (("total", "q_value"), ("specific", "specific_q_value")):
            for level in LEVELS:
                chosen = rows.filter(pc.less_equal(rows[column], level))
                together = pc.sum(pc.less_equal(pooled[column], level)).as_py() or 0
                lines.append((name, part, level, chosen.num_rows, kinds(chosen), together))
    table("groups | part | q at most | rows | by kind of the specific part | sets over all targets together", lines)


def kinds(rows: pa.Table) -> str:
    """Return how many rows there are of each kind, the commonest first."""
    counts = rows["kind"].value_counts().to_pylist()
    counts.sort(key=lambda entry: -entry["counts"])
    return ", ".join(f"{entry['counts']} {entry['values'].replace('_', ' ')}" for entry in counts) or "none"


def _power(campaigns: Sequence[Campaign], names: Sequence[str], table: Table) -> None:
    """What `plan` says of a group's effect beside what was measured, in output standard deviations."""
    lines = []
    for name, campaign in zip(names, campaigns, strict=True):
        scores = {target: one for target, one in read_faithfulness(campaign).items() if target >= 0}
        effects = campaign.read("effects", ["target", "effect", "stderr", "q_value"])
        effects = effects.filter(pc.greater_equal(effects["target"], 0))
        sd = np.array([scores[target].output_sd for target in effects["target"].to_pylist()])
        effect, stderr = effects["effect"].to_numpy() / sd, effects["stderr"].to_numpy() / sd
        typical = float(np.sqrt(max(0.0, (effect**2 - stderr**2).mean())))
        ceiling, r2 = (float(np.mean([of(one) for one in scores.values()])) for of in (
            lambda one: one.noise_ceiling.value, lambda one: r2_of(one, "datamodel")))  # fmt: skip
        if not np.isfinite(ceiling):
            continue
        n_fit = (campaign.analysis or {})["n_fit"]
        by_r2 = group_power(campaign.n_players, n_fit, campaign.meta.alpha, ceiling, max(0.0, r2))
        by_ceiling = group_power(campaign.n_players, n_fit, campaign.meta.alpha, ceiling)
        found = float((effects["q_value"].to_numpy() <= LEVELS[1]).mean())
        lines.append((name, n_fit, f"{by_r2.typical:.3f}", f"{typical:.3f}", f"{by_r2.seen / SEEN:.3f}",
                      f"{by_ceiling.seen / SEEN:.3f}", f"{np.median(stderr):.3f}", f"{found:.3f}"))  # fmt: skip
    if lines:
        table(
            "groups | fit masks | typical effect, by the ceiling | measured | standard error, by R² | by the ceiling | "
            "measured | effects with q ≤ .1",
            lines,
        )
