"""Ways to choose interactions, compared on a real campaign: what won is in attribution/, what lost is written down.

    python benchmarks/attribution/selection.py --work-folder build/selection [--campaign digits-200.npz]

The 60 targets of highest variance, cross-fitted R2 over all 2,048 masks (five outer folds; each way sees only the
other four). docs/NEGATIVE_RESULTS.md quotes the table. Predictions of each group of ways are kept in the work folder
and not computed twice.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from attribution import PairwiseLasso, RidgeDatamodel, SampleReuseBanzhaf, WeightedLeastSquares  # noqa: E402
from attribution.fourier.basis import basis  # noqa: E402
from attribution.interactions.block import BlockSettings, fit_block  # noqa: E402
from attribution.linear.datamodel_fit import fit_linear  # noqa: E402
from attribution.masks.folds import assign_folds  # noqa: E402
from attribution.masks.inputs import check_data  # noqa: E402
from attribution.proxy.boosted_trees import BoosterSettings  # noqa: E402
from attribution.proxy.fit import fit_proxy  # noqa: E402
from attribution.screening.screen import set_columns  # noqa: E402
from attribution.statistics.faithfulness import r2  # noqa: E402
from benchmarks.attribution.selection_trials import TRIALS, Block  # noqa: E402

Array = np.ndarray


def pair_z(phi: Array, residual: Array, pairs: Array) -> Array:
    """(t, pairs) one-step z of every pair."""
    result = np.empty((residual.shape[1], len(pairs)), dtype=np.float32)
    for target in range(residual.shape[1]):
        r = residual[:, target].astype(np.float32)
        result[target] = ((phi * r[:, None]).T @ phi)[pairs[:, 0], pairs[:, 1]] / np.sqrt(r @ r)
    return result


def lasso_with_sets(phi: Array, y: Array, new: Array, sets: Array, folds: Array) -> Array:
    """One common penalty for main effects and sets, chosen by cross-validation: predictions of `new`."""
    columns = np.concatenate([phi, set_columns(phi, sets)], axis=1)
    fitted = fit_linear(columns, y[:, None], folds, n_penalties=15, smallest=0.02)
    return np.concatenate([new, set_columns(new, sets)], axis=1) @ fitted.coef[0] + fitted.intercept[0]


def ridge_with_sets(phi: Array, y: Array, new: Array, sets: list[tuple[int, ...]]) -> Array:
    """Ridge over main effects and sets, as published: predictions of `new`."""
    from sklearn.linear_model import RidgeCV

    padded = np.array([(*s, *([-1] * (3 - len(s)))) for s in sets], dtype=np.int64).reshape(-1, 3)
    model = RidgeCV(alphas=np.logspace(0, 4, 9)).fit(np.hstack([phi, set_columns(phi, padded)]), y)
    return model.predict(np.hstack([new, set_columns(new, padded)]))


def first_ways(masks: Array, y: Array, new_masks: Array, fold: int) -> dict[str, Array]:
    """The datamodel, the spectrum, the booster, and refits of the screen's or the booster's sets."""
    phi, new = basis(masks, 0.5), basis(new_masks, 0.5)
    pairs = np.column_stack(np.triu_indices(masks.shape[1], 1))
    inner = assign_folds(np.arange(len(y)), 6, fold)
    linear = fit_linear(phi, y, inner)
    base = new @ linear.coef.T + linear.intercept
    block = fit_block(check_data(masks, y, 0.5), BlockSettings(alpha=0.5))
    settings, validation = BoosterSettings(n_estimators=600), inner == 0
    proxy = fit_proxy(masks, y, settings, validation=validation)
    residual = y - linear.predicted
    second = fit_proxy(masks, residual, settings, validation=validation)
    result = {
        "LASSO datamodel": base,
        "coterie's spectrum": np.column_stack([s.evaluate(new_masks) for s in block.spectra]),
        "booster alone": proxy.predict(new_masks),
        "LASSO + booster on its residual": base + second.predict(new_masks),
    }
    z = pair_z(phi, residual, pairs)
    size = residual.std(axis=0) / np.sqrt(len(y))
    for cut in (3.5, 4.0, 4.5, 5.0):
        added, joint = base.copy(), base.copy()
        for target in range(y.shape[1]):
            chosen = np.flatnonzero(np.abs(z[target]) > cut)
            if len(chosen):
                added[:, target] += set_columns(new, pairs[chosen]) @ (z[target, chosen] * size[target])
                joint[:, target] = lasso_with_sets(phi, y[:, target], new, pairs[chosen], inner)
        result[f"LASSO + pairs with z > {cut}, unshrunken"] = added
        result[f"LASSO refit, pairs with z > {cut}, one penalty"] = joint
    for count in (10, 100):
        screen, published = base.copy(), base.copy()
        for target in range(y.shape[1]):
            top = np.argsort(-np.abs(z[target]))[:count]
            screen[:, target] = lasso_with_sets(phi, y[:, target], new, pairs[top], inner)
            found = proxy.largest_sets(target, 0.5, 2, 3, count)
            published[:, target] = ridge_with_sets(phi, y[:, target], new, found)
        result[f"LASSO refit, {count} strongest pairs, one penalty"] = screen
        result[f"ridge refit, booster's {count} largest sets"] = published
    return result


def estimators(masks: Array, y: Array, new_masks: Array, fold: int) -> dict[str, Array]:
    """The baselines of attribution/ as they are."""
    models = {
        "ridge datamodel": RidgeDatamodel(),
        "Banzhaf by maximum sample reuse": SampleReuseBanzhaf(),
        "least squares (Bernoulli kernel)": WeightedLeastSquares(),
    }
    return {name: model.fit(masks, y).predict(new_masks) for name, model in models.items()}


N_PAIRWISE = 12  # targets of the one way that is slow: 20,100 columns each


def pairwise(masks: Array, y: Array, new_masks: Array, fold: int) -> dict[str, Array]:
    """LASSO over all pairs, on the first targets; the others are NaN."""
    predicted = np.full((len(new_masks), y.shape[1]), np.nan)
    predicted[:, :N_PAIRWISE] = PairwiseLasso(seed=fold).fit(masks, y[:, :N_PAIRWISE]).predict(new_masks)
    return {f"pairwise LASSO, all pairs ({N_PAIRWISE} targets)": predicted}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--campaign", type=Path, default=ROOT / ".." / "shared" / "campaigns" / "digits-200.npz"
    )
    parser.add_argument("--work-folder", type=Path, required=True)
    parser.add_argument("--targets", type=int, default=60)
    parser.add_argument("--folds", type=int, default=5, help="how many of the five outer folds to predict and score")
    parser.add_argument("--skip", nargs="*", default=[], help="groups of ways to leave out, e.g. pairwise")
    given = parser.parse_args()
    given.work_folder.mkdir(parents=True, exist_ok=True)
    with np.load(given.campaign) as data:
        masks = np.unpackbits(data["masks"], axis=1, bitorder="little")[:, :200].astype(bool)
        outputs = data["outputs"].astype(np.float64)
    outputs = outputs[:, np.argsort(-outputs[:1792].var(axis=0))[: given.targets]]
    outer = np.random.default_rng(1).permutation(len(masks)) % 5
    ways: dict[str, Callable[[Array, Array, Array, int], dict[str, Array]]] = {
        "first": first_ways, "estimators": estimators, "pairwise": pairwise
    }  # fmt: skip
    predicted: dict[str, Array] = {}
    wanted = [group for group in (*ways, *TRIALS) if group not in given.skip]
    slow = [group for group in wanted if group == "pairwise"]
    quick = [group for group in wanted if group not in slow]
    for fold, groups in [(fold, part) for part in (quick, slow) for fold in range(given.folds)]:
        fit, held = outer != fold, outer == fold
        block: Block | None = None
        for group in groups:
            kept = given.work_folder / f"{group}-{given.targets}-{fold}.npz"
            if not kept.exists():
                began = time.process_time()
                if group in ways:
                    found = ways[group](masks[fit], outputs[fit], masks[held], fold)
                else:
                    block = block or Block(masks[fit], outputs[fit], masks[held])
                    found = TRIALS[group](block)
                np.savez(kept, **found)
                print(f"fold {fold}, {group}: {time.process_time() - began:.0f} CPU s", file=sys.stderr, flush=True)
            with np.load(kept) as archive:
                for name in archive.files:
                    predicted.setdefault(name, np.full(outputs.shape, np.nan))[held] = archive[name]
    scored = outer < given.folds
    outputs, predicted = outputs[scored], {name: values[scored] for name, values in predicted.items()}
    reference = r2(outputs, predicted["LASSO datamodel"])
    print(f"{given.targets} targets of highest variance, {len(outputs)} masks predicted, 200 players\n")
    print("| way | mean R2 | worst target against LASSO | best | against the spectrum | 95% interval |")
    print("|---|---|---|---|---|---|")
    counts = np.random.default_rng(0).multinomial(len(outputs), np.full(len(outputs), 1 / len(outputs)), 1000)
    weights = np.concatenate([np.ones((1, len(outputs))), counts])
    spread = weights @ outputs**2 - (weights @ outputs) ** 2 / len(outputs)
    drawn = {name: 1 - weights @ (outputs - values) ** 2 / spread for name, values in predicted.items()}
    for name, score in sorted(drawn.items(), key=lambda entry: -np.nanmean(entry[1][0])):
        gain = score[0] - reference
        over = np.nanmean(score - drawn["coterie's spectrum"], axis=1)
        low, high = np.quantile(over[1:], [0.025, 0.975])
        row = f"| {name} | {np.nanmean(score[0]):.4f} | {np.nanmin(gain):+.3f} | {np.nanmax(gain):+.3f} "
        print(row + f"| {over[0]:+.4f} | {low:+.4f} .. {high:+.4f} |")


if __name__ == "__main__":
    main()
